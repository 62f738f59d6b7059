"""The Gymnasium environment: contract, modes, actions, options, snapshots."""

from __future__ import annotations

import copy
import itertools
import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

import palaestra
from palaestra.envs.core.errors import ConfigError, TaskError
from palaestra.envs.core.text.types import ProgressOracle, TextWorld
from palaestra.envs.registration import ENVIRONMENTS, register_all
from palaestra.envs.sokoban.env import SokobanEnv

gymnasium.register_envs(palaestra)


@pytest.mark.parametrize("actions", ["text4", "push4", "full9"])
@pytest.mark.parametrize("obs", ["text", "symbol", "planes", "rgb"])
@pytest.mark.parametrize("render_mode", ["ansi", "rgb_array"])
def test_gymnasium_finds_nothing_to_complain_about(actions: str, obs: str, render_mode: str) -> None:
    env = gymnasium.make("palaestra/Sokoban-v0", actions=actions, obs=obs, render_mode=render_mode)
    check_env(env.unwrapped)
    env.close()
    env.close()


@pytest.mark.parametrize(
    "kwargs",
    [
        {"text_style": "padded"},
        {"text_style": "xsb", "admissible": "effective"},
        {"actions_per_turn": 3, "reward": "sparse"},
        {"levels": "embedded", "size": (8, 8), "boxes": 3, "reward": "win10"},
        {"generator": "reference", "oracle_info": True, "info": "numeric"},
        {"obs": "rgb", "rgb_scale": "tiny"},
    ],
    ids=str,
)
def test_gymnasium_finds_nothing_in_the_other_modes(kwargs: dict[str, Any]) -> None:
    check_env(gymnasium.make("palaestra/Sokoban-v0", **kwargs).unwrapped)


@pytest.mark.parametrize("env_id", ["palaestra/SokobanGrid-v0", "palaestra/Sokoban-v0"])
def test_every_id_makes_single_and_batched(env_id: str) -> None:
    gymnasium.make(env_id).reset(seed=0)
    gymnasium.make_vec(env_id, num_envs=2, vectorization_mode="vector_entry_point").reset(seed=0)


def test_registering_again_changes_nothing() -> None:
    before = {env_id: gymnasium.registry[env_id] for env_id in ENVIRONMENTS}
    register_all()
    assert before == {env_id: gymnasium.registry[env_id] for env_id in ENVIRONMENTS}


def test_it_is_a_text_world() -> None:
    assert isinstance(SokobanEnv(), TextWorld)
    assert isinstance(SokobanEnv(), ProgressOracle)


@pytest.fixture
def corridor(tmp_path: Path) -> Path:
    """Two pushes to the right solve it; there is a second box at home, which can be pushed off."""
    path = tmp_path / "corridor.xsb"
    path.write_text("########\n#@$ .* #\n#      #\n########", "utf-8")
    return path


def started(path: Path, **kwargs: Any) -> SokobanEnv:
    env = SokobanEnv(levels=str(path), **kwargs)
    env.reset(seed=0)
    return env


def test_texts_of_all_styles(corridor: Path) -> None:
    assert SokobanEnv(levels=str(corridor)).reset(seed=0)[0] == "########\n#PX_O√_#\n#______#\n########"
    assert SokobanEnv(levels=str(corridor), text_style="xsb").reset(seed=0)[0].split("\n")[1] == "#@$ .* #"
    padded = SokobanEnv(levels=str(corridor), text_style="padded").reset(seed=0)[0].split("\n")[1]
    assert padded == " # \t P \t X \t _ \t O \t √ \t _ \t # \t"


def test_rewards_of_a_solved_episode(corridor: Path) -> None:
    env = started(corridor)
    _, reward, terminated, truncated, info = env.step("right")
    assert (round(reward, 9), terminated, truncated) == (-0.1, False, False)
    assert info["action.name"] == "push right"
    assert info["action.moved_box"]
    _, reward, terminated, truncated, info = env.step("right")
    assert (round(reward, 9), terminated, truncated) == (10.9, True, False)
    assert info["won"]
    assert info["score"] == 1.0
    assert info["all_boxes_on_target"]
    assert not info["maxsteps_used"]
    with pytest.raises(ResetNeeded, match="reset"):
        env.step("right")


