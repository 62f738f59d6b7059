"""The reward where it is used: around a live environment, and on rollouts that were collected and stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import pytest

import palaestra
from palaestra.agents.policies.expert import ExpertPolicy
from palaestra.agents.rollout import iter_groups
from palaestra.agents.store import Store
from palaestra.envs.core.text.protocol import TextProtocol
from palaestra.envs.core.types import Task
from palaestra.rewards.compose import RewardBreakdown
from palaestra.rewards.recipe import RewardRecipe
from palaestra.rewards.wrapper import RewardWrapper

assert palaestra.__version__


@pytest.mark.parametrize(("name", "best"), [("palaestra", 2.3), ("paper", 1.3)])
def test_a_gymnasium_trainer_gets_the_whole_reward_at_the_end(name: Any, best: float) -> None:
    env = RewardWrapper(
        gymnasium.make("palaestra/Tools-Banking-v0", tasks="chains", disable_env_checker=True),
        RewardRecipe(prove=name).build(),
    )
    env.reset(seed=3)
    replies = env.unwrapped.plan()  # type: ignore[attr-defined]
    rewards = []
    for reply in replies:
        _, reward, terminated, _, info = env.step(reply)
        rewards.append(reward)
        assert "reward_invalid" not in info
    assert terminated
    assert rewards == [0.0] * (len(replies) - 1) + [best]
    assert info["reward_components"]["coverage"] == 0.5
    env.close()


def test_collected_rollouts_keep_what_the_reward_needs(tmp_path: Path) -> None:
    tasks = [Task("palaestra/Tools-Banking-v0", seed, {"tasks": "chains"}) for seed in range(3)]
    protocol = TextProtocol(style="chat")
    reward = RewardRecipe(prove="palaestra").build()  # type: ignore[arg-type]
    with Store.open(tmp_path / "store.sqlite") as store:
        store.add_run("r")
        for group in iter_groups(tasks, ExpertPolicy(0, protocol), protocol=protocol):
            store.append([group], run_id="r", iteration=0, phase="train")
        stored = list(store.rollouts())
    assert len(stored) == 3
    for each in stored:
        found = reward(each.rollout.trajectory)
        assert isinstance(found, RewardBreakdown), found
        assert found.total == 2.3
