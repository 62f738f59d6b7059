"""The whole objective on a real model: order of terms, splits, kinds, controllers, repeatability."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from palaestra.mcp_servers.errors import TrainingError
from palaestra.trainers.batch import TrainBatch
from palaestra.trainers.objectives.config import ObjectiveConfig
from palaestra.trainers.objectives.objective import Objective
from palaestra.trainers.old_pass import behaviour_as_old, old_pass, reference_pass, token_logprobs
from palaestra.trainers.rows import Kind, Row

Rows = Callable[..., list[Row]]
Packed = Callable[..., TrainBatch]
ONES = "tests.trainers.objectives.test_weights:ones"
BY_SIGN = "tests.trainers.objectives.test_weights:by_sign"


@pytest.fixture
def rows(trajectories: Rows, steps: Rows, make_row: Callable[..., Row]) -> list[Row]:
    """Trajectories, steps and reflections of unequal lengths; row 40 has an observation inside."""
    hole = make_row(40, length=5, uid="g", traj_id="g-9", traj_return=2.0, sampled_mask=(1, 1, 0, 0, 1),
                    behaviour_logprobs=(-1.0, -2.0, 0.0, 0.0, -0.5))  # fmt: skip
    return [
        *trajectories([1.0, 0.0], uid="g", length=4),
        hole,
        *steps([[1.0, 0.5], [0.0]], [["a", "b"], ["a"]], uid="s", first_id=10),
        *trajectories([0.5, 1.0], uid="g", first_id=20, kind=Kind.REFLECT, length=2, prompt=6),
    ]


def gradients(
    model: nn.Module, objective: Objective, batch: TrainBatch, micro_rows: int = 64
) -> tuple[float, list[Tensor], dict[str, float]]:
    """Loss, gradients and summed metrics of one optimiser step."""
    model.zero_grad()
    denominators = batch.denominators(objective.config.horizon or 1)
    total, metrics = 0.0, dict[str, float]()
    for micro in batch.micro_batches(micro_rows):
        scores = token_logprobs(model, micro, 1.0, entropy_grad=objective.needs_entropy_grad)
        output = objective.loss(*scores, micro, denominators)
        torch.autograd.backward([output.loss])
        total += float(output.loss.detach())
        metrics = {key: metrics.get(key, 0.0) + value for key, value in output.metrics.items()}
    return total, [p.grad.clone() for p in model.parameters() if p.grad is not None], metrics


def prepared(model: nn.Module, rows: list[Row], packed: Packed, **settings: Any) -> tuple[Objective, TrainBatch]:
    """Old and reference pass under a slightly moved model, so that ratios differ from 1."""
    objective = Objective(ObjectiveConfig.read(settings))
    other = copy.deepcopy(model)
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(1.02)
    batch = reference_pass(other, old_pass(other, packed(rows), 1.0), 1.0)
    return objective, objective.prepare(batch)[0]


SETTINGS: list[dict[str, Any]] = [
    {},
    {"loss_agg_mode": "seq-mean-token-mean", "beta": 0.1, "entropy_coef": 0.01},
    {"loss_agg_mode": "seq-mean-token-sum-norm", "horizon": 8, "loss_mode": "gspo", "beta": 0.1, "kl_estimator": "k2"},
    {"loss_mode": "sapo", "rollout_correction": {}, "weights": [BY_SIGN], "adv_estimator": "gigpo"},
    {"loss_mode": "cispo", "adv_estimator": "reinforce_plus_plus", "top_entropy_quantile": 0.5},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_loss_and_gradient_do_not_depend_on_the_micro_batch_split(
    settings: dict[str, Any], rows: list[Row], packed: Packed, tiny_model: nn.Module
) -> None:
    objective, batch = prepared(tiny_model, rows, packed, **settings)
    loss, whole, metrics = gradients(tiny_model, objective, batch)
    assert loss != 0.0
    for micro_rows in (1, 2, 4):
        split_loss, split, split_metrics = gradients(tiny_model, objective, batch, micro_rows)
        assert split_loss == pytest.approx(loss, rel=1e-12, abs=1e-14)
        assert split_metrics == pytest.approx(metrics, rel=1e-9, abs=1e-12)
        for one, many in zip(whole, split, strict=True):
            torch.testing.assert_close(one, many, rtol=1e-9, atol=1e-12)


def test_terms_add_up_as_written(rows: list[Row], packed: Packed, tiny_model: nn.Module) -> None:
    settings = {"beta": 0.3, "kl_estimator": "k3", "entropy_coef": 0.05, "rollout_correction": {}, "weights": [BY_SIGN]}
    objective, batch = prepared(tiny_model, rows[:3], packed, **settings)
    loss, _, metrics = gradients(tiny_model, objective, batch)
    logprobs_BT, entropy_BT = (x.detach().numpy() for x in token_logprobs(tiny_model, batch, 1.0))
    assert batch.old_logprobs_BT is not None
    assert batch.ref_logprobs_BT is not None
    assert batch.advantages_BT is not None
    old, ref, behaviour = (
        x.numpy() for x in (batch.old_logprobs_BT, batch.ref_logprobs_BT, batch.behaviour_logprobs_BT)
    )
    a = batch.advantages_BT.numpy() * np.where(batch.advantages_BT.numpy() > 0, 2.0, 0.5)
    r = np.exp(logprobs_BT - old)
    surrogate = np.maximum(-a * r, -a * np.clip(r, 0.8, 1.2)) * np.minimum(np.exp(old - behaviour), 2.0)
    x = logprobs_BT - ref
    kl = r * (np.exp(-x) - 1 + x)
    token = surrogate + 0.3 * kl - 0.05 * entropy_BT
    assert loss == pytest.approx(float(token[batch.mask_BT.numpy()].mean()), rel=1e-9)
    assert metrics["kl"] == pytest.approx(float(kl[batch.mask_BT.numpy()].mean()), rel=1e-9)
    assert metrics["entropy"] == pytest.approx(float(entropy_BT[batch.mask_BT.numpy()].mean()), rel=1e-9)


def test_reflections_are_averaged_apart_and_weighed(rows: list[Row], packed: Packed, tiny_model: nn.Module) -> None:
    def loss(chosen: list[Row], **settings: Any) -> float:
        return gradients(tiny_model, *prepared(tiny_model, chosen, packed, **settings))[0]

    forward = [row for row in rows if row.kind is not Kind.REFLECT]
    reflect = [row for row in rows if row.kind is Kind.REFLECT]
    assert loss(rows) == pytest.approx(loss(forward) + 0.5 * loss(reflect, reflect_coef=1.0), rel=1e-9)
    assert loss(reflect) == pytest.approx(0.5 * loss(reflect, reflect_coef=1.0), rel=1e-12)
    assert loss(rows, reflect_coef=0.0) == pytest.approx(loss(forward), rel=1e-9)


def test_tool_tokens_get_exactly_zero_gradient(rows: list[Row], packed: Packed, tiny_model: nn.Module) -> None:
    settings = {"beta": 0.1, "entropy_coef": 0.01, "rollout_correction": {}, "weights": [BY_SIGN]}
    objective, batch = prepared(tiny_model, rows, packed, **settings)
    logprobs_BT, entropy_BT = (x.detach().requires_grad_() for x in token_logprobs(tiny_model, batch, 1.0))
    output = objective.loss(logprobs_BT, entropy_BT, batch, batch.denominators())
    for grad_BT in torch.autograd.grad(output.loss, [logprobs_BT, entropy_BT]):
        assert bool((grad_BT[~batch.mask_BT] == 0).all())
        assert bool((grad_BT[batch.mask_BT] != 0).all())


def test_no_weights_and_weights_of_one_are_bit_identical(
    rows: list[Row], packed: Packed, tiny_model: nn.Module
) -> None:
    plain = gradients(tiny_model, *prepared(tiny_model, rows, packed))[1]
    weighted = gradients(tiny_model, *prepared(tiny_model, rows, packed, weights=[ONES]))[1]
    assert all(torch.equal(one, two) for one, two in zip(plain, weighted, strict=True))


def test_correction_of_an_exact_sampler_changes_nothing(rows: list[Row], packed: Packed, tiny_model: nn.Module) -> None:
    batch = old_pass(tiny_model, packed(rows), 1.0)
    assert batch.old_logprobs_BT is not None
    batch = batch.replace(behaviour_logprobs_BT=torch.where(batch.mask_BT, batch.old_logprobs_BT, 0.0))
    results = []
    variants: list[dict[str, Any]] = [{}, {"rollout_correction": {}}]
    for settings in variants:
        objective = Objective(ObjectiveConfig.read(settings))
        results.append(gradients(tiny_model, objective, objective.prepare(batch)[0])[1])
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


def test_invalid_rows_change_nothing_but_their_absence(
    rows: list[Row], packed: Packed, tiny_model: nn.Module, make_row: Callable[..., Row]
) -> None:
    broken = make_row(90, uid="g", traj_id="g-broken", traj_return=99.0, valid=False, length=4)
    for mode in ("token-mean", "seq-mean-token-mean"):
        expected = gradients(tiny_model, *prepared(tiny_model, rows, packed, loss_agg_mode=mode))
        ours = gradients(tiny_model, *prepared(tiny_model, [*rows, broken], packed, loss_agg_mode=mode))
        assert ours[0] == pytest.approx(expected[0], rel=1e-12)
        for one, two in zip(ours[1], expected[1], strict=True):
            torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12)


def test_only_the_most_uncertain_tokens_are_trained(rows: list[Row], packed: Packed, tiny_model: nn.Module) -> None:
    _, full = prepared(tiny_model, rows, packed)
    _, top = prepared(tiny_model, rows, packed, top_entropy_quantile=0.25)
    assert full.advantages_BT is not None
    assert top.advantages_BT is not None
    kept = top.advantages_BT != 0
    assert 0 < int(kept.sum()) < int((full.advantages_BT != 0).sum())
    assert torch.equal(top.advantages_BT[kept], full.advantages_BT[kept])


def test_truncated_completions_can_be_masked(trajectories: Rows, packed: Packed, tiny_model: nn.Module) -> None:
    rows = [*trajectories([1.0, 0.0]), *trajectories([0.5], uid="task", first_id=9, truncated=True, prompt=2)]
    rows[2] = Row(**{f: getattr(rows[2], f) for f in rows[2].__slots__} | {"traj_id": "cut"})
    _, batch = prepared(tiny_model, rows, packed, mask_truncated_completions=True)
    assert batch.mask_BT.sum(1).tolist() == [3, 3, 0]
    assert batch.advantages_BT is not None
    assert batch.advantages_BT[:2, 0].tolist() == pytest.approx([1.0, -1.0], rel=1e-5), "its return still counts"


def test_adaptive_entropy_moves_switches_and_is_saved(rows: list[Row], packed: Packed, tiny_model: nn.Module) -> None:
    batch = old_pass(tiny_model, packed(rows), 1.0)
    settings = {"use_adaptive_entropy": True, "entropy_coef": 0.01, "entropy_coef_delta": 0.002}
    hungry = Objective(ObjectiveConfig.read({**settings, "entropy_target": 50.0}))
    _, metrics = hungry.prepare(batch)
    assert metrics["entropy_coef"] == hungry.entropy_coef == pytest.approx(0.012)
    assert hungry.needs_entropy_grad
    assert hungry.needs_entropy
    sated = Objective(ObjectiveConfig.read({**settings, "entropy_target": 0.0}))
    sated.prepare(batch)
    assert sated.entropy_coef == 0.0
    assert not sated.needs_entropy_grad
    resumed = Objective(sated.config)
    resumed.load_state_dict(sated.state_dict())
    assert resumed.state_dict() == sated.state_dict()
    resumed.prepare(batch)
    sated.prepare(batch)
    assert resumed.state_dict()["entropy_coef"] == sated.state_dict()["entropy_coef"] == pytest.approx(0.006)


def train(model: nn.Module, rows: list[Row], packed: Packed, steps: int, saved: Any = None) -> tuple[nn.Module, Any]:
    """A few optimiser steps in shuffled mini-batches; `saved` continues from (model, optimiser, objective, step)."""
    config = ObjectiveConfig(beta=0.05, entropy_coef=0.01, use_adaptive_entropy=True, entropy_target=50.0,
                             weights=("tests.trainers.objectives.test_weights:by_position",))  # fmt: skip
    model, reference = copy.deepcopy(model), copy.deepcopy(model)
    optimiser, objective, done = torch.optim.AdamW(model.parameters(), lr=1e-3), Objective(config), 0
    if saved is not None:
        model.load_state_dict(saved[0])
        optimiser.load_state_dict(saved[1])
        objective.load_state_dict(saved[2])
        done = saved[3]
    for step in range(done, done + steps):
        batch = reference_pass(reference, old_pass(model, packed(rows), 1.0), 1.0)
        batch, _ = objective.prepare(batch)
        for mini in batch.mini_batches(2, np.random.default_rng(step)):
            gradients(model, objective, mini, 2)
            optimiser.step()
    state = (model.state_dict(), optimiser.state_dict(), objective.state_dict(), done + steps)
    return model, copy.deepcopy(state)


def test_the_same_run_twice_and_a_resumed_run_are_bit_identical(
    rows: list[Row], packed: Packed, tiny_model: nn.Module
) -> None:
    first, _ = train(tiny_model, rows, packed, 3)
    second, _ = train(tiny_model, rows, packed, 3)
    _, saved = train(tiny_model, rows, packed, 1)
    resumed, _ = train(tiny_model, rows, packed, 2, saved)
    start = list(tiny_model.parameters())
    for i, (one, two, three) in enumerate(
        zip(first.parameters(), second.parameters(), resumed.parameters(), strict=True)
    ):
        assert torch.equal(one, two)
        assert torch.equal(one, three)
        assert not torch.equal(one, start[i])


def test_steps_in_the_wrong_order_are_refused(rows: list[Row], packed: Packed, tiny_model: nn.Module) -> None:
    bare = packed(rows)
    scored = behaviour_as_old(bare)
    logprobs_BT = scored.behaviour_logprobs_BT
    plain = Objective(ObjectiveConfig())
    ready, _ = plain.prepare(scored)

    def code(call: Callable[[], Any]) -> str:
        with pytest.raises(TrainingError) as caught:
            call()
        return caught.value.code

    assert code(lambda: plain.prepare(bare)) == "no_old_pass"
    assert code(lambda: Objective(ObjectiveConfig(beta=0.1)).prepare(scored)) == "no_reference"
    assert code(lambda: Objective(ObjectiveConfig(top_entropy_quantile=0.2)).prepare(scored)) == "no_entropy"
    assert code(lambda: Objective(ObjectiveConfig(use_adaptive_entropy=True)).prepare(scored)) == "no_entropy"
    denominators = ready.denominators()
    assert code(lambda: plain.loss(logprobs_BT, logprobs_BT, scored, denominators)) == "not_prepared"
    assert code(lambda: plain.loss(logprobs_BT[:, :1], logprobs_BT, ready, denominators)) == "batch_shape"
    assert code(lambda: plain.loss(logprobs_BT + torch.nan, logprobs_BT, ready, denominators)) == "non_finite"
    late = Objective(ObjectiveConfig(beta=0.1))
    assert code(lambda: late.loss(logprobs_BT, logprobs_BT, ready, denominators)) == "no_reference"


def short(batch: TrainBatch, config: ObjectiveConfig) -> Tensor:
    return torch.zeros(1, 1)


def infinite(batch: TrainBatch, config: ObjectiveConfig) -> Tensor:
    return torch.full(batch.mask_BT.shape, torch.inf)


@pytest.mark.parametrize(("name", "code"), [("short", "batch_shape"), ("infinite", "non_finite")])
def test_a_plugged_in_estimator_is_checked(name: str, code: str, rows: list[Row], packed: Packed) -> None:
    objective = Objective(ObjectiveConfig(adv_estimator=f"{__name__}:{name}"))
    with pytest.raises(TrainingError) as caught:
        objective.prepare(behaviour_as_old(packed(rows)))
    assert caught.value.code == code


def test_a_batch_without_tokens_is_refused(make_row: Callable[..., Row], packed: Packed) -> None:
    objective = Objective(ObjectiveConfig(mask_truncated_completions=True))
    with pytest.raises(TrainingError) as caught:
        objective.prepare(behaviour_as_old(packed([make_row(0, truncated=True)])))
    assert caught.value.code == "no_model_token"
