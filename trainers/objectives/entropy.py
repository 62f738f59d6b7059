"""Entropy of the policy: from logits, as an adaptive bonus, and as a selector of tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from palaestra.mcp_servers.errors import TrainingError
from palaestra.trainers.objectives.config import ObjectiveConfig


def entropy_from_logits(logits_BTV: Tensor, temperature: float = 1.0) -> Tensor:
    """Entropy in nats of softmax(logits / temperature), [B, T]; a logit of -inf is an impossible token.

    >>> entropy_from_logits(torch.zeros(1, 1, 4)).item() == torch.tensor(4.0).log().item()
    True
    """
    logprobs_BTV = (logits_BTV / temperature).log_softmax(-1)
    return -torch.where(logprobs_BTV == -torch.inf, 0.0, logprobs_BTV.exp() * logprobs_BTV).sum(-1)


def adapted_coefficient(coefficient: float, mean_entropy: float, config: ObjectiveConfig) -> float:
    """The next bonus coefficient: an integral controller that moves by +-delta toward the entropy target.

    Below the target it rises, above it falls, at it it stays; it never leaves [min, max].
    Source: Skywork-OR1, arXiv 2505.22312 sec. 4; TRL `use_adaptive_entropy`.
    """
    if mean_entropy == config.entropy_target:
        return coefficient
    delta = config.entropy_coef_delta if mean_entropy < config.entropy_target else -config.entropy_coef_delta
    return min(max(coefficient + delta, config.entropy_coef_min), config.entropy_coef_max)


def top_entropy_mask(entropy_BT: Tensor, mask_BT: Tensor, quantile: float) -> Tensor:
    """True for the `quantile` share of masked tokens with the highest entropy (0.2 = the "80/20" rule).

    Source: arXiv 2506.01939. Differs: the share is taken over the whole rollout batch, not per micro-batch.
    Raises: TrainingError "no_entropy" if nothing is masked in.
    """
    if not bool(mask_BT.any()):
        raise TrainingError("no_entropy", "top_entropy_quantile needs at least one model token in the batch")
    values_N = entropy_BT[mask_BT].double().sort().values
    # torch.quantile refuses more than 16M elements; the same linear interpolation on the sorted values does not.
    place = (1.0 - quantile) * (len(values_N) - 1)
    low = int(place)
    high = min(low + 1, len(values_N) - 1)
    threshold = torch.lerp(values_N[low], values_N[high], place - low)
    return (entropy_BT.double() >= threshold) & mask_BT
