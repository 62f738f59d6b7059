"""Learning rate over a phase, and the optimiser it drives."""

from __future__ import annotations

from torch import nn
from torch.optim import AdamW

from palaestra.trainers.config import OptimizerSettings


def make_optimizer(model: nn.Module, settings: OptimizerSettings) -> AdamW:
    """AdamW over all parameters; the learning rate is set before every step by `set_learning_rate`."""
    return AdamW(
        model.parameters(), lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay
    )


def learning_rate(settings: OptimizerSettings, progress: float) -> float:
    """The rate at `progress` in [0, 1) of the phase: up linearly, then down linearly to min_lr_ratio of the peak.

    >>> s = OptimizerSettings(learning_rate=1.0, warmup_ratio=0.5, min_lr_ratio=0.0)
    >>> [learning_rate(s, x) for x in (0.25, 0.5, 0.75)]
    [0.5, 1.0, 0.5]
    """
    warm = settings.warmup_ratio
    if progress < warm:
        return settings.learning_rate * max(progress / warm, 0.01)
    left = (1.0 - progress) / (1.0 - warm) if warm < 1 else 1.0
    return settings.learning_rate * (settings.min_lr_ratio + (1.0 - settings.min_lr_ratio) * left)


def set_learning_rate(optimizer: AdamW, rate: float) -> None:
    """The same rate for every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = rate
