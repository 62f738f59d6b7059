"""Progress towards the goal, from the environment's own distance: potential-based shaping."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from palaestra.envs.core.types import Trajectory
from palaestra.mcp_servers.errors import RolloutError
from palaestra.rewards.compose import Score, Scorer


def progress(distance_cap: float = 30.0, *, dead_ends: bool = True) -> Scorer:
    """A scorer of the distance each step gained.

    raw[t] = d_t - d_{t+1},  d = min(oracle distance, distance_cap),  d = distance_cap where the goal is out of reach

    d_0 is the distance at reset (`Trajectory.start`), d_{t+1} that after step t (`Step.info`), both in steps. The sum
    over an episode is d_0 - d_end, whatever the path: wandering earns nothing, and running into a dead end costs what
    was left of the cap. With `dead_ends=False` a dead end gains and costs nothing here (the distance before it is
    carried on), for those who weigh it by itself (`dead_end`).

    Refuses with NOT_APPLICABLE if the environment does not report `oracle_distance` (make it with `oracle_info=True`).
    Cost: linear in the steps.
    Source: Ng, Harada and Russell, ICML 1999, with potential -d.  Differs: discount 1; the distance is capped.
    """

    def score(trajectory: Trajectory) -> Score:
        infos = [trajectory.start, *(step.info for step in trajectory.steps)]
        distances = [_distance(infos[0], distance_cap)]
        for info in infos[1:]:
            carried = not dead_ends and info.get("deadlock")
            distances.append(distances[-1] if carried else _distance(info, distance_cap))
        gains_S = tuple(before - after for before, after in pairwise(distances))
        return Score(gains_S, f"distance {distances[0]:g} to {distances[-1]:g}")

    return score


def dead_end(trajectory: Trajectory) -> Score:
    """1 at the step after which the goal is out of reach for good, 0 elsewhere; needs `oracle_info` as `progress`."""
    infos = [trajectory.start, *(step.info for step in trajectory.steps)]
    for info in infos:
        _distance(info, 0.0)
    lost = [bool(info.get("deadlock")) for info in infos]
    entered_S = tuple(float(after and not before) for before, after in pairwise(lost))
    return Score(entered_S, f"at step {entered_S.index(1.0)}" if any(entered_S) else "none")


def _distance(info: Mapping[str, Any], cap: float) -> float:
    if info.get("deadlock"):
        return cap
    distance = info.get("oracle_distance")
    if distance is None:
        raise RolloutError(
            "not_applicable", "the trajectory has no oracle_distance; make its environment with oracle_info"
        )
    return min(float(distance), cap)
