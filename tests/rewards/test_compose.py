from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trajectories import trajectory

from palaestra.envs.core.types import ActionStatus, StopReason, Trajectory
from palaestra.mcp_servers.errors import ConfigError, RolloutError, ToolError
from palaestra.rewards.compose import (
    Invalid,
    InvalidReason,
    RewardBreakdown,
    Score,
    Scorer,
    compose,
    reward_from_dict,
)

EPISODE = trajectory()
NO_NUMBERS: Any = ("x", 0, 0)


def constant(*values: float) -> Scorer:
    return lambda _: Score(tuple(values), "constant")


def raising(error: Exception) -> Scorer:
    def scorer(_: Trajectory) -> Score:
        raise error

    return scorer


def test_the_reward_is_the_weighted_sum_with_evidence() -> None:
    reward = compose(EPISODE, {"a": constant(1, 0, 2), "b": constant(0, 1, 1)}, {"a": 0.5, "b": -1.0})
    assert isinstance(reward, RewardBreakdown)
    assert reward.steps_S == (0.5, -1.0, 0.0)
    assert reward.total == -0.5
    a, b = reward.components
    assert (a.name, a.weight, a.raw_S, a.value_S, a.evidence) == ("a", 0.5, (1, 0, 2), (0.5, 0, 1), "constant")
    assert (a.total, b.total) == (1.5, -2.0)


def test_only_weighted_scorers_run() -> None:
    scorers = {"a": constant(1, 1, 1), "broken": raising(ValueError("never called"))}
    assert isinstance(compose(EPISODE, scorers, {"a": 1.0}), RewardBreakdown)


def test_no_component_is_a_reward_of_zero() -> None:
    assert compose(EPISODE, {}, {}) == RewardBreakdown((), (0.0, 0.0, 0.0), 0.0)


def test_an_unknown_component_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'success'"):
        compose(EPISODE, {"success": constant(0, 0, 0)}, {"sucess": 1.0})


@pytest.mark.parametrize(
    ("scorer", "reason", "words"),
    [
        (raising(ZeroDivisionError("by zero")), InvalidReason.SCORER_ERROR, "ZeroDivisionError: by zero"),
        (raising(RolloutError("strange", "own words")), InvalidReason.SCORER_ERROR, "own words"),
        (raising(TimeoutError("30 s")), InvalidReason.TIMEOUT, "30 s"),
        (raising(ToolError("unknown_episode", "bank is gone")), InvalidReason.TOOL_SERVER_LOST, "bank is gone"),
        (raising(RolloutError("not_applicable", "no board")), InvalidReason.NOT_APPLICABLE, "no board"),
        (constant(1, math.nan, 0), InvalidReason.NON_FINITE, "nan at step 1"),
        (constant(1, 1, math.inf), InvalidReason.NON_FINITE, "inf at step 2"),
        (constant(1e308, 1e308, 1e308), InvalidReason.OUT_OF_BOUNDS, "step 0 is 1e+308"),
        (constant(0, -1000.5, 0), InvalidReason.OUT_OF_BOUNDS, "step 1 is -1000.5"),
        (constant(600, 600, 0), InvalidReason.OUT_OF_BOUNDS, "the total is 1202"),
        (constant(1), InvalidReason.WRONG_LENGTH, "1 values for 3 steps"),
        (constant(), InvalidReason.WRONG_LENGTH, "0 values for 3 steps"),
        (constant(1, 1, 1, 1), InvalidReason.WRONG_LENGTH, "4 values for 3 steps"),
        (lambda _: None, InvalidReason.SCORER_ERROR, "AttributeError"),
        (lambda _: Score(NO_NUMBERS), InvalidReason.SCORER_ERROR, "ValueError"),
    ],
)
def test_a_failed_scorer_is_never_zero(scorer: Any, reason: InvalidReason, words: str) -> None:
    reward = compose(EPISODE, {"good": constant(0, 0, 1), "bad": scorer}, {"bad": 1.0, "good": 2.0})
    assert isinstance(reward, Invalid)
    assert reward.reason is reason
    assert words in reward.detail
    assert "good" in {component.name for component in reward.components}


def test_keyboard_interrupt_is_no_reward() -> None:
    def interrupted(_: Trajectory) -> Score:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compose(EPISODE, {"a": interrupted}, {"a": 1.0})


