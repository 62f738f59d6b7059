"""Game files: written and read back, found in a user's folder, and refused by name when something is wrong."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

from palaestra.envs.alfworld.domain import DOMAIN
from palaestra.envs.alfworld.env import ALFWorldEnv
from palaestra.envs.alfworld.export import export_games
from palaestra.envs.alfworld.files import GAME_FILE, TRAJECTORY_FILE, game_data, read_game, write_game
from palaestra.envs.alfworld.generator import SPLITS, Household, make_household
from palaestra.envs.alfworld.grammar import read_grammar, write_grammar
from palaestra.envs.alfworld.names import entity_names
from palaestra.envs.alfworld.planner import plan
from palaestra.envs.alfworld.problem import read_problem, write_problem
from palaestra.envs.alfworld.sources import compile_household, file_name
from palaestra.envs.alfworld.world import World
from palaestra.envs.core.checks import check_agent_env
from palaestra.envs.core.errors import ConfigError, TaskError


def household(number: int = 0, **settings: Any) -> Household:
    return make_household("train", number, size="small", **settings)


def data_of(made: Household) -> dict[str, Any]:
    return game_data(made.problem, made.sentence, "plan_0", plan(World(compile_household(made, "f"))) or [])


def trajectory(made: Household) -> dict[str, Any]:
    lamp = made.place if made.task_type == "look_at_obj_in_light" else ""
    return {
        "task_type": made.task_type,
        "pddl_params": {
            "object_target": made.target, "parent_target": "" if lamp else made.place, "toggle_target": lamp,
            "mrecep_target": "", "object_sliced": False,
        },
        "turk_annotations": {"anns": [{"task_desc": made.sentence}]},
    }  # fmt: skip


@pytest.mark.parametrize("number", range(12))
def test_a_game_survives_its_file(number: int) -> None:
    made = make_household("train", number)
    before = compile_household(made, "same")
    after = read_game(json.dumps(data_of(made)), split="train", file="same", strict=True)
    assert after.task_id == before.task_id
    assert after.task_type == made.task_type
    assert World(after).intro() == World(before).intro()
    assert World(after).moves() == World(before).moves()


def test_real_notation_is_read() -> None:
    """Capitals, comments, costs, a metric, several entities on a line: as in the files of the original's simulator."""
    text = """
    (define (problem plan_1) (:domain put_task) (:metric minimize (totalCost))
      (:objects agent1 - agent Egg - object  EggType - otype MicrowaveType FridgeType - rtype ; types
        Egg_bar__minus_01_dot_44 Egg_bar__plus_02_dot_06 - object
        loc_bar__minus_3_bar_60 loc_bar_2 - location
        Fridge_bar__minus_02_dot_10 - receptacle)
      (:init (= (totalCost) 0) (= (distance loc_bar__minus_3_bar_60 loc_bar_2) 11)
        (receptacleType Fridge_bar__minus_02_dot_10 FridgeType)
        (receptacleAtLocation Fridge_bar__minus_02_dot_10 loc_bar_2) (openable Fridge_bar__minus_02_dot_10)
        (objectType Egg_bar__minus_01_dot_44 EggType) (objectType Egg_bar__plus_02_dot_06 EggType)
        (inReceptacle  Egg_bar__minus_01_dot_44 Fridge_bar__minus_02_dot_10)
        (inReceptacle  Egg_bar__plus_02_dot_06 Fridge_bar__minus_02_dot_10)
        (pickupable Egg_bar__plus_02_dot_06) (coolable Egg_bar__plus_02_dot_06)
        (canContain FridgeType EggType) (atLocation agent1 loc_bar__minus_3_bar_60))
      (:goal (and (exists (?o - object ?r - receptacle) (and (coolable ?o) (objectType ?o EggType)
        (receptacleType ?r FridgeType) (isCool ?o) (inReceptacle ?o ?r))))))"""
    file = json.dumps({"pddl_domain": DOMAIN, "grammar": write_grammar("cool the egg"), "pddl_problem": text})
    game = read_game(file, split="train", file="real")
    assert game.task_type == "pick_cool_then_place_in_recep"
    at = World(game)
    assert plan(at) == [
        "go to fridge 1", "open fridge 1", "take egg 1 from fridge 1", "cool egg 1 with fridge 1",
        "move egg 1 to fridge 1",
    ]  # fmt: skip
    assert at.intro().endswith("you see a fridge 1.\n\nYour task is to: cool the egg.")


