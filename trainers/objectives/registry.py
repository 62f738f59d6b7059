"""The six plug-in points of the trainer: named functions, or "package.module:function" in a config.

| registry | signature | returns |
|---|---|---|
| `advantages` | fn(batch, config) | advantages_BT, 0 outside the mask |
| `token_weights` | fn(batch, advantages_BT, state, config) | `TokenSignal`: weights > 0 on the mask, no gradient |
| `policy_losses` | fn(logprobs_BT, old_logprobs_BT, advantages_BT, mask_BT, config) | loss_BT, per-token metrics |
| `aggregations` | fn(loss_BT, mask_BT, denominator, config) | scalar |
| `mismatches` | fn(old_logprobs_BT, behaviour_logprobs_BT, mask_BT, config) | weights_BT, metrics |
| `kls` | fn(logprobs_BT, ref_logprobs_BT, config) | kl_BT |
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from torch import Tensor

from palaestra.mcp_servers.errors import ConfigError, nearest
from palaestra.trainers.batch import Denominator, TrainBatch
from palaestra.trainers.objectives.config import ObjectiveConfig

F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class TokenSignal:
    """One stream of token weights over a rollout batch: float [B, T], > 0 on the mask; metrics are JSON numbers."""

    weights_BT: Tensor
    metrics: dict[str, float] = field(default_factory=dict)


AdvantageFn = Callable[[TrainBatch, ObjectiveConfig], Tensor]
TokenWeightFn = Callable[[TrainBatch, Tensor, dict[str, Any], ObjectiveConfig], TokenSignal]
PolicyLossFn = Callable[[Tensor, Tensor, Tensor, Tensor, ObjectiveConfig], tuple[Tensor, dict[str, Tensor]]]
AggregationFn = Callable[[Tensor, Tensor, Denominator, ObjectiveConfig], Tensor]
MismatchFn = Callable[[Tensor, Tensor, Tensor, ObjectiveConfig], tuple[Tensor, dict[str, float]]]
KlFn = Callable[[Tensor, Tensor, ObjectiveConfig], Tensor]


class Registry(Generic[F]):
    """Name -> function, filled by a decorator; the built-in ones live in `homes`, imported on first use.

    >>> shapes: Registry[Callable[[float], float]] = Registry("shape")
    >>> @shapes.register("square")
    ... def square(side: float) -> float:
    ...     return side * side
    >>> shapes.get("square")(3.0)
    9.0
    >>> shapes.get("squire")
    Traceback (most recent call last):
    ...
    palaestra.mcp_servers.errors.ConfigError: unknown shape 'squire'; did you mean 'square'? known: square \
[unknown_shape]
    """

    def __init__(self, kind: str, *homes: str) -> None:
        self.kind = kind
        self._homes = homes
        self._entries: dict[str, F] = {}

    def register(self, name: str, *, override: bool = False) -> Callable[[F], F]:
        """Decorator entering a function under `name`. Raises: ConfigError "name_taken" unless `override`."""
        if ":" in name:
            raise ConfigError("bad_name", f"{self.kind} name {name!r} contains ':', which marks an import")

        def enter(function: F) -> F:
            if function.__module__ not in self._homes:
                self._load_homes()
            if name in self._entries and not override:
                raise ConfigError("name_taken", f"{self.kind} {name!r} is registered already; pass override=True")
            self._entries[name] = function
            return function

        return enter

    def get(self, name: str) -> F:
        """The function called `name`, or the one "package.module:function" names.

        Raises: ConfigError "unknown_<kind>", listing what is known.
        """
        if ":" in name:
            return self._imported(name)
        self._load_homes()
        if name not in self._entries:
            raise ConfigError(f"unknown_{self.kind}", f"unknown {self.kind} {name!r}; {nearest(name, self._entries)}")
        return self._entries[name]

    def names(self) -> list[str]:
        """All registered names, sorted."""
        self._load_homes()
        return sorted(self._entries)

    def _load_homes(self) -> None:
        for home in self._homes:
            importlib.import_module(home)

    def _imported(self, name: str) -> F:
        module, _, attribute = name.partition(":")
        try:
            function: F = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigError(f"unknown_{self.kind}", f"cannot import {self.kind} {name!r}: {error}") from error
        if not callable(function):
            raise ConfigError(f"unknown_{self.kind}", f"{self.kind} {name!r} is not callable")
        return function


_HERE = "palaestra.trainers.objectives"
advantages: Registry[AdvantageFn] = Registry("advantage", "palaestra.trainers.advantages", f"{_HERE}.gigpo")
token_weights: Registry[TokenWeightFn] = Registry("token_weight")
policy_losses: Registry[PolicyLossFn] = Registry("policy_loss", f"{_HERE}.surrogate")
aggregations: Registry[AggregationFn] = Registry("aggregation", f"{_HERE}.aggregation")
mismatches: Registry[MismatchFn] = Registry("mismatch", f"{_HERE}.mismatch")
kls: Registry[KlFn] = Registry("kl", f"{_HERE}.kl")
