"""Policy losses per token. In all of them ratio = exp(logprob - old_logprob), the log-ratio clamped to +-20.

Each takes (logprobs_BT, old_logprobs_BT, advantages_BT, mask_BT, config), tensors [B, T] in nats, and returns the
loss of each token (0 with zero gradient outside the mask) and per-token metrics. Every loss is linear in a positive
factor on the advantage, which is what lets token weights act on the advantage alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from palaestra.trainers.objectives.config import ObjectiveConfig
from palaestra.trainers.objectives.registry import policy_losses

_LOG_RATIO_LIMIT = 20.0
Metrics = dict[str, Tensor]


def log_ratio(logprobs_BT: Tensor, old_logprobs_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Clamped log importance ratio, exactly 0 outside the mask.

    The mask is applied before any exponential: a gradient of 0 * inf would be NaN, not 0.
    """
    difference_BT = torch.where(mask_BT, logprobs_BT - old_logprobs_BT, 0.0)
    return difference_BT.clamp(-_LOG_RATIO_LIMIT, _LOG_RATIO_LIMIT)


@policy_losses.register("vanilla")
def vanilla(
    logprobs_BT: Tensor, old_logprobs_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor, config: ObjectiveConfig
) -> tuple[Tensor, Metrics]:
    """Clipped surrogate with clip-higher, dual clip and an optional cap on the unclipped ratio.

    loss = -min(min(r, cap) A, clip(r, 1 - lo, 1 + hi) A);   where A < 0: min(loss, -c A)

    Source: arXiv 1707.06347 eq. 7; clip-higher 2503.14476; dual clip 1912.09729; cap 2505.07291.
    """
    ratio_BT = log_ratio(logprobs_BT, old_logprobs_BT, mask_BT).exp()
    capped_BT = ratio_BT if config.ratio_cap is None else ratio_BT.clamp(max=config.ratio_cap)
    return _clipped(ratio_BT, capped_BT, advantages_BT, mask_BT, config, config.dual_clip_c)


@policy_losses.register("gspo")
def gspo(
    logprobs_BT: Tensor, old_logprobs_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor, config: ObjectiveConfig
) -> tuple[Tensor, Metrics]:
    """Sequence-level ratio in token form, so that tokens of a row may carry different advantages.

    s_t = sg[exp(mean_t log r_t)] * pi_t / sg[pi_t];   loss = -min(s A, clip(s, 1 - lo, 1 + hi) A)

    Source: arXiv 2507.18071 eq. 5 and 13. Differs: log-ratio clamp +-20 (verl: 10); no dual clip, as in verl.
    """
    log_ratio_BT = log_ratio(logprobs_BT, old_logprobs_BT, mask_BT)
    row_B1 = log_ratio_BT.sum(1, keepdim=True) / mask_BT.sum(1, keepdim=True).clamp(min=1)
    own_BT = torch.where(mask_BT, logprobs_BT - logprobs_BT.detach(), 0.0)
    ratio_BT = (row_B1.detach() + own_BT).exp()
    return _clipped(ratio_BT, ratio_BT, advantages_BT, mask_BT, config, None)


@policy_losses.register("cispo")
def cispo(
    logprobs_BT: Tensor, old_logprobs_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor, config: ObjectiveConfig
) -> tuple[Tensor, Metrics]:
    """REINFORCE weighted by a clipped ratio that carries no gradient, so that no token drops out.

    loss = -sg[clip(r, 1 - lo, 1 + hi)] A logprob

    Source: arXiv 2506.13585 eq. 4. Differs: bounds relative to 1 as in verl (TRL's `epsilon_high` is absolute);
    epsilon=1 switches the lower bound off.
    """
    ratio_BT = log_ratio(logprobs_BT, old_logprobs_BT, mask_BT).exp().detach()
    bounded_BT = ratio_BT.clamp(config.clip_low, config.clip_high)
    logprobs_BT = torch.where(mask_BT, logprobs_BT, 0.0)
    loss_BT = -bounded_BT * advantages_BT * logprobs_BT
    return _masked(loss_BT, mask_BT), {"ratio": ratio_BT, "clip_frac": (ratio_BT != bounded_BT).to(ratio_BT.dtype)}


@policy_losses.register("sapo")
def sapo(
    logprobs_BT: Tensor, old_logprobs_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor, config: ObjectiveConfig
) -> tuple[Tensor, Metrics]:
    """Soft gate in place of the clip: loss = -A (4 / tau) sigmoid(tau (r - 1)), tau by the sign of A.

    Source: arXiv 2511.20347; defaults tau+ = 1.0, tau- = 1.05.
    """
    ratio_BT = log_ratio(logprobs_BT, old_logprobs_BT, mask_BT).exp()
    rising, falling = ratio_BT.new_tensor(config.sapo_tau_pos), ratio_BT.new_tensor(config.sapo_tau_neg)
    tau_BT = torch.where(advantages_BT > 0, rising, falling)
    gate_BT = torch.sigmoid(tau_BT * (ratio_BT - 1.0)) * 4.0 / tau_BT
    return _masked(-advantages_BT * gate_BT, mask_BT), {"ratio": ratio_BT.detach()}


@policy_losses.register("reinforce")
def reinforce(
    logprobs_BT: Tensor, old_logprobs_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor, config: ObjectiveConfig
) -> tuple[Tensor, Metrics]:
    """Plain policy gradient: loss = -A logprob. On-policy only: nothing corrects for old weights."""
    ratio_BT = log_ratio(logprobs_BT, old_logprobs_BT, mask_BT).exp().detach()
    return _masked(-advantages_BT * torch.where(mask_BT, logprobs_BT, 0.0), mask_BT), {"ratio": ratio_BT}


def _clipped(
    ratio_BT: Tensor,
    capped_BT: Tensor,
    advantages_BT: Tensor,
    mask_BT: Tensor,
    config: ObjectiveConfig,
    dual_clip_c: float | None,
) -> tuple[Tensor, Metrics]:
    free_BT = -advantages_BT * capped_BT
    bound_BT = -advantages_BT * ratio_BT.clamp(config.clip_low, config.clip_high)
    loss_BT = torch.maximum(free_BT, bound_BT)
    metrics = {"ratio": ratio_BT.detach(), "clip_frac": (bound_BT > free_BT).detach().to(ratio_BT.dtype)}
    if dual_clip_c is not None:
        ceiling_BT = -dual_clip_c * advantages_BT
        metrics["dual_clip_frac"] = ((advantages_BT < 0) & (loss_BT > ceiling_BT)).detach().to(ratio_BT.dtype)
        loss_BT = torch.where(advantages_BT < 0, torch.minimum(loss_BT, ceiling_BT), loss_BT)
    return _masked(loss_BT, mask_BT), metrics


def _masked(loss_BT: Tensor, mask_BT: Tensor) -> Tensor:
    return torch.where(mask_BT, loss_BT, 0.0)
