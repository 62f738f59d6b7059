"""A reward as a setting: which components, with which weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from palaestra.envs.core.config import Settings
from palaestra.envs.core.types import Trajectory
from palaestra.mcp_servers.errors import nearest
from palaestra.rewards import format as answer_format
from palaestra.rewards import outcome, potential
from palaestra.rewards.compose import Reward, RewardFunction, Scorer, compose
from palaestra.rewards.prove import COMPONENTS as TOOL_COMPONENTS
from palaestra.rewards.prove import PALAESTRA, ProveSettings, preset
from palaestra.rewards.prove import scorers as tool_scorers

GAME_COMPONENTS = ("success", "graded", "native", "step", "malformed", "invalid", "progress", "dead_end")
COMPONENTS = GAME_COMPONENTS + TOOL_COMPONENTS


class RewardRecipe(Settings):
    """Named components and their weights; the reward is their weighted sum.

    Attributes:
        components: weight per component: `success` (1 if won) and `graded` (score in [0, 1]), both at the last step;
            `native` (the environment's own reward), `step` (1 each), `malformed` and `invalid` (1 per such step),
            `progress` (distance gained, in steps), `dead_end` (1 at the step that loses the goal for good; with it,
            `progress` leaves dead ends out); for tool use `validity`, `coverage`, `efficiency`, `name`, `argument`,
            `state`, `repeat` and `abstention`, all at the last step (rewards/prove.py).
        prove: how tool use is judged: "palaestra" (also if left out), "paper", or a table of settings, with `preset`
            or without. If given, its weights are taken too, and `components` change or add to them.
        distance_cap: the distance that counts as out of reach, in steps.
        bounds: a step's reward or a total outside of it is an error of the scorer, not a reward.

    >>> RewardRecipe(components={"success": 1.0, "step": -0.02}).components["step"]
    -0.02
    >>> RewardRecipe(prove="palaestra", components={"repeat": 0.1}).components["state"]
    1.0
    """

    components: Mapping[str, float] = Field(default_factory=lambda: {"success": 1.0})
    prove: ProveSettings | None = None
    distance_cap: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    bounds: tuple[float, float] = (-1000.0, 1000.0)

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or data.get("prove") is None:
            return data
        settings = _prove_settings(data["prove"])
        components = data.get("components", {})
        merged = {**settings.weights, **components} if isinstance(components, Mapping) else components
        return {**data, "prove": settings, "components": merged}

    @model_validator(mode="after")
    def _known_and_finite(self) -> Self:
        if not self.components:
            raise ValueError(f"components is empty; name at least one of {', '.join(COMPONENTS)}")
        for name, weight in self.components.items():
            if name not in COMPONENTS:
                raise ValueError(f"unknown component {name!r}; {nearest(name, COMPONENTS)}")
            if not math.isfinite(weight):
                raise ValueError(f"components.{name} = {weight}; weights must be finite")
        if not self.bounds[0] < self.bounds[1]:
            raise ValueError(f"bounds = {self.bounds}; the first must be below the second")
        return self

    def build(self) -> RewardFunction:
        """The pure function this recipe describes."""
        scorers: dict[str, Scorer] = {
            "success": outcome.success,
            "graded": outcome.graded,
            "native": outcome.native,
            "step": outcome.step,
            "malformed": answer_format.malformed,
            "invalid": answer_format.invalid,
            "progress": potential.progress(self.distance_cap, dead_ends="dead_end" not in self.components),
            "dead_end": potential.dead_end,
            **tool_scorers(self.prove or PALAESTRA),
        }

        def reward(trajectory: Trajectory) -> Reward:
            return compose(trajectory, scorers, self.components, bounds=self.bounds)

        return reward


def _prove_settings(given: Any) -> ProveSettings:
    if isinstance(given, ProveSettings):
        return given
    if isinstance(given, str):
        return preset(given)
    if isinstance(given, Mapping) and "preset" in given:
        return preset(str(given["preset"]), **{name: value for name, value in given.items() if name != "preset"})
    return ProveSettings.model_validate(given)