def test_names_are_alfworlds() -> None:
    ids = ["sink_bar_1_bar_sinkbasin", "sink_bar_2", "cabinet_bar_2", "cabinet_bar_10", "fork"]
    assert entity_names(ids) == {
        "cabinet_bar_10": "cabinet 2",
        "cabinet_bar_2": "cabinet 1",
        "fork": "fork ",
        "sink_bar_1_bar_sinkbasin": "sinkbasin 1",
        "sink_bar_2": "sink 1",
    }


def test_the_wording_is_the_files() -> None:
    made = household()
    grammar = (
        write_grammar("do it")
        .replace("You arrive at", "You walked up to")
        .replace("move {o} to {r}", "put {o} in/on {r}")
    )
    file = data_of(made) | {"grammar": grammar}
    at = World(read_game(json.dumps(file), split="train", file="f"))
    go = sorted(at.moves())[0]
    assert at.act(go).startswith("You walked up to ")
    assert at.game.grammar.commands["putobject"] == "put {o} in/on {r}"
    assert at.game.grammar.goal_sentence == "do it"


def broken_grammars() -> dict[str, str]:
    good = write_grammar("do it")
    return {
        "no closing quotes": good.replace('""";', '"'),
        "not JSON": good.replace('"intro"', "intro"),
        "rule gone": good.replace('"CloseObject.feedback"', '"Other.feedback"'),
        "another condition": good.replace("openable(r:receptacle) & opened(r:receptacle)", "opened(r:receptacle)"),
        "unknown field": good.replace("You close the {r.name}.", "You close the {r.colour}."),
        "unknown rule": good.replace("You close the {r.name}.", "You close it. #sigh#"),
        "unknown list": good.replace("holds(a:agent, o:object)}]", "sees(a:agent, o:object)}]"),
        "action gone": good.replace("action heatobject", "action meltobject"),
        "another reply": good.replace('feedback :: "#look.feedback#"', 'feedback :: "#help.feedback#"'),
        "rules are a list": 'grammar :: """[]""";',
        "no task": good.replace('"task"', '"job"'),
        "another article": good.replace("{o.indefinite} {o.name}", "the {o.name}"),
        "rhs is a number": good.replace('"You close the {r.name}."', "7"),
    }


@pytest.mark.parametrize("name", list(broken_grammars()))
def test_unknown_grammar_is_refused(name: str) -> None:
    with pytest.raises(TaskError, match="grammar") as caught:
        read_grammar(broken_grammars()[name])
    assert caught.value.code == "bad_grammar"


def broken_problems() -> dict[str, tuple[str, str]]:
    text = write_problem(household().problem, "p")
    return {
        "bracket too few": (text.rstrip()[:-1], "never close"),
        "bracket too many": (text + ")", "never opened"),
        "two expressions": (text + "()", "found 2"),
        "no goal": (text.replace("(:goal", "(:gaol"), ":goal"),
        "no init": (text.replace("(:init", "(:begin"), ":init"),
        "no objects": (text.replace("(:objects", "(:things"), ":objects"),
        "unknown type": (text.replace(" - receptacle", " - furniture", 1), "furniture"),
        "no type": (text.replace("(:objects", "(:objects agent9 -"), "agent9"),
        "another type": (text.replace("agent1 - agent", "agent1 - object"), "agent1' is of type object, not agent"),
        "nothing behind the names": (text.replace("  )\n  (:init", "    ghost\n  )\n  (:init"), "'ghost' has no type"),
        "unknown predicate": (text.replace("(openable ", "(lockable ", 1), "lockable"),
        "arity": (text.replace("(openable ", "(openable now ", 1), "openable now"),
        "undeclared": (text.replace("(atlocation agent1 ", "(atlocation agent2 "), "agent2"),
        "no agent": (text.replace("(atlocation agent1", "(checked agent1)\n(examined"), "0 facts"),
        "list for a name": (text.replace("agent1 - agent", "(agent1) - agent"), "stands where a name should"),
        "word for a fact": (text.replace("(:init", "(:init fact"), "no fact"),
    }


