"""Games of our own: what they promise of splits, sizes, tasks and repeatability."""

from __future__ import annotations

import gzip
import json
from importlib.resources import files

import pytest

from palaestra.envs.alfworld.embed import LAYOUTS, PER_TASK, embedded_games
from palaestra.envs.alfworld.game import TASK_TYPES
from palaestra.envs.alfworld.generator import SPLITS, make_household, rooms_for
from palaestra.envs.alfworld.household import household
from palaestra.envs.alfworld.layouts import make_layout
from palaestra.envs.alfworld.sources import compile_household
from palaestra.envs.alfworld.world import World
from palaestra.envs.core.errors import TaskError

EMBEDDED = [
    json.loads(line)
    for line in gzip.decompress(
        files("palaestra.envs.alfworld").joinpath("data/games.jsonl.gz").read_bytes()
    ).splitlines()
]


def test_the_embedded_games_are_what_the_generator_makes() -> None:
    assert list(embedded_games()) == EMBEDDED


def test_embedded_splits_have_all_tasks_equally_and_share_no_unseen_layout() -> None:
    layouts: dict[str, set[str]] = {}
    for split in SPLITS:
        mine = [entry for entry in EMBEDDED if entry["split"] == split]
        assert {task: sum(e["task_type"] == task for e in mine) for task in TASK_TYPES} == dict.fromkeys(
            TASK_TYPES, PER_TASK[split]
        )
        layouts[split] = {entry["layout"] for entry in mine}
    assert len(layouts["train"]) == 4 * LAYOUTS["train"] == 24
    assert len(layouts["valid_unseen"]) == 4 * LAYOUTS["valid_unseen"] == 8
    assert layouts["valid_seen"] <= layouts["train"]
    assert not layouts["valid_unseen"] & layouts["train"]
    assert len({entry["problem"] for entry in EMBEDDED}) == len(EMBEDDED) == 108


@pytest.mark.parametrize("size", ["full", "small"])
def test_no_game_and_no_unseen_layout_is_shared(size: str) -> None:
    keys: dict[str, set[str]] = {}
    layouts: dict[str, set[str]] = {}
    for split in SPLITS:
        made = [make_household(split, number, size=size) for number in range(120)]  # type: ignore[arg-type]
        assert all(one.split == split for one in made)
        keys[split] = {one.key for one in made}
        layouts[split] = {one.layout.key for one in made}
        assert len(keys[split]) > 110
    assert not keys["train"] & keys["valid_seen"]
    assert not layouts["valid_unseen"] & (layouts["train"] | layouts["valid_seen"])


@pytest.mark.parametrize(
    ("size", "receptacles", "objects"), [("full", range(8, 25), range(10, 31)), ("small", range(4, 10), range(4, 9))]
)
def test_games_are_as_large_as_said_and_playable(size: str, receptacles: range, objects: range) -> None:
    tasks = set()
    for number in range(60):
        made = make_household("train", number, size=size)  # type: ignore[arg-type]
        game = compile_household(made, "f")
        tasks.add(game.task_type)
        assert len(game.receptacles) in receptacles
        assert len(game.objects) in objects
        assert not World(game).won()
        homes = [r for r, _ in enumerate(game.receptacles) if game.home[r] >= 0]
        for o, kind in enumerate(game.object_types):
            assert o in game.toggleable or any(o in game.moves.at_receptacle[r].put for r in homes), kind
        targets = sum(kind == f"{made.target}type".lower() for kind in game.object_types)
        assert (2 if made.task_type == "pick_two_obj_and_place" else 1) <= targets <= 3
    assert tasks == set(TASK_TYPES)


def test_some_receptacles_share_a_place() -> None:
    games = [compile_household(make_household("train", number), "f") for number in range(30)]
    assert 5 < sum(any(len(here) > 1 for here in game.here) for game in games) < 30


def test_a_game_is_a_function_of_its_arguments() -> None:
    assert make_household("train", 3).key == make_household("train", 3).key != make_household("train", 4).key
    layout = make_layout("kitchen", 3, "full", unseen=False)
    assert make_household("train", 3, fixed=layout).layout == layout
    assert layout.key == make_layout("kitchen", 3, "full", unseen=False).key


def test_the_tables_agree_with_each_other() -> None:
    tables = household()
    stood = {kind for room in tables.rooms.values() for kind in room.receptacles["full"]}
    assert {kind for room in tables.rooms.values() for kind in room.receptacles["small"]} <= stood
    assert tables.openable <= stood
    for room in tables.rooms.values():
        assert set(room.objects) <= tables.fits.keys()
        assert set(room.tasks) <= set(TASK_TYPES)
    assert {kind for homes in tables.fits.values() for kind in homes} <= stood
    assert {kind for kinds in tables.properties.values() for kind in kinds} <= tables.fits.keys()
    assert {kind for homes in tables.lamps.values() for kind in homes} <= stood
    assert not tables.lamps.keys() & tables.fits.keys()
    assert all(rooms_for(task) for task in TASK_TYPES)


def test_a_task_the_room_does_not_allow_is_refused() -> None:
    bathroom = make_layout("bathroom", 0, "full", unseen=False)
    with pytest.raises(TaskError, match="pick_heat"):
        make_household("train", 0, tasks=("pick_heat_then_place_in_recep",), fixed=bathroom)
