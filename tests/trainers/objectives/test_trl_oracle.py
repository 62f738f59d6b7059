"""Value and gradient of our objective against TRL 1.16's GRPOTrainer on the same tiny model and batch."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from palaestra.trainers.batch import TrainBatch
from palaestra.trainers.objectives.config import ObjectiveConfig
from palaestra.trainers.objectives.objective import Objective
from palaestra.trainers.old_pass import old_pass, reference_pass, token_logprobs
from palaestra.trainers.rows import Row

pytestmark = [
    pytest.mark.peer,
    # Deprecations inside the peer's own dependencies are not ours to fix.
    pytest.mark.filterwarnings("ignore"),
]

COMMON: dict[str, Any] = {"eps": 1e-4, "dual_clip_c": None, "epsilon": 0.2, "epsilon_high": 0.28}
CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"loss_type": "dapo"}, {"loss_type": "dapo"}),
    ({"loss_type": "grpo"}, {"loss_type": "grpo"}),
    ({"loss_type": "dr_grpo", "horizon": 4, "adv_estimator": "dr_grpo"}, {"loss_type": "dr_grpo"}),
    ({"loss_type": "cispo", "epsilon": 1.0}, {"loss_type": "cispo", "epsilon_high": 1.28}),
    ({"loss_type": "sapo"}, {"loss_type": "sapo"}),
    ({"loss_type": "dapo", "ratio_cap": 1.5}, {"loss_type": "dapo", "delta": 1.5}),
    ({"loss_type": "dapo", "beta": 0.2}, {"loss_type": "dapo", "beta": 0.2, "use_bias_correction_kl": True}),
    (
        {"loss_type": "grpo", "beta": 0.2, "use_bias_correction_kl": False},
        {"loss_type": "grpo", "beta": 0.2, "use_bias_correction_kl": False},
    ),
    (
        {"loss_type": "grpo", "importance_sampling_level": "sequence"},
        {"loss_type": "grpo", "importance_sampling_level": "sequence"},
    ),
]


@pytest.fixture
def rows(trajectories: Callable[..., list[Row]], make_row: Callable[..., Row]) -> list[Row]:
    """One group of unequal lengths, one row with an observation inside."""
    hole = make_row(9, length=4, traj_return=0.3, sampled_mask=(1, 0, 1, 1), behaviour_logprobs=(-1.0, 0.0, -1.0, -1.0))
    return [*trajectories([1.0, 0.0, 0.25], length=4), *trajectories([0.5], uid="task", first_id=5, length=2), hole]


def moved(model: nn.Module, factor: float) -> nn.Module:
    """A model a little away from `model`: an older policy or a reference."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(factor)
    return other


@pytest.mark.parametrize(("ours", "theirs"), CASES)
def test_loss_and_gradient_equal_trl(
    ours: dict[str, Any],
    theirs: dict[str, Any],
    rows: list[Row],
    packed: Callable[..., TrainBatch],
    tiny_model: nn.Module,
    tmp_path: Path,
) -> None:
    pytest.importorskip("trl", reason="trl is not installed; pip install 'palaestra[bench]' to compare with it")
    from palaestra.benchmarks.trainer_step import build_trl_trainer, trl_inputs

    rows = [Row(**{f: getattr(r, f) for f in r.__slots__} | {"traj_id": f"t{r.row_id}"}) for r in rows]
    model = copy.deepcopy(tiny_model).float()
    batch = reference_pass(moved(model, 0.97), old_pass(moved(model, 1.02), packed(rows), 1.0), 1.0)
    objective = Objective(ObjectiveConfig.read({**COMMON, **ours}))
    batch, _ = objective.prepare(batch)
    output = objective.loss(*token_logprobs(model, batch, 1.0), batch, batch.denominators(4))
    gradient = torch.autograd.grad(output.loss, list(model.parameters()))

    peer = copy.deepcopy(model)
    trainer = build_trl_trainer(peer, str(tmp_path), **{"epsilon_high": 0.28, **theirs, "beta": 0.0})
    trainer.beta = theirs.get("beta", 0.0)  # given at construction it would fetch a reference model by name
    loss = trainer.compute_loss(trainer.model, trl_inputs(batch, batch.denominators().tokens))
    expected = torch.autograd.grad(loss, list(trainer.model.parameters()))
    assert float(output.loss.detach()) == pytest.approx(float(loss.detach()), rel=1e-5, abs=1e-6)
    scale = max(float(g.abs().max()) for g in expected)
    for one, two in zip(gradient, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6 * max(scale, 1.0))
