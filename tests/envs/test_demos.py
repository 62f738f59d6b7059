"""Demonstrations: won, repeatable, with distances that can be believed, and files that keep them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import pytest

import palaestra
from palaestra.envs.core.types import StopReason, Trajectory
from palaestra.envs.demos import make_demos, read_demos, write_demos
from palaestra.mcp_servers.errors import ConfigError, StoreError, TaskError

gymnasium.register_envs(palaestra)
SOKOBAN = "palaestra/Sokoban-v0"


def replay(demo: Trajectory) -> None:
    """The episode happens again from its task and actions alone."""
    env = gymnasium.make(demo.task.env_id, **demo.task.env_kwargs)
    observation, _ = env.reset(seed=demo.task.seed, options=dict(demo.task.reset_options))
    for step in demo.steps:
        assert observation == step.observation
        observation, reward, terminated, truncated, _ = env.step(step.action.text)
        assert (reward, terminated, truncated) == (step.reward, step.terminated, step.truncated)
    assert observation == demo.final_observation


def test_expert_takes_the_shortest_way() -> None:
    demos = list(make_demos(SOKOBAN, 30, split="test", seed=3))
    assert len({demo.task.key for demo in demos}) == 30
    for demo in demos:
        assert demo.won
        assert demo.score == 1.0
        assert demo.stop_reason is StopReason.TERMINATED
        assert demo.start["split"] == "test"
        distances = [demo.start["oracle_distance"], *(step.info["oracle_distance"] for step in demo.steps)]
        assert distances == list(range(len(demo.steps), -1, -1))
        replay(demo)


def test_noise_makes_detours_that_are_measured() -> None:
    demos = list(make_demos(SOKOBAN, 60, seed=1, noise=0.7, keep_failed=True))
    assert 0 < sum(demo.won for demo in demos) < 60
    lost = 0
    for demo in demos:
        before = demo.start["oracle_distance"]
        listed = demo.start["admissible_commands"]
        for step in demo.steps:
            assert step.action.text in listed
            listed = step.info["admissible_commands"]
            after = step.info["oracle_distance"]
            if after is None:
                assert step.info["deadlock"]
                lost += 1
                break
            assert after >= before - 1  # no move gains more than one; a wrong push may cost many
            before = after
        replay(demo)
    assert lost > 0


def test_failed_episodes_are_dropped_unless_kept() -> None:
    assert all(demo.won for demo in make_demos(SOKOBAN, 20, seed=1, noise=0.4))


def test_same_arguments_same_demos() -> None:
    assert list(make_demos(SOKOBAN, 4, seed=5, noise=0.2)) == list(make_demos(SOKOBAN, 4, seed=5, noise=0.2))
    assert list(make_demos(SOKOBAN, 4, seed=5)) != list(make_demos(SOKOBAN, 4, seed=6))


def test_settings_reach_the_environment() -> None:
    (demo,) = make_demos(SOKOBAN, 1, env_kwargs={"size": 7, "boxes": 2, "text_style": "xsb"})
    assert demo.steps[0].observation.count("$") + demo.steps[0].observation.count("*") == 2
    replay(demo)


def test_file_keeps_every_demo(tmp_path: Path) -> None:
    demos = list(make_demos(SOKOBAN, 5, noise=0.3, keep_failed=True))
    path = tmp_path / "demos.jsonl"
    assert write_demos(path, demos) == 5
    assert list(read_demos(path)) == demos
    assert [file.name for file in tmp_path.iterdir()] == ["demos.jsonl"]


def test_interrupted_file_never_appears(tmp_path: Path) -> None:
    def interrupted() -> Any:
        yield from make_demos(SOKOBAN, 1)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_demos(tmp_path / "demos.jsonl", interrupted())
    assert list(tmp_path.iterdir()) == []


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "demos.jsonl"
    write_demos(path, make_demos(SOKOBAN, 2))
    path.write_text(path.read_text("utf-8") + "{}\n", "utf-8")
    with pytest.raises(StoreError, match="line 3 is no episode"):
        list(read_demos(path))
    with pytest.raises(StoreError, match="cannot be read"):
        list(read_demos(tmp_path / "missing"))
    with pytest.raises(StoreError, match="cannot be written"):
        write_demos(tmp_path / "no" / "folder", [])


@pytest.mark.parametrize(
    ("env_id", "arguments", "code"),
    [
        (SOKOBAN, {"noise": 1.5}, "noise"),
        (SOKOBAN, {"env_kwargs": {"actions": "push4"}}, "not_text"),
        ("CartPole-v1", {}, "not_text"),
    ],
)
def test_unusable_arguments_are_named(env_id: str, arguments: dict[str, Any], code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        next(make_demos(env_id, 1, **arguments))
    assert caught.value.code == code


class Mute(gymnasium.Env[str, str]):
    observation_space = gymnasium.spaces.Text(8)
    action_space = gymnasium.spaces.Text(8)


def test_a_world_without_an_expert_is_refused() -> None:
    gymnasium.register("palaestra-tests/Mute-v0", entry_point=lambda **kwargs: Mute())
    try:
        with pytest.raises(ConfigError, match=r"no plan\(\) and distance\(\)"):
            next(make_demos("palaestra-tests/Mute-v0", 1))
    finally:
        del gymnasium.registry["palaestra-tests/Mute-v0"]


def test_hopeless_noise_gives_up() -> None:
    with pytest.raises(TaskError, match="51 of 51 episodes failed"):
        list(make_demos(SOKOBAN, 1, noise=1.0, env_kwargs={"min_len": 12, "max_len": 12, "max_steps": 12}))
