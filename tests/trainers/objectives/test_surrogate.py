"""Every policy loss against a scalar reference (value and gradient by hand), gradcheck, and its identities."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from palaestra.trainers.batch import Denominator
from palaestra.trainers.objectives.aggregation import seq_mean_token_mean, token_mean
from palaestra.trainers.objectives.config import ObjectiveConfig
from palaestra.trainers.objectives.registry import policy_losses
from palaestra.trainers.objectives.surrogate import log_ratio
from tests.trainers.objectives.conftest import Sample

Reference = Callable[[float, float, float, float, ObjectiveConfig], tuple[float, float]]


def _vanilla(logp: float, old: float, _: float, a: float, c: ObjectiveConfig) -> tuple[float, float]:
    r = math.exp(logp - old)
    cap = math.inf if c.ratio_cap is None else c.ratio_cap
    free, bound = -a * min(r, cap), -a * min(max(r, c.clip_low), c.clip_high)
    moves = (free >= bound and r < cap) or (bound > free and c.clip_low < r < c.clip_high)
    loss, slope = max(free, bound), -a * r if moves else 0.0
    if c.dual_clip_c is not None and a < 0 and loss > -c.dual_clip_c * a:
        return -c.dual_clip_c * a, 0.0
    return loss, slope


def _gspo(logp: float, old: float, row_mean: float, a: float, c: ObjectiveConfig) -> tuple[float, float]:
    s = math.exp(row_mean)
    free, bound = -a * s, -a * min(max(s, c.clip_low), c.clip_high)
    return max(free, bound), -a * s if free >= bound else 0.0


def _cispo(logp: float, old: float, _: float, a: float, c: ObjectiveConfig) -> tuple[float, float]:
    bounded = min(max(math.exp(logp - old), c.clip_low), c.clip_high)
    return -bounded * a * logp, -bounded * a


def _sapo(logp: float, old: float, _: float, a: float, c: ObjectiveConfig) -> tuple[float, float]:
    r, tau = math.exp(logp - old), c.sapo_tau_pos if a > 0 else c.sapo_tau_neg
    gate = 1 / (1 + math.exp(-tau * (r - 1)))
    return -a * gate * 4 / tau, -a * 4 * gate * (1 - gate) * r


def _reinforce(logp: float, old: float, _: float, a: float, c: ObjectiveConfig) -> tuple[float, float]:
    return -a * logp, -a


CASES: list[tuple[str, Reference, dict[str, Any]]] = [
    ("vanilla", _vanilla, {}),
    ("vanilla", _vanilla, {"epsilon_high": 0.28, "dual_clip_c": 1.5}),
    ("vanilla", _vanilla, {"dual_clip_c": None, "ratio_cap": 1.4}),
    ("gspo", _gspo, {"epsilon": 0.1}),
    ("cispo", _cispo, {"epsilon_high": 0.3}),
    ("sapo", _sapo, {}),
    ("reinforce", _reinforce, {}),
]


@pytest.mark.parametrize(("name", "reference", "settings"), CASES)
def test_value_and_gradient_equal_a_scalar_reference(
    name: str, reference: Reference, settings: dict[str, Any], sample: Sample
) -> None:
    config = ObjectiveConfig(**settings)
    loss_BT, _ = policy_losses.get(name)(
        sample.logprobs_BT, sample.old_BT, sample.advantages_BT, sample.mask_BT, config
    )
    (grad_BT,) = torch.autograd.grad(loss_BT.sum(), sample.logprobs_BT)
    logp, old, a, mask = (
        x.detach().numpy() for x in (sample.logprobs_BT, sample.old_BT, sample.advantages_BT, sample.mask_BT)
    )
    expected, slope = np.zeros(logp.shape), np.zeros(logp.shape)
    for i, t in zip(*np.nonzero(mask), strict=True):
        row_mean = float((logp[i] - old[i])[mask[i]].mean())
        expected[i, t], slope[i, t] = reference(float(logp[i, t]), float(old[i, t]), row_mean, float(a[i, t]), config)
    np.testing.assert_allclose(loss_BT.detach().numpy(), expected, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(grad_BT.numpy(), slope, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", ["vanilla", "sapo", "reinforce"])
def test_gradcheck(name: str, sample: Sample) -> None:
    def total(logprobs_BT: Tensor) -> Tensor:
        config = ObjectiveConfig(epsilon_high=0.28)
        return policy_losses.get(name)(logprobs_BT, sample.old_BT, sample.advantages_BT, sample.mask_BT, config)[
            0
        ].sum()

    assert torch.autograd.gradcheck(total, (sample.logprobs_BT,), eps=1e-7, atol=1e-6)


@pytest.mark.parametrize("name", ["gspo", "cispo"])
def test_stopped_factors_pass_gradcheck_once_frozen(name: str, sample: Sample) -> None:
    """Losses with a stop-gradient: their gradient is that of the same loss with the stopped factor held constant."""
    config = ObjectiveConfig(epsilon=0.1)
    arguments = (sample.old_BT, sample.advantages_BT, sample.mask_BT)
    loss_BT, metrics = policy_losses.get(name)(sample.logprobs_BT, *arguments, config)
    (grad_BT,) = torch.autograd.grad(loss_BT.sum(), sample.logprobs_BT)
    frozen_BT, base_BT = metrics["ratio"], sample.logprobs_BT.detach().clone()  # gradcheck perturbs its input in place

    def total(logprobs_BT: Tensor) -> Tensor:
        if name == "cispo":
            terms_BT = -frozen_BT.clamp(config.clip_low, config.clip_high) * sample.advantages_BT * logprobs_BT
        else:
            s_BT = frozen_BT * (logprobs_BT - base_BT).exp()
            terms_BT = -torch.minimum(
                s_BT * sample.advantages_BT, s_BT.clamp(config.clip_low, config.clip_high) * sample.advantages_BT
            )
        return terms_BT[sample.mask_BT].sum()

    assert torch.autograd.gradcheck(total, (sample.logprobs_BT,), eps=1e-7, atol=1e-6)
    torch.testing.assert_close(grad_BT, torch.autograd.grad(total(sample.logprobs_BT), sample.logprobs_BT)[0])


@pytest.mark.parametrize("name", policy_losses.names())
def test_masked_out_tokens_have_exactly_zero_loss_and_gradient(name: str, sample: Sample) -> None:
    wild_BT = torch.where(sample.mask_BT, sample.logprobs_BT.detach(), 900.0).requires_grad_()
    loss_BT, _ = policy_losses.get(name)(
        wild_BT, sample.old_BT, sample.advantages_BT, sample.mask_BT, ObjectiveConfig()
    )
    (grad_BT,) = torch.autograd.grad(loss_BT.sum(), wild_BT)
    assert bool((loss_BT[~sample.mask_BT] == 0).all())
    assert bool((grad_BT[~sample.mask_BT] == 0).all())
    assert bool(grad_BT.isfinite().all())


@pytest.mark.parametrize(("name", "reference", "settings"), CASES)
def test_positive_weights_commute_with_the_loss(
    name: str, reference: Reference, settings: dict[str, Any], sample: Sample
) -> None:
    function, config = policy_losses.get(name), ObjectiveConfig(**settings)
    weight_BT = torch.linspace(0.1, 3.0, 24, dtype=torch.float64).view(4, 6)
    inside, _ = function(sample.logprobs_BT, sample.old_BT, sample.advantages_BT * weight_BT, sample.mask_BT, config)
    outside, _ = function(sample.logprobs_BT, sample.old_BT, sample.advantages_BT, sample.mask_BT, config)
    torch.testing.assert_close(inside, outside * weight_BT, rtol=1e-13, atol=1e-13)


def test_on_policy_gspo_has_the_gradient_of_grpo(sample: Sample) -> None:
    """Token form, row form and GRPO agree where old = present, under the mean over rows of token means."""
    logprobs_BT = sample.old_BT.clone().requires_grad_()
    row_BT = sample.advantages_BT[:, :1].expand(4, 6)
    denominator = Denominator(int(sample.mask_BT.sum()), 4, 1)
    config = ObjectiveConfig()

    def gradient(name: str) -> Tensor:
        loss_BT, _ = policy_losses.get(name)(logprobs_BT, sample.old_BT, row_BT, sample.mask_BT, config)
        loss = seq_mean_token_mean(loss_BT, sample.mask_BT, denominator, config)
        return torch.autograd.grad(loss, logprobs_BT)[0]

    counts_B = sample.mask_BT.sum(1)
    s_B = ((logprobs_BT - sample.old_BT).masked_fill(~sample.mask_BT, 0.0).sum(1) / counts_B).exp()
    row_form = torch.autograd.grad((-s_B * row_BT[:, 0]).mean(), logprobs_BT)[0]
    torch.testing.assert_close(gradient("gspo"), row_form, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(gradient("vanilla"), row_form, rtol=1e-12, atol=1e-14)


def test_on_policy_cispo_has_the_gradient_of_dapo(sample: Sample) -> None:
    logprobs_BT = sample.old_BT.clone().requires_grad_()
    denominator = Denominator(int(sample.mask_BT.sum()), 4, 1)
    config = ObjectiveConfig(epsilon_high=0.28)
    gradients = []
    for name in ("cispo", "vanilla"):
        loss_BT, _ = policy_losses.get(name)(logprobs_BT, sample.old_BT, sample.advantages_BT, sample.mask_BT, config)
        loss = token_mean(loss_BT, sample.mask_BT, denominator, config)
        gradients.append(torch.autograd.grad(loss, logprobs_BT)[0])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-13, atol=1e-15)


def test_clip_metrics_count_what_was_clipped() -> None:
    old_BT = torch.zeros(1, 5, dtype=torch.float64)
    ratio_BT = torch.tensor([[1.0, 1.3, 0.5, 5.0, 1.25]], dtype=torch.float64)
    advantages_BT = torch.tensor([[1.0, 1.0, -1.0, -1.0, 1.0]], dtype=torch.float64)
    config = ObjectiveConfig(epsilon_high=0.28)
    _, metrics = policy_losses.get("vanilla")(
        ratio_BT.log(), old_BT, advantages_BT, torch.ones(1, 5, dtype=torch.bool), config
    )
    assert metrics["clip_frac"].tolist() == [[0, 1, 1, 0, 0]]
    assert metrics["dual_clip_frac"].tolist() == [[0, 0, 0, 1, 0]]
    _, metrics = policy_losses.get("cispo")(
        ratio_BT.log(), old_BT, advantages_BT, torch.ones(1, 5, dtype=torch.bool), config
    )
    assert metrics["clip_frac"].tolist() == [[0, 1, 1, 1, 0]]


def test_the_log_ratio_is_clamped_before_exp() -> None:
    big_BT = torch.tensor([[1000.0, -1000.0]], dtype=torch.float64)
    assert log_ratio(big_BT, torch.zeros_like(big_BT), torch.ones(1, 2, dtype=torch.bool)).tolist() == [[20.0, -20.0]]
