"""The programmatic reward of tool use, after arXiv 2606.03892: presets, and scores of live and stored episodes.

    paper       0.5 Val + 0.5 Cov + 0.15 Eff + 0.2 Name + 0.1 Arg                                          at most 1.3
    palaestra   g (0.5 Val + 0.5 Cov + 0.2 Name + 0.1 Arg + 1.0 State) + 0.15 Eff + 0.05 Repeat             at most 2.3

with the gate g for turns that need no call, and 1.0 Abstention instead where no turn needs one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self

from pydantic import Field, model_validator

from palaestra.envs.core.types import Action, Step, StopReason, Task, Trajectory
from palaestra.envs.tools.evidence import StepEvidence, evidence_of
from palaestra.envs.tools.records import TaskRecord
from palaestra.mcp_servers.errors import ConfigError, nearest
from palaestra.rewards import final_state, prove_terms
from palaestra.rewards.compose import Reward, Score, Scorer, compose
from palaestra.rewards.equality import Parameters
from palaestra.rewards.prove_case import Case, Rules, lay_out
from palaestra.rewards.prove_terms import Term

_GATED: Final[Mapping[str, Callable[[Case], Term]]] = {
    "validity": prove_terms.validity,
    "coverage": prove_terms.coverage,
    "name": prove_terms.name,
    "argument": prove_terms.argument,
    "state": prove_terms.state,
}
_FREE: Final[Mapping[str, Callable[[Case], Term]]] = {
    "efficiency": prove_terms.efficiency,
    "repeat": prove_terms.repeat,
}
COMPONENTS: Final = ("validity", "coverage", "efficiency", "name", "argument", "state", "repeat", "abstention")
_PAPER_WEIGHTS: Final = {
    "validity": 0.5, "coverage": 0.5, "efficiency": 0.15, "name": 0.2, "argument": 0.1, "abstention": 1.0,
}  # fmt: skip
_WEIGHTS: Final = {**_PAPER_WEIGHTS, "state": 1.0, "repeat": 0.05}


class ProveSettings(Rules):
    """Weights and rules of the reward; the defaults are the preset "palaestra".

    Attributes:
        weights: per component; one left out is not computed.

    >>> ProveSettings(alpha=0.25).weights["state"]
    1.0
    """

    weights: Mapping[str, float] = Field(default_factory=lambda: dict(_WEIGHTS))

    @model_validator(mode="after")
    def _known_weights(self) -> Self:
        for name, weight in self.weights.items():
            if name not in COMPONENTS:
                raise ValueError(f"unknown component {name!r}; {nearest(name, COMPONENTS)}")
            if not math.isfinite(weight):
                raise ValueError(f"weights.{name} = {weight}; weights must be finite")
        return self


PALAESTRA: Final = ProveSettings()
PAPER: Final = ProveSettings(
    weights=_PAPER_WEIGHTS,
    turn_policy="any",
    matching="first_fit",
    defaults=False,
    extra_keys="ignore",
    gate=False,
)
PRESETS: Final[Mapping[str, ProveSettings]] = {"palaestra": PALAESTRA, "paper": PAPER}


def preset(name: str, **changes: Any) -> ProveSettings:
    """A preset with some of its settings changed; `weights` are merged into its own.

    Raises: ConfigError "unknown_preset" naming the nearest; "config" for a setting that is unknown or wrong.
    """
    if name not in PRESETS:
        raise ConfigError("unknown_preset", f"no preset {name!r}; {nearest(name, PRESETS)}")
    found = PRESETS[name]
    weights = {**found.weights, **changes.pop("weights", {})}
    return ProveSettings(**{**found.model_dump(), **changes, "weights": weights})


def score(
    record: TaskRecord,
    evidence: Sequence[StepEvidence],
    settings: ProveSettings = PALAESTRA,
    parameters: Mapping[str, Parameters] | None = None,
) -> Reward:
    """The reward of a finished episode; its components' values stand on the last step.

    `parameters` holds defaults and comparators of tools that are not of the catalogue's servers.

    Invalid "timeout" or "tool_server_lost" if the infrastructure failed, "episode_incomplete" without any reply.
    Cost: some 0.2 ms for six calls, at most some 20 ms at the limit of 64.
    """
    found: list[Case] = []

    def case_of(_: Trajectory) -> Case:
        if not found:
            found.append(lay_out(record, evidence, settings, parameters))
        return found[0]

    steps = (*(_STEP,) * (len(evidence) - 1), _LAST) if evidence else ()
    return compose(Trajectory(_TASK, steps, StopReason.TERMINATED, "", False, 0.0), _scorers(case_of), settings.weights)


_TASK: Final = Task("palaestra/Tools-v0", 0)
_STEP: Final = Step("", "", Action(""), 0.0, False, False)
_LAST: Final = Step("", "", Action(""), 0.0, True, False)


def scorers(rules: Rules = PALAESTRA) -> dict[str, Scorer]:
    """The components as scorers of trajectories; they lay out the latest trajectory once between them."""
    latest: list[tuple[Trajectory, Case]] = []

    def case_of(trajectory: Trajectory) -> Case:
        if not latest or latest[0][0] is not trajectory:
            record, steps = evidence_of(trajectory)
            latest[:] = [(trajectory, lay_out(record, steps, rules))]
        return latest[0][1]

    return _scorers(case_of)


def _scorers(case_of: Callable[[Trajectory], Case]) -> dict[str, Scorer]:
    def scorer(term: Callable[[Case], Term]) -> Scorer:
        def score_term(trajectory: Trajectory) -> Score:
            if trajectory.steps and not _ended(trajectory):
                return Score((0.0,) * len(trajectory.steps), "not ended")
            value, words = term(case_of(trajectory))
            return Score((*(0.0,) * (len(trajectory.steps) - 1), value), words)

        return score_term

    gated = {name: scorer(_acting(_gated(term))) for name, term in _GATED.items()}
    free = {name: scorer(_acting(term)) for name, term in _FREE.items()}
    return {**gated, **free, "abstention": scorer(_abstaining)}


def _ended(trajectory: Trajectory) -> bool:
    last = trajectory.steps[-1]
    # An episode under way carries the stop reason of one cut short, but its last step is not.
    return last.terminated or last.truncated or trajectory.stop_reason is not StopReason.TRUNCATED


def _gated(term: Callable[[Case], Term]) -> Callable[[Case], Term]:
    def gated(case: Case) -> Term:
        value, words = term(case)
        share, why = prove_terms.gate(case)
        return Term(value, words) if share == 1.0 else Term(share * value, f"{words}; gate {share:.3g}: {why}")

    return gated


def _acting(term: Callable[[Case], Term]) -> Callable[[Case], Term]:
    return lambda case: term(case) if case.golds else Term(0.0, "no turn needs a call: only abstention counts")


def _abstaining(case: Case) -> Term:
    return prove_terms.abstention(case) if not case.golds else Term(0.0, "some turn needs a call")


def best_reward(record: TaskRecord, settings: ProveSettings = PALAESTRA) -> float:
    """What honest play gets: R_max. State is left out where the record knows nothing of its world."""
    if not record.gold_calls:
        return settings.weights.get("abstention", 0.0)
    counted = [name for name in _GATED if name != "state" or final_state.applies(record)]
    return math.fsum(settings.weights.get(name, 0.0) for name in counted)


__all__ = [
    "COMPONENTS", "PALAESTRA", "PAPER", "PRESETS", "ProveSettings", "best_reward", "preset", "score", "scorers",
]  # fmt: skip
