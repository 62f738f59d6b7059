from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from palaestra.trainers.batch import Denominator
from palaestra.trainers.objectives.config import ObjectiveConfig
from palaestra.trainers.objectives.registry import aggregations
from tests.trainers.objectives.conftest import Sample

CONFIG = ObjectiveConfig()
Rows = list[NDArray[np.float64]]

REFERENCES: dict[str, Callable[[Rows, int], float]] = {
    "token-mean": lambda rows, _: float(np.concatenate(rows).mean()),
    "token-sum": lambda rows, _: float(np.concatenate(rows).sum()),
    "seq-mean-token-mean": lambda rows, _: float(np.mean([row.mean() for row in rows])),
    "seq-mean-token-sum": lambda rows, _: float(np.mean([row.sum() for row in rows])),
    "seq-mean-token-sum-norm": lambda rows, horizon: float(np.mean([row.sum() / horizon for row in rows])),
}


def denominator(mask_BT: Tensor, horizon: int = 10) -> Denominator:
    return Denominator(int(mask_BT.sum()), int(mask_BT.any(1).sum()), horizon)


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_value_equals_a_reference_on_lists(name: str, sample: Sample) -> None:
    loss_BT, mask_BT = sample.advantages_BT, sample.mask_BT
    rows = [row[keep] for row, keep in zip(loss_BT.numpy(), mask_BT.numpy(), strict=True)]
    ours = aggregations.get(name)(loss_BT, mask_BT, denominator(mask_BT), CONFIG)
    assert float(ours) == pytest.approx(REFERENCES[name](rows, 10), rel=1e-12)


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_gradcheck(name: str, sample: Sample) -> None:
    loss_BT = sample.advantages_BT.clone().requires_grad_()
    function = aggregations.get(name)
    assert torch.autograd.gradcheck(
        lambda x: function(x, sample.mask_BT, denominator(sample.mask_BT), CONFIG), (loss_BT,)
    )
    (grad_BT,) = torch.autograd.grad(function(loss_BT, sample.mask_BT, denominator(sample.mask_BT), CONFIG), loss_BT)
    assert bool((grad_BT[~sample.mask_BT] == 0).all())


def test_every_mode_has_a_reference() -> None:
    assert aggregations.names() == sorted(REFERENCES)


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_parts_add_up_to_the_whole(name: str, sample: Sample) -> None:
    function, whole = aggregations.get(name), denominator(sample.mask_BT)
    total = function(sample.advantages_BT, sample.mask_BT, whole, CONFIG)
    parts = [function(sample.advantages_BT[rows], sample.mask_BT[rows], whole, CONFIG) for rows in ([0], [1, 2], [3])]
    assert float(sum(parts, torch.zeros(()))) == pytest.approx(float(total), rel=1e-12)


def test_token_and_row_means_agree_exactly_when_lengths_are_equal(sample: Sample) -> None:
    mask_BT = torch.zeros(4, 6, dtype=torch.bool)
    mask_BT[:, :4] = True
    values = [
        aggregations.get(name)(sample.advantages_BT, mask_BT, denominator(mask_BT), CONFIG)
        for name in ("token-mean", "seq-mean-token-mean")
    ]
    torch.testing.assert_close(values[0], values[1], rtol=1e-15, atol=0)


def test_with_dr_grpo_a_tokens_gradient_does_not_depend_on_its_rows_length() -> None:
    mask_BT = torch.tensor([[1, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.bool)
    loss_BT = torch.ones(2, 4, dtype=torch.float64, requires_grad=True)

    def slopes(name: str) -> set[float]:
        value = aggregations.get(name)(loss_BT, mask_BT, denominator(mask_BT), CONFIG)
        return set(torch.autograd.grad(value, loss_BT)[0][mask_BT].tolist())

    assert slopes("seq-mean-token-sum-norm") == {1 / 20}
    assert slopes("seq-mean-token-mean") == {1 / 2, 1 / 8}


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_an_empty_mask_gives_zero(name: str) -> None:
    mask_BT = torch.zeros(2, 3, dtype=torch.bool)
    assert float(aggregations.get(name)(torch.ones(2, 3), mask_BT, denominator(mask_BT), CONFIG)) == 0.0
