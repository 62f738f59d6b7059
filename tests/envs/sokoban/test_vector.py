"""A batch of N equals N single environments seeded alike: every mode, every step, every info."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import palaestra
from palaestra.envs.core.errors import ConfigError, TaskError
from palaestra.envs.sokoban.env import SokobanEnv
from palaestra.envs.sokoban.kernels import BACKENDS
from palaestra.envs.sokoban.vector import SokobanVectorEnv

gymnasium.register_envs(palaestra)

WORDS = ("up", "down", "left", "right", "still", "<noop>", "fly", "", "up || left", "down||down||right", "up || fly")


def assert_same(ours: Any, theirs: Any, where: str) -> None:
    if isinstance(theirs, dict):
        assert set(ours) == set(theirs), (where, set(ours) ^ set(theirs))
        for key in theirs:
            assert_same(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(theirs, np.ndarray) and theirs.dtype != object:
        assert ours.dtype == theirs.dtype, where
        np.testing.assert_array_equal(ours, theirs, where)
    elif isinstance(theirs, (tuple, np.ndarray)):
        assert len(ours) == len(theirs), where
        for i, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(mine, other, f"{where}[{i}]")
    else:
        assert ours == theirs, where


def play(mode: AutoresetMode, backend: str, num_envs: int, steps: int, settings: dict[str, Any]) -> int:
    """Step both side by side; returns the number of episodes that ended."""
    ours = SokobanVectorEnv(num_envs, autoreset_mode=mode, backend=backend, **settings)
    theirs = SyncVectorEnv([lambda: SokobanEnv(**settings)] * num_envs, autoreset_mode=mode)
    assert ours.single_observation_space == theirs.single_observation_space
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    rng = np.random.default_rng(7)
    assert_same(ours.reset(seed=11), theirs.reset(seed=11), "reset")
    ended = 0
    for t in range(steps):
        if settings.get("actions", "text4") == "text4":
            actions: Any = tuple(rng.choice(WORDS, num_envs).tolist())
        else:
            actions = rng.integers(0, theirs.single_action_space.n, num_envs)  # type: ignore[attr-defined]
        mine, other = ours.step(actions), theirs.step(actions)
        assert_same(mine, other, f"step {t}")
        over = mine[2] | mine[3]
        ended += int(over.sum())
        if mode is AutoresetMode.DISABLED and over.any():
            assert_same(
                ours.reset(options={"reset_mask": over}), theirs.reset(options={"reset_mask": over}), f"reset {t}"
            )
    return ended


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("backend", sorted(BACKENDS))
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"pool": 8, "obs": "symbol", "actions": "push4", "info": "numeric"},
        {"obs": "planes", "actions": "full9", "admissible": "effective", "levels": "embedded", "boxes": 2},
        {"obs": "rgb", "rgb_scale": "tiny", "actions": "full9", "reward": "sparse", "info": "numeric"},
        {"actions_per_turn": 3, "admissible": "effective", "reward": "win10", "text_style": "padded"},
        {"actions_per_turn": 2, "info": "numeric", "text_style": "xsb", "pool": 3, "size": (5, 7), "oracle_info": True},
    ],
    ids=["text", "grid", "planes", "rgb", "turns", "oracle"],
)
def test_batch_equals_single_environments(mode: AutoresetMode, backend: str, settings: dict[str, Any]) -> None:
    assert play(mode, backend, 5, 60, settings) > 5


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_batch_of_64_equals_single_environments_for_500_steps(mode: AutoresetMode) -> None:
    assert play(mode, sorted(BACKENDS)[0], 64, 500, {}) > 1000


def test_make_vec_takes_the_batched_class() -> None:
    env: Any = gymnasium.make_vec("palaestra/SokobanGrid-v0", num_envs=3, pool=2, autoreset_mode="SameStep")
    assert isinstance(env.unwrapped, SokobanVectorEnv)
    observation, info = env.reset(seed=0)
    assert observation.shape == (3, 6, 6)
    assert info["_won"].all()
    env.close()


def test_groups_play_the_same_level() -> None:
    env = SokobanVectorEnv(6)
    for seed in (3, None):
        observations, info = env.reset(seed=seed, options={"group_size": 3})
        assert len(set(observations[:3])) == len(set(observations[3:])) == 1
        assert observations[0] != observations[3]
        assert info["task_id"][0] == info["task_id"][2]
    single, _ = SokobanEnv().reset(seed=4)
    assert env.reset(seed=3, options={"group_size": 3})[0][3] == single
    with pytest.raises(ConfigError, match="must divide num_envs=6"):
        env.reset(options={"group_size": 4})


def test_group_follows_its_members_through_autoreset() -> None:
    env = SokobanVectorEnv(4, pool=50, autoreset_mode="SameStep", max_steps=12)
    env.reset(seed=1, options={"group_size": 2})
    for _ in range(100):
        observations, *_ = env.step(("up", "up", "left", "left"))
        assert observations[0] == observations[1]
        assert observations[2] == observations[3]


def test_reset_options_reach_every_environment() -> None:
    env = SokobanVectorEnv(2)
    _, info = env.reset(seed=0, options={"index": 5, "split": "test"})
    assert info["split"].tolist() == ["test", "test"]
    assert info["task_id"][0] == info["task_id"][1]
    with pytest.raises(TaskError, match="did you mean 'index'"):
        env.reset(options={"indx": 5})


@pytest.mark.parametrize(
    ("actions", "message"),
    [([0], "1 actions for num_envs=2"), ([0.5, 1.0], "float64"), ([0, 4], "give 0 to 3"), ([[0, 1], [0, 1]], "shape")],
)
def test_bad_batches_of_actions_are_refused(actions: Any, message: str) -> None:
    env = SokobanVectorEnv(2, actions="push4")
    env.reset(seed=0)
    with pytest.raises(InvalidAction, match=message):
        env.step(actions)


def test_step_needs_a_reset() -> None:
    with pytest.raises(ResetNeeded, match="before step"):
        SokobanVectorEnv(2).step(("up", "up"))
    env = SokobanVectorEnv(2, autoreset_mode="Disabled", max_steps=3, min_len=1, max_len=3)
    env.reset(seed=0)
    for _ in range(3):
        env.step(("still", "still"))
    with pytest.raises(ResetNeeded, match=r"\[0, 1\] are over"):
        env.step(("still", "still"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backend": "cuda"}, "known: "),
        ({"num_envs": 0}, "at least 1"),
        ({"autoreset_mode": "same_step"}, "did you mean 'SameStep'"),
        ({"boxs": 2}, "did you mean 'boxes'"),
    ],
)
def test_bad_settings_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SokobanVectorEnv(**arguments)


@pytest.mark.parametrize("mask", [np.array([True]), np.array([1, 0]), np.array([False, False]), [True, False]])
def test_bad_reset_masks_are_refused(mask: Any) -> None:
    with pytest.raises(ConfigError, match="reset_mask"):
        SokobanVectorEnv(2).reset(options={"reset_mask": mask})


def test_seeds_may_be_listed() -> None:
    env = SokobanVectorEnv(2)
    observations, _ = env.reset(seed=[8, 3])
    assert observations == (SokobanEnv().reset(seed=8)[0], SokobanEnv().reset(seed=3)[0])
    with pytest.raises(ConfigError, match="3 seeds for num_envs=2"):
        env.reset(seed=[1, 2, 3])


def test_render_draws_every_board() -> None:
    text = SokobanVectorEnv(2, render_mode="ansi")
    observations, _ = text.reset(seed=0)
    assert text.render() == observations
    frames = SokobanVectorEnv(2, render_mode="rgb_array")
    frames.reset(seed=0)
    drawn = frames.render()
    assert drawn is not None
    assert [frame.shape for frame in drawn] == [(96, 96, 3)] * 2
    assert SokobanVectorEnv(2).render() is None
