"""What the engine is held against: plain forwards of the transformers model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel


def perturb(weights: dict[str, Tensor], seed: int, scale: float = 0.1) -> dict[str, Tensor]:
    """The weights plus noise; norms are moved too."""
    generator = torch.Generator().manual_seed(seed)
    return {name: w + scale * torch.randn(w.shape, generator=generator) for name, w in weights.items()}


def teacher_forced(model: PreTrainedModel, prompt: Sequence[int], sampled: Sequence[int], temperature: float) -> Tensor:
    """Log-probabilities [T, V] of every token position that was sampled, from one plain forward."""
    with torch.inference_mode():
        logits = model(torch.tensor([[*prompt, *sampled]])).logits[0].float()
    return torch.log_softmax(logits[len(prompt) - 1 : -1] / temperature, dim=-1)


def prompts(seed: int, lengths: Sequence[int]) -> list[tuple[int, ...]]:
    generator = np.random.default_rng(seed)
    return [tuple(generator.integers(6, 512, length).tolist()) for length in lengths]
