"""KL estimators: scalar references, gradcheck, and exact expectations on a categorical law."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from palaestra.trainers.objectives.config import ObjectiveConfig
from palaestra.trainers.objectives.registry import kls
from tests.trainers.objectives.conftest import Sample

CONFIG = ObjectiveConfig()
# value and slope of each estimator as functions of x = logprob - ref_logprob
REFERENCES: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "k1": (lambda x: x, lambda x: 1.0),
    "k2": (lambda x: x * x / 2, lambda x: x),
    "k3": (lambda x: math.exp(-x) - 1 + x, lambda x: 1 - math.exp(-x)),
    "k1+": (lambda x: x, lambda x: x),
    "k3+": (lambda x: math.exp(-x) - 1 + x, lambda x: x),
}


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_value_and_gradient_equal_a_scalar_reference(name: str, sample: Sample) -> None:
    kl_BT = kls.get(name)(sample.logprobs_BT, sample.ref_BT, CONFIG)
    (grad_BT,) = torch.autograd.grad(kl_BT.sum(), sample.logprobs_BT)
    x_BT = (sample.logprobs_BT.detach() - sample.ref_BT).numpy()
    value, slope = REFERENCES[name]
    np.testing.assert_allclose(kl_BT.detach().numpy(), np.vectorize(value)(x_BT), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(grad_BT.numpy(), np.vectorize(slope)(x_BT), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["k1", "k2", "k3"])
def test_gradcheck(name: str, sample: Sample) -> None:
    function = kls.get(name)
    assert torch.autograd.gradcheck(lambda x: function(x, sample.ref_BT, CONFIG), (sample.logprobs_BT,))


def test_every_estimator_has_a_reference() -> None:
    assert kls.names() == sorted(REFERENCES)


def test_values_are_clamped() -> None:
    far_BT = torch.tensor([[100.0, -100.0, -4.0]], dtype=torch.float64)
    zero_BT = torch.zeros_like(far_BT)
    assert kls.get("k1")(far_BT, zero_BT, CONFIG).tolist() == [[20.0, -20.0, -4.0]]
    assert kls.get("k3")(far_BT, zero_BT, CONFIG).tolist() == [[10.0, 10.0, 10.0]]


@pytest.fixture
def laws() -> tuple[Tensor, Tensor]:
    """Logits of a policy (with gradient) and log-probabilities of a reference over 7 tokens."""
    generator = torch.Generator().manual_seed(3)
    logits_V = torch.randn(7, generator=generator, dtype=torch.float64, requires_grad=True)
    return logits_V, torch.randn(7, generator=generator, dtype=torch.float64).log_softmax(0)


def exact(logits_V: Tensor, ref_V: Tensor) -> tuple[Tensor, Tensor]:
    """KL(policy || reference) and KL(reference || policy), differentiable."""
    logp_V = logits_V.log_softmax(0)
    return (logp_V.exp() * (logp_V - ref_V)).sum(), (ref_V.exp() * (ref_V - logp_V)).sum()


def expected_gradient(name: str, laws: tuple[Tensor, Tensor], *, with_ratio: bool = False) -> Tensor:
    """E over the policy of the estimator's own gradient: the sampling law is held fixed."""
    logits_V, ref_V = laws
    logp_V = logits_V.log_softmax(0)
    kl_V = kls.get(name)(logp_V, ref_V, CONFIG)
    if with_ratio:
        kl_V = kl_V * (logp_V - logp_V.detach()).exp()
    return torch.autograd.grad((logp_V.exp().detach() * kl_V).sum(), logits_V)[0]


def test_expected_values_are_the_kl(laws: tuple[Tensor, Tensor]) -> None:
    logp_V = laws[0].log_softmax(0).detach()
    forward = exact(*laws)[0].detach()
    for name in ("k1", "k3", "k1+", "k3+"):
        mean = (logp_V.exp() * kls.get(name)(logp_V, laws[1], CONFIG)).sum()
        torch.testing.assert_close(mean, forward, rtol=1e-12, atol=1e-14)


def test_expected_gradients_are_those_of_the_named_kl(laws: tuple[Tensor, Tensor]) -> None:
    forward, backward = (torch.autograd.grad(exact(*laws)[which], laws[0])[0] for which in (0, 1))
    torch.testing.assert_close(expected_gradient("k1", laws), torch.zeros(7, dtype=torch.float64), rtol=0, atol=1e-15)
    for name in ("k2", "k1+", "k3+"):
        torch.testing.assert_close(expected_gradient(name, laws), forward, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(expected_gradient("k3", laws), backward, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(expected_gradient("k3", laws, with_ratio=True), forward, rtol=1e-12, atol=1e-14)