@pytest.mark.parametrize("name", list(broken_problems()))
def test_broken_problems_are_named(name: str) -> None:
    text, named = broken_problems()[name]
    file = json.dumps(data_of(household()) | {"pddl_problem": text})
    with pytest.raises(TaskError, match=named) as caught:
        read_game(file, split="train", file="some/file")
    assert "some/file" in caught.value.message


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ("(holdsany agent1)", "holdsAny"),
        ("(atlocation agent1 {place})", "2 facts"),
        ("(receptacleatlocation {receptacle} loc_bar_0_bar_0_bar_60) (receptacleatlocation {receptacle} {place})",
         "one location"),
    ],
)  # fmt: skip
def test_starts_that_cannot_be_kept_track_of_are_refused(more: str, named: str) -> None:
    made = household()
    places = [name for name, kind in made.problem.types.items() if kind == "location"]
    receptacle = next(name for name, kind in made.problem.types.items() if kind == "receptacle")
    text = write_problem(made.problem, "p").replace(
        "(:init", f"(:init {more.format(place=places[1], receptacle=receptacle)}", 1
    )
    with pytest.raises(TaskError, match=named):
        read_game(json.dumps(data_of(made) | {"pddl_problem": text}), split="train", file="f")


def test_rules_of_another_version_are_reported_or_refused(caplog: pytest.LogCaptureFixture) -> None:
    file = json.dumps(data_of(household()) | {"pddl_domain": "(define (domain other))"})
    with caplog.at_level(logging.WARNING):
        read_game(file, split="train", file="odd.tw-pddl")
    assert "odd.tw-pddl" in caplog.text
    with pytest.raises(TaskError, match="strict=False"):
        read_game(file, split="train", file="odd.tw-pddl", strict=True)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pddl_domain": 1, "grammar": "", "pddl_problem": ""}'])
