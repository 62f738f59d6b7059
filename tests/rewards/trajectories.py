"""Hand-made trajectories for the reward tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from palaestra.envs.core.types import Action, ActionStatus, ParseFailure, Step, StopReason, Task, Trajectory

TASK = Task("palaestra/Sokoban-v0", 7)
DEAD = float("inf")


def distance_info(distance: float | None) -> dict[str, Any]:
    """The stored form of an oracle distance."""
    if distance is None:
        return {}
    return {"oracle_distance": None, "deadlock": True} if distance == DEAD else {"oracle_distance": distance}


def trajectory(
    statuses: Sequence[ActionStatus] = (ActionStatus.OK,) * 3,
    *,
    won: bool = False,
    score: float = 0.0,
    stop: StopReason = StopReason.TRUNCATED,
    distances: Sequence[float | None] = (),
    native: Sequence[float] = (),
) -> Trajectory:
    """An episode with these step statuses; `distances` has one entry more than there are steps."""
    last = len(statuses) - 1
    distances = distances or (None,) * (len(statuses) + 1)
    steps = []
    for t, status in enumerate(statuses):
        readable = status in (ActionStatus.OK, ActionStatus.INADMISSIBLE, ActionStatus.NOT_IN_LANGUAGE)
        failure = None if readable else ParseFailure(status, "as named")
        reward = native[t] if native else -0.1
        terminated = t == last and stop is StopReason.TERMINATED
        truncated = t == last and stop is StopReason.TRUNCATED
        info = distance_info(distances[t + 1])
        steps.append(Step("o", "r", Action("up", status, failure=failure), reward, terminated, truncated, info))
    return Trajectory(TASK, tuple(steps), stop, "o", won, score, distance_info(distances[0]))


def trajectories() -> st.SearchStrategy[Trajectory]:
    """Random episodes with distances, every status and every stop reason that is no error."""

    def build(statuses: list[ActionStatus], won: bool, stop: StopReason, data: list[float]) -> Trajectory:
        distances = data[: len(statuses) + 1]
        native = [d / 7 - 1 for d in distances if d != DEAD] + [0.0] * len(statuses)
        return trajectory(statuses, won=won, score=float(won), stop=stop, distances=distances, native=native)

    return st.builds(
        build,
        st.lists(st.sampled_from(list(ActionStatus)), min_size=1, max_size=8),
        st.booleans(),
        st.sampled_from([reason for reason in StopReason if not reason.is_error]),
        st.lists(st.sampled_from([0.0, 1.0, 2.0, 5.0, 40.0, DEAD]), min_size=9, max_size=9),
    )
