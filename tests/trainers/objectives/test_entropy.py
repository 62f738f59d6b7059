import math

import pytest
import torch

from palaestra.mcp_servers.errors import TrainingError
from palaestra.trainers.objectives.config import ObjectiveConfig
from palaestra.trainers.objectives.entropy import adapted_coefficient, entropy_from_logits, top_entropy_mask


def test_entropy_equals_the_sum_by_hand_at_any_temperature() -> None:
    logits_BTV = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for temperature in (1.0, 0.5):
        ours = entropy_from_logits(logits_BTV, temperature)
        for b in range(2):
            for t in range(3):
                weights = [math.exp(x / temperature) for x in logits_BTV[b, t].tolist()]
                p = [w / sum(weights) for w in weights]
                assert float(ours[b, t]) == pytest.approx(-sum(x * math.log(x) for x in p), rel=1e-12)


def test_impossible_tokens_add_nothing() -> None:
    logits = torch.tensor([[[0.0, 0.0, -math.inf]]], dtype=torch.float64)
    assert float(entropy_from_logits(logits)) == pytest.approx(math.log(2))


def test_gradcheck() -> None:
    logits = torch.randn(1, 2, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: entropy_from_logits(x, 0.7), (logits,))


@pytest.mark.parametrize(
    ("coefficient", "entropy", "expected"),
    [(0.01, 0.1, 0.015), (0.01, 0.3, 0.005), (0.01, 0.2, 0.01), (0.0, 0.9, 0.0), (0.02, 0.0, 0.02)],
)
def test_the_coefficient_moves_toward_the_target_within_bounds(
    coefficient: float, entropy: float, expected: float
) -> None:
    config = ObjectiveConfig(entropy_target=0.2, entropy_coef_delta=0.005, entropy_coef_max=0.02)
    assert adapted_coefficient(coefficient, entropy, config) == pytest.approx(expected)


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_the_top_share_of_masked_tokens_is_kept(share: float) -> None:
    entropy_BT = torch.rand(4, 25, generator=torch.Generator().manual_seed(2))
    mask_BT = torch.ones(4, 25, dtype=torch.bool)
    mask_BT[:, 20:] = False
    kept_BT = top_entropy_mask(entropy_BT, mask_BT, share)
    assert int(kept_BT.sum()) == round(share * 80)
    assert not bool((kept_BT & ~mask_BT).any())
    threshold = torch.quantile(entropy_BT[mask_BT].double(), 1 - share)
    assert torch.equal(kept_BT, (entropy_BT.double() >= threshold) & mask_BT)


def test_nothing_to_choose_from_is_an_error() -> None:
    with pytest.raises(TrainingError) as caught:
        top_entropy_mask(torch.ones(1, 2), torch.zeros(1, 2, dtype=torch.bool), 0.2)
    assert caught.value.code == "no_entropy"