def test_files_of_another_kind_are_named(text: str) -> None:
    with pytest.raises(TaskError, match=r"some/game\.tw-pddl"):
        read_game(text, split="train", file="some/game.tw-pddl")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nine good games, three in every split, and five that are to be left out."""
    root = tmp_path / "json_2.1.1"
    for split in SPLITS:
        for number in range(3):
            made = make_household(split, number, size="small")
            write_game((root / file_name(made, number)).parent, data_of(made), trajectory(made))
    made = household(7)
    for name, game in {
        "train/pick_and_place_with_movable_recep-A/trial_1": data_of(made),
        "train/pick_heat_then_place_in_recep-AppleSliced/trial_1": data_of(made),
        "train/unsolvable/trial_1": data_of(made) | {"solvable": False},
        "train/unknown/trial_1": {key: value for key, value in data_of(made).items() if key != "solvable"},
    }.items():
        write_game(root / name, game, trajectory(made))
    write_game(root / "train/other/trial_1", data_of(made), trajectory(made) | {"task_type": "wash_the_cat"})
    (root / "train/bare").mkdir()
    (root / "train/bare" / TRAJECTORY_FILE).write_text(json.dumps(trajectory(made)), "utf-8")
    (tmp_path / "json_2.1.0").mkdir()
    return tmp_path


def test_exactly_the_good_games_are_found(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        env = ALFWorldEnv(games=str(folder))
    for reason in (
        "movable or sliced: 2",
        "not solvable: 1",
        "no word on whether it is solvable: 1",
        "another task type: 1",
    ):
        assert reason in caplog.text
    for split in SPLITS:
        files = []
        for index in range(3):
            _, info = env.reset(seed=0, options={"split": split, "index": index})
            assert info["split"] == split
            files.append(info["extra.gamefile"])
            _, found = env.reset(options={"task": info["task_id"]})
            assert found["task_id"] == info["task_id"]
            for command in env.plan() or ():
                *_, info = env.step(command)
            assert info["won"]
        assert files == sorted(files)
        assert all(file.startswith(f"{split}/") for file in files)
        with pytest.raises(TaskError, match="index=3"):
            env.reset(options={"split": split, "index": 3})


def test_the_same_commands_run_on_the_users_games(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(folder))
    check_env(gymnasium.make("palaestra/ALFWorld-v0", games="data").unwrapped)
    monkeypatch.setenv("ALFWORLD_DATA", str(folder / "json_2.1.1"))  # the folder of the splits will do, too
    first = ALFWorldEnv(games="data").reset(seed=0)
    assert first == ALFWorldEnv(games=str(folder)).reset(seed=0)
    assert not check_agent_env("palaestra/ALFWorld-v0", seeds=(0,), games="data").remarks


@pytest.mark.parametrize("escaped", [False, True])
def test_letters_of_the_users_games_belong_to_the_space(folder: Path, escaped: bool) -> None:
    made = household(9)
    grammar = write_grammar("nimm das Ei, größer €")
    if escaped:
        grammar = grammar.replace("ß", "\\u00df").replace("ö", "\\u00f6").replace("€", "\\u20ac")
    write_game(folder / "json_2.1.1/train/aaa/trial_1", data_of(made) | {"grammar": grammar}, trajectory(made))
    env = ALFWorldEnv(games=str(folder))
    observation, info = env.reset(seed=0, options={"index": 0})
    assert "größer €" in observation
    assert info["task"] == "nimm das Ei, größer €"
    assert env.observation_space.contains(observation)


def test_task_types_may_be_chosen(folder: Path) -> None:
    types = {ALFWorldEnv(games=str(folder)).reset(seed=seed)[1]["task_type"] for seed in range(20)}
    chosen = sorted(types)[0]
    env = ALFWorldEnv(games=str(folder), tasks=chosen)
    assert {env.reset(seed=seed)[1]["task_type"] for seed in range(10)} == {chosen}


@pytest.mark.parametrize("games", ["nowhere", "data"])
def test_a_missing_folder_is_named(games: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    with pytest.raises(ConfigError, match="ALFWORLD_DATA" if games == "data" else "nowhere"):
        ALFWorldEnv(games=games)
    with pytest.raises(ConfigError, match=r"valid_unseen.*name the folder above them"):
        ALFWorldEnv(games=str(tmp_path))
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match=r"ALFWORLD_DATA = '.*gone' is no folder; set it to one"):
        ALFWorldEnv(games="data")


def test_a_folder_without_games_is_named(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(TaskError, match="no games at all"):
        ALFWorldEnv(games=str(tmp_path))


@pytest.mark.parametrize("name", [GAME_FILE, TRAJECTORY_FILE])
@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe"])
def test_a_damaged_file_is_named(folder: Path, name: str, content: bytes) -> None:
    (damaged,) = [path for path in sorted(folder.rglob(name)) if "valid_unseen" in str(path)][:1]
    damaged.write_bytes(content)
    with pytest.raises(TaskError, match=damaged.parent.name):
        ALFWorldEnv(games=str(folder))


def test_a_file_that_goes_away_or_changes_is_noticed(folder: Path) -> None:
    env = ALFWorldEnv(games=str(folder))
    env.reset(seed=0, options={"index": 0})
    saved = env.snapshot()
    victims = sorted((folder / "json_2.1.1/train").rglob(GAME_FILE))
    other = make_household("train", 50, size="small")
    for path in victims:
        path.write_text(json.dumps(data_of(other)), "utf-8")
    from palaestra.envs.alfworld.folder import read_listed

    read_listed.cache_clear()
    with pytest.raises(TaskError, match="no ALFWorld snapshot"):
        ALFWorldEnv(games=str(folder)).restore(saved)
    for path in victims:
        path.unlink()
    read_listed.cache_clear()
    with pytest.raises(TaskError, match="cannot be read"):
        env.reset(options={"index": 0})


@pytest.mark.parametrize("key", ["pddl_problem", "grammar", "pddl_domain"])
def test_a_game_that_cannot_be_understood_is_named_with_what_to_do(folder: Path, key: str) -> None:
    file = sorted((folder / "json_2.1.1/valid_unseen").rglob(GAME_FILE))[0]
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | {key: "(define"}), "utf-8")
    env = ALFWorldEnv(games=str(folder), split="valid_unseen", strict=True)
    with pytest.raises(TaskError, match=f"{file.parent.name}/{GAME_FILE}: .*; replace or remove it in {folder}"):
        env.reset(seed=0, options={"index": 0})


def test_problems_written_read_back_equal() -> None:
    for number in range(5):
        made = household(number)
        again = read_problem(write_problem(made.problem, "p"))
        assert again.facts == made.problem.facts
        assert again.types == made.problem.types
        assert again.goal == made.problem.goal


def test_exported_games_are_a_users_games(tmp_path: Path) -> None:
    assert export_games(tmp_path) == 108
    ours, theirs = ALFWorldEnv(), ALFWorldEnv(games=str(tmp_path), strict=True)
    tasks = {}
    for env in (ours, theirs):
        tasks[env] = {
            env.reset(seed=0, options={"split": split, "index": index})[1]["task_id"]
            for split, count in zip(SPLITS, (60, 24, 24), strict=True)
            for index in range(count)
        }
    assert tasks[ours] == tasks[theirs]
    assert export_games(tmp_path / "new", generate=2) == 6
    assert ALFWorldEnv(games=str(tmp_path / "new")).reset(seed=0)[1]["split"] == "train"
