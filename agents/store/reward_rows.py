"""Rewards as database rows and back: one row for the sum (or why there is none), one per component."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from palaestra.agents.store.rows import Row, pack_text, unpack_text
from palaestra.mcp_servers.errors import StoreError
from palaestra.rewards.compose import Component, Invalid, InvalidReason, Reward, RewardBreakdown

_SUM = -1  # position of the row that stands for the whole


def encode_reward(reward: Reward, rollout_id: str) -> list[Row]:
    """The rows of one reward, the whole first; they lack only the number of their rollout.

    Raises: StoreError "bad_reward" for a valid reward whose total is not finite.
    """
    whole = {"position": _SUM, "name": "total", "weight": None, "raw_S": b""}
    if isinstance(reward, Invalid):
        whole |= {"value": None, "value_S": b"", "invalid": reward.reason.value, "evidence": pack_text(reward.detail)}
    elif math.isfinite(reward.total):
        whole |= {"value": float(reward.total), "value_S": _pack(reward.steps_S), "invalid": None, "evidence": ""}
    else:
        fix = "make it Invalid, with a reason"
        raise StoreError("bad_reward", f"the reward of rollout {rollout_id!r} is {reward.total!r}; {fix}")
    return [whole, *(_encode_component(component, n) for n, component in enumerate(reward.components))]


def decode_reward(rows: Sequence[Row]) -> Reward | None:
    """The inverse of `encode_reward`, rows by position; None without rows: the rollout was not scored."""
    if not rows:
        return None
    whole, *others = rows
    components = tuple(
        Component(
            row["name"], row["weight"], _unpack(row["raw_S"]), _unpack(row["value_S"]), unpack_text(row["evidence"])
        )
        for row in others
    )
    if whole["invalid"] is not None:
        return Invalid(InvalidReason(whole["invalid"]), unpack_text(whole["evidence"]), components)
    return RewardBreakdown(components, _unpack(whole["value_S"]), whole["value"])


def _encode_component(component: Component, position: int) -> Row:
    total = sum(component.value_S)
    return {
        "position": position,
        "name": component.name,
        "weight": float(component.weight),
        "value": total if math.isfinite(total) else None,
        "raw_S": _pack(component.raw_S),
        "value_S": _pack(component.value_S),
        "invalid": None,
        "evidence": pack_text(component.evidence),
    }


def _pack(values_S: Sequence[float]) -> bytes:
    return np.array(values_S, dtype="<f8").tobytes()


def _unpack(blob: bytes) -> tuple[float, ...]:
    return tuple(np.frombuffer(blob, dtype="<f8").tolist())
