"""The probe: does any way of not doing a task earn as much as doing it.

Every behaviour is really played in a fresh episode of the task's world and scored. Honest play must be strictly best
under the preset "palaestra", by at least `MARGIN`, on every task where a behaviour differs from it.
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
from palaestra.rewards.probe_scene import Scene
from palaestra.rewards.prove import PALAESTRA, PAPER, ProveSettings, score
from palaestra.rewards.prove_case import lay_out
from palaestra.rewards.replay import Plan, perform

MARGIN: Final = 0.005
EVERY: Final[tuple[Behaviour, ...]] = (*BEHAVIOURS, *ATTACKS)
UNSEEN: Final = 15
"""The family of what a model writes around its calls: it must not move the reward at all."""
WITHOUT: Final[Mapping[str, ProveSettings]] = {
    "State": PALAESTRA.model_copy(update={"weights": {**PALAESTRA.weights, "state": 0.0}}),
    "turn awareness": PALAESTRA.model_copy(update={"turn_policy": "any", "state_at": "end"}),
    "Repeat": PALAESTRA.model_copy(update={"weights": {**PALAESTRA.weights, "repeat": 0.0}}),
}
"""The preset with one of its additions switched off."""


@dataclass(frozen=True, slots=True)
class Played:
    """One behaviour on one task.

    Attributes:
        honest: its calls are the gold calls of each turn, in an order that breaks no dependency.
        succeeded: every turn came out exactly.
        rewards, best: total per preset, and what the gold calls earned there.
    """

    behaviour: Behaviour
    record: TaskRecord
    steps: tuple[StepEvidence, ...]
    honest: bool
    succeeded: bool
    rewards: Mapping[str, float]
    best: Mapping[str, float]

    def beats(self, preset: str = "palaestra") -> bool:
        """Whether it is no honest play and yet earns as much, but for the margin."""
        return not self.honest and self.rewards[preset] > self.best[preset] - MARGIN + 1e-9


def probe(
    record: TaskRecord,
    behaviours: Iterable[Behaviour] = EVERY,
    presets: Mapping[str, ProveSettings] | None = None,
) -> Iterator[Played]:
    """Every behaviour that can be played on a task, honest play first.

    Raises: ToolError "lost" if the tool servers fail; whatever opening the record's world raises.
    Cost: some ms per behaviour.
    """
    settings = {"palaestra": PALAESTRA, "paper": PAPER} if presets is None else presets
    scene = Scene(record)
    best = _play(scene, EVERY[0], scene.gold, settings)
    best = replace(best, best=best.rewards)
    yield best
    for behaviour in behaviours:
        plan = None if behaviour.family == 0 else behaviour.play(scene)
        if plan is not None:
            yield replace(_play(scene, behaviour, plan, settings), best=best.rewards)


def _play(scene: Scene, behaviour: Behaviour, plan: Plan, presets: Mapping[str, ProveSettings]) -> Played:
    record = scene.record
    steps = perform(record, plan)
    rewards = {name: total(record, steps, settings) for name, settings in presets.items()}
    succeeded = all(outcome == 1.0 for outcome in turn_outcomes(record, steps)) and _quiet(record, steps)
    return Played(behaviour, record, steps, is_honest(record, steps), succeeded, rewards, {})


def _quiet(record: TaskRecord, steps: Sequence[StepEvidence]) -> bool:
    return record.kind != "abstain" or not any(step.calls for step in steps)


def total(record: TaskRecord, steps: Sequence[StepEvidence], settings: ProveSettings) -> float:
    """The reward as a number. Raises: ToolError "lost" if there is none."""
    reward = score(record, steps, settings)
    if isinstance(reward, Invalid):
        raise ToolError("lost", f"task {record.id} could not be played: {reward.detail}")
    return reward.total


def is_honest(record: TaskRecord, steps: Sequence[StepEvidence]) -> bool:
    """Whether these are the gold calls of each turn and no others, each after what it depends on."""
    case = lay_out(record, steps, PALAESTRA)
    whole = len(case.calls) == len(case.covered) == len(case.golds)
    return whole and all(share == 1 for share in case.agreement.values())


def needed_for(played: Sequence[Played]) -> dict[str, list[str]]:
    """Per addition of the preset: the behaviours that tie with or beat honest play once it is switched off."""
    found: dict[str, list[str]] = {}
    for name, settings in WITHOUT.items():
        best = {
            each.record.id: total(each.record, each.steps, settings) for each in played if not each.behaviour.family
        }
        winners = {
            each.behaviour.name: None
            for each in played
            if not each.honest and total(each.record, each.steps, settings) >= best[each.record.id]
        }
        found[name] = sorted(winners)
    return found
