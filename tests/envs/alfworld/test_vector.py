"""A batch of N equals N single environments seeded alike, in every mode; a thousand games do not leak."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import palaestra
from palaestra.envs.alfworld.env import ALFWorldEnv
from palaestra.envs.alfworld.vector import ALFWorldVectorEnv

gymnasium.register_envs(palaestra)

SETTINGS: dict[str, Any] = {"games": "generate", "size": "small", "pool": 50, "max_steps": 12}


def choose(rng: np.random.Generator, infos: dict[str, Any]) -> tuple[str, ...]:
    listed = infos["admissible_commands"]
    return tuple("dance" if rng.random() < 0.1 else names[int(rng.integers(len(names)))] for names in listed)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_batch_equals_single_environments(mode: AutoresetMode) -> None:
    ours = ALFWorldVectorEnv(8, mode, **SETTINGS)
    theirs = SyncVectorEnv([lambda: ALFWorldEnv(**SETTINGS)] * 8, autoreset_mode=mode)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    mine, other = ours.reset(seed=5), theirs.reset(seed=5)
    assert data_equivalence(mine, other, exact=True), "reset"
    rng, ended = np.random.default_rng(1), 0
    infos: dict[str, Any] = mine[1]
    for t in range(60):
        actions = choose(rng, infos)
        left, right = ours.step(actions), theirs.step(actions)
        assert data_equivalence(left, right, exact=True), f"step {t}"
        over = left[2] | left[3]
        ended += int(over.sum())
        infos = left[4]
        if mode is AutoresetMode.DISABLED and over.any():
            options = {"reset_mask": over}
            left_reset, right_reset = ours.reset(options=dict(options)), theirs.reset(options=dict(options))
            assert data_equivalence(left_reset, right_reset, exact=True), f"reset {t}"
            names = infos["admissible_commands"].copy()
            names[over] = left_reset[1]["admissible_commands"][over]
            infos = {"admissible_commands": names}
    assert ended > 20


def test_groups_share_their_game() -> None:
    env = gymnasium.make_vec("palaestra/ALFWorld-v0", num_envs=6, vectorization_mode="vector_entry_point", **SETTINGS)
    _, infos = env.reset(seed=0, options={"group_size": 3})
    tasks = list(infos["task_id"])
    assert tasks[0] == tasks[1] == tasks[2] != tasks[3] == tasks[4] == tasks[5]
    assert infos["anchor"][0] == infos["anchor"][2]
    assert infos["state_key"][3] == infos["state_key"][5]
    env.close()


def test_a_thousand_games_side_by_side_keep_to_themselves() -> None:
    """Every game follows its own plan in lockstep with all others, and is won at its own length."""
    env = ALFWorldVectorEnv(1000, AutoresetMode.DISABLED, **{**SETTINGS, "max_steps": 50})
    env.reset(seed=3)
    plans = [single.plan() for single in env.envs]  # type: ignore[attr-defined]
    left = [list(reversed(plan)) for plan in plans]
    for t in range(12):
        running = [i for i, plan in enumerate(left) if plan]
        if not running:
            break
        for i in running:
            _, _, terminated, _, info = env.envs[i].step(left[i].pop())
            assert terminated == (len(plans[i]) == t + 1), (i, t)
            assert info["step"] == t + 1
    assert not any(left)
    assert len({single.world.game.task_id for single in env.envs}) > 40  # type: ignore[attr-defined]


def test_pictures_are_the_observations() -> None:
    env = ALFWorldVectorEnv(2, render_mode="ansi")
    observations, _ = env.reset(seed=0)
    assert env.render() == observations
    assert ALFWorldVectorEnv(2).render() is None
