"""Replay of what gym-sokoban 0.0.6 itself did (tests/golden/sokoban/produce.py): same rooms, same steps."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from palaestra.envs.sokoban.core import PLAYER, PLAYER_ON_TARGET, UNDER, Level
from palaestra.envs.sokoban.env import SokobanEnv
from palaestra.envs.sokoban.levels import write_levels
from palaestra.envs.sokoban.reference import Reference, reference_room

GOLDEN = Path(__file__).parents[2] / "golden" / "sokoban"


def rows(name: str) -> Iterator[dict[str, Any]]:
    with gzip.open(GOLDEN / name, "rt", encoding="utf-8") as file:
        header = json.loads(next(file))
        assert header["versions"]["gym-sokoban"] == "0.0.6"
        for line in file:
            yield json.loads(line)


def as_original(cells: bytes) -> str:
    """The original shows the player as 5 wherever it stands."""
    return "".join(str(min(code, PLAYER)) for code in cells)


def test_reference_generator_makes_the_original_rooms() -> None:
    compared: dict[tuple[int, ...], int] = {}
    for row in rows("rooms.jsonl.gz"):
        level = reference_room(Reference(row["size"][0], row["size"][1], row["boxes"]), row["seed"])
        assert as_original(level.cells) == row["state"], row
        assert as_original(level.room) == row["fixed"], row
        key = (*row["size"], row["boxes"])
        compared[key] = compared.get(key, 0) + 1
    assert compared == {(6, 6, 1): 120, (7, 7, 2): 120, (8, 8, 2): 20, (5, 9, 1): 2}


def as_level(row: dict[str, Any]) -> Level:
    fixed = [int(code) for code in row["fixed"]]
    cells = bytes(
        PLAYER_ON_TARGET if code == PLAYER and under == 2 else code
        for code, under in zip(map(int, row["start"]), fixed, strict=True)
    )
    assert list(cells.translate(UNDER)) == fixed
    return Level(row["size"][0], row["size"][1], cells)


def test_every_step_of_the_original_is_repeated(tmp_path: Path) -> None:
    steps = solved = pushes = 0
    for number, row in enumerate(rows("steps.jsonl.gz")):
        file = tmp_path / f"{number}.xsb"
        file.write_text(write_levels([as_level(row)]), "utf-8")
        env = SokobanEnv(levels=str(file), actions="full9", max_steps=120, obs="symbol")
        observation, info = env.reset(seed=0)
        assert as_original(bytes(observation.ravel().tolist())) == row["start"]
        for action, state, reward, done, moved_player, moved_box, name, maxsteps_used, all_on_target in row["steps"]:
            observation, mine, terminated, truncated, info = env.step(action)
            assert as_original(bytes(observation.ravel().tolist())) == state
            assert mine == pytest.approx(reward, abs=1e-12)
            assert (terminated or truncated) == done
            assert info["action.moved_player"] == moved_player
            assert info["action.moved_box"] == moved_box
            assert info["action.name"] == name
            assert info.get("maxsteps_used") == maxsteps_used
            assert info.get("all_boxes_on_target") == all_on_target
            steps, pushes = steps + 1, pushes + moved_box
        assert terminated == bool(all_on_target)
        solved += terminated
    assert steps >= 20_000
    assert solved > 10
    assert pushes > 500
