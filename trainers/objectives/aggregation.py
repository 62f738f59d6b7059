"""From per-token losses to one number; divisors are those of the whole optimiser step, so micro-batches add up.

Every function takes (loss_BT, mask_BT, denominator, config); `denominator` counts tokens, rows and the horizon of
the optimiser step, not of the tensors at hand. A batch without tokens gives 0.
Source: modes and names of verl 0.10 (`loss_agg_mode`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from palaestra.trainers.batch import Denominator
from palaestra.trainers.objectives.config import ObjectiveConfig
from palaestra.trainers.objectives.registry import aggregations


@aggregations.register("token-mean")
def token_mean(loss_BT: Tensor, mask_BT: Tensor, denominator: Denominator, config: ObjectiveConfig) -> Tensor:
    """Every model token counts the same: sum / tokens. Source: DAPO, arXiv 2503.14476."""
    return _row_sums(loss_BT, mask_BT).sum() / max(denominator.tokens, 1)


@aggregations.register("token-sum")
def token_sum(loss_BT: Tensor, mask_BT: Tensor, denominator: Denominator, config: ObjectiveConfig) -> Tensor:
    """Plain sum; grows with the batch."""
    return _row_sums(loss_BT, mask_BT).sum()


@aggregations.register("seq-mean-token-mean")
def seq_mean_token_mean(loss_BT: Tensor, mask_BT: Tensor, denominator: Denominator, config: ObjectiveConfig) -> Tensor:
    """Every row counts the same: mean over rows of the row's token mean. Source: GRPO, arXiv 2402.03300."""
    means_B = _row_sums(loss_BT, mask_BT) / mask_BT.sum(1).clamp(min=1)
    return means_B.sum() / max(denominator.rows, 1)


@aggregations.register("seq-mean-token-sum")
def seq_mean_token_sum(loss_BT: Tensor, mask_BT: Tensor, denominator: Denominator, config: ObjectiveConfig) -> Tensor:
    """Mean over rows of the row's token sum."""
    return _row_sums(loss_BT, mask_BT).sum() / max(denominator.rows, 1)


@aggregations.register("seq-mean-token-sum-norm")
def seq_mean_token_sum_norm(
    loss_BT: Tensor, mask_BT: Tensor, denominator: Denominator, config: ObjectiveConfig
) -> Tensor:
    """Sum / (rows * horizon): a token's gradient does not depend on its row's length. Source: arXiv 2503.20783."""
    return _row_sums(loss_BT, mask_BT).sum() / (max(denominator.rows, 1) * denominator.horizon)


def _row_sums(loss_BT: Tensor, mask_BT: Tensor) -> Tensor:
    return torch.where(mask_BT, loss_BT, 0.0).sum(1)
