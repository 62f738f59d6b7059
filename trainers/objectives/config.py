"""Settings of the objective: frozen, unknown keys refused, verl and TRL names accepted as aliases with a note.

Source of names and defaults: verl 0.10 and TRL 1.16. Differs: one key per idea (the other libraries' second names
are aliases); a key given under two names with different values is an error.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from palaestra.mcp_servers.errors import ConfigError, nearest
from palaestra.trainers.objectives.aliases import resolve_aliases

logger = logging.getLogger(__name__)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        resolved, notes = resolve_aliases(cls.__name__, data)
        for note in notes:
            logger.info(note)
        for key in resolved:
            if key not in cls.model_fields:
                raise ConfigError("unknown_key", f"unknown key {key!r}; {nearest(key, cls.model_fields)}")
        return resolved

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """Build from plain data. Raises: ConfigError naming the key, the value and the fix."""
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, e['loc'])) or cls.__name__}: {e['msg']} (got {e['input']!r})"
                for e in error.errors()
            )
            raise ConfigError("bad_objective", problems) from error


class GigpoConfig(_Section):
    """Group-in-group advantages (arXiv 2505.10978)."""

    step_advantage_w: float = Field(default=1.0, ge=0)
    mode: Literal["mean_norm", "mean_std_norm"] = "mean_norm"
    episode_stats: Literal["trajectories", "steps"] = "trajectories"
    enable_similarity: bool = False
    similarity_thresh: float = Field(default=0.95, gt=0, le=1)


class FilterGroupsConfig(_Section):
    """Which groups are dropped for want of a signal, and how often the loop may collect anew."""

    enable: bool = True
    metric: str = "traj_return"
    max_num_gen_batches: int = Field(default=1, ge=1)


class OverlongConfig(_Section):
    """DAPO's soft penalty on the last `len` tokens before the horizon (arXiv 2503.14476)."""

    enable: bool = False
    len: int = Field(default=0, ge=0)
    penalty_factor: float = Field(default=1.0, ge=0)


class RolloutCorrectionConfig(_Section):
    """Correction for a sampler whose probabilities differ from the trainer's.

    `rollout_is_threshold`: a number C truncates the weight at C; "lo_hi" (e.g. "0.5_5.0") sets it to 0 outside.
    `rollout_rs` rejects tokens or rows: {token, seq_sum, seq_mean, seq_max}_{k1, k2, k3}, each with an entry of
    `rollout_rs_threshold` ("lo_hi" for k1, an upper bound for k2 and k3).
    """

    rollout_is: str | None = "token"
    rollout_is_threshold: float | str = 2.0
    rollout_is_batch_normalize: bool = False
    rollout_rs: tuple[str, ...] = ()
    rollout_rs_threshold: tuple[float | str, ...] = ()


class ObjectiveConfig(_Section):
    """Everything between rewards and the scalar loss; the defaults are GRPO with DAPO's aggregation.

    Names with a registry behind them (`adv_estimator`, `loss_mode`, `loss_agg_mode`, `kl_estimator`, `rollout_is`,
    `weights`) also take "package.module:function". `horizon` is the longest response in tokens: Dr.GRPO's divisor and
    the limit the overlong penalty looks at. `epsilon_high=None` means `epsilon`; `dual_clip_c=None` and
    `ratio_cap=None` mean off; `rollout_correction=None` is right for a sampler that is the trainer's own model.
    """

    adv_estimator: str = "grpo"
    scale_rewards: Literal["group", "batch", "none"] = "group"
    eps: float = Field(default=1e-6, gt=0)
    singleton_group: Literal["raw", "zero"] = "raw"
    gamma: float = Field(default=1.0, ge=0, le=1)
    step_norm: Literal["group", "group_step", "batch"] = "group"
    gigpo: GigpoConfig = GigpoConfig()
    num_generations: int = Field(default=8, ge=1)
    max_invalid_fraction: float = Field(default=0.2, ge=0, le=1)
    loss_mode: str = "vanilla"
    epsilon: float = Field(default=0.2, ge=0)
    epsilon_high: float | None = Field(default=None, ge=0)
    dual_clip_c: float | None = Field(default=3.0, gt=1)
    ratio_cap: float | None = Field(default=None, gt=0)
    sapo_tau_pos: float = Field(default=1.0, gt=0)
    sapo_tau_neg: float = Field(default=1.05, gt=0)
    loss_agg_mode: str = "token-mean"
    horizon: int | None = Field(default=None, ge=1)
    reflect_coef: float = Field(default=0.5, ge=0)
    beta: float = Field(default=0.0, ge=0)
    kl_estimator: str = "k3"
    use_bias_correction_kl: bool = True
    use_kl_in_reward: bool = False
    entropy_coef: float = Field(default=0.0, ge=0)
    use_adaptive_entropy: bool = False
    entropy_coef_min: float = Field(default=0.0, ge=0)
    entropy_coef_max: float = Field(default=1.0, ge=0)
    entropy_coef_delta: float = Field(default=0.005, ge=0)
    entropy_target: float = Field(default=0.2, ge=0)
    top_entropy_quantile: float = Field(default=1.0, gt=0, le=1)
    filter_groups: FilterGroupsConfig = FilterGroupsConfig()
    overlong: OverlongConfig = OverlongConfig()
    mask_truncated_completions: bool = False
    rollout_correction: RolloutCorrectionConfig | None = None
    weights: tuple[str, ...] = ()
    weight_kinds: tuple[Literal["trajectory", "step", "reflect"], ...] = ("trajectory", "step")

    @property
    def clip_low(self) -> float:
        """Lower bound of the importance ratio."""
        return 1.0 - self.epsilon

    @property
    def clip_high(self) -> float:
        """Upper bound of the importance ratio."""
        return 1.0 + (self.epsilon if self.epsilon_high is None else self.epsilon_high)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.horizon is None and (self.loss_agg_mode == "seq-mean-token-sum-norm" or self.overlong.enable):
            raise ConfigError("horizon", "horizon=None; loss_agg_mode 'seq-mean-token-sum-norm' and overlong need it")
        if self.overlong.enable and not 0 < self.overlong.len <= (self.horizon or 0):
            raise ConfigError("overlong", f"overlong.len={self.overlong.len}; use 1..horizon={self.horizon}")
        if self.entropy_coef_min > self.entropy_coef_max:
            raise ConfigError(
                "entropy_coef", f"entropy_coef_min={self.entropy_coef_min} > entropy_coef_max={self.entropy_coef_max}"
            )
        return self