@pytest.mark.parametrize("stop", [reason for reason in StopReason if reason.is_error])
def test_an_episode_that_broke_off_has_no_reward_but_its_components(stop: StopReason) -> None:
    reward = compose(trajectory(stop=stop), {"a": constant(1, 1, 1)}, {"a": 1.0})
    assert isinstance(reward, Invalid)
    assert reward.reason is InvalidReason.EPISODE_INCOMPLETE
    assert stop.value in reward.detail
    assert [component.name for component in reward.components] == ["a"]


def test_an_episode_without_steps_that_filled_the_context_scores_zero() -> None:
    empty = trajectory((), stop=StopReason.CONTEXT_LIMIT)
    reward = compose(empty, {"a": constant()}, {"a": 1.0})
    assert isinstance(reward, RewardBreakdown)
    assert (reward.steps_S, reward.total) == ((), 0.0)


finite = st.floats(-100, 100)
vectors = st.lists(finite, min_size=3, max_size=3)


@given(st.dictionaries(st.text("abc", min_size=1), st.tuples(finite, vectors), max_size=5))
def test_components_add_up(named: dict[str, tuple[float, list[float]]]) -> None:
    scorers = {name: constant(*values) for name, (_, values) in named.items()}
    weights = {name: weight for name, (weight, _) in named.items()}
    reward = compose(EPISODE, scorers, weights, bounds=(-1e9, 1e9))
    assert isinstance(reward, RewardBreakdown)
    assert math.isclose(reward.total, math.fsum(c.total for c in reward.components), rel_tol=1e-12, abs_tol=1e-9)
    for t in range(3):
        expected = math.fsum(weight * values[t] for weight, values in named.values())
        assert math.isclose(reward.steps_S[t], expected, rel_tol=1e-12, abs_tol=1e-9)


@given(st.lists(st.floats() | st.integers() | st.none(), max_size=5), st.floats(-3, 3))
def test_whatever_a_scorer_returns_a_valid_reward_is_finite_bounded_and_aligned(raw: list[Any], weight: float) -> None:
    reward = compose(EPISODE, {"a": lambda _: Score(tuple(raw))}, {"a": weight}, bounds=(-10, 10))
    if isinstance(reward, RewardBreakdown):
        assert len(reward.steps_S) == 3
        assert all(-10 <= value <= 10 for value in (*reward.steps_S, reward.total))
    else:
        assert reward.detail


@given(st.lists(st.sampled_from(["good", "raise", "nan", "short"]), min_size=1, max_size=6), st.data())
def test_one_invalid_trajectory_never_changes_another(kinds: list[str], data: st.DataObject) -> None:
    returned: dict[str, tuple[float, ...]] = {"good": (1, 2, 3), "nan": (math.nan, 0, 0), "short": (1,)}

    def scorer(episode: Trajectory) -> Score:
        kind = episode.final_observation
        if kind == "raise":
            raise RuntimeError("planted")
        return Score(returned[kind])

    def score(batch: list[str]) -> list[Any]:
        return [compose(replace(EPISODE, final_observation=k), {"a": scorer}, {"a": 1.0}) for k in batch]

    spoiled = data.draw(st.integers(0, len(kinds) - 1))
    before, after = score(kinds), score([*kinds[:spoiled], "raise", *kinds[spoiled + 1 :]])
    assert [r for i, r in enumerate(before) if i != spoiled] == [r for i, r in enumerate(after) if i != spoiled]
    assert isinstance(after[spoiled], Invalid)


@pytest.mark.parametrize("values", [(1.0, 2.0, 3.0), (1.0, math.inf, 0.0)])
def test_rewards_survive_json(values: tuple[float, ...]) -> None:
    reward = compose(EPISODE, {"a": constant(*values), "b": constant(0, 0, 1)}, {"a": 0.1, "b": 1.0})
    assert reward_from_dict(json.loads(json.dumps(reward.to_dict(), allow_nan=False))) == reward


@pytest.mark.parametrize(
    "data", [{}, {"valid": True, "components": 3}, {"valid": False, "components": [], "reason": "x"}]
)
def test_damaged_data_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"\[reward\]"):
        reward_from_dict(data)


def test_statuses_of_the_fixture_are_as_named() -> None:
    assert trajectory((ActionStatus.NO_ACTION,)).steps[0].action.failure is not None
