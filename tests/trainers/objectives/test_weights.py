"""Token weights through the plug-in point, with test-only streams registered by import name."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from palaestra.mcp_servers.errors import ConfigError, TrainingError
from palaestra.trainers.batch import TrainBatch
from palaestra.trainers.objectives.config import ObjectiveConfig
from palaestra.trainers.objectives.registry import TokenSignal
from palaestra.trainers.objectives.weights import compose_weights
from palaestra.trainers.rows import Kind, Row

Packed = Callable[..., TrainBatch]


def by_position(
    batch: TrainBatch, advantages_BT: Tensor, state: dict[str, Any], config: ObjectiveConfig
) -> TokenSignal:
    """1, 2, 3, ... along the row; counts its calls."""
    state["calls"] = state.get("calls", 0) + 1
    weights_BT = torch.arange(1.0, batch.response_width + 1).expand(batch.mask_BT.shape)
    return TokenSignal(weights_BT, {"calls": float(state["calls"])})


def by_sign(batch: TrainBatch, advantages_BT: Tensor, state: dict[str, Any], config: ObjectiveConfig) -> TokenSignal:
    return TokenSignal(torch.where(advantages_BT > 0, 2.0, 0.5))


def ones(batch: TrainBatch, advantages_BT: Tensor, state: dict[str, Any], config: ObjectiveConfig) -> TokenSignal:
    return TokenSignal(torch.ones_like(advantages_BT))


def zeros(batch: TrainBatch, advantages_BT: Tensor, state: dict[str, Any], config: ObjectiveConfig) -> TokenSignal:
    return TokenSignal(torch.zeros_like(advantages_BT))


def not_finite(batch: TrainBatch, advantages_BT: Tensor, state: dict[str, Any], config: ObjectiveConfig) -> TokenSignal:
    return TokenSignal(torch.full_like(advantages_BT, torch.inf))


def wrong_shape(
    batch: TrainBatch, advantages_BT: Tensor, state: dict[str, Any], config: ObjectiveConfig
) -> TokenSignal:
    return TokenSignal(torch.ones(1, 1))


def stream(*functions: Callable[..., TokenSignal], **settings: Any) -> ObjectiveConfig:
    return ObjectiveConfig(weights=tuple(f"{__name__}:{f.__name__}" for f in functions), **settings)


@pytest.fixture
def batch(make_row: Callable[..., Row], packed: Packed) -> TrainBatch:
    return packed([make_row(0), make_row(1, length=2), make_row(2, kind=Kind.REFLECT)])


@pytest.fixture
def advantages_BT(batch: TrainBatch) -> Tensor:
    return torch.where(batch.mask_BT, torch.tensor([[1.0], [-1.0], [1.0]]), 0.0)


def test_no_weights_is_no_tensor(batch: TrainBatch, advantages_BT: Tensor) -> None:
    assert compose_weights(batch, advantages_BT, {}, ObjectiveConfig()) == (None, {})


def test_the_product_covers_the_chosen_kinds_only(batch: TrainBatch, advantages_BT: Tensor) -> None:
    weights_BT, metrics = compose_weights(batch, advantages_BT, {}, stream(by_position, by_sign))
    assert weights_BT is not None
    assert weights_BT.tolist() == [[2.0, 4.0, 6.0], [0.5, 1.0, 1.0], [1.0, 1.0, 1.0]]
    assert (metrics["weights/min"], metrics["weights/max"]) == (0.5, 6.0)
    assert metrics["weights/mean"] == pytest.approx(2.7)
    positions, signs = torch.tensor([1.0, 2, 3, 1, 2]), torch.tensor([2.0, 2, 2, 0.5, 0.5])
    expected = float(torch.corrcoef(torch.stack([positions, signs]))[0, 1])
    assert metrics["weights/corr"] == pytest.approx(expected, rel=1e-5)
    all_kinds = stream(by_position, weight_kinds=("trajectory", "step", "reflect"))
    weights_BT, metrics = compose_weights(batch, advantages_BT, {}, all_kinds)
    assert weights_BT is not None
    assert weights_BT[2].tolist() == [1.0, 2.0, 3.0]
    assert "weights/corr" not in metrics


def test_a_constant_stream_has_no_correlation(batch: TrainBatch, advantages_BT: Tensor) -> None:
    assert compose_weights(batch, advantages_BT, {}, stream(ones, by_sign))[1]["weights/corr"] == 0.0


def test_order_of_streams_does_not_matter(batch: TrainBatch, advantages_BT: Tensor) -> None:
    one, _ = compose_weights(batch, advantages_BT, {}, stream(by_position, by_sign))
    two, _ = compose_weights(batch, advantages_BT, {}, stream(by_sign, by_position))
    assert one is not None
    assert two is not None
    assert torch.equal(one, two)


def test_each_stream_keeps_its_own_state(batch: TrainBatch, advantages_BT: Tensor) -> None:
    states: dict[str, dict[str, Any]] = {}
    for calls in (1, 2):
        _, metrics = compose_weights(batch, advantages_BT, states, stream(by_position, by_sign))
        assert metrics[f"{__name__}:by_position/calls"] == calls
    assert states == {f"{__name__}:by_position": {"calls": 2}, f"{__name__}:by_sign": {}}


@pytest.mark.parametrize("function", [zeros, not_finite, wrong_shape])
def test_bad_weights_are_refused(
    function: Callable[..., TokenSignal], batch: TrainBatch, advantages_BT: Tensor
) -> None:
    with pytest.raises(TrainingError, match=function.__name__) as caught:
        compose_weights(batch, advantages_BT, {}, stream(function))
    assert caught.value.code == "token_weight"


def test_weights_without_a_row_to_act_on(batch: TrainBatch, advantages_BT: Tensor) -> None:
    weights_BT, metrics = compose_weights(batch, advantages_BT, {}, stream(by_sign, weight_kinds=("step",)))
    assert weights_BT is not None
    assert bool((weights_BT == 1).all())
    assert metrics == {}


def test_an_unknown_stream_is_a_config_error(batch: TrainBatch, advantages_BT: Tensor) -> None:
    with pytest.raises(ConfigError, match="no_such_weight"):
        compose_weights(batch, advantages_BT, {}, ObjectiveConfig(weights=("no_such_weight",)))