def test_pushing_a_box_off_its_target_costs_one(corridor: Path) -> None:
    env = started(corridor, max_steps=30)
    rewards = [round(env.step(word)[1], 9) for word in ("down", "right", "right", "right", "up", "right")]
    assert rewards == [-0.1, -0.1, -0.1, -0.1, -0.1, -1.1]
    assert env.distance() == float("inf")  # the box stands at the right wall, its target does not
    assert env.plan() is None


@pytest.mark.parametrize(("mode", "won"), [("sparse", 1.0), ("win10", 10.0)])
def test_other_rewards(corridor: Path, mode: str, won: float) -> None:
    env = started(corridor, reward=mode)
    assert [env.step("right")[1], env.step("right")[1]] == [0.0, won]


def test_step_limit_truncates_and_noops_count(corridor: Path) -> None:
    env = started(corridor, max_steps=3)
    first = env.render_mode, env._observe()[0]
    for word in ("still", "<noop>", "fly"):
        observation, reward, terminated, truncated, info = env.step(word)
        assert reward == -0.1
        assert observation == first[1]
    assert truncated
    assert not terminated
    assert info["maxsteps_used"]
    assert info["step"] == 3


def test_solving_at_the_limit_is_no_truncation(corridor: Path) -> None:
    env = started(corridor, max_steps=2)
    env.step("right")
    _, _, terminated, truncated, info = env.step("right")
    assert (terminated, truncated, info["maxsteps_used"]) == (True, False, True)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("up", "ok"),
        ("still", "inadmissible"),
        ("<noop>", "not_in_language"),
        ("UP", "not_in_language"),
        ("support", "not_in_language"),
        (" up", "not_in_language"),
        ("up || down", "not_in_language"),
        ("", "not_in_language"),
    ],
)
def test_action_status(corridor: Path, word: str, status: str) -> None:
    info = started(corridor).step(word)[4]
    assert info["action_status"] == status
    assert info["action_valid"] == info["action_admissible"] == (status == "ok")


def test_effective_lists_only_what_changes_the_board(corridor: Path) -> None:
    env = SokobanEnv(levels=str(corridor), admissible="effective")
    _, info = env.reset(seed=0)
    assert info["admissible_commands"] == ["down", "right"]
    info = env.step("up")[4]
    assert info["action_status"] == "inadmissible"
    assert env.step("right")[4]["action_status"] == "ok"


def test_listings_of_the_other_languages(corridor: Path) -> None:
    _, info = SokobanEnv(levels=str(corridor), actions="full9").reset(seed=0)
    assert info["admissible_commands"][0] == "no operation"
    assert len(info["admissible_commands"]) == 9
    _, info = SokobanEnv(levels=str(corridor), actions="push4").reset(seed=0)
    assert info["admissible_commands"] == ["up", "down", "left", "right"]
    info["admissible_commands"].clear()  # a caller's list is its own
    assert SokobanEnv(levels=str(corridor), actions="push4").reset(seed=0)[1]["admissible_commands"]


def test_moves_of_the_nine_actions_never_push(corridor: Path) -> None:
    env = started(corridor, actions="full9")
    info = env.step(8)[4]
    assert (info["action.name"], info["action.moved_player"]) == ("move right", False)
    assert env.step(np.int64(4))[4]["action.moved_box"]


