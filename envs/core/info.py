"""The part of Gymnasium's `info` that a trajectory keeps: plain values that JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from palaestra.envs.core.types import Action, ActionStatus

EPISODE_KEYS = frozenset({"task", "task_id", "split"})
"""Keys that cannot change within an episode; they are kept once, in `Trajectory.start`."""


def json_ready(info: Mapping[str, Any], *, start: bool = False) -> dict[str, Any]:
    """The scalars of `info`; lists, arrays and objects are left out, and a number that is not finite becomes None.

    An infinite `oracle_distance` (the goal cannot be reached any more) is None with `deadlock` True beside it.
    Episode keys are kept only for the start.

    >>> json_ready({"won": False, "oracle_distance": float("inf"), "admissible_commands": ["up"], "task": "t"})
    {'won': False, 'oracle_distance': None, 'deadlock': True}
    """
    kept: dict[str, Any] = {}
    for key, raw in info.items():
        value = raw.item() if isinstance(raw, np.generic) else raw
        if isinstance(value, float) and not math.isfinite(value):
            kept[key] = None
            if key == "oracle_distance":
                kept["deadlock"] = True
        elif (value is None or isinstance(value, (bool, int, float, str))) and (start or key not in EPISODE_KEYS):
            kept[key] = value
    return kept


def merge_status(action: Action, info: dict[str, Any]) -> ActionStatus:
    """The status of a turn: the parser's if it found fault with the response, else the environment's.

    Writes `action_status` and `action_valid` into `info`, so that the two never disagree.
    """
    status = ActionStatus(info.get("action_status", "ok")) if action.failure is None else action.status
    info["action_status"] = status.value
    info["action_valid"] = status is ActionStatus.OK
    return status
