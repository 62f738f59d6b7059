"""`palaestra rollout`: what is reported, kept, written, and gone on with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from palaestra.agents.export import import_jsonl
from palaestra.agents.models.tiny import build_tiny
from palaestra.agents.store import Store
from tests.cli.conftest import Command

SOKOBAN = "palaestra/Sokoban-v0"


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny(tmp_path_factory.mktemp("tiny") / "model", "XS")


def test_the_expert_wins_in_the_fewest_moves(command: Command) -> None:
    found = command("rollout", SOKOBAN, "--policy", "expert", "-n", 12, "--split", "test", "--json").json()
    assert found["success"]["rate"] == 1.0
    assert found["stop_reasons"] == {"terminated": 12}
    assert found["env"]["split"] == "test"
    assert (found["failed"], found["first_failure"]) == (0, None)
    assert 3 <= found["mean_length"] <= 12


def test_random_rollouts_repeat_and_their_strata_add_up(command: Command) -> None:
    words = ("rollout", SOKOBAN, "-n", 10, "-r", 3, "--seed", 5, "--json")
    found = command(*words).json()
    assert found == command(*words).json()
    assert (found["tasks"], found["episodes"]) == (10, 30)
    assert sum(rate["episodes"] for rate in found["by_stratum"].values()) == 30
    assert found != command(*words[:-2], 6, "--json").json()


def test_the_table_shows_success_and_stop_reasons(command: Command) -> None:
    done = command("rollout", SOKOBAN, "--policy", "expert", "-n", 4)
    assert "expert on palaestra/Sokoban-v0, 4 tasks x 1" in done.out
    (line,) = [line for line in done.out.splitlines() if line.split()[:1] == ["all"]]
    assert line.split() == ["all", "4", "1.000", "0.510", "1.000"]
    assert "stopped: terminated 4" in done.out


def test_settings_reach_the_environment(command: Command) -> None:
    words = ("rollout", SOKOBAN, "-n", 3, "--set", "max_steps=4", "--set", "min_len=3", "--set", "max_len=4", "--json")
    found = command(*words).json()
    assert found["env"]["kwargs"] == {"max_steps": 4, "min_len": 3, "max_len": 4}
    assert found["mean_length"] <= 4
    assert set(found["by_stratum"]) == {"3-5"}


def test_episodes_are_kept_and_written(command: Command, tmp_path: Path) -> None:
    store, jsonl = tmp_path / "e.sqlite", tmp_path / "e.jsonl"
    words = ("rollout", SOKOBAN, "-n", 5, "-r", 2, "--store", store, "--jsonl", jsonl, "--json")
    found = command(*words).json()
    with Store.open(store, read_only=True) as opened:
        (run,) = opened.runs()
        kept = [stored.rollout for stored in opened.rollouts()]
    assert (run.run_id, run.config["rollouts"]) == (found["run_id"], 2)
    assert len(kept) == 10
    assert sum(rollout.trajectory.won for rollout in kept) == found["success"]["won"]
    with Store.open(tmp_path / "copy.sqlite") as copy:
        assert import_jsonl(copy, jsonl).stored == 10
        assert [stored.rollout for stored in copy.rollouts()] == kept


def test_a_file_can_be_written_without_a_store(command: Command, tmp_path: Path) -> None:
    jsonl = tmp_path / "e.jsonl"
    assert command("rollout", SOKOBAN, "-n", 3, "--jsonl", jsonl).code == 0
    assert len(jsonl.read_text().splitlines()) == 3
    assert list(tmp_path.iterdir()) == [jsonl]


def test_a_file_that_exists_is_kept_unless_told_otherwise(command: Command, tmp_path: Path) -> None:
    jsonl = tmp_path / "e.jsonl"
    jsonl.write_text("precious")
    done = command("rollout", SOKOBAN, "-n", 1, "--jsonl", jsonl)
    assert done.code == 2
    assert "[exists]" in done.err
    assert jsonl.read_text() == "precious"
    assert command("rollout", SOKOBAN, "-n", 1, "--jsonl", jsonl, "--overwrite").code == 0
    assert json.loads(jsonl.read_text())["phase"] == "rollout"


def test_the_same_command_again_adds_nothing_and_more_tasks_only_the_rest(command: Command, tmp_path: Path) -> None:
    store = tmp_path / "e.sqlite"

    def run(tasks: int, seed: int = 0) -> Any:
        return command("rollout", SOKOBAN, "-n", tasks, "--seed", seed, "--store", store, "--json").json()

    first = run(4)
    assert run(4) == first
    more = run(9)
    assert (more["run_id"], more["tasks"]) == (first["run_id"], 9)
    assert run(3, seed=1)["run_id"] != first["run_id"]
    with Store.open(store, read_only=True) as opened:
        assert opened.counts()["rollouts"] == 9 + 3


def test_failed_episodes_are_reported_with_their_cause(command: Command) -> None:
    """An environment without text fails every episode; the command itself succeeds and says so."""
    words = ("rollout", "palaestra/SokobanGrid-v0", "-n", 3)
    done = command(*words, "--json")
    found = done.json()
    assert done.code == 0
    assert found["failed"] == 3
    assert found["success"]["won"] == 0
    assert found["first_failure"].startswith("reset: palaestra/SokobanGrid-v0 observes ndarray")
    assert "3 of 3 episodes failed, first: reset: " in command(*words).err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--policy", "nowhere"), "model_directory"),
        (("--split", "tset"), "unknown_split"),
        (("--set", "size"), "setting"),
        (("--set", "siz=7"), "config"),
        (("--protocol", "styl=full"), "config"),
        (("--set", "levels=embedded", "-n", "900"), "too_few_tasks"),
    ],
)
def test_mistakes_are_named(words: tuple[str, ...], code: str, command: Command) -> None:
    done = command("rollout", SOKOBAN, "-n", 2, *words, "--json")
    assert done.code == 2
    assert done.json()["error"]["code"] == code


def test_a_model_acts_and_its_tokens_are_kept(command: Command, tmp_path: Path, tiny_model: Path) -> None:
    store = tmp_path / "e.sqlite"
    words = ("rollout", SOKOBAN, "--policy", tiny_model, "-n", 3, "-r", 2, "--protocol", "response_tokens=6")
    found = command(*words, "--store", store, "--json").json()
    assert found["episodes"] == 6
    assert found["policy"]["temperature"] == 1.0
    with Store.open(store, read_only=True) as opened:
        rollouts = [stored.rollout for stored in opened.rollouts()]
    assert all(len(r.completions) == len(r.trajectory.steps) > 0 for r in rollouts)
    assert max(len(c.token_ids) for r in rollouts for c in r.completions) <= 6
    first, second = rollouts[:2]
    assert first.completions[0].token_ids != second.completions[0].token_ids  # rollouts of a task differ


def test_a_model_saved_anew_is_another_run(command: Command, tmp_path: Path, tiny_model: Path) -> None:
    words = ["rollout", SOKOBAN, "--policy", tiny_model, "-n", 1, "--protocol", "response_tokens=2"]
    words += ["--store", tmp_path / "e.sqlite", "--json"]
    before = command(*words).json()["run_id"]
    weights = tiny_model / "model.safetensors"
    os.utime(weights, ns=(0, weights.stat().st_mtime_ns + 1))
    assert command(*words).json()["run_id"] != before