def test_turns_of_several_words(corridor: Path) -> None:
    env = started(corridor, actions_per_turn=3)
    _, reward, terminated, _, info = env.step("right||  right || up")
    assert terminated
    assert info["step"] == 2  # the turn stops where the episode ends
    assert reward == pytest.approx(-0.1 + 10.9)
    assert info["action.name"] == "push right || push right || push up"
    for turn in ("right || right || right || right", "right || fly", "right ||", "||"):
        info = started(corridor, actions_per_turn=3).step(turn)[4]
        assert (info["action_status"], info["step"], info["action.moved_player"]) == ("not_in_language", 1, False)
    assert started(corridor, actions_per_turn=3).step("right || still")[4]["action_status"] == "inadmissible"


@pytest.mark.parametrize(
    ("kwargs", "action"),
    [
        ({}, 1),
        ({}, None),
        ({}, ["up"]),
        ({"actions": "push4"}, 4),
        ({"actions": "push4"}, -1),
        ({"actions": "full9"}, "push up"),
        ({"actions": "full9"}, 1.5),
    ],
)
def test_actions_of_another_kind_are_refused(corridor: Path, kwargs: dict[str, Any], action: Any) -> None:
    env = started(corridor, **kwargs)
    with pytest.raises(InvalidAction, match="this environment takes"):
        env.step(action)
    assert env.distance() == 2


@settings(max_examples=400, deadline=None)
@given(st.lists(st.text() | st.sampled_from(["up", "down", "left", "right", "still", "up||", "<action>up</action>"])))
def test_any_string_is_survived_and_no_noop_changes_the_board(words: list[str]) -> None:
    env = SokobanEnv(pool=8, actions_per_turn=2, max_steps=50)
    observation, _ = env.reset(seed=1)
    for word in words:
        before = observation
        observation, reward, terminated, truncated, info = env.step(word)
        assert -2.3 <= reward <= 11
        if info["action_status"] == "not_in_language":
            assert observation == before
        if terminated or truncated:
            observation, _ = env.reset()


def test_hostile_strings_are_cheap() -> None:
    env = SokobanEnv(actions_per_turn=4, max_steps=100)
    env.reset(seed=0)
    for word in ("up||" * 1_000_000, "\0" * 5_000_000, "|" * 5_000_000, "√" * 1_000_000):
        assert env.step(word)[4]["action_status"] == "not_in_language"


def test_infos_are_complete_and_json_ready() -> None:
    env = SokobanEnv(oracle_info=True)
    _, info = env.reset(seed=5)
    common = {
        "won", "score", "step", "boxes_on_target", "num_boxes", "admissible_commands", "task", "task_id", "split",
        "anchor", "state_key", "oracle_distance",
    }  # fmt: skip
    assert set(info) == common
    observation, _, _, _, after = env.step("up")
    assert set(after) - common == {
        "action_status", "action_valid", "action_admissible", "action.name", "action.moved_player", "action.moved_box",
    }  # fmt: skip
    assert after["anchor"] == observation
    json.dumps([info, after])


def test_numeric_info_holds_numbers_only() -> None:
    env = SokobanEnv(info="numeric")
    _, info = env.reset(seed=5)
    info |= env.step("up")[4]
    assert all(isinstance(value, (int, float)) for value in info.values())


def test_state_key_follows_the_board_not_the_clock() -> None:
    env = SokobanEnv(max_steps=100)
    keys: dict[str, str] = {}
    for seed in range(20):
        observation, info = env.reset(seed=seed)
        for word in ("up", "down", "still", "left", "right"):
            assert keys.setdefault(info["state_key"], observation) == observation
            assert len(info["state_key"]) == 16
            observation, _, over, _, info = env.step(word)
            if over:
                break
    assert len(keys) > 30


def test_oracle_counts_down_along_the_plan() -> None:
    for seed in range(30):
        env = SokobanEnv(oracle_info=True, boxes=2, size=7)
        _, info = env.reset(seed=seed)
        plan = env.plan()
        assert plan is not None
        for left in range(len(plan), 0, -1):
            assert info["oracle_distance"] == left == env.distance()
            *_, info = env.step(plan[len(plan) - left])
        assert info["won"]
        assert info["oracle_distance"] == 0


