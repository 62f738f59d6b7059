"""Per-token estimators of KL(policy || reference) from one sample: x = logprob - ref_logprob, in nats.

Gradients in expectation over the policy: k1 gives 0, k2 the gradient of KL(policy || reference), k3 that of
KL(reference || policy); k3 times the importance ratio gives the gradient of KL(policy || reference) again. Names
ending in "+" have the value of the estimator and the gradient of k2. Source: Schulman, "Approximating KL divergence";
clamps (x to +-20, k3 to +-10) as in verl.
"""

from __future__ import annotations

from torch import Tensor

from palaestra.trainers.objectives.config import ObjectiveConfig
from palaestra.trainers.objectives.registry import kls

_DIFFERENCE_LIMIT, _VALUE_LIMIT = 20.0, 10.0


@kls.register("k1")
def k1(logprobs_BT: Tensor, ref_logprobs_BT: Tensor, config: ObjectiveConfig) -> Tensor:
    """Value x: unbiased, no useful gradient."""
    return _difference(logprobs_BT, ref_logprobs_BT)


@kls.register("k2")
def k2(logprobs_BT: Tensor, ref_logprobs_BT: Tensor, config: ObjectiveConfig) -> Tensor:
    """Value x^2 / 2: biased, its gradient is not."""
    return _difference(logprobs_BT, ref_logprobs_BT).square() / 2


@kls.register("k3")
def k3(logprobs_BT: Tensor, ref_logprobs_BT: Tensor, config: ObjectiveConfig) -> Tensor:
    """Value exp(-x) - 1 + x: unbiased, never negative, low variance."""
    x_BT = _difference(logprobs_BT, ref_logprobs_BT)
    return ((-x_BT).exp() - 1 + x_BT).clamp(-_VALUE_LIMIT, _VALUE_LIMIT)


@kls.register("k1+")
def k1_straight_through(logprobs_BT: Tensor, ref_logprobs_BT: Tensor, config: ObjectiveConfig) -> Tensor:
    """Value of k1, gradient of k2."""
    return _with_k2_gradient(k1(logprobs_BT, ref_logprobs_BT, config), logprobs_BT, ref_logprobs_BT, config)


@kls.register("k3+")
def k3_straight_through(logprobs_BT: Tensor, ref_logprobs_BT: Tensor, config: ObjectiveConfig) -> Tensor:
    """Value of k3, gradient of k2."""
    return _with_k2_gradient(k3(logprobs_BT, ref_logprobs_BT, config), logprobs_BT, ref_logprobs_BT, config)


def _difference(logprobs_BT: Tensor, ref_logprobs_BT: Tensor) -> Tensor:
    return (logprobs_BT - ref_logprobs_BT).clamp(-_DIFFERENCE_LIMIT, _DIFFERENCE_LIMIT)


def _with_k2_gradient(
    value_BT: Tensor, logprobs_BT: Tensor, ref_logprobs_BT: Tensor, config: ObjectiveConfig
) -> Tensor:
    gradient_BT = k2(logprobs_BT, ref_logprobs_BT, config)
    return gradient_BT - gradient_BT.detach() + value_BT.detach()
