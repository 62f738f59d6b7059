"""Correction for a sampler that is not quite the trainer's model: weights and rejections, once per rollout batch.

    x = old_logprob - behaviour_logprob (clamped to +-20),   w = exp(x), exp(sum_t x) or exp(mean_t x) per row

The form of `rollout_is_threshold` decides what happens to w: a number C truncates it, min(w, C) (TIS); "lo_hi" keeps
it inside [lo, hi] and gives 0 outside (MIS, IcePop). Source: verl 0.10 `rollout_correction`; TIS after Yao et al.
2025; IcePop arXiv 2510.18855. No gradient flows through any of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from palaestra.mcp_servers.errors import ConfigError, nearest
from palaestra.trainers.objectives.config import ObjectiveConfig, RolloutCorrectionConfig
from palaestra.trainers.objectives.registry import mismatches
from palaestra.trainers.objectives.surrogate import log_ratio

_LEVELS = ("token", "seq_sum", "seq_mean", "seq_max")


@mismatches.register("token")
def token(
    old_logprobs_BT: Tensor, behaviour_logprobs_BT: Tensor, mask_BT: Tensor, config: ObjectiveConfig
) -> tuple[Tensor, dict[str, float]]:
    """One weight per token, exp(x)."""
    return _bounded(log_ratio(old_logprobs_BT, behaviour_logprobs_BT, mask_BT), mask_BT, config)


@mismatches.register("sequence")
def sequence(
    old_logprobs_BT: Tensor, behaviour_logprobs_BT: Tensor, mask_BT: Tensor, config: ObjectiveConfig
) -> tuple[Tensor, dict[str, float]]:
    """One weight per row, exp(sum of x); the sum is clamped to +-20 too."""
    sums_B1 = log_ratio(old_logprobs_BT, behaviour_logprobs_BT, mask_BT).sum(1, keepdim=True).clamp(-20.0, 20.0)
    return _bounded(sums_B1.expand_as(mask_BT), mask_BT, config)


@mismatches.register("geometric")
def geometric(
    old_logprobs_BT: Tensor, behaviour_logprobs_BT: Tensor, mask_BT: Tensor, config: ObjectiveConfig
) -> tuple[Tensor, dict[str, float]]:
    """One weight per row, exp(mean of x)."""
    x_BT = log_ratio(old_logprobs_BT, behaviour_logprobs_BT, mask_BT)
    means_B1 = x_BT.sum(1, keepdim=True) / mask_BT.sum(1, keepdim=True).clamp(min=1)
    return _bounded(means_B1.expand_as(mask_BT), mask_BT, config)


def correction(
    old_logprobs_BT: Tensor, behaviour_logprobs_BT: Tensor, mask_BT: Tensor, config: ObjectiveConfig
) -> tuple[Tensor, dict[str, float]]:
    """Weight (or 1) times keep mask of everything `config.rollout_correction` asks for; 1 outside the mask.

    Raises: ConfigError "rollout_correction" on an unknown rejection or a malformed threshold.
    """
    settings = _settings(config)
    weights_BT = torch.ones_like(old_logprobs_BT)
    metrics: dict[str, float] = {}
    if settings.rollout_is is not None:
        function = mismatches.get(settings.rollout_is)
        weights_BT, metrics = function(old_logprobs_BT, behaviour_logprobs_BT, mask_BT, config)
    if len(settings.rollout_rs) != len(settings.rollout_rs_threshold):
        raise ConfigError(
            "rollout_correction",
            f"rollout_rs has {len(settings.rollout_rs)} entries, rollout_rs_threshold "
            f"{len(settings.rollout_rs_threshold)}; give one threshold each",
        )
    x_BT = log_ratio(old_logprobs_BT, behaviour_logprobs_BT, mask_BT)
    for name, threshold in zip(settings.rollout_rs, settings.rollout_rs_threshold, strict=True):
        keep_BT = accepted(x_BT, mask_BT, name, threshold)
        metrics[f"mismatch/rejected_{name}"] = float((~keep_BT & mask_BT).sum() / mask_BT.sum().clamp(min=1))
        weights_BT = torch.where(keep_BT, weights_BT, 0.0)
    return torch.where(mask_BT, weights_BT, 1.0).detach(), metrics


def accepted(x_BT: Tensor, mask_BT: Tensor, name: str, threshold: float | str) -> Tensor:
    """True for tokens that pass one rejection rule, e.g. "seq_mean_k3": the row's mean of k3 is within bounds.

    With x = old - behaviour: k1 = -x (bounded on both sides), k2 = x^2 / 2, k3 = exp(x) - 1 - x (bounded above).
    """
    level, _, estimator = name.rpartition("_")
    if level not in _LEVELS or estimator not in ("k1", "k2", "k3"):
        known = [f"{level}_{k}" for level in _LEVELS for k in ("k1", "k2", "k3")]
        raise ConfigError("rollout_correction", f"unknown rollout_rs {name!r}; {nearest(name, known)}")
    value_BT = {"k1": -x_BT, "k2": x_BT.square() / 2, "k3": x_BT.exp() - 1 - x_BT}[estimator]
    if level == "seq_max":
        value_BT = value_BT.masked_fill(~mask_BT, -torch.inf).amax(1, keepdim=True).expand_as(x_BT)
    elif level != "token":
        value_BT = value_BT.masked_fill(~mask_BT, 0.0).sum(1, keepdim=True).expand_as(x_BT)
        if level == "seq_mean":
            value_BT = value_BT / mask_BT.sum(1, keepdim=True).clamp(min=1)
    low, high = bounds(threshold)
    if estimator != "k1":
        low = -torch.inf
    return (value_BT >= low) & (value_BT <= high) | ~mask_BT


def bounds(threshold: float | str) -> tuple[float, float]:
    """Read "lo_hi", or an upper bound alone (the lower one is then -infinity).

    >>> bounds("0.5_5.0"), bounds(2.0)
    ((0.5, 5.0), (-inf, 2.0))
    """
    try:
        parts = [float(part) for part in str(threshold).split("_")]
    except ValueError:
        parts = []
    if len(parts) == 1:
        return -torch.inf, parts[0]
    if len(parts) != 2 or parts[0] > parts[1]:
        raise ConfigError("rollout_correction", f"threshold {threshold!r}; use a number or 'lo_hi' such as '0.5_5.0'")
    return parts[0], parts[1]


def _bounded(log_weights_BT: Tensor, mask_BT: Tensor, config: ObjectiveConfig) -> tuple[Tensor, dict[str, float]]:
    """Weights after truncation or masking, 1 outside the mask, mean 1 over the mask if asked for."""
    settings = _settings(config)
    low, high = bounds(settings.rollout_is_threshold)
    raw_BT = log_weights_BT.detach().exp()
    if low == -torch.inf:
        weights_BT = raw_BT.clamp(max=high)
    else:
        weights_BT = torch.where((raw_BT >= low) & (raw_BT <= high), raw_BT, 0.0)
    count = mask_BT.sum().clamp(min=1)
    if settings.rollout_is_batch_normalize:
        mean = weights_BT.masked_fill(~mask_BT, 0.0).sum() / count
        weights_BT = weights_BT / mean.clamp(min=torch.finfo(weights_BT.dtype).tiny)
    outside_BT = (raw_BT < low) | (raw_BT > high)
    metrics = {
        "mismatch/weight_mean": float(weights_BT.masked_fill(~mask_BT, 0.0).sum() / count),
        "mismatch/bounded_frac": float((outside_BT & mask_BT).sum() / count),
    }
    return torch.where(mask_BT, weights_BT, 1.0).detach(), metrics


def _settings(config: ObjectiveConfig) -> RolloutCorrectionConfig:
    return config.rollout_correction or RolloutCorrectionConfig()
