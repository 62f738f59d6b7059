"""A run's episodes go where `store.url` says, and are found there again."""

from __future__ import annotations

from pathlib import Path

from palaestra.agents.store import Store
from palaestra.dashboard.report import write_report
from palaestra.trainers.config import read_recipe
from palaestra.trainers.experiment import Experiment
from palaestra.trainers.run_directory import RunFiles

SMALL = (
    "warmup.tasks=4", "rl.iterations=1", "rl.tasks_per_step=2", "evaluation.valid_tasks=2", "evaluation.test_tasks=2",
    "threads=1",
)  # fmt: skip


def test_a_run_keeps_its_episodes_in_the_named_database(store_address: str, tmp_path: Path) -> None:
    config = read_recipe("sokoban", [*SMALL, f"store.url={store_address}"])
    folder = tmp_path / "run"
    Experiment.create(folder, config).run()
    files = RunFiles(folder)
    assert files.store_address == store_address
    assert not files.store_path.exists()
    with Store.open(store_address, create=False) as store:
        phases = {line.phase for line in store.summary("run")}
    assert {"rl", "eval_before", "eval_after"} <= phases
    assert "stored episodes" in write_report(folder).read_text()


def test_without_an_address_they_stay_in_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    Experiment.create(folder, read_recipe("sokoban", SMALL)).run()
    assert RunFiles(folder).store_address == RunFiles(folder).store_path
    assert RunFiles(folder).store_path.exists()
