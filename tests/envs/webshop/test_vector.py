"""Batches: equal to single environments, groups that share a goal, and a thousand shoppers who never meet."""

from __future__ import annotations

from typing import Any

import gymnasium
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from palaestra.envs.core.seeding import stream
from palaestra.envs.webshop.env import WebShopEnv
from palaestra.envs.webshop.vector import WebShopVectorEnv


def assert_same(mine: Any, theirs: Any, when: str) -> None:
    assert data_equivalence(mine, theirs, exact=True), f"{when}: {mine} instead of {theirs}"


def draw(rng: Any, listed: Any) -> str:
    """A listed action, a search, or nonsense."""
    if listed is None or rng.random() < 0.15 or len(listed) == 0:
        return str(rng.choice(["search[soft blanket]", "search[shoes lamp]", "fly", "click[x]"]))
    action = listed[int(rng.integers(len(listed)))]
    return "search[glass vase]" if action.startswith("search[<") else str(action)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_batch_equals_gymnasiums_own(mode: AutoresetMode) -> None:
    ours = WebShopVectorEnv(4, autoreset_mode=mode, max_steps=6)
    theirs = SyncVectorEnv([lambda: WebShopEnv(max_steps=6)] * 4, autoreset_mode=mode)
    mine = ours.reset(seed=3)
    assert_same(mine, theirs.reset(seed=3), "reset")
    rng = stream(0, "test")
    ended = 0
    listed = mine[1]["admissible_commands"]
    for t in range(60):
        actions = tuple(draw(rng, one) for one in listed)
        outcome = ours.step(actions)
        assert_same(outcome, theirs.step(actions), f"step {t}")
        listed = outcome[4]["admissible_commands"]
        over = outcome[2] | outcome[3]
        ended += int(over.sum())
        if mode is AutoresetMode.DISABLED and over.any():
            again = ours.reset(options={"reset_mask": over})
            assert_same(again, theirs.reset(options={"reset_mask": over.copy()}), f"reset {t}")
            listed = [new if is_over else old for new, old, is_over in zip(
                again[1]["admissible_commands"], listed, over, strict=True
            )]  # fmt: skip
    assert ended > 20
    ours.close()
    theirs.close()


def test_it_is_made_by_its_id() -> None:
    env = gymnasium.make_vec("palaestra/WebShop-v0", 3, vectorization_mode="vector_entry_point", goals="synthetic")
    assert isinstance(env.unwrapped, WebShopVectorEnv)
    _, infos = env.reset(seed=0)
    assert all(" with " in task for task in infos["task"])
    env.close()


def test_groups_share_goal_and_seed() -> None:
    env = WebShopVectorEnv(6)
    for seed in (0, None):
        _, infos = env.reset(seed=seed, options={"group_size": 3})
        ids = infos["task_id"].tolist()
        assert ids[0] == ids[1] == ids[2] != ids[3] == ids[4] == ids[5]


def test_a_thousand_shoppers_never_meet() -> None:
    count, steps = 1000, 8
    batch = WebShopVectorEnv(count, autoreset_mode="Disabled", max_steps=steps + 1)
    _, infos = batch.reset(seed=0)
    rng = stream(1, "test")
    script: list[list[str]] = [[] for _ in range(count)]
    shown: list[list[str]] = [[] for _ in range(count)]
    for _ in range(steps):
        actions = [draw(rng, [a for a in one if a != "click[buy now]"]) for one in infos["admissible_commands"]]
        observations, *_, infos = batch.step(actions)
        for i, (action, observation) in enumerate(zip(actions, observations, strict=True)):
            script[i].append(action)
            shown[i].append(observation)
    alone = WebShopEnv(max_steps=steps + 1)
    for i in range(0, count, 7):
        alone.reset(seed=i)
        assert [alone.step(action)[0] for action in script[i]] == shown[i]
    assert len({tuple(one) for one in shown}) > 900
    batch.close()
