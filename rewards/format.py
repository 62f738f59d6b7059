"""Whether responses could be read, and whether their actions were allowed."""

from __future__ import annotations

from palaestra.envs.core.types import ActionStatus, Trajectory
from palaestra.rewards.compose import Score


def malformed(trajectory: Trajectory) -> Score:
    """1 at every step whose response the parser found fault with; a negative weight makes it a penalty."""
    return _marks(trajectory, tuple(step.action.failure is not None for step in trajectory.steps))


def invalid(trajectory: Trajectory) -> Score:
    """1 at every step whose action was not plainly valid: malformed, or not among the admissible ones."""
    return _marks(trajectory, tuple(step.action.status is not ActionStatus.OK for step in trajectory.steps))


def _marks(trajectory: Trajectory, marked_S: tuple[bool, ...]) -> Score:
    found = [f"{t}: {trajectory.steps[t].action.status.value}" for t, marked in enumerate(marked_S) if marked]
    return Score(tuple(float(marked) for marked in marked_S), ", ".join(found) or "none")
