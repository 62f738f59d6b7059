"""What every text world promises beyond Gymnasium: its no-op, its info keys, its hidden state, its true distance."""

from __future__ import annotations

from typing import Any, Protocol, TypedDict, runtime_checkable

import numpy as np

from palaestra.envs.core.text.parser import NOOP
from palaestra.envs.core.types import ActionStatus

__all__ = ["NOOP", "ActionStatus", "ProgressOracle", "StepInfo", "TextWorld"]


class StepInfo(TypedDict, total=False):
    """Keys of `info` that all text worlds share; a world may add its own.

    Attributes:
        won: the goal is reached.
        score: progress in [0, 1], graded where the world knows degrees.
        admissible_commands: the actions a prompt lists.
        task, task_id, split: what to do; a name for it that is stable across runs; where it belongs.
        step: environment steps taken in this episode.
        anchor: the observation text alone, the key of step-level grouping.
        state_key: 16 hex digits of the full hidden state (the step count aside), a stricter key.
        action_status, action_valid, action_admissible: how the last action was read (after a step only).
        oracle_distance: steps to the goal, inf, or None if unknown; only on request and never in an observation.
    """

    won: bool
    score: float
    admissible_commands: list[str]
    task: str
    task_id: str
    split: str
    step: int
    anchor: str
    state_key: str
    action_status: str
    action_valid: bool
    action_admissible: bool
    oracle_distance: int | float | None


@runtime_checkable
class ProgressOracle(Protocol):
    """A world that knows its true distance to the goal: the verifier of learned progress, the teacher of experts."""

    def distance(self) -> int | float | None:
        """Environment steps to the goal from here; inf if it is out of reach; None if that took too long to find."""
        ...

    def plan(self, rng: np.random.Generator | None = None) -> list[Any] | None:
        """Actions that reach the goal, to be given to `step` one by one; None if there are none or none was found.

        With `rng`, one of several equally short plans is drawn where the world can; without it the answer is fixed.
        """
        ...


@runtime_checkable
class TextWorld(ProgressOracle, Protocol):
    """A text environment whose episodes can be left and taken up again."""

    def snapshot(self) -> bytes:
        """The whole state, the random generator included, as JSON bytes."""
        ...

    def restore(self, snapshot: bytes) -> None:
        """Go on exactly where `snapshot` was taken, in any process."""
        ...
