"""The law tokens are drawn from, and draws that depend on nothing but the row they belong to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from palaestra.agents.types import Sampling
from palaestra.mcp_servers.errors import ConfigError
from palaestra.mcp_servers.framework.sources import derive_seed


def check_sampling(sampling: Sampling) -> None:
    """Refuse settings no law can be made of.

    Raises: ConfigError "sampling" naming key, value and the allowed range.
    """
    rules = (
        ("temperature", sampling.temperature, sampling.temperature >= 0, ">= 0 (0 is greedy)"),
        ("top_p", sampling.top_p, 0 < sampling.top_p <= 1, "in (0, 1] (1 is off)"),
        ("top_k", sampling.top_k, sampling.top_k >= 0, ">= 0 (0 is off)"),
        ("max_new_tokens", sampling.max_new_tokens, sampling.max_new_tokens >= 1, ">= 1"),
    )
    for key, value, good, allowed in rules:
        if not good:
            raise ConfigError("sampling", f"{key}={value} must be {allowed}")


def law(logits_BV: Tensor, sampling: Sampling) -> Tensor:
    """Log-probabilities of softmax(logits / temperature), cut to the top k, then to the top-p nucleus, renormalised.

    Temperature 0 is the one-hot law of the largest logit (the first of equals). The nucleus is the shortest list of
    most probable tokens whose mass reaches top_p.

    Args:
        logits_BV: [B, V], any float type.
        sampling: temperature, top_k and top_p.
    Returns: float32 [B, V], nats; -inf where a filter removed the token.
    Source: nucleus: arXiv 1904.09751. Cost: one pass over [B, V]; a filter adds a sort of [B, V].
    """
    logits_BV = logits_BV.float()
    if sampling.temperature == 0:
        one_hot_BV = torch.full_like(logits_BV, -torch.inf)
        return one_hot_BV.scatter_(1, logits_BV.argmax(dim=-1, keepdim=True), 0.0)
    logprobs_BV = torch.log_softmax(logits_BV / sampling.temperature, dim=-1)
    if sampling.top_k == 0 and sampling.top_p == 1:
        return logprobs_BV
    sorted_BV, order_BV = logprobs_BV.sort(dim=-1, descending=True, stable=True)
    if sampling.top_k:
        sorted_BV[:, sampling.top_k :] = -torch.inf
        sorted_BV = torch.log_softmax(sorted_BV, dim=-1)
    if sampling.top_p < 1:
        mass_before_BV = sorted_BV.exp().cumsum(dim=-1).roll(1, dims=-1)
        mass_before_BV[:, 0] = 0.0
        sorted_BV = sorted_BV.masked_fill(mass_before_BV >= sampling.top_p, -torch.inf)
    return torch.log_softmax(torch.empty_like(sorted_BV).scatter_(1, order_BV, sorted_BV), dim=-1)


def draw(probabilities_BV: Tensor, uniforms_B: Tensor) -> Tensor:
    """Inverse-CDF draw: the first token whose cumulative probability exceeds u, in float64.

    Args:
        probabilities_BV: float32 [B, V].
        uniforms_B: float64 [B] in [0, 1).
    Returns: int64 [B]; a token of probability 0 is never drawn.
    """
    cdf_BV = probabilities_BV.cumsum(dim=-1, dtype=torch.float64)
    # float32 probabilities sum to 1 only within rounding: scale u by the true total rather than the other way round.
    target_B1 = (uniforms_B * cdf_BV[:, -1]).unsqueeze(-1)
    return torch.searchsorted(cdf_BV, target_B1, right=True).squeeze(-1)


def entropy(probabilities_BV: Tensor, logprobs_BV: Tensor) -> Tensor:
    """Entropy of each row's law: -sum p log p, float32 [B], nats; 0 log 0 = 0."""
    finite_BV = logprobs_BV.clamp(min=torch.finfo(torch.float32).min)
    negative_B: Tensor = torch.linalg.vecdot(probabilities_BV, finite_BV)
    return negative_B.neg_()


def stream_keys(seed: int, rows: Sequence[tuple[str, int]]) -> NDArray[np.uint64]:
    """One 64-bit key per (row id, turn): the identity of that row's random numbers."""
    return np.array([derive_seed(seed, "tokens", row_id, turn) for row_id, turn in rows], dtype=np.uint64)


def uniforms(keys_B: NDArray[np.uint64], index: int) -> NDArray[np.float64]:
    """The `index`-th random number of every stream: a counter-based generator, so no state and no order.

    The SplitMix64 finaliser of key + (index + 1) * golden, its upper 53 bits as a float64 in [0, 1).

    Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.

    >>> keys = stream_keys(0, [("a", 0), ("b", 0)])
    >>> bool((uniforms(keys, 5)[1:] == uniforms(keys[1:], 5)).all())
    True
    """
    z = keys_B + np.uint64((index + 1) * 0x9E3779B97F4A7C15 % 2**64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * 2.0**-53
