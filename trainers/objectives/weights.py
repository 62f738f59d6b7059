"""Composition of token weights: the product of all named streams, fixed for a rollout batch and never differentiated.

Positive weights commute with every policy loss (loss(w A) = w loss(A)), so they act on the advantage. Without weights
nothing is multiplied at all, and "off" is bit-identical to the base objective.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from palaestra.mcp_servers.errors import TrainingError
from palaestra.trainers.batch import KINDS, TrainBatch
from palaestra.trainers.objectives.config import ObjectiveConfig
from palaestra.trainers.objectives.registry import token_weights


def compose_weights(
    batch: TrainBatch, advantages_BT: Tensor, states: dict[str, dict[str, Any]], config: ObjectiveConfig
) -> tuple[Tensor | None, dict[str, float]]:
    """Product of `config.weights` over rows of `config.weight_kinds`; 1 elsewhere; None if there are none.

    Args:
        batch: after the old pass.
        advantages_BT: raw advantages; every stream sees these, so the order of the streams does not matter.
        states: one JSON-ready mapping per stream, which it may change (controllers).
        config: names and options.
    Raises: TrainingError "token_weight" if a stream has the wrong shape or is not finite and positive on the mask.
    """
    if not config.weights:
        return None, {}
    applies_BT = batch.mask_BT & torch.isin(
        batch.kind_B, torch.tensor([KINDS.index(kind) for kind in map(_kind, config.weight_kinds)], dtype=torch.int64)
    ).unsqueeze(1)
    product_BT = torch.ones_like(advantages_BT)
    metrics: dict[str, float] = {}
    streams: list[Tensor] = []
    for name in config.weights:
        signal = token_weights.get(name)(batch, advantages_BT, states.setdefault(name, {}), config)
        weights_BT = signal.weights_BT.detach().to(advantages_BT.dtype)
        _check(name, weights_BT, applies_BT)
        streams.append(weights_BT[applies_BT])
        product_BT = torch.where(applies_BT, product_BT * weights_BT, product_BT)
        metrics |= {f"{name}/{key}": value for key, value in signal.metrics.items()}
    if bool(applies_BT.any()):
        chosen_N = product_BT[applies_BT]
        metrics |= {f"weights/{f}": float(getattr(chosen_N, f)()) for f in ("mean", "min", "max")}
        if len(streams) == 2:
            metrics["weights/corr"] = _correlation(streams[0], streams[1])
    return product_BT, metrics


def _kind(name: str) -> Any:
    return next(kind for kind in KINDS if kind == name)


def _check(name: str, weights_BT: Tensor, applies_BT: Tensor) -> None:
    if weights_BT.shape != applies_BT.shape:
        raise TrainingError(
            "token_weight", f"weights {name!r} have shape {tuple(weights_BT.shape)}, batch {tuple(applies_BT.shape)}"
        )
    chosen_N = weights_BT[applies_BT]
    if not bool(((chosen_N > 0) & chosen_N.isfinite()).all()):
        raise TrainingError("token_weight", f"weights {name!r} must be finite and > 0 on every model token")


def _correlation(a_N: Tensor, b_N: Tensor) -> float:
    """Pearson correlation; 0 if either is constant."""
    a_N, b_N = a_N.double() - a_N.double().mean(), b_N.double() - b_N.double().mean()
    scale = float((a_N.square().sum() * b_N.square().sum()).sqrt())
    return float((a_N * b_N).sum()) / scale if scale > 0 else 0.0