@pytest.mark.parametrize("actions", ["push4", "full9"])
def test_plan_speaks_the_language_of_the_actions(actions: str) -> None:
    env = SokobanEnv(actions=actions)
    env.reset(seed=2)
    for action in env.plan() or ():
        *_, info = env.step(action)
    assert info["won"]


def test_reset_draws_the_same_levels_for_the_same_seed() -> None:
    one, two = SokobanEnv(), SokobanEnv()
    first = [one.reset(seed=9)[0]] + [one.reset()[0] for _ in range(5)]
    assert first == [two.reset(seed=9)[0]] + [two.reset()[0] for _ in range(5)]
    assert len(set(first)) == 6
    assert one.reset(seed=10)[0] != first[0]


def test_reset_without_any_seed_is_random() -> None:
    assert len({SokobanEnv().reset()[0] for _ in range(8)}) > 1


def test_reset_options_choose_the_level() -> None:
    env = SokobanEnv()
    by_index = env.reset(seed=1, options={"index": 17, "split": "test"})
    assert by_index[1]["split"] == "test"
    assert env.reset(seed=2, options={"index": 17, "split": "test"}) == by_index
    assert env.reset(seed=2, options={"index": 17, "split": "valid"})[0] != by_index[0]
    assert SokobanEnv(split="test").reset(options={"index": 17})[0] == by_index[0]


def test_pool_bounds_the_levels() -> None:
    env = SokobanEnv(pool=3)
    env.reset(seed=0)
    drawn = {env.reset()[1]["task_id"] for _ in range(60)}
    assert drawn == {SokobanEnv().reset(options={"index": i})[1]["task_id"] for i in range(3)}


def test_embedded_levels_by_index_and_task() -> None:
    env = SokobanEnv(levels="embedded", size=(8, 8), boxes=2)
    ids = [env.reset(seed=0, options={"index": i, "split": "test"})[1]["task_id"] for i in range(4)]
    assert len(set(ids)) == 4
    _, info = env.reset(options={"task": ids[2]})
    assert info["task_id"] == ids[2]
    assert info["split"] == "test"
    with pytest.raises(TaskError, match="levels 0 to 3"):
        env.reset(options={"index": 4, "split": "test"})
    with pytest.raises(TaskError, match="is no level of the embedded levels"):
        env.reset(options={"task": "sok-0"})


def test_levels_of_a_file_are_padded_to_one_size(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.txt").write_text("#####\n#@$.#\n#####\n\n####\n#@##\n#$.#\n#  #\n####", "utf-8")
    env = SokobanEnv(levels=str(tmp_path), obs="symbol", actions="push4")
    assert env.observation_space.shape == (5, 5)
    for index in range(2):
        observation, info = env.reset(options={"index": index})
        assert env.observation_space.contains(observation)
        assert info["split"] == "train"
    with pytest.raises(TaskError, match=r"no level in split 'valid'.*'train': 2"):
        env.reset(options={"split": "valid"})


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"index": -1}, "bad_index"),
        ({"index": "0"}, "bad_index"),
        ({"index": True}, "bad_index"),
        ({"split": "tset"}, "unknown_split"),
        ({"tsk": 1}, "unknown_option"),
        ({"task": "sok-000000000000-0"}, "unknown_task"),
    ],
)
def test_bad_reset_options_are_named(options: dict[str, Any], code: str) -> None:
    with pytest.raises(TaskError) as caught:
        SokobanEnv().reset(options=options)
    assert caught.value.code == code
    assert str(next(iter(options))) in str(caught.value)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"boxs": 2}, "did you mean 'boxes'"),
        ({"actions": "push5"}, "push5"),
        ({"size": (2, 6)}, "3 to 100"),
        ({"size": 200}, "3 to 100"),
        ({"min_len": 9, "max_len": 5}, "swap them"),
        ({"max_steps": 5}, "raise max_steps or lower max_len"),
        ({"actions": "push4", "actions_per_turn": 2}, "text4"),
        ({"levels": "embedded", "size": (9, 9)}, "no embedded levels with size=9x9 boxes=1"),
        ({"levels": "/no/such/file"}, "no such file"),
        ({"render_mode": "human"}, "render_mode='human'"),
    ],
)
def test_bad_settings_are_named(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, TaskError), match=message):
        SokobanEnv(**kwargs)


