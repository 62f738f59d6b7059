"""Rewards as typed values: named components that add up, or an explicit reason why there is no reward.

A scorer that crashed, lost its server or returned nonsense never becomes 0.0: it becomes `Invalid`, and what did
compute is kept beside the reason. `compose` is the one place where rewards are made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from palaestra.envs.core.types import Trajectory
from palaestra.mcp_servers.errors import ConfigError, PalaestraError, RolloutError, ToolError, boundary, nearest


class InvalidReason(StrEnum):
    """Why a trajectory has no reward."""

    SCORER_ERROR = "scorer_error"
    TIMEOUT = "timeout"
    NON_FINITE = "non_finite"
    OUT_OF_BOUNDS = "out_of_bounds"
    WRONG_LENGTH = "wrong_length"
    EPISODE_INCOMPLETE = "episode_incomplete"
    TOOL_SERVER_LOST = "tool_server_lost"
    NOT_APPLICABLE = "not_applicable"


@dataclass(frozen=True, slots=True)
class Score:
    """What a scorer found: one raw number per step, and the evidence in words."""

    raw_S: tuple[float, ...]
    evidence: str = ""


Scorer = Callable[[Trajectory], Score]
"""A pure function of a trajectory. To refuse, raise `RolloutError(reason, detail)` with one of `InvalidReason`'s values
as code; a `TimeoutError`, a `ToolError` or any other exception is classified for you."""


@dataclass(frozen=True, slots=True)
class Component:
    """One named term of a reward: value_S = weight * raw_S, one number per step."""

    name: str
    weight: float
    raw_S: tuple[float, ...]
    value_S: tuple[float, ...]
    evidence: str = ""

    @property
    def total(self) -> float:
        """Sum over the steps."""
        return math.fsum(self.value_S)


@dataclass(frozen=True, slots=True)
class RewardBreakdown:
    """A valid reward: `steps_S[t]` is the sum of the components' values at step t, `total` the sum over steps."""

    components: tuple[Component, ...]
    steps_S: tuple[float, ...]
    total: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data with `valid` True."""
        return {"valid": True, **asdict(self)}


@dataclass(frozen=True, slots=True)
class Invalid:
    """No reward, and why; `components` holds the terms that did compute."""

    reason: InvalidReason
    detail: str
    components: tuple[Component, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data with `valid` False."""
        return {"valid": False, **asdict(self)}


Reward = RewardBreakdown | Invalid
RewardFunction = Callable[[Trajectory], Reward]


def compose(
    trajectory: Trajectory,
    scorers: Mapping[str, Scorer],
    weights: Mapping[str, float],
    *,
    bounds: tuple[float, float] = (-1000.0, 1000.0),
) -> Reward:
    """The weighted sum of the scorers named by `weights`, checked.

    steps_S[t] = sum over components of weight * raw_S[t];  total = sum over t

    Every scorer runs, in the order of `weights`, also after one failed. The first that applies makes the reward
    invalid: the episode ended by an error (EPISODE_INCOMPLETE); a scorer failed; it returned another number of values
    than there are steps (WRONG_LENGTH, never broadcast), or one that is not finite (NON_FINITE); a step's sum or the
    total leaves `bounds` (OUT_OF_BOUNDS).

    Raises:
        ConfigError "unknown_component": `weights` names a scorer that is not in `scorers`.
    """
    components: list[Component] = []
    problems: list[tuple[InvalidReason, str]] = []
    if trajectory.stop_reason.is_error:
        problems.append(
            (InvalidReason.EPISODE_INCOMPLETE, f"the episode stopped with {trajectory.stop_reason.value!r}")
        )
    for name, weight in weights.items():
        if name not in scorers:
            raise ConfigError("unknown_component", f"unknown reward component {name!r}; {nearest(name, scorers)}")
        outcome = _score(trajectory, name, weight, scorers[name])
        if isinstance(outcome, Component):
            components.append(outcome)
        else:
            problems.append(outcome)
    computed = tuple(components)
    steps_S = tuple(_sum(values_S) for values_S in zip(*(component.value_S for component in computed), strict=True))
    total = _sum(steps_S)
    if not problems:
        problems = _out_of_bounds(steps_S, total, bounds)
    if problems:
        reason, detail = problems[0]
        return Invalid(reason, detail, computed)
    return RewardBreakdown(computed, steps_S or (0.0,) * len(trajectory.steps), total)


def _score(trajectory: Trajectory, name: str, weight: float, scorer: Scorer) -> Component | tuple[InvalidReason, str]:
    try:
        with boundary("scorer_error", RolloutError):
            score = scorer(trajectory)
            raw_S = tuple(float(value) for value in score.raw_S)
    except PalaestraError as error:
        return _classify(error), f"{name}: {error.message}"
    if len(raw_S) != len(trajectory.steps):
        return InvalidReason.WRONG_LENGTH, f"{name}: {len(raw_S)} values for {len(trajectory.steps)} steps"
    value_S = tuple(weight * raw for raw in raw_S)
    for t, value in enumerate(value_S):
        if not math.isfinite(value):
            return InvalidReason.NON_FINITE, f"{name}: {weight} * {raw_S[t]} at step {t}"
    return Component(name, weight, raw_S, value_S, score.evidence)


def _classify(error: PalaestraError) -> InvalidReason:
    if isinstance(error, ToolError):
        return InvalidReason.TOOL_SERVER_LOST
    if isinstance(error.__cause__, TimeoutError):
        return InvalidReason.TIMEOUT
    known = {reason.value: reason for reason in InvalidReason}
    return known.get(error.code, InvalidReason.SCORER_ERROR)


def _sum(values: tuple[float, ...]) -> float:
    try:
        return math.fsum(values)
    except OverflowError:  # finite terms whose exact sum is beyond a float
        return math.inf


def _out_of_bounds(
    steps_S: tuple[float, ...], total: float, bounds: tuple[float, float]
) -> list[tuple[InvalidReason, str]]:
    low, high = bounds
    named = [*((f"the reward of step {t}", value) for t, value in enumerate(steps_S)), ("the total", total)]
    return [
        (InvalidReason.OUT_OF_BOUNDS, f"{what} is {value:g}, outside [{low:g}, {high:g}]")
        for what, value in named
        if not low <= value <= high
    ]


def reward_from_dict(data: Mapping[str, Any]) -> Reward:
    """The inverse of `to_dict`, of either kind.

    Raises:
        ConfigError "reward": the data is not what `to_dict` wrote.
    """
    with boundary("reward", ConfigError):
        components = tuple(
            Component(**{**item, "raw_S": tuple(item["raw_S"]), "value_S": tuple(item["value_S"])})
            for item in data["components"]
        )
        if data["valid"]:
            return RewardBreakdown(components, tuple(data["steps_S"]), data["total"])
        return Invalid(InvalidReason(data["reason"]), data["detail"], components)
