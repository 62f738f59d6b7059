"""What the world itself says about an episode: won or not, its graded score, its own rewards, its length."""

from __future__ import annotations

from palaestra.envs.core.types import StopReason, Trajectory
from palaestra.rewards.compose import Score


def success(trajectory: Trajectory) -> Score:
    """1 at the last step of an episode the environment calls won, 0 elsewhere; the agent's words play no part."""
    return _at_end(trajectory, float(trajectory.won), "won" if trajectory.won else "not won")


def graded(trajectory: Trajectory) -> Score:
    """The environment's score in [0, 1] at the last step, 0 elsewhere."""
    return _at_end(trajectory, trajectory.score, f"score {trajectory.score:g}")


def native(trajectory: Trajectory) -> Score:
    """The environment's own reward of each step."""
    return Score(tuple(step.reward for step in trajectory.steps), f"return {trajectory.native_return:g}")


def step(trajectory: Trajectory) -> Score:
    """1 for every step; a negative weight makes it a cost of time."""
    return Score((1.0,) * len(trajectory.steps), f"{len(trajectory.steps)} steps")


def _at_end(trajectory: Trajectory, value: float, evidence: str) -> Score:
    """`value` at the last step if the episode has ended; an episode still under way has no outcome yet."""
    steps = trajectory.steps
    if not steps:
        return Score((), evidence)
    ended = steps[-1].terminated or steps[-1].truncated or trajectory.stop_reason is StopReason.CONTEXT_LIMIT
    return Score((*(0.0,) * (len(steps) - 1), value if ended else 0.0), evidence if ended else "not ended")
