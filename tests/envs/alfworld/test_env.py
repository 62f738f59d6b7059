"""The Gymnasium environment: contract, settings, options, snapshots, hostile actions, repeatability."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.utils.env_checker import check_env
from tests.requirements.ledger import requirement

import palaestra
from palaestra.envs.alfworld.env import ALFWorldEnv
from palaestra.envs.alfworld.game import TASK_TYPES
from palaestra.envs.core.checks import check_agent_env
from palaestra.envs.core.errors import ConfigError, TaskError
from palaestra.envs.core.text.types import NOOP, ProgressOracle, TextWorld
from palaestra.envs.demos import make_demos

gymnasium.register_envs(palaestra)

ID = "palaestra/ALFWorld-v0"
SETTINGS: list[dict[str, Any]] = [
    {},
    {"games": "generate", "oracle_info": True},
    {"games": "generate", "size": "small", "remind": "state", "listing": "acting", "expert": "explorer"},
    {"reward": "win10", "remind": "task", "listing": "prompt", "tasks": [2, 6], "split": "valid_unseen"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_nobody_finds_anything_to_complain_about(settings: dict[str, Any]) -> None:
    check_env(gymnasium.make(ID, render_mode="ansi", **settings).unwrapped)
    assert check_agent_env(ID, seeds=(0, 1), **settings).remarks == ()


def test_it_is_a_text_world_with_an_oracle() -> None:
    assert isinstance(ALFWorldEnv(), TextWorld)
    assert isinstance(ALFWorldEnv(), ProgressOracle)


@pytest.mark.parametrize("expert", ["planner", "explorer"])
@pytest.mark.parametrize("reward", ["native", "win10"])
def test_experts_win_and_are_paid(expert: str, reward: str) -> None:
    env = ALFWorldEnv(expert=expert, reward=reward, oracle_info=True)
    for index in range(12):
        _, info = env.reset(seed=0, options={"index": index})
        assert info["task_type"] == TASK_TYPES[index % 6]
        assert f"/{info['task_type']}-" in info["extra.gamefile"]
        paid = []
        for command in env.plan() or ():
            _, reward_now, terminated, truncated, info = env.step(command)
            paid.append(reward_now)
            assert info["action_status"] == "ok"
        assert (terminated, truncated, info["won"], info["score"]) == (True, False, True, 1.0)
        assert info["oracle_distance"] == 0.0
        assert paid == [0.0] * (len(paid) - 1) + [1.0 if reward == "native" else 10.0]
        with pytest.raises(ResetNeeded):
            env.step("look")


def test_the_limit_truncates() -> None:
    env = ALFWorldEnv(max_steps=3)
    env.reset(seed=0)
    ends = [env.step("look")[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]


def test_old_commands_are_understood_unless_told_otherwise() -> None:
    for aliases in (True, False):
        env = ALFWorldEnv(aliases=aliases, tasks=1)
        env.reset(seed=0, options={"index": 0})
        way = env.plan() or []
        assert way[-1].startswith("move ")
        for command in way[:-1]:
            env.step(command)
        saved = env.snapshot()
        thing, place = way[-1].removeprefix("move ").split(" to ")
        for word in ("in/on", "in", "on"):
            env.restore(saved)
            _, _, terminated, _, info = env.step(f"put {thing} {word} {place}")
            assert terminated == aliases
            assert info["action_status"] == ("ok" if aliases else "inadmissible")
        env.restore(saved)
        assert env.step(f"put {thing} under {place}")[4]["action_status"] == "inadmissible"


def test_what_is_listed_and_what_is_reminded_of() -> None:
    listed = {}
    for listing in ("all", "prompt", "acting"):
        env = ALFWorldEnv(listing=listing)
        _, info = env.reset(seed=0)
        listed[listing] = set(info["admissible_commands"])
        observation, _, _, _, info = env.step("help")
        assert observation.startswith("Available commands")
        assert info["action_status"] == "ok"
    assert listed["all"] - listed["prompt"] == {"help"}
    assert listed["prompt"] - listed["acting"] == {"look", "inventory"}
    env = ALFWorldEnv(remind="state")
    first, info = env.reset(seed=0)
    observation, _, _, _, after = env.step("help")
    assert observation.split("\n")[:2] == [first.split("\n")[-1], "You are not carrying anything."]
    assert after["anchor"] == observation
    assert "\n".join(observation.split("\n")[2:]).startswith("Available commands")
    place = next(command for command in info["admissible_commands"] if command.startswith("go to "))
    arrived = env.step(place)[0].split("\n")
    assert arrived[2].startswith("You arrive at ")
    assert len(arrived) == 3
    puzzled = env.step("dance")[0].split("\n")
    assert puzzled[2:] == ["Nothing happens.", arrived[2].split(". ", 1)[1]]


def test_the_acting_list_holds_the_looks_that_show_something_new() -> None:
    env = ALFWorldEnv(games="generate", size="small", expert="explorer", listing="acting")
    env.reset(seed=165)  # its two shelves stand in one place, so nobody can walk from one to the other
    listed = env.step("go to shelf 1")[4]["admissible_commands"]
    assert (env.plan() or [])[0] == "examine shelf 2"
    assert "examine shelf 2" in listed
    assert "examine shelf 1" not in listed
    assert "examine shelf 2" not in env.step("examine shelf 2")[4]["admissible_commands"]


@pytest.mark.parametrize(
    ("action", "status"),
    [
        ("fly", "inadmissible"),
        (NOOP, "not_in_language"),
        ("", "not_in_language"),
        ("LOOK", "inadmissible"),
        (" look ", "ok"),
    ],
)
def test_every_string_has_a_status(action: str, status: str) -> None:
    env = ALFWorldEnv()
    _, before = env.reset(seed=0)
    observation, reward, *_, info = env.step(action)
    assert info["action_status"] == status
    assert info["action_valid"] == info["action_admissible"] == (status == "ok")
    if status != "ok":
        assert (observation, reward, info["state_key"]) == ("Nothing happens.", 0.0, before["state_key"])


def test_hostile_actions_are_survived() -> None:
    rng = np.random.default_rng(0)
    alphabet = "abc takeomvput\x00\n\t<>{}[]()#\u202e\U0001f600%s\\'\"" + "".join(map(chr, range(32, 127)))
    env = ALFWorldEnv(games="generate", size="small", pool=8, max_steps=10_000)
    env.reset(seed=0)
    for _ in range(20_000):
        length = int(rng.integers(0, 60))
        action = "".join(alphabet[int(i)] for i in rng.integers(0, len(alphabet), length))
        if rng.random() < 0.3:
            action = f"put {action} in {action}"
        key = env.world.key()
        observation, reward, terminated, truncated, _ = env.step(action)
        assert (observation, reward, terminated, key) == ("Nothing happens.", 0.0, False, env.world.key())
        if truncated:
            env.reset()
    with pytest.raises(InvalidAction):
        env.step(7)  # type: ignore[arg-type]


def test_options_choose_the_game() -> None:
    env = ALFWorldEnv()
    _, first = env.reset(seed=0, options={"split": "valid_unseen", "index": 5})
    assert first["split"] == "valid_unseen"
    _, again = env.reset(options={"task": first["task_id"]})
    assert again["task_id"] == first["task_id"]
    assert again["split"] == "valid_unseen"
    _, second_name = env.reset(options={"split": "test", "index": 5})
    assert second_name["task_id"] == first["task_id"]
    assert second_name["split"] == "test"
    assert env.reset(options={"split": "valid"})[1]["split"] == "valid"


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"split": "dev"}, TaskError, "valid_seen"),
        ({"index": 60}, TaskError, "0 to 59"),
        ({"index": -1}, TaskError, "-1"),
        ({"index": "3"}, TaskError, "'3'"),
        ({"task": "alf-0"}, TaskError, "alf-0"),
        ({"level": 3}, ConfigError, "level"),
        ({"task": "alf-0", "index": 3}, ConfigError, "together"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=named):
        ALFWorldEnv().reset(seed=0, options=options)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"gamse": "embedded"}, "did you mean 'games'"),
        ({"tasks": 7}, "7"),
        ({"tasks": "pick_and_place"}, "did you mean"),
        ({"tasks": []}, "at least one"),
        ({"max_steps": 0}, "max_steps"),
        ({"render_mode": "human"}, "ansi"),
        ({"split": "dev"}, "split"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        ALFWorldEnv(**settings)


def test_generated_games_cannot_be_found_by_id_and_pools_end() -> None:
    env = ALFWorldEnv(games="generate", size="small", pool=3)
    assert len({env.reset(seed=seed)[1]["task_id"] for seed in range(40)}) <= 3
    with pytest.raises(TaskError, match="not by task id"):
        env.reset(options={"task": "alf-0"})
    with pytest.raises(TaskError, match="0 to 2"):
        env.reset(options={"index": 3})


def test_a_task_type_without_games_is_named() -> None:
    env = ALFWorldEnv(games="generate", size="small", tasks=(4,))
    assert env.reset(seed=0)[1]["task_type"] == TASK_TYPES[3]
    assert env.reset(seed=0, options={"split": "valid_unseen"})[1]["task_type"] == TASK_TYPES[3]


def episode(env: ALFWorldEnv, seed: int, steps: int = 20) -> list[Any]:
    rng = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    shown: list[Any] = [observation, info]
    for _ in range(steps):
        listed = info["admissible_commands"]
        *result, info = env.step(listed[int(rng.integers(len(listed)))])
        shown += [result, info]
        if result[2] or result[3]:
            break
    return shown


@requirement("R14")
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_branches_equal_the_run_never_left(settings: dict[str, Any]) -> None:
    env, other = ALFWorldEnv(**settings), ALFWorldEnv(**settings)
    for seed in range(10):
        env.reset(seed=seed)
        other.reset(seed=seed + 1)
        commands = (env.plan() or [])[:4]
        for command in commands:
            saved, twin = env.snapshot(), copy.deepcopy(env)
            straight = env.step(command)
            other.restore(saved)
            assert other.snapshot() == saved
            assert other.plan() == twin.plan()
            assert other.step(command) == twin.step(command) == straight
        assert env.reset() == other.reset() == twin.reset()


def test_snapshots_of_something_else_are_refused() -> None:
    env = ALFWorldEnv()
    with pytest.raises(ResetNeeded):
        env.snapshot()
    env.reset(seed=0)
    saved = env.snapshot()
    state = json.loads(saved)
    for wrong in (b"", b"[]", b"{}", b"\xff", json.dumps(state | {"task_id": "alf-other"}).encode(),
                  json.dumps(state | {"world": {}}).encode(), json.dumps(state | {"index": 4000}).encode(),
                  json.dumps(state | {"world": state["world"] | {"states": "zz"}}).encode()):  # fmt: skip
        with pytest.raises(TaskError):
            env.restore(wrong)
        assert env.snapshot() == saved
    with pytest.raises(TaskError, match="max_steps=50"):
        ALFWorldEnv(max_steps=9).restore(saved)


REPLAY = """
import hashlib, sys
from tests.envs.alfworld.test_env import ALFWorldEnv, episode
digest = hashlib.sha256()
env = ALFWorldEnv(games="generate", size="small", oracle_info=True)
for seed in range(int(sys.argv[1])):
    digest.update(repr(episode(env, seed)).encode())
print(digest.hexdigest())
"""


@requirement("R13")
def test_episodes_replay_alike_whatever_the_hash_seed() -> None:
    digests = set()
    for hash_seed in ("0", "7"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", REPLAY, "150"]
        digests.add(subprocess.check_output(command, env=environment, text=True, timeout=120))
    assert len(digests) == 1


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, gymnasium, palaestra\n"
        "gymnasium.make('palaestra/ALFWorld-v0').reset(seed=0)\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'textworld', 'alfworld', 'numba', 'spacy')])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60).strip() == "[]"


def test_demonstrations_know_the_true_distance() -> None:
    demos = list(make_demos(ID, 12, seed=1, split="valid_seen"))
    for demo in demos:
        assert demo.won
        distances = [demo.start["oracle_distance"], *(step.info["oracle_distance"] for step in demo.steps)]
        assert distances == list(range(len(demo.steps), -1, -1))
    noisy = list(make_demos(ID, 6, seed=1, noise=0.3, env_kwargs={"expert": "explorer"}))
    assert all(demo.won for demo in noisy)
    assert sum(len(demo.steps) for demo in noisy) > 6 * 6
