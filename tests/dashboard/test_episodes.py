from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from palaestra.agents.policies.random import RandomPolicy
from palaestra.agents.store import Store
from palaestra.agents.types import Rollout, RolloutGroup
from palaestra.dashboard import episodes as module
from palaestra.dashboard.episodes import read_episodes
from palaestra.dashboard.replay import inert_json
from palaestra.dashboard.report import write_report
from palaestra.trainers.run_directory import RunDirectory
from tests.dashboard.runs import CONFIG, play

LARGE = 20_000


@pytest.fixture(scope="session")
def large_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with `LARGE` stored training rollouts: a few real ones under many ids, and a real evaluation."""
    path = tmp_path_factory.mktemp("large") / "demo"
    with RunDirectory.create(path, CONFIG) as run, Store.open(run.store_path) as store:
        store.add_run(run.name, CONFIG)
        store.append(play(4, "test", RandomPolicy(0), "b-"), run_id=run.name, iteration=0, phase="eval_before")
        templates = [short(group.rollouts[0]) for group in play(8, "train", RandomPolicy(1))]
        for iteration in range(LARGE // 2_000):
            groups = [named(templates[i % 8], f"{iteration}-{i}") for i in range(2_000)]
            store.append(groups, run_id=run.name, iteration=iteration, phase="rl")
        store.append(play(4, "test", RandomPolicy(2), "a-"), run_id=run.name, iteration=10, phase="eval_after")
        assert store.counts()["rollouts"] == LARGE + 8
    return path


def short(rollout: Rollout) -> Rollout:
    trajectory = rollout.trajectory
    return replace(rollout, trajectory=replace(trajectory, steps=trajectory.steps[:2]))


def named(rollout: Rollout, name: str) -> RolloutGroup:
    return RolloutGroup(name, rollout.trajectory.task, [replace(rollout, rollout_id=name, group=name)])


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    """Every SQL statement any engine executes in the block, with its parameters."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        seen.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_a_large_store_is_read_through_its_indices(large_run: Path) -> None:
    with statements() as seen:
        found = read_episodes(large_run / "store.sqlite", "demo")
    selects = [(statement, parameters) for statement, parameters in seen if statement.startswith("SELECT")]
    assert len(found.entries) >= 5
    assert len(selects) < 12 * len(found.entries) + 20
    with Store.open(large_run / "store.sqlite", read_only=True) as store, store.engine.connect() as connection:
        for statement, parameters in selects:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            for line in plan:
                words = str(line[3])
                whole = words.startswith("SCAN") and "INDEX" not in words and "runs" not in words.split()
                assert not whole or "sqlite_master" in statement or "alembic_version" in statement, (words, statement)


def test_a_report_on_a_large_store_takes_a_bounded_time(large_run: Path) -> None:
    start_s = time.process_time()
    read_episodes(large_run / "store.sqlite", "demo")
    assert time.process_time() - start_s < 2.0
    assert write_report(large_run).stat().st_size < 1_500_000


def test_pairs_are_the_same_task_before_and_after(finished_run: Path) -> None:
    found = read_episodes(finished_run / "store.sqlite", "demo")
    pairs = [entry for entry in found.entries if len(entry["sides"]) == 2]
    assert pairs
    for entry in pairs:
        before, after = entry["sides"]
        assert before["frames"][0] == after["frames"][0]
        expected = {
            "Solved after training only": (False, True),
            "Still unsolved": (False, False),
            "Solved before and after": (True, True),
            "Solved before training only": (True, False),
        }
        assert (before["won"], after["won"]) == expected[entry["heading"]]
    assert any(entry["heading"] == "Solved after training only" for entry in pairs)
    assert found.entries[-1]["heading"] == "Training, iteration 6"
    assert found.started.startswith("20")


def test_before_the_end_the_first_evaluation_and_the_last_iteration_are_shown(running_run: Path) -> None:
    headings = {entry["heading"] for entry in read_episodes(running_run / "store.sqlite", "demo").entries}
    assert headings == {"Evaluation before training", "Training, iteration 2"}


def test_other_phases_are_shown_under_their_name(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store.sqlite") as store:
        store.add_run("other")
        store.append(play(3, "test", RandomPolicy(0)), run_id="other", iteration=0, phase="eval <b>")
    found = read_episodes(tmp_path / "store.sqlite", "demo")
    assert {entry["heading"] for entry in found.entries} == {"Phase eval <b>"}
    assert found.note == f"{len(found.entries)} of 3 stored episodes."


def test_a_store_that_is_absent_or_empty_is_a_note(tmp_path: Path) -> None:
    assert read_episodes(tmp_path / "store.sqlite", "demo") == module.Episodes((), "No episodes are stored yet.")
    with Store.open(tmp_path / "store.sqlite"):
        pass
    assert read_episodes(tmp_path / "store.sqlite", "demo").note == "No episodes are stored yet."


def test_a_store_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").write_bytes(b"not a database, but longer than a header" * 100)
    found = read_episodes(tmp_path / "store.sqlite", "demo")
    assert found.entries == ()
    assert "not_a_store" in found.note


def test_a_damaged_episode_is_named_and_the_rest_of_the_report_stands(own_run: Path) -> None:
    with Store.open(own_run / "store.sqlite") as store, store.engine.begin() as connection:
        connection.execute(text("UPDATE steps SET action_status = 'nonsense'"))
    found = read_episodes(own_run / "store.sqlite", "demo")
    assert "corrupt_rollout" in found.note
    assert "Held-out success" in write_report(own_run).read_text()


def test_what_is_shown_stays_within_its_bytes(finished_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_episodes(finished_run / "store.sqlite", "demo")
    monkeypatch.setattr(module, "MOST_BYTES", len(inert_json(whole.entries)) // 2)
    cut = read_episodes(finished_run / "store.sqlite", "demo")
    assert 0 < len(cut.entries) < len(whole.entries)
    assert cut.entries == whole.entries[: len(cut.entries)]


def test_rollouts_of_a_task_pair_up_first_with_first(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store.sqlite") as store:
        store.add_run("demo")
        for phase, prefix in (("eval_before", "b"), ("eval_after", "a")):
            for part in ("1", "2"):
                groups = play(2, "test", RandomPolicy(int(part)), prefix + part)
                store.append(groups, run_id="demo", iteration=0, phase=phase)
        lines = store.summary("demo")
        sides = [choice.sides for choice in module.choose(store, lines)]
    assert len(sides) == 2
    assert all(name.startswith(("b1", "a1")) for pair in sides for name in (side[1].rollout_id for side in pair))


def test_tasks_only_one_phase_has_are_not_paired(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store.sqlite") as store:
        store.add_run("demo")
        store.append(play(1, "test", RandomPolicy(0), "b"), run_id="demo", iteration=0, phase="eval_before")
        store.append(play(1, "valid", RandomPolicy(0), "a"), run_id="demo", iteration=1, phase="eval_after")
        assert module.choose(store, store.summary("demo")) == []
