"""Random tensors of one small batch in float64, with masked holes and advantages of both signs."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """Log-probabilities of present, old, behaviour and reference policy, advantages, and a mask with holes."""

    logprobs_BT: Tensor
    old_BT: Tensor
    behaviour_BT: Tensor
    ref_BT: Tensor
    advantages_BT: Tensor
    mask_BT: Tensor


@pytest.fixture(params=[0, 1, 2])
def sample(request: pytest.FixtureRequest) -> Sample:
    generator = torch.Generator().manual_seed(request.param)

    def draw(scale: float) -> Tensor:
        return torch.randn(4, 6, generator=generator, dtype=torch.float64) * scale

    old_BT = -draw(1.0).abs() - 0.2
    mask_BT = torch.rand(4, 6, generator=generator) < 0.7
    mask_BT[:, 0] = True
    return Sample(
        logprobs_BT=(old_BT + draw(0.5)).requires_grad_(),
        old_BT=old_BT,
        behaviour_BT=old_BT + draw(0.5),
        ref_BT=old_BT + draw(0.7),
        advantages_BT=draw(1.5),
        mask_BT=mask_BT,
    )
