from typing import Any

import numpy as np
import pytest
import torch

from palaestra.mcp_servers.errors import ConfigError
from palaestra.trainers.objectives.config import ObjectiveConfig
from palaestra.trainers.objectives.mismatch import accepted, bounds, correction
from palaestra.trainers.objectives.registry import mismatches
from tests.trainers.objectives.conftest import Sample


def configured(**settings: Any) -> ObjectiveConfig:
    return ObjectiveConfig.read({"rollout_correction": settings})


@pytest.mark.parametrize("level", ["token", "sequence", "geometric"])
@pytest.mark.parametrize("threshold", [1.3, "0.8_1.2"])
def test_weights_equal_a_scalar_reference(level: str, threshold: float | str, sample: Sample) -> None:
    config = configured(rollout_is=level, rollout_is_threshold=threshold)
    weights_BT, _ = mismatches.get(level)(sample.old_BT, sample.behaviour_BT, sample.mask_BT, config)
    old, behaviour, mask = (x.numpy() for x in (sample.old_BT, sample.behaviour_BT, sample.mask_BT))
    expected = np.ones(old.shape)
    for i in range(len(old)):
        x = (old[i] - behaviour[i])[mask[i]]
        log_weight = {"token": x, "sequence": np.full_like(x, x.sum()), "geometric": np.full_like(x, x.mean())}[level]
        weight = np.exp(log_weight)
        if isinstance(threshold, str):
            weight = np.where((weight >= 0.8) & (weight <= 1.2), weight, 0.0)
        else:
            weight = np.minimum(weight, threshold)
        expected[i, mask[i]] = weight
    np.testing.assert_allclose(weights_BT.numpy(), expected, rtol=1e-12)


def test_weights_carry_no_gradient(sample: Sample) -> None:
    old_BT = sample.old_BT.clone().requires_grad_()
    for level in mismatches.names():
        weights_BT, _ = mismatches.get(level)(old_BT, sample.behaviour_BT, sample.mask_BT, configured())
        assert not weights_BT.requires_grad
    assert not correction(old_BT, sample.behaviour_BT, sample.mask_BT, configured())[0].requires_grad


@pytest.mark.parametrize("level", ["token", "sequence", "geometric"])
def test_equal_logprobs_give_weight_one(level: str, sample: Sample) -> None:
    for threshold in (2.0, "0.5_5.0"):
        config = configured(rollout_is=level, rollout_is_threshold=threshold)
        weights_BT, metrics = correction(sample.old_BT, sample.old_BT, sample.mask_BT, config)
        assert bool((weights_BT == 1).all())
        assert metrics["mismatch/bounded_frac"] == 0


def test_truncation_and_band(sample: Sample) -> None:
    x_BT = torch.tensor([[3.0, 0.9, 0.1]], dtype=torch.float64).log()
    mask_BT = torch.ones(1, 3, dtype=torch.bool)
    zero_BT = torch.zeros_like(x_BT)
    weights_BT, metrics = correction(x_BT, zero_BT, mask_BT, configured(rollout_is_threshold=2.0))
    torch.testing.assert_close(weights_BT, torch.tensor([[2.0, 0.9, 0.1]], dtype=torch.float64))
    assert metrics["mismatch/bounded_frac"] == pytest.approx(1 / 3)
    weights_BT, metrics = correction(x_BT, zero_BT, mask_BT, configured(rollout_is_threshold="0.5_2.0"))
    torch.testing.assert_close(weights_BT, torch.tensor([[0.0, 0.9, 0.0]], dtype=torch.float64))
    assert metrics["mismatch/weight_mean"] == pytest.approx(0.3)


def test_batch_normalised_weights_have_mean_one(sample: Sample) -> None:
    config = configured(rollout_is_batch_normalize=True)
    weights_BT, _ = correction(sample.old_BT, sample.behaviour_BT, sample.mask_BT, config)
    assert float(weights_BT[sample.mask_BT].mean()) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
@pytest.mark.parametrize("level", ["token", "seq_sum", "seq_mean", "seq_max"])
def test_rejection_equals_a_scalar_reference(level: str, estimator: str, sample: Sample) -> None:
    x_BT = sample.old_BT - sample.behaviour_BT
    threshold: float | str = "-0.1_0.4" if estimator == "k1" else 0.1
    kept = accepted(x_BT, sample.mask_BT, f"{level}_{estimator}", threshold).numpy()
    for i, row in enumerate(x_BT.numpy()):
        value = {"k1": -row, "k2": row**2 / 2, "k3": np.exp(row) - 1 - row}[estimator]
        chosen = value[sample.mask_BT[i].numpy()]
        pooled = {"seq_sum": chosen.sum(), "seq_mean": chosen.mean(), "seq_max": chosen.max()}
        for t in range(6):
            v = value[t] if level == "token" else pooled[level]
            inside = -0.1 <= v <= 0.4 if estimator == "k1" else v <= 0.1
            assert kept[i, t] == (bool(inside) or not bool(sample.mask_BT[i, t]))


def test_rejection_zeroes_weights_and_is_counted(sample: Sample) -> None:
    config = configured(rollout_is=None, rollout_rs=("token_k3",), rollout_rs_threshold=(0.05,))
    weights_BT, metrics = correction(sample.old_BT, sample.behaviour_BT, sample.mask_BT, config)
    kept_BT = accepted(sample.old_BT - sample.behaviour_BT, sample.mask_BT, "token_k3", 0.05)
    assert torch.equal(weights_BT, kept_BT.double())
    share = float((~kept_BT).sum() / sample.mask_BT.sum())
    assert 0 < share < 1
    assert metrics["mismatch/rejected_token_k3"] == pytest.approx(share)


@pytest.mark.parametrize(
    "settings",
    [
        {"rollout_is": "tokens"},
        {"rollout_is_threshold": "lots"},
        {"rollout_is_threshold": "2_1"},
        {"rollout_is_threshold": "1_2_3"},
        {"rollout_rs": ["token_k4"], "rollout_rs_threshold": [1.0]},
        {"rollout_rs": ["row_k1"], "rollout_rs_threshold": [1.0]},
        {"rollout_rs": ["token_k1"]},
    ],
)
def test_bad_settings_are_config_errors(settings: dict[str, Any], sample: Sample) -> None:
    with pytest.raises(ConfigError):
        correction(sample.old_BT, sample.behaviour_BT, sample.mask_BT, configured(**settings))


def test_bounds_reads_both_forms() -> None:
    assert bounds("0.5_5") == (0.5, 5.0)
    assert bounds(3) == (-torch.inf, 3.0)
