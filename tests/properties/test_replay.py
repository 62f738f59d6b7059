"""The same seed and actions show the same things: again, on a used instance, and in another process."""

from __future__ import annotations

import gymnasium
import pytest

from palaestra.benchmarks import replay
from palaestra.envs.registration import ENVIRONMENTS
from tests.requirements.ledger import requirement


@requirement("R13")
def test_episodes_replay_alike_in_another_process_and_on_a_used_instance() -> None:
    assert replay.count_differing(200, seed=3) == 0


@requirement("R13")
def test_a_single_different_action_is_seen() -> None:
    env = gymnasium.make(replay.ENV_ID, disable_env_checker=True, **replay.SETTINGS)
    actions = replay.play(env, seed=3, episode=0)
    changed = ["still", *actions[1:]]
    assert changed != actions
    assert replay.digest(env, 0, actions) == replay.digest(env, 0, actions) != replay.digest(env, 0, changed)


@requirement("R13")
@pytest.mark.parametrize("env_id", sorted(ENVIRONMENTS))
def test_every_environment_replays_from_its_seed(env_id: str) -> None:
    kwargs = {} if "Reference" not in env_id else {"size": 7, "boxes": 1}  # the original's generator is slow on 10x10
    first, second = (gymnasium.make(env_id, disable_env_checker=True, **kwargs) for _ in range(2))
    second.reset(seed=99)
    for seed in range(5):
        first.action_space.seed(seed)
        shown = [first.reset(seed=seed)[0], second.reset(seed=seed)[0]]
        over = False
        while not over:
            assert str(shown[0]) == str(shown[1])
            action = first.action_space.sample()
            *left, left_info = first.step(action)
            *right, right_info = second.step(action)
            assert str(left) == str(right)
            assert str(left_info) == str(right_info)
            shown, over = [left[0], right[0]], bool(left[2] or left[3])
