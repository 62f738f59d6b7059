"""`palaestra db`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from palaestra.agents.store import Store
from palaestra.agents.store.database import transaction
from palaestra.cli.db import app
from palaestra.mcp_servers.errors import StoreError
from tests.conftest import MakeGroup


@pytest.fixture
def run_folder(tmp_path: Path, make_group: MakeGroup) -> Path:
    folder = tmp_path / "runs" / "demo"
    folder.mkdir(parents=True)
    with Store.open(folder / "store.sqlite") as store:
        for run in ("demo", "other"):
            store.add_run(run, {"seed": 1})
            store.append([make_group(1)], run_id=run, iteration=0, phase="train")
            store.append([make_group(2)], run_id=run, iteration=1, phase="eval")
    return folder


def call(*arguments: object, status: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], terminal_width=200)
    if isinstance(result.exception, StoreError):
        raise result.exception
    assert result.exit_code == status, result.output
    return result.stdout


def call_json(*arguments: object, status: int = 0) -> Any:
    return json.loads(call(*arguments, "--json", status=status))


def test_info_shows_counts_runs_and_iterations(run_folder: Path) -> None:
    found = call_json("info", run_folder)
    assert found["counts"]["rollouts"] == 16
    assert [run["run_id"] for run in found["runs"]] == ["demo", "other"]
    assert [(line["run_id"], line["phase"]) for line in found["iterations"]][:2] == [
        ("demo", "train"),
        ("demo", "eval"),
    ]
    only = call_json("info", run_folder / "store.sqlite", "--run", "other")
    assert [line["run_id"] for line in only["iterations"]] == ["other", "other"]
    shown = call("info", run_folder)
    assert "rollouts" in shown
    assert "eval" in shown


def test_info_of_an_empty_store_shows_zeros(tmp_path: Path) -> None:
    Store.open(tmp_path / "s.sqlite").close()
    assert "rollouts" in call("info", tmp_path / "s.sqlite")


def test_upgrade_brings_an_older_store_up_and_leaves_a_current_one(run_folder: Path) -> None:
    assert "already has schema" in call("upgrade", run_folder)
    with Store.open(run_folder / "store.sqlite") as store, transaction(store.engine, writes=True) as connection:
        for name in ("rollouts_summary", "rollouts_rollout_id", "rollouts_group", "rollouts_task", "errors_code"):
            connection.execute(text(f"DROP INDEX ix_{name}"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    with pytest.raises(StoreError, match="palaestra db upgrade"):
        call("info", run_folder)
    assert "0001 -> 0002" in call("upgrade", run_folder)
    assert call_json("upgrade", run_folder)["before"] == "0002"
    assert call_json("info", run_folder)["counts"]["rollouts"] == 16


def test_check_is_green_on_a_sound_store_and_fails_on_a_damaged_one(run_folder: Path) -> None:
    assert "16 episodes, no damage" in call("check", run_folder)
    with Store.open(run_folder / "store.sqlite") as store, transaction(store.engine, writes=True) as connection:
        connection.execute(text("UPDATE steps SET reward = reward + 1 WHERE rollout = 1 AND step = 0"))
    assert "ep-1-0" in call("check", run_folder, status=1)
    assert len(call_json("check", run_folder, status=1)["damage"]) == 1


def test_export_and_import_move_episodes_between_stores(run_folder: Path, tmp_path: Path) -> None:
    lines, copy = tmp_path / "e.jsonl", tmp_path / "copy.sqlite"
    assert "8 episodes" in call("export", run_folder, lines, "--run", "demo")
    assert call_json("import", lines, copy) == {"store": str(copy), "file": str(lines), "stored": 8, "repeated": 0}
    assert "0 episodes added, 8 were already there" in call("import", lines, copy)
    with pytest.raises(StoreError, match="exists"):
        call("export", run_folder, lines)
    assert call_json("export", run_folder, lines, "--overwrite", "--phase", "eval")["episodes"] == 8


def test_export_takes_the_format_from_the_suffix_or_the_option(run_folder: Path, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    call("export", run_folder, tmp_path / "e.parquet")
    call("export", run_folder, tmp_path / "e.dat", "--format", "parquet")
    assert pq.read_table(tmp_path / "e.dat").num_rows == pq.read_table(tmp_path / "e.parquet").num_rows == 16


def test_a_store_that_is_not_there_is_a_typed_error_and_stays_so(tmp_path: Path) -> None:
    for command in ("info", "check", "upgrade"):
        with pytest.raises(StoreError, match="does not exist"):
            call(command, tmp_path / "s.sqlite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["info", "upgrade", "check", "export", "import"])
def test_help_explains_the_command_with_an_example(command: str) -> None:
    assert f"palaestra db {command}" in call(command, "--help")
