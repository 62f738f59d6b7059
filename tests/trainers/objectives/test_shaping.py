from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from palaestra.mcp_servers.errors import ConfigError
from palaestra.trainers.batch import TrainBatch
from palaestra.trainers.objectives.config import ObjectiveConfig
from palaestra.trainers.objectives.registry import advantages
from palaestra.trainers.objectives.shaping import (
    GroupCounts,
    filter_groups,
    has_signal,
    mask_truncated,
    overlong_penalty,
    shape_rewards,
)
from palaestra.trainers.rows import Kind, Row

Rows = Callable[..., list[Row]]
OVERLONG = ObjectiveConfig.read({"horizon": 10, "overlong": {"enable": True, "len": 4, "penalty_factor": 2.0}})


@pytest.mark.parametrize(("length", "expected"), [(50, 0.0), (80, 0.0), (90, -0.5), (100, -1.0), (110, -1.5)])
def test_overlong_penalty_falls_linearly_in_the_buffer(length: int, expected: float) -> None:
    assert overlong_penalty(length, 100, 20, 1.0) == pytest.approx(expected)


def test_overlong_penalty_reaches_the_right_reward(make_row: Callable[..., Row]) -> None:
    rows = [
        make_row(0, length=8, traj_return=1.0),
        make_row(1, length=10, kind=Kind.STEP, traj_return=1.0, step_reward=0.5),
        make_row(2, length=3, traj_id="two", traj_return=1.0),
        make_row(3, length=9, traj_id="two", step=1, traj_return=1.0),
    ]
    shaped = shape_rewards(rows, OVERLONG)
    assert [(row.traj_return, row.step_reward) for row in shaped] == [(0.0, 0.0), (1.0, -1.5), (-0.5, 0.0), (-0.5, 0.0)]
    assert shape_rewards(rows, ObjectiveConfig()) == rows
    turned = make_row(4, length=8, traj_return=1.0, turns=((5, 0.25), (3, 0.75)))
    assert [row.turns for row in shape_rewards([turned], OVERLONG)] == [((5, 0.25), (3, -0.25))]


def test_turns_of_whole_trajectories_are_a_signal(make_row: Callable[..., Row]) -> None:
    config = ObjectiveConfig.read({"adv_estimator": "step_return", "step_norm": "group_step", "gamma": 0.5})
    first, same, other = (
        make_row(number, traj_id=f"t{number}", traj_return=1.0, turns=turns)
        for number, turns in enumerate([((1, 0.0), (2, 1.0)), ((2, 0.0), (1, 1.0)), ((1, 1.0), (2, 0.0))])
    )
    assert not has_signal([first, same], config)
    assert has_signal([first, other], config)
    assert has_signal([first], config.model_copy(update={"step_norm": "batch"}))
    kept, _ = filter_groups([first], config.model_copy(update={"step_norm": "batch"}))
    assert kept == [first]


def test_truncated_responses_lose_their_tokens(make_row: Callable[..., Row], packed: Callable[..., TrainBatch]) -> None:
    batch = mask_truncated(packed([make_row(0, truncated=True), make_row(1)]))
    assert batch.mask_BT.sum(1).tolist() == [0, 3]


def test_groups_without_a_signal_are_dropped_and_counted(trajectories: Rows) -> None:
    good = trajectories([1.0, 0.0], uid="good")
    flat = trajectories([1.0, 1.0, 1.0], uid="flat", first_id=10)
    broken = trajectories([1.0, 0.0], uid="broken", first_id=20)
    broken[0] = replace(broken[0], valid=False)
    partly = trajectories([1.0, 0.0, 0.5], uid="partly", first_id=30)
    partly[2] = replace(partly[2], valid=False)
    alone = trajectories([1.0], uid="alone", first_id=40)
    rows = [partly[0], *good, *flat, *broken, *partly[1:], *alone]
    kept, counts = filter_groups(rows, ObjectiveConfig())
    assert kept == [partly[0], *good, partly[1]], "order is kept, invalid members leave"
    assert counts == GroupCounts(groups=5, groups_invalid=2, groups_zero_signal=1, rows_invalid=2)


def test_the_filter_can_be_off(trajectories: Rows) -> None:
    rows = trajectories([1.0, 1.0])
    config = ObjectiveConfig.read({"filter_groups": {"enable": False}})
    assert filter_groups(rows, config) == (rows, GroupCounts(1, 0, 0, 0))


def test_rows_of_one_trajectory_are_one_member(steps: Rows) -> None:
    _, counts = filter_groups(steps([[1.0, 0.0, 2.0]]), ObjectiveConfig())
    assert counts.groups_invalid == 1


