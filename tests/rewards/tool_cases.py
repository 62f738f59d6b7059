"""Hand-made task records and evidence for the tests of the tool-use reward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from palaestra.envs.core.types import Action, Step, StopReason, Task, Trajectory
from palaestra.envs.tools.evidence import EVIDENCE_KEY, RECORD_KEY, CallEvidence, StepEvidence
from palaestra.envs.tools.records import Cell, GoldCall, GoldTurn, Kind, Shown, TaskRecord, World
from palaestra.rewards.compose import Component, Reward, RewardBreakdown

Cells = tuple[Cell, ...]


def gold(name: str, tool: str, after: Sequence[str] = (), *, fault: str | None = None, **arguments: Any) -> GoldCall:
    """A gold call; READ unless a test says what it changes."""
    kinds: tuple[Literal["explicit", "implicit"], ...] = tuple("explicit" for _ in after)
    return GoldCall(
        id=name, tool=tool, arguments=arguments, after=tuple(after), edge_kinds=kinds, expects_fault=fault,
        result_digest=f"digest of {name}", reads=True,
    )  # fmt: skip


def task(*turns: Sequence[GoldCall], changes: Sequence[Cells] = (), digests: bool = False) -> TaskRecord:
    """A record with these gold calls per turn; with `changes` or `digests` it knows what its world should be."""
    kind: Kind = "act" if all(turns) else "clarify" if any(turns) else "abstain"
    known = {"shop": "d"} if digests or changes else {}
    made = tuple(
        GoldTurn(
            user=f"turn {number}",
            kind="act" if calls else "clarify",
            gold=tuple(calls),
            goal_digests=known,
            changes={"shop": changes[number]} if changes and changes[number] else {},
        )
        for number, calls in enumerate(turns)
    )
    tools = tuple({call.tool: None for calls in turns for call in calls})
    world = World(servers=("shop",), seed=0, reference_time=0)
    return TaskRecord(kind=kind, split="train", env=world, shown=Shown(tools=tools), turns=made)


def call(tool: str, *, fault: str | None = None, answers: str = "", **settings: Any) -> CallEvidence:
    """A call that was shown, fits and succeeded, unless told otherwise; other words are its arguments."""
    known = {"shown", "fits", "fits_loose", "changed", "writes", "rows", "defaulted"}
    own = {key: value for key, value in settings.items() if key in known}
    arguments = {key: value for key, value in settings.items() if key not in known}
    base: dict[str, Any] = {"shown": True, "fits": True, "fits_loose": True, "writes": False}
    digest = f"digest of {answers}" if answers else "other"
    return CallEvidence(tool=tool, arguments=arguments, fault=fault, result_digest=digest, **{**base, **own})


GARBAGE = CallEvidence(tool="", arguments=None, shown=False, fits=False, fits_loose=False, fault="unparsable")


def play(*turns: Sequence[CallEvidence], changes: Sequence[Cells] = ()) -> tuple[StepEvidence, ...]:
    """One reply per turn that makes all of its calls and ends it."""
    return tuple(
        StepEvidence(
            turn=number,
            calls=tuple(calls),
            turn_over=True,
            changes={"shop": changes[number]} if changes and changes[number] else {},
        )
        for number, calls in enumerate(turns)
    )


def as_trajectory(record: TaskRecord, steps: Sequence[StepEvidence], *, ended: bool = True) -> Trajectory:
    """The evidence as a stored trajectory carries it."""
    last = len(steps) - 1
    made = tuple(
        Step("o", "words of the model", Action("x"), 0.0, False, ended and t == last, {EVIDENCE_KEY: step.to_json()})
        for t, step in enumerate(steps)
    )
    task = Task("palaestra/Tools-v0", record.env.seed)
    return Trajectory(task, made, StopReason.TRUNCATED, "o", False, 0.0, {RECORD_KEY: record.to_json()})


def terms(reward: Reward) -> dict[str, float]:
    """Raw value per component, of a reward that must be valid."""
    assert isinstance(reward, RewardBreakdown), reward
    return {component.name: sum(component.raw_S) for component in reward.components}


def words(reward: Reward, name: str) -> str:
    """A component's evidence."""
    found: dict[str, Component] = {component.name: component for component in reward.components}
    return found[name].evidence
