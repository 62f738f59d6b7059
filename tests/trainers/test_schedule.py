"""The learning rate over a phase, and the optimiser it drives."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from palaestra.trainers.config import OptimizerSettings
from palaestra.trainers.schedule import learning_rate, make_optimizer, set_learning_rate

shares = st.floats(0, 1)


def test_up_linearly_then_down_linearly_to_the_floor() -> None:
    settings = OptimizerSettings(learning_rate=2.0, warmup_ratio=0.2, min_lr_ratio=0.1)
    rates = [learning_rate(settings, progress) for progress in (0.1, 0.2, 0.6, 1.0)]
    assert rates == pytest.approx([1.0, 2.0, 1.1, 0.2])


def test_the_first_update_is_never_at_rate_zero() -> None:
    assert learning_rate(OptimizerSettings(learning_rate=1.0, warmup_ratio=0.5), 0.0) == 0.01


@pytest.mark.parametrize(("warm", "expected"), [(0.0, 1.0), (1.0, 0.01)])
def test_no_warm_up_and_nothing_else(warm: float, expected: float) -> None:
    settings = OptimizerSettings(learning_rate=1.0, warmup_ratio=warm, min_lr_ratio=0.0)
    assert learning_rate(settings, 0.0) == expected
    assert learning_rate(settings, 0.5) == 0.5


@given(warm=shares, floor=shares, progress=st.floats(0, 1, exclude_max=True))
def test_the_rate_stays_positive_and_below_the_peak(warm: float, floor: float, progress: float) -> None:
    settings = OptimizerSettings(learning_rate=3.0, warmup_ratio=warm, min_lr_ratio=floor)
    assert 0 < learning_rate(settings, progress) <= 3.0 + 1e-9


@given(warm=shares, floor=shares, a=shares, b=shares)
def test_one_rise_then_one_fall(warm: float, floor: float, a: float, b: float) -> None:
    settings = OptimizerSettings(learning_rate=1.0, warmup_ratio=warm, min_lr_ratio=floor)
    first, second = (learning_rate(settings, progress) for progress in sorted((a, b)))
    if max(a, b) < warm:
        assert first <= second
    elif min(a, b) >= warm:
        assert first >= second - 1e-12


def test_every_parameter_is_driven_at_the_rate_set() -> None:
    model = nn.Linear(3, 2)
    settings = OptimizerSettings(learning_rate=0.5, betas=(0.8, 0.9), weight_decay=0.25)
    optimizer = make_optimizer(model, settings)
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == {id(p) for p in model.parameters()}
    (group,) = optimizer.param_groups
    assert (group["betas"], group["weight_decay"], group["lr"]) == ((0.8, 0.9), 0.25, 0.5)
    set_learning_rate(optimizer, 0.125)
    before = [p.detach().clone() for p in model.parameters()]
    model(torch.ones(3)).sum().backward()
    optimizer.step()
    for old, new in zip(before, model.parameters(), strict=True):
        # AdamW's first step: decay, then one rate against the sign of the gradient, which is 1 everywhere
        torch.testing.assert_close(new.detach(), old * (1 - 0.125 * 0.25) - 0.125)
