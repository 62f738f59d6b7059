"""Replay of what alfworld 0.4.2 itself did: same feedback, admissible commands, score and end in every step."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from palaestra.benchmarks.alfworld_oddities import ODDITIES
from palaestra.benchmarks.alfworld_parity import (
    ask_original,
    compare,
    count,
    entries,
    find_game,
    interpreter,
    read_kept,
)
from palaestra.envs.alfworld.game import TASK_TYPES
from palaestra.mcp_servers.errors import ConfigError

GOLDEN = Path(__file__).parents[2] / "golden" / "alfworld" / "transcripts.jsonl.gz"


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    return read_kept(GOLDEN)


def test_every_step_of_the_original_is_repeated(lines: list[dict[str, Any]]) -> None:
    found = count(lines, seed=0)
    assert found["value"] == 0, found["details"]["differences"]
    assert found["details"]["versions"]["alfworld"] == "0.4.2"
    assert found["details"]["games"] >= 100
    assert found["details"]["steps"] >= 4_000
    assert found["details"]["won"] >= 200


def test_the_transcripts_hold_what_is_worth_comparing(lines: list[dict[str, Any]]) -> None:
    """All tasks, all replies, places that are shared, commands that do nothing."""
    walks = [line for line in lines[1:] if "error" not in line]
    games = {walk["name"]: find_game(walk) for walk in walks}
    assert {game.task_type for game in games.values()} >= set(TASK_TYPES)
    assert sum(any(len(here) > 1 for here in game.here) for game in games.values()) > 20
    assert sum(name.startswith("odd/") for name in games) >= len(ODDITIES) - 2
    said = "\n".join(step[1] for walk in walks for step in walk["steps"])
    for words in (
        "Nothing happens.", "You turn on the", "You heat the", "You cool the", "You clean the", "You sliced the",
        "is closed.", "You close the", "You are carrying: a", "You are not carrying anything.", "This is a normal",
        "There's nothing special about", "Available commands:", "You are facing the", "you see nothing.",
        "Next to it, you see a", "This is a clean", "This is a hot", "This is a cold",
    ):  # fmt: skip
        assert words in said, words


def test_a_single_changed_word_is_seen(lines: list[dict[str, Any]]) -> None:
    walk = next(line for line in lines[1:] if len(line.get("steps", ())) > 5)
    game = find_game(walk)
    assert compare(game, walk) is None
    for field, wrong in ((1, "You see a dragon."), (2, ["look"]), (3, 7), (4, None)):
        other = copy.deepcopy(walk)
        other["steps"][4][field] = wrong
        difference = compare(game, other)
        assert difference is not None
        assert difference.step == 4


@pytest.mark.peer
@pytest.mark.slow
def test_the_original_is_asked_where_it_is_installed() -> None:
    asked = [entry for entry in entries(1, quick=True) if entry["name"].startswith("small")]
    try:
        answered = ask_original(interpreter(), asked)
    except ConfigError as error:
        pytest.skip(error.message)
    told = {entry["name"]: entry["data"]["pddl_problem"] for entry in asked}
    for line in answered[1:]:
        line |= {"problem": told[line["name"]], "sentence": line["steps"][0][1].split("is to: ")[1].rstrip(".")}
    assert count(answered, seed=1)["value"] == 0
