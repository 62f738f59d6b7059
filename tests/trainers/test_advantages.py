"""Estimators against plain-Python references; groups, kinds and invalid members kept apart."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from palaestra.agents.types import Rollout
from palaestra.mcp_servers.errors import TrainingError
from palaestra.trainers.batch import TrainBatch
from palaestra.trainers.objectives.config import ObjectiveConfig
from palaestra.trainers.objectives.registry import advantages
from palaestra.trainers.objectives.shaping import mask_truncated
from palaestra.trainers.rows import Kind, Row, step_rows, trajectory_rows

Rows = Callable[..., list[Row]]
Packed = Callable[..., TrainBatch]

RETURNS = ([1.0, 0.0, 0.25, 3.0], [2.0, 2.5], [0.5, 0.1, 0.1])


def estimate(name: str, batch: TrainBatch, **settings: Any) -> Tensor:
    return advantages.get(name)(batch, ObjectiveConfig(**settings))


def by_row(advantages_BT: Tensor) -> list[float]:
    return advantages_BT[:, 0].tolist()


@pytest.fixture
def groups(trajectories: Rows) -> list[Row]:
    """Three groups of different sizes."""
    rows: list[Row] = []
    for number, returns in enumerate(RETURNS):
        rows += trajectories(returns, uid=f"g{number}", first_id=len(rows), length=2 + number)
    return rows


def _std(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))


def _grpo(group: Sequence[float]) -> list[float]:
    return [(v - sum(group) / len(group)) / (_std(group) + 1e-6) for v in group]


def _dr_grpo(group: Sequence[float]) -> list[float]:
    return [v - sum(group) / len(group) for v in group]


def _rloo(group: Sequence[float]) -> list[float]:
    return [v - (sum(group) - v) / (len(group) - 1) for v in group]


def _max_rl(group: Sequence[float]) -> list[float]:
    mean = sum(group) / len(group)
    return [(v - mean) / mean for v in group]


@pytest.mark.parametrize(
    ("name", "reference"), [("grpo", _grpo), ("dr_grpo", _dr_grpo), ("rloo", _rloo), ("max_rl", _max_rl)]
)
def test_group_estimators_equal_a_reference(
    name: str, reference: Callable[[Sequence[float]], list[float]], groups: list[Row], packed: Packed
) -> None:
    batch = packed(groups)
    ours_BT = estimate(name, batch)
    expected = [value for returns in RETURNS for value in reference(returns)]
    np.testing.assert_allclose(by_row(ours_BT), expected, rtol=1e-6)
    assert torch.equal(ours_BT, torch.where(batch.mask_BT, ours_BT[:, :1], 0.0)), "one value on all tokens, 0 outside"


def test_rloo_is_a_scaled_centred_return(trajectories: Rows, packed: Packed) -> None:
    batch = packed(trajectories(RETURNS[0]))
    torch.testing.assert_close(estimate("rloo", batch), 4 / 3 * estimate("dr_grpo", batch), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "rloo", "max_rl", "reinforce_plus_plus_baseline"])
def test_a_return_counts_once_however_many_rows_carry_it(
    name: str, steps: Rows, trajectories: Rows, packed: Packed
) -> None:
    many = packed(steps([[0.0] * 5, [0.0], [0.0] * 2], returns=[1.0, 0.0, 0.25]))
    one = packed(trajectories([1.0, 0.0, 0.25]))
    if name == "reinforce_plus_plus_baseline":
        values = {round(v, 5) for v in by_row(estimate(name, many))}
        centred = np.repeat(np.array([1.0, 0.0, 0.25]) - 1.25 / 3, [5, 1, 2])
        tokens = np.repeat(centred, 3)
        expected = (centred - tokens.mean()) / math.sqrt(tokens.var(ddof=1) + 1e-8)
        assert values == {round(float(v), 5) for v in expected}
    else:
        spread = by_row(estimate(name, many))
        assert [spread[0], spread[5], spread[6]] == by_row(estimate(name, one))


def test_scaling_by_the_batch_or_not_at_all(groups: list[Row], packed: Packed) -> None:
    batch, centred = packed(groups), [value for returns in RETURNS for value in _dr_grpo(returns)]
    std = _std([value for returns in RETURNS for value in returns])
    np.testing.assert_allclose(
        by_row(estimate("grpo", batch, scale_rewards="batch")), np.array(centred) / (std + 1e-6), rtol=1e-6
    )
    np.testing.assert_allclose(by_row(estimate("grpo", batch, scale_rewards="none")), centred, rtol=1e-6)


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "rloo"])
def test_a_single_member_keeps_its_return_or_gives_zero(name: str, trajectories: Rows, packed: Packed) -> None:
    batch = packed(trajectories([0.75]))
    assert by_row(estimate(name, batch)) == [0.75]
    assert by_row(estimate(name, batch, singleton_group="zero")) == [0.0]


@pytest.mark.parametrize("name", advantages.names())
def test_removing_an_invalid_member_changes_nothing_but_its_absence(name: str, steps: Rows, packed: Packed) -> None:
    anchors = [["a", "b"], ["a", "c"], ["a", "b"]]
    rows = steps([[1.0, 0.5], [0.0, 0.25], [2.0, 0.5]], anchors)
    marked = [
        row if row.traj_id != "task-1" else Row(**{f: getattr(row, f) for f in row.__slots__} | {"valid": False})
        for row in rows
    ]
    with_invalid = estimate(name, packed(marked), gamma=0.9)
    without = estimate(name, packed([row for row in marked if row.valid]), gamma=0.9)
    keep = torch.tensor([row.valid for row in marked])
    assert torch.equal(with_invalid[keep], without)
    assert bool((with_invalid[~keep] == 0).all())


@pytest.mark.parametrize("name", advantages.names())
def test_kinds_mixed_in_one_batch_are_estimated_as_if_alone(
    name: str, steps: Rows, trajectories: Rows, packed: Packed
) -> None:
    whole = trajectories([1.0, 0.0, 5.0], first_id=100)
    single = steps([[1.0, 0.5], [0.0, 0.25]], [["a", "b"], ["a", "b"]])
    reflect = trajectories([0.5, 1.0], first_id=200, kind=Kind.REFLECT)
    mixed = [single[0], whole[0], reflect[0], single[1], *whole[1:], *single[2:], reflect[1]]
    found = {row.row_id: value for row, value in zip(mixed, by_row(estimate(name, packed(mixed))), strict=True)}
    for alone in (whole, single, reflect):
        expected = by_row(estimate(name, packed(alone)))
        assert [found[row.row_id] for row in alone] == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_reinforce_plus_plus_skips_observation_tokens(make_row: Callable[..., Row], packed: Packed) -> None:
    rows = [
        make_row(0, length=5, traj_return=2.0, sampled_mask=(1, 0, 0, 1, 1), behaviour_logprobs=(-1.0, 0, 0, -1, -1)),
        make_row(1, length=2, traj_return=-1.0),
    ]
    returns = [[2 * 0.81, None, None, 2 * 0.9, 2.0], [-0.9, -1.0, None, None, None]]
    flat = np.array([v for row in returns for v in row if v is not None])
    ours = estimate("reinforce_plus_plus", packed(rows), gamma=0.9)
    for i, row in enumerate(returns):
        for t, value in enumerate(row):
            expected = 0.0 if value is None else (value - flat.mean()) / math.sqrt(flat.var(ddof=1) + 1e-8)
            assert float(ours[i, t]) == pytest.approx(expected, rel=1e-6)


def test_kl_in_the_reward(trajectories: Rows, packed: Packed) -> None:
    batch = packed(trajectories([1.0, 0.0], length=2))
    settings: dict[str, Any] = {"use_kl_in_reward": True, "beta": 0.5, "kl_estimator": "k1"}
    with pytest.raises(TrainingError) as caught:
        estimate("dr_grpo", batch, **settings)
    assert caught.value.code == "no_reference"
    old_BT = torch.tensor([[-1.0, -2.0], [-3.0, -1.0]])
    batch = batch.replace(old_logprobs_BT=old_BT, ref_logprobs_BT=old_BT - torch.tensor([[1.0, 0.0], [0.0, -2.0]]))
    assert by_row(estimate("dr_grpo", batch, **settings)) == pytest.approx([-0.25, 0.25])
    tokens = np.array([1.0 - 0.5, 1.0, 1.0, 0.0 + 1.0])
    expected = (tokens - tokens.mean()) / math.sqrt(tokens.var(ddof=1) + 1e-8)
    ours = estimate("reinforce_plus_plus", batch, **settings).flatten()
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-5)


def test_max_rl_of_zeros_is_zero_and_negative_returns_are_refused(trajectories: Rows, packed: Packed) -> None:
    assert by_row(estimate("max_rl", packed(trajectories([0.0, 0.0])))) == [0.0, 0.0]
    with pytest.raises(TrainingError) as caught:
        estimate("max_rl", packed(trajectories([1.0, -1.0])))
    assert caught.value.code == "negative_return"


GAMMA = 0.5
STEP_REWARDS = [[1.0, 0.0, 4.0], [0.0, 2.0], [3.0]]
STEP_RETURNS = [[2.0, 2.0, 4.0], [1.0, 2.0], [3.0]]


@pytest.mark.parametrize("norm", ["group", "group_step", "batch"])
@pytest.mark.parametrize("scale", ["group", "none"])
def test_step_return_equals_a_reference(norm: str, scale: str, steps: Rows, packed: Packed) -> None:
    other = steps([[1.0], [0.0]], uid="other", first_id=50)
    rows = [*steps(STEP_REWARDS), *other]
    returns = [value for row in STEP_RETURNS for value in row] + [1.0, 0.0]
    cells = [{"group": row.uid, "group_step": f"{row.uid}/{row.step}", "batch": "all"}[norm] for row in rows]
    expected = []
    for value, cell in zip(returns, cells, strict=True):
        members = [v for v, c in zip(returns, cells, strict=True) if c == cell]
        if len(members) == 1:
            expected.append(0.0)
            continue
        difference = value - sum(members) / len(members)
        expected.append(difference / (_std(members) + 1e-6) if scale == "group" else difference)
    ours = estimate("step_return", packed(rows), gamma=GAMMA, step_norm=norm, scale_rewards=scale)
    np.testing.assert_allclose(by_row(ours), expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("norm", ["group", "group_step", "batch"])
def test_turns_of_a_trajectory_row_get_what_step_rows_would(
    norm: str, make_rollout: Callable[..., Rollout], packed: Packed
) -> None:
    """One row holds three turns, another two; the same episodes as step rows are the reference."""
    rewards = {"a": [1.0, 7.0, 4.0], "b": [0.5, -2.0], "c": [3.0, 0.0, 0.0]}
    rollouts = [make_rollout(len(r), continues=True, rollout_id=name) for name, r in rewards.items()]
    whole: list[Row] = []
    single: list[Row] = []
    for rollout in rollouts:
        whole += trajectory_rows(rollout, rewards[rollout.rollout_id], first_id=len(whole))
        single += step_rows(rollout, rewards[rollout.rollout_id], first_id=len(single))
    whole[1] = replace(whole[1], valid=False)
    single = [replace(row, valid=row.traj_id != "b") for row in single]
    settings = {"gamma": GAMMA, "step_norm": norm}
    batch = packed(whole)
    ours = estimate("step_return", batch, **settings)
    expected = estimate("step_return", packed(single), **settings)
    assert [ours[0, [0, 4, 8]].tolist(), ours[2, [0, 4, 8]].tolist()] == [
        pytest.approx(by_row(expected[:3])),
        pytest.approx(by_row(expected[5:])),
    ]
    assert torch.equal(ours[0, [0, 4, 8]], ours[0, [1, 5, 9]])
    assert not ours[~batch.mask_BT].any()
    assert not ours[1].any()


def test_a_row_that_is_masked_out_keeps_its_turns_and_gets_nothing(
    make_rollout: Callable[..., Rollout], packed: Packed
) -> None:
    rows = [
        row
        for number in range(3)
        for row in trajectory_rows(
            make_rollout(continues=True, rollout_id=f"r{number}"), [number, 1, 0], first_id=number
        )
    ]
    batch = mask_truncated(packed([rows[0], replace(rows[1], truncated=True), rows[2]]))
    ours = estimate("step_return", batch, step_norm="batch")
    assert not ours[1].any()
    assert ours[0].any()
    assert ours[2].any()


@pytest.mark.parametrize("name", ["step_return", "gigpo"])
def test_step_estimators_do_not_depend_on_row_order(name: str, steps: Rows, packed: Packed) -> None:
    batch = packed(steps(STEP_REWARDS, [["a", "b", "a"], ["a", "b"], ["b"]]))
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(batch)))
    shuffled = estimate(name, batch.select(order), gamma=GAMMA)
    torch.testing.assert_close(shuffled, estimate(name, batch, gamma=GAMMA)[order], rtol=1e-6, atol=1e-7)


def test_a_missing_step_is_discounted_over_its_gap(steps: Rows, packed: Packed) -> None:
    rows = [row for row in steps([[1.0, 7.0, 4.0], [0.0, 0.0, 0.0]], returns=[0.0, 0.0]) if row.step != 1]
    ours = by_row(estimate("step_return", packed(rows), gamma=GAMMA, scale_rewards="none", step_norm="group_step"))
    assert ours == pytest.approx([1.0, 2.0, -1.0, -2.0])
