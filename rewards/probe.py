"""The probe: does any way of not doing a task earn as much as doing it.

Every behaviour is really played in a fresh episode of the task's world and scored. Honest play must be strictly best
under the preset "palaestra" on every task where a behaviour differs from it. Two things are not held against it: the
gold calls in another order that breaks no dependency, and looking up more than is needed within the budget.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from palaestra.envs.tools.evidence import StepEvidence
from palaestra.envs.tools.outcome import turn_outcomes
from palaestra.envs.tools.records import TaskRecord
from palaestra.mcp_servers.errors import ToolError
from palaestra.rewards.compose import Invalid
from palaestra.rewards.probe_attacks import ATTACKS
from palaestra.rewards.probe_behaviours import BEHAVIOURS, Behaviour
from palaestra.rewards.probe_scene import Plan, Scene
from palaestra.rewards.prove import PALAESTRA, PAPER, ProveSettings, score
from palaestra.rewards.prove_case import Case, lay_out
from palaestra.rewards.prove_terms import repeat

MARGIN: Final = 0.005
"""How far honest play must be ahead where every argument leaves a trace, as with our own servers."""
_ROUNDING: Final = 1e-9
EVERY: Final[tuple[Behaviour, ...]] = (*BEHAVIOURS, *ATTACKS)
UNSEEN: Final = 15
"""The family of what a model writes around its calls: it must not move the reward at all."""
PRESETS: Final[Mapping[str, ProveSettings]] = {"palaestra": PALAESTRA, "paper": PAPER}
WITHOUT: Final[Mapping[str, ProveSettings]] = {
    "without State": PALAESTRA.model_copy(update={"weights": {**PALAESTRA.weights, "state": 0.0}}),
    "without turn awareness": PALAESTRA.model_copy(update={"turn_policy": "any", "state_at": "end"}),
    "without Repeat": PALAESTRA.model_copy(update={"weights": {**PALAESTRA.weights, "repeat": 0.0}}),
    "without State and Repeat": PALAESTRA.model_copy(
        update={"weights": {**PALAESTRA.weights, "state": 0.0, "repeat": 0.0}}
    ),
}
"""The preset with additions switched off: one, or two that guard against the same."""


@dataclass(frozen=True, slots=True)
class Played:
    """One behaviour on one task.

    Attributes:
        honest: its calls are the gold calls of each turn, in an order that breaks no dependency.
        harmless: they are more than these, but the others only looked things up: see `is_harmless`.
        succeeded: every turn came out exactly.
        rewards, best: total per preset, and what the gold calls earned there.
    """

    behaviour: Behaviour
    record: TaskRecord
    steps: tuple[StepEvidence, ...]
    honest: bool
    harmless: bool
    succeeded: bool
    rewards: Mapping[str, float]
    best: Mapping[str, float]

    @property
    def differs(self) -> bool:
        """Whether it should earn less than honest play."""
        return not (self.honest or self.harmless)

    def beats(self, preset: str = "palaestra", margin: float = 0.0) -> bool:
        """Whether it should earn less than honest play and does not, or not by more than the margin."""
        return self.differs and self.best[preset] - self.rewards[preset] < max(margin - _ROUNDING, _ROUNDING)


def probe(
    scene: Scene, behaviours: Iterable[Behaviour] = EVERY, presets: Mapping[str, ProveSettings] = PRESETS
) -> Iterator[Played]:
    """Every behaviour that can be played on a task, honest play first.

    Raises: ToolError "lost" if the tool servers fail; whatever opening the scene's world raises.
    Cost: some ms per behaviour.
    """
    best = _play(scene, EVERY[0], [[*turn] for turn in scene.gold], presets)
    best = replace(best, best=best.rewards)
    yield best
    for behaviour in behaviours:
        plan = None if behaviour.family == 0 else behaviour.play(scene)
        if plan is not None:
            yield replace(_play(scene, behaviour, plan, presets), best=best.rewards)


def _play(scene: Scene, behaviour: Behaviour, plan: Plan, presets: Mapping[str, ProveSettings]) -> Played:
    record = scene.record
    steps = scene.perform(plan)
    rewards = {name: total(record, steps, settings) for name, settings in presets.items()}
    succeeded = all(outcome == 1.0 for outcome in turn_outcomes(record, steps)) and _quiet(record, steps)
    case = lay_out(record, steps, PALAESTRA)
    honest, harmless = is_honest(case), succeeded and is_harmless(case)
    return Played(behaviour, record, steps, honest, harmless and not honest, succeeded, rewards, {})


def _quiet(record: TaskRecord, steps: Sequence[StepEvidence]) -> bool:
    return record.kind != "abstain" or not any(step.calls for step in steps)


def total(record: TaskRecord, steps: Sequence[StepEvidence], settings: ProveSettings) -> float:
    """The reward as a number. Raises: ToolError "lost" if there is none."""
    reward = score(record, steps, settings)
    if isinstance(reward, Invalid):
        raise ToolError("lost", f"task {record.id} could not be played: {reward.detail}")
    return reward.total


def is_honest(case: Case) -> bool:
    """Whether its calls are the gold calls of each turn and no others, each after what it depends on."""
    return len(case.calls) == len(case.golds) and _is_whole(case)


def is_harmless(case: Case) -> bool:
    """Whether its calls are the gold calls and, within the budget, others that succeeded, are no repeats, and neither
    changed anything nor were meant to.
    """
    matched = set(case.pairs.values())
    others = [call for number, call in enumerate(case.calls) if number not in matched]
    looks = all(call.fits and call.fault is None and not call.changed and not call.writes for call in others)
    return looks and len(case.calls) <= case.budget and _is_whole(case) and repeat(case).value == 0.0


def _is_whole(case: Case) -> bool:
    return len(case.covered) == len(case.golds) and all(share == 1 for share in case.agreement.values())