def test_another_metric_can_decide(trajectories: Rows) -> None:
    rows = [replace(row, extras={"won": i % 2}) for i, row in enumerate(trajectories([1.0, 1.0]))]
    config = ObjectiveConfig.read({"filter_groups": {"metric": "won"}})
    assert filter_groups(rows, config)[0] == rows
    with pytest.raises(ConfigError, match="won"):
        filter_groups(trajectories([1.0, 1.0]), config)


def test_reflections_are_judged_apart_from_their_episodes(trajectories: Rows) -> None:
    episodes = trajectories([1.0, 0.0])
    reflections = trajectories([1.0, 1.0], first_id=5, kind=Kind.REFLECT)
    kept, counts = filter_groups([*episodes, *reflections], ObjectiveConfig(adv_estimator="gigpo"))
    assert kept == episodes
    assert (counts.groups, counts.groups_zero_signal) == (2, 1)


FLAT = {"returns": [1.0, 1.0]}
SIGNAL_CASES: list[tuple[dict[str, Any], list[list[float]], list[list[str]], bool]] = [
    # equal returns, unequal step cells: kept by gigpo with w > 0 only
    ({"adv_estimator": "gigpo"}, [[1.0, 0.0], [0.0, 1.0]], [["a", "b"], ["a", "b"]], True),
    ({"adv_estimator": "gigpo", "gigpo": {"step_advantage_w": 0.0}}, [[1.0, 0.0], [0.0, 1.0]], [["a", "b"]] * 2, False),
    ({"adv_estimator": "grpo"}, [[1.0, 0.0], [0.0, 1.0]], [["a", "b"], ["a", "b"]], False),
    # all anchors different: no cell can tell anything
    ({"adv_estimator": "gigpo"}, [[1.0, 0.0], [0.0, 1.0]], [["a", "b"], ["c", "d"]], False),
    ({"adv_estimator": "gigpo"}, [[0.5, 0.5], [0.5, 0.5]], [["a", "b"], ["a", "b"]], False),
    ({"adv_estimator": "gigpo", "gigpo": {"enable_similarity": True, "similarity_thresh": 0.5}},
     [[1.0, 0.0], [0.0, 1.0]], [["room 1", "x"], ["room 2", "y"]], True),
    ({"adv_estimator": "step_return", "step_norm": "group"}, [[1.0, 0.0], [1.0, 0.0]], [["a", "b"]] * 2, True),
    ({"adv_estimator": "step_return", "step_norm": "group_step"}, [[1.0, 0.0], [1.0, 0.0]], [["a", "b"]] * 2, False),
    ({"adv_estimator": "step_return", "step_norm": "group_step"}, [[1.0, 0.0], [0.0, 1.0]], [["a", "b"]] * 2, True),
    ({"adv_estimator": "step_return", "step_norm": "batch"}, [[0.0, 0.0], [0.0, 0.0]], [["a", "b"]] * 2, True),
    ({"adv_estimator": "reinforce_plus_plus"}, [[0.0, 0.0], [0.0, 0.0]], [["a", "b"]] * 2, True),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "rewards", "anchors", "expected"), SIGNAL_CASES)
def test_signal_is_what_the_estimator_can_see(
    settings: dict[str, Any], rewards: list[list[float]], anchors: list[list[str]], expected: bool, steps: Rows
) -> None:
    config = ObjectiveConfig.read({"gamma": 0.9, **settings})
    assert has_signal(steps(rewards, anchors, returns=[1.0, 1.0]), config) is expected


@pytest.mark.parametrize(
    "case", [case for case in SIGNAL_CASES if "batch" not in str(case[0]) and "plus" not in str(case[0])]
)
def test_signal_agrees_with_the_advantages_themselves(
    case: tuple[dict[str, Any], list[list[float]], list[list[str]], bool],
    steps: Rows,
    packed: Callable[..., TrainBatch],
) -> None:
    settings, rewards, anchors, expected = case
    config = ObjectiveConfig.read({"gamma": 0.9, **settings})
    batch = packed(steps(rewards, anchors, returns=[1.0, 1.0]))
    found = advantages.get(config.adv_estimator)(batch, config)
    assert bool((found.abs() > 1e-7).any()) is expected


def test_a_penalty_alone_is_a_signal_for_gigpo(steps: Rows) -> None:
    rows = steps([[0.0], [0.0]], [["a"], ["b"]])
    punished = [rows[0], replace(rows[1], extras={"row_penalty": 0.1})]
    assert has_signal(punished, ObjectiveConfig(adv_estimator="gigpo"))
    assert not has_signal(rows, ObjectiveConfig(adv_estimator="gigpo"))