def rest_of_episode(env: SokobanEnv, words: list[str]) -> list[Any]:
    """Everything that happens from here, over resets."""
    seen: list[Any] = []
    for word in words:
        outcome = env.step(word)
        seen.append(outcome)
        if outcome[2] or outcome[3]:
            seen.append(env.reset())
    return seen


def test_a_thousand_branches_equal_the_run_never_left() -> None:
    rng = np.random.default_rng(0)
    words = [("up", "down", "left", "right", "still")[i] for i in rng.integers(0, 5, 400)]
    branches = 0
    other = SokobanEnv(boxes=2)
    for seed in range(25):
        env = SokobanEnv(boxes=2)
        env.reset(seed=seed)
        for start in range(0, 40):
            snapshot = env.snapshot()
            expected = rest_of_episode(copy.deepcopy(env), words[start : start + 25])
            other.restore(snapshot)
            assert other.snapshot() == snapshot
            assert rest_of_episode(other, words[start : start + 25]) == expected
            branches += 1
            if any(env.step(words[start])[2:4]):
                env.reset()
    assert branches == 1000


def test_snapshots_of_an_ended_episode_and_before_any() -> None:
    env = SokobanEnv(max_steps=12)
    with pytest.raises(ResetNeeded, match="nothing to snapshot"):
        env.snapshot()
    env.reset(seed=0)
    for _ in range(12):
        env.step("still")
    other = SokobanEnv(max_steps=12)
    other.restore(env.snapshot())
    with pytest.raises(ResetNeeded):
        other.step("up")
    assert other.reset()[0] == env.reset()[0]


@pytest.mark.parametrize("snapshot", [b"", b"{}", b"[1]", b"\x80\x04", b'"config"', b'{"config": 3}', b"cut"])
def test_other_bytes_are_no_snapshot(snapshot: bytes) -> None:
    env = SokobanEnv()
    env.reset(seed=0)
    good = env.snapshot()
    with pytest.raises(TaskError, match="Sokoban snapshot") as caught:
        env.restore(good.replace(b'"steps"', b'"stops"') if snapshot == b"cut" else snapshot)
    assert caught.value.code == "bad_snapshot"
    assert env.snapshot() == good


def test_snapshot_of_other_settings_is_refused() -> None:
    env = SokobanEnv()
    env.reset(seed=0)
    with pytest.raises(TaskError, match="other settings: boxes=1"):
        SokobanEnv(boxes=2).restore(env.snapshot())


def test_rendering_modes(corridor: Path) -> None:
    ansi = started(corridor, render_mode="ansi")
    assert ansi.render() == ansi._observe()[0]
    assert started(corridor, render_mode="rgb_array", rgb_scale="tiny").render().shape == (4, 8, 3)
    assert started(corridor).render() is None


def test_observations_agree_across_modes() -> None:
    for seed, word in itertools.product(range(5), ("up", "left")):
        code = ("up", "down", "left", "right").index(word)
        text = SokobanEnv()
        symbol, planes = SokobanEnv(obs="symbol", actions="push4"), SokobanEnv(obs="planes", actions="push4")
        for env in (text, symbol, planes):
            env.reset(seed=seed)
        said, grid, layers = text.step(word)[0], symbol.step(code)[0], planes.step(code)[0]
        assert said.replace("\n", "") == "".join("#_O√XPS"[c] for c in grid.ravel())
        for plane, codes in enumerate(((0,), (2, 3, 6), (3, 4), (5, 6))):
            np.testing.assert_array_equal(layers[plane], np.isin(grid, codes))
