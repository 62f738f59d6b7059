"""The shared base of batched text environments against Gymnasium's own serial batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from palaestra.envs.core.errors import ConfigError
from palaestra.envs.core.text.vector import TextVectorEnv, pack_infos, spread_seeds
from palaestra.envs.sokoban.env import SokobanEnv

from .test_vector import assert_same


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_batch_equals_gymnasiums(mode: AutoresetMode) -> None:
    ours = TextVectorEnv(SokobanEnv, 4, mode)
    theirs = SyncVectorEnv([SokobanEnv] * 4, autoreset_mode=mode)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert ours.metadata["autoreset_mode"] is mode
    assert_same(ours.reset(seed=3), theirs.reset(seed=3), "reset")
    rng = np.random.default_rng(0)
    ended = 0
    for t in range(80):
        words = tuple(rng.choice(["up", "down", "left", "right", "fly"], 4).tolist())
        mine, other = ours.step(words), theirs.step(words)
        assert_same(mine, other, f"step {t}")
        over = mine[2] | mine[3]
        ended += int(over.sum())
        if mode is AutoresetMode.DISABLED and over.any():
            options = {"reset_mask": over}
            assert_same(ours.reset(options=dict(options)), theirs.reset(options=dict(options)), f"reset {t}")
    assert ended > 10
    ours.close()


def test_finished_environments_wait_for_their_reset() -> None:
    env = TextVectorEnv(lambda: SokobanEnv(max_steps=12), 2, "Disabled")
    env.reset(seed=0)
    for _ in range(12):
        env.step(("still", "still"))
    with pytest.raises(ResetNeeded, match=r"\[0, 1\]"):
        env.step(("still", "still"))


def test_groups_share_task_and_seed() -> None:
    env = TextVectorEnv(SokobanEnv, 4)
    for seed in (0, None):
        observations, _ = env.reset(seed=seed, options={"group_size": 2})
        assert observations[0] == observations[1] != observations[2] == observations[3]


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match="num_envs=0"):
        TextVectorEnv(SokobanEnv, 0)
    with pytest.raises(ConfigError, match="did you mean 'NextStep'"):
        TextVectorEnv(SokobanEnv, 1, "nextstep")
    env = TextVectorEnv(SokobanEnv, 2)
    env.reset(seed=0)
    with pytest.raises(ConfigError, match="1 actions for num_envs=2"):
        env.step(("up",))


def test_seeds_are_spread_in_blocks() -> None:
    rng = np.random.default_rng(0)
    assert spread_seeds(np.int64(7), 3, 1, rng) == [7, 8, 9]  # type: ignore[arg-type]
    assert spread_seeds(None, 3, 1, rng) == [None] * 3
    assert spread_seeds([4, None], 2, 1, rng) == [4, None]
    with pytest.raises(ConfigError, match="group_size=0"):
        spread_seeds(1, 3, 0, rng)


def by_gymnasium(infos: list[dict[str, Any] | None]) -> dict[str, Any]:
    env = SyncVectorEnv([SokobanEnv] * len(infos))
    packed: dict[str, Any] = {}
    for i, info in enumerate(infos):
        if info is not None:
            packed = env._add_info(packed, info, i)
    return packed


@pytest.mark.parametrize(
    "infos",
    [
        [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}],
        [None, {"a": 1.5, "deep": {"c": True}}, {"deep": {"c": False, "d": [1, 2]}}],
        [{"f": np.float32(2)}, None, {"f": np.float32(3), "n": None}],
        [{"final_obs": "x", "final_info": {"a": 1}}, {}, {"final_obs": "y", "final_info": {"a": 2}}],
        [None, None],
    ],
)
def test_infos_are_packed_as_gymnasium_does(infos: list[dict[str, Any] | None]) -> None:
    assert_same(pack_infos(infos), by_gymnasium(infos), "infos")
