from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trajectories import trajectories, trajectory

from palaestra.envs.core.text.protocol import TextProtocol
from palaestra.envs.core.text.wrapper import TextAgentWrapper
from palaestra.envs.core.types import StopReason, Trajectory
from palaestra.rewards.compose import Invalid, InvalidReason, Reward, RewardBreakdown, reward_from_dict
from palaestra.rewards.recipe import RewardRecipe
from palaestra.rewards.rescore import rescore, summarise
from palaestra.rewards.wrapper import RewardWrapper

MIX = {"success": 1.0, "graded": 0.5, "step": -0.02, "malformed": -0.2, "progress": 0.25, "native": 0.1}


def sokoban(**kwargs: Any) -> gymnasium.Env[str, str]:
    return gymnasium.make("palaestra/Sokoban-v0", disable_env_checker=True, **kwargs)


def test_the_expert_earns_the_mix_online() -> None:
    env = RewardWrapper(sokoban(oracle_info=True), RewardRecipe(components={"success": 1.0, "progress": 0.5}).build())
    _, info = env.reset(seed=3)
    distance = info["oracle_distance"]
    total, ended = 0.0, False
    for action in env.get_wrapper_attr("plan")():
        _, reward, ended, _, info = env.step(action)
        total += reward
        assert info["reward_components"] == {"success": float(ended), "progress": 0.5}
    assert ended
    assert total == pytest.approx(1.0 + 0.5 * distance)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 50), st.lists(st.sampled_from(["up", "left", "down", "right", "", "jump"]), max_size=15))
def test_online_rewards_add_up_to_the_finished_trajectorys(seed: int, actions: list[str]) -> None:
    seen: list[Trajectory] = []
    pure = RewardRecipe(components=MIX).build()

    def reward(trajectory: Trajectory) -> Reward:
        seen.append(trajectory)
        return pure(trajectory)

    protocol = TextProtocol(style="compact")
    env = RewardWrapper(TextAgentWrapper(sokoban(oracle_info=True), protocol), reward)
    env.reset(seed=seed)
    paid = []
    for action in actions:
        answer = f"<action>{action}</action>" if action else "no tags at all"
        _, value, terminated, truncated, info = env.step(answer)
        paid.append(value)
        assert "reward_invalid" not in info
        if terminated or truncated:
            break
    if seen:
        whole = pure(seen[-1])
        assert isinstance(whole, RewardBreakdown)
        assert whole.steps_S == pytest.approx(tuple(paid))


def test_without_a_reward_the_step_pays_zero_and_says_why() -> None:
    env = RewardWrapper(sokoban(), RewardRecipe(components={"progress": 1.0}).build())
    env.reset(seed=3)
    _, reward, _, _, info = env.step("up")
    assert (reward, info["reward_invalid"]) == (0.0, "not_applicable")
    assert "reward_components" not in info


def test_a_malformed_answer_is_penalised_through_both_wrappers() -> None:
    recipe = RewardRecipe(components={"malformed": -0.2})
    env = RewardWrapper(TextAgentWrapper(sokoban(), TextProtocol()), recipe.build())
    env.reset(seed=3)
    assert env.step("up")[1] == -0.2
    assert env.step("<think></think><action>up</action>")[1] == 0.0
    env.reset(seed=4)
    assert env.step("<think></think><action>jump</action>")[1] == 0.0


def test_rescoring_repairs_and_counts() -> None:
    steps = RewardRecipe(components={"step": -1.0}).build()
    progress = RewardRecipe(components={"progress": 1.0}).build()
    bare, broken = trajectory(), trajectory(stop=StopReason.DEADLINE)
    stored = [("a", bare, progress(bare)), ("b", bare, steps(bare)), ("c", broken, None), ("d", bare, None)]
    results = list(rescore(stored, steps))
    assert [result.key for result in results] == ["a", "b", "c", "d"]
    assert [result.repaired for result in results] == [True, False, False, True]
    assert [result.changed for result in results] == [True, False, True, True]
    summary = summarise(results)
    assert (summary.total, summary.changed, summary.repaired) == (4, 3, 2)
    assert summary.invalid == {"episode_incomplete": 1}


@given(trajectories())
def test_rescoring_a_stored_trajectory_changes_nothing(episode: Trajectory) -> None:
    pure = RewardRecipe(components=MIX).build()
    stored = (Trajectory.from_dict(episode.to_dict()), reward_from_dict(pure(episode).to_dict()))
    (result,) = rescore([("k", *stored)], pure)
    assert not result.changed


def test_an_invalid_reward_names_its_reason() -> None:
    reward = RewardRecipe().build()(replace(trajectory(), stop_reason=StopReason.CANCELLED))
    assert isinstance(reward, Invalid)
    assert reward.reason is InvalidReason.EPISODE_INCOMPLETE
