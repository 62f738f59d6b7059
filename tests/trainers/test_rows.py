from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from palaestra.agents.types import FinishReason, Rollout, RolloutFailure, Sampling
from palaestra.envs.core.types import StopReason
from palaestra.mcp_servers.errors import TrainingError
from palaestra.trainers.rows import Behaviour, Kind, Row, step_rows, trajectory_rows

MakeRollout = Callable[..., Rollout]


def test_step_rows_of_fresh_contexts_hold_exactly_what_was_sampled(make_rollout: MakeRollout) -> None:
    rows = step_rows(make_rollout(), [1.0, 0.5, -2.0], first_id=40)
    assert [row.row_id for row in rows] == [40, 41, 42]
    assert [row.prompt_ids for row in rows] == [(10, 11), (11, 12), (12, 13)]
    assert [row.response_ids for row in rows] == [(1, 2), (2, 3), (3, 4)]
    assert [row.behaviour_logprobs for row in rows] == [(-0.5, -0.25), (-0.5, -0.5), (-0.5, -0.75)]
    assert [row.step_reward for row in rows] == [1.0, 0.5, -2.0]
    assert {row.traj_return for row in rows} == {-0.5}
    assert [row.step for row in rows] == [0, 1, 2]
    assert [row.policy_version for row in rows] == [5, 6, 7]
    assert [row.terminated for row in rows] == [False, False, True]
    assert {(row.kind, row.uid, row.traj_id, row.group_key) for row in rows} == {(Kind.STEP, "g1", "r7", "g1")}
    assert all(row.sampled_mask == (1, 1) and row.valid for row in rows)


def test_anchor_of_a_step_is_the_one_seen_before_it(make_rollout: MakeRollout) -> None:
    assert [row.anchor_key for row in step_rows(make_rollout(), [0.0] * 3)] == ["a0", "a1", "a2"]
    bare = make_rollout()
    trajectory = replace(bare.trajectory, start={}, steps=())
    assert [row.anchor_key for row in step_rows(replace(bare, trajectory=trajectory), [0.0] * 3)] == [None] * 3


def test_continuing_completions_condition_on_the_whole_stream(make_rollout: MakeRollout) -> None:
    rows = step_rows(make_rollout(continues=True), [0.0] * 3)
    assert [row.prompt_ids for row in rows] == [
        (10, 11),
        (10, 11, 1, 2, 11, 12),
        (10, 11, 1, 2, 11, 12, 2, 3, 12, 13),
    ]


def test_episode_return_and_penalties_are_kept_apart_from_step_rewards(make_rollout: MakeRollout) -> None:
    rows = step_rows(make_rollout(), [1.0, 1.0, 1.0], episode_return=10.0, penalties=[0.0, 0.1, 0.0])
    assert {row.traj_return for row in rows} == {10.0}
    assert [row.extras["row_penalty"] for row in rows] == [0.0, 0.1, 0.0]


def test_trajectory_row_masks_what_the_model_did_not_write(make_rollout: MakeRollout) -> None:
    (row,) = trajectory_rows(make_rollout(continues=True), [1.0, 2.0, 3.0], first_id=4)
    assert row.prompt_ids == (10, 11)
    assert row.response_ids == (1, 2, 11, 12, 2, 3, 12, 13, 3, 4)
    assert row.sampled_mask == (1, 1, 0, 0, 1, 1, 0, 0, 1, 1)
    assert row.behaviour_logprobs == (-0.5, -0.25, 0.0, 0.0, -0.5, -0.5, 0.0, 0.0, -0.5, -0.75)
    assert (row.kind, row.row_id, row.traj_return, row.step_reward) == (Kind.TRAJECTORY, 4, 6.0, 0.0)
    assert (row.policy_version, row.terminated, row.truncated) == (5, True, False)
    assert row.turns == row.scored_turns == ((2, 1.0), (2, 2.0), (2, 3.0))


def test_a_fresh_context_starts_another_row_of_the_same_trajectory(make_rollout: MakeRollout) -> None:
    rows = trajectory_rows(make_rollout(continues=False), [1.0, 1.0, 1.0], first_id=7)
    assert [(row.row_id, row.step, row.traj_id, row.traj_return) for row in rows] == [
        (7, 0, "r7", 3.0),
        (8, 1, "r7", 3.0),
        (9, 2, "r7", 3.0),
    ]
    assert [row.terminated for row in rows] == [False, False, True]
    assert [row.turns for row in rows] == [((2, 1.0),)] * 3


def test_truncated_means_cut_by_a_length_limit(make_rollout: MakeRollout) -> None:
    rollout = make_rollout(continues=True)
    cut = replace(rollout.completions[-1], finish_reason=FinishReason.LENGTH)
    cut_short = replace(rollout, completions=(*rollout.completions[:-1], cut))
    assert [row.truncated for row in step_rows(cut_short, [0.0] * 3)] == [False, False, True]
    assert trajectory_rows(cut_short, [0.0] * 3)[0].truncated
    for reason, expected in ((StopReason.CONTEXT_LIMIT, True), (StopReason.TRUNCATED, False)):
        ended = replace(rollout, trajectory=replace(rollout.trajectory, stop_reason=reason))
        assert trajectory_rows(ended, [0.0] * 3)[0].truncated is expected


@pytest.mark.parametrize("build", [step_rows, trajectory_rows])
def test_missing_rewards_and_failed_rollouts_are_invalid_not_zero(
    build: Callable[..., list[Row]], make_rollout: MakeRollout
) -> None:
    assert not any(row.valid for row in build(make_rollout(), None))
    failed = make_rollout(failure=RolloutFailure("policy", "RolloutError", "policy_failed", "x"))
    assert not any(row.valid for row in build(failed, [0.0] * 3))
    assert build(make_rollout(turns=0), []) == []


def test_behaviour_travels_in_the_extras_of_a_rollout(make_rollout: MakeRollout) -> None:
    assert {row.behaviour for row in step_rows(make_rollout(extras={"behaviour": "lossy"}), None)} == {Behaviour.LOSSY}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"rewards": [1.0]}, "reward_length"),
        ({"rewards": [1.0, float("nan"), 0.0]}, "non_finite_reward"),
        ({"rewards": [0.0] * 3, "penalties": [0.1]}, "reward_length"),
        ({"rewards": [0.0] * 3, "episode_return": float("inf")}, "non_finite_reward"),
    ],
)
def test_bad_rewards_are_refused(arguments: dict[str, Any], code: str, make_rollout: MakeRollout) -> None:
    with pytest.raises(TrainingError, match="r7") as caught:
        step_rows(make_rollout(), arguments.pop("rewards"), **arguments)
    assert caught.value.code == code


def test_one_string_sampled_at_two_settings_is_refused(make_rollout: MakeRollout) -> None:
    rollout = make_rollout(continues=True)
    hot = replace(rollout.completions[1], sampling=Sampling(temperature=2.0))
    mixed = replace(rollout, completions=(rollout.completions[0], hot, rollout.completions[2]))
    with pytest.raises(TrainingError) as caught:
        trajectory_rows(mixed, [0.0] * 3)
    assert caught.value.code == "mixed_sampling"


def test_reflections_form_their_own_group(make_row: Callable[..., Row]) -> None:
    assert make_row(kind=Kind.REFLECT, uid="g").group_key == "g:reflect"
