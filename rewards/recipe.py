"""A reward as a setting: which components, with which weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Self

from pydantic import Field, model_validator

from palaestra.envs.core.config import Settings
from palaestra.envs.core.types import Trajectory
from palaestra.mcp_servers.errors import nearest
from palaestra.rewards import format as answer_format
from palaestra.rewards import outcome, potential
from palaestra.rewards.compose import Reward, RewardFunction, Scorer, compose

COMPONENTS = ("success", "graded", "native", "step", "malformed", "invalid", "progress", "dead_end")


class RewardRecipe(Settings):
    """Named components and their weights; the reward is their weighted sum.

    Attributes:
        components: weight per component: `success` (1 if won) and `graded` (score in [0, 1]), both at the last step;
            `native` (the environment's own reward), `step` (1 each), `malformed` and `invalid` (1 per such step),
            `progress` (distance gained, in steps), `dead_end` (1 at the step that loses the goal for good; with it,
            `progress` leaves dead ends out).
        distance_cap: the distance that counts as out of reach, in steps.
        bounds: a step's reward or a total outside of it is an error of the scorer, not a reward.

    >>> RewardRecipe(components={"success": 1.0, "step": -0.02}).components["step"]
    -0.02
    """

    components: Mapping[str, float] = Field(default_factory=lambda: {"success": 1.0})
    distance_cap: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    bounds: tuple[float, float] = (-1000.0, 1000.0)

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
        }

        def reward(trajectory: Trajectory) -> Reward:
            return compose(trajectory, scorers, self.components, bounds=self.bounds)

        return reward
