"""Run folders: made once, locked, continued where a checkpoint stood."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from palaestra.mcp_servers.errors import StoreError
from palaestra.trainers.run_directory import RunDirectory, RunFiles

CONFIG = {"seed": 3, "env": {"id": "palaestra/Sokoban-v0", "sizes": [5, 7]}}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    with RunDirectory.create(tmp_path / "runs" / "demo", CONFIG) as made:
        yield made


def test_a_new_run_has_its_config_and_its_places(run: RunDirectory) -> None:
    assert (run.name, run.config()) == ("demo", CONFIG)
    assert run.checkpoints_path.is_dir()
    assert run.logs_path.is_dir()
    assert list(run.metrics()) == []
    assert run.summary() is None
    names = {run.store_path.name, run.metrics_path.name, run.report_path.name, run.summary_path.name}
    assert names == {"store.sqlite", "metrics.jsonl", "report.html", "summary.json"}


def test_an_existing_run_is_not_made_again(run: RunDirectory) -> None:
    run.close()
    with pytest.raises(StoreError, match="continue it with --resume, or choose another run name") as caught:
        RunDirectory.create(run.path, {"seed": 4})
    assert caught.value.code == "run_exists"
    assert run.config() == CONFIG


def test_a_folder_of_something_else_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"not empty \(holds 'thesis.txt'\)"):
        RunDirectory.create(tmp_path, CONFIG)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_config_that_toml_cannot_hold_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="bad_config"):
        RunDirectory.create(tmp_path / "run", {"seed": None})
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_made_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="io_error"):
        RunDirectory.create(tmp_path / "file" / "run", CONFIG)


def test_resuming_needs_a_run(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(StoreError, match="no_run"):
            RunDirectory.resume(folder)
    assert list(tmp_path.iterdir()) == []


def test_two_trainers_cannot_share_a_run_but_readers_may_look(run: RunDirectory) -> None:
    with pytest.raises(StoreError, match=f"being written by process {os.getpid()} on ") as caught:
        RunDirectory.resume(run.path)
    assert (caught.value.code, caught.value.retryable) == ("run_locked", True)
    assert RunFiles(run.path).config() == CONFIG
    run.close()
    RunDirectory.resume(run.path).close()


_HOLDER = """
import sys
from pathlib import Path
from palaestra.trainers.run_directory import RunDirectory
run = RunDirectory.resume(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


def test_the_lock_of_a_killed_process_is_stale_at_once(run: RunDirectory) -> None:
    run.close()
    command = [sys.executable, "-c", _HOLDER, str(run.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(StoreError, match=f"process {holder.pid} on"):
            RunDirectory.resume(run.path)
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=30)
    assert run.lock_path.read_text().startswith(f"process {holder.pid} ")
    with RunDirectory.resume(run.path):
        assert run.lock_path.read_text().startswith(f"process {os.getpid()} ")


def test_metrics_are_one_object_a_line_and_come_back_exactly(run: RunDirectory) -> None:
    records: list[dict[str, Any]] = [
        {"step": 1, "loss": 0.1, "name": "ü"},
        {"step": 2, "loss": math.inf, "parts": [-math.inf, {"x": math.inf}]},
        {"step": 3},
    ]
    for record in records:
        run.log_metrics(record)
    assert list(RunFiles(run.path).metrics()) == records
    lines = run.metrics_path.read_text().splitlines()
    assert json.loads(lines[1], parse_constant=pytest.fail)["loss"] == "Infinity"
    run.log_metrics({"loss": math.nan})
    assert math.isnan(list(run.metrics())[-1]["loss"])


def test_a_torn_last_line_is_left_out_and_does_not_swallow_the_next(run: RunDirectory) -> None:
    run.log_metrics({"step": 1})
    run.close()
    with run.metrics_path.open("ab") as file:
        file.write(b'{"step": 2, "lo' + b"x" * 100_000)
    assert list(run.metrics()) == [{"step": 1}]
    with RunDirectory.resume(run.path) as resumed:
        resumed.log_metrics({"step": 2})
        assert list(resumed.metrics()) == [{"step": 1}, {"step": 2}]


def test_metrics_torn_in_their_first_line_start_anew(run: RunDirectory) -> None:
    run.metrics_path.write_bytes(b'{"step"')
    run.log_metrics({"step": 1})
    assert list(run.metrics()) == [{"step": 1}]


def test_a_damaged_line_in_the_middle_is_named(run: RunDirectory) -> None:
    run.metrics_path.write_bytes(b'{"step": 1}\n{"st\n{"step": 3}\n')
    reader = run.metrics()
    assert next(reader) == {"step": 1}
    with pytest.raises(StoreError, match=r"metrics\.jsonl, line 2"):
        next(reader)


def test_metrics_go_back_to_the_length_a_checkpoint_recorded(run: RunDirectory) -> None:
    lengths = [run.metrics_length()]
    for step in range(3):
        run.log_metrics({"step": step})
        lengths.append(run.metrics_length())
    run.close()
    with RunDirectory.resume(run.path) as resumed:
        resumed.rewind_metrics(lengths[2])
        resumed.log_metrics({"step": "again"})
        assert list(resumed.metrics()) == [{"step": 0}, {"step": 1}, {"step": "again"}]
        resumed.rewind_metrics(lengths[0])
        assert list(resumed.metrics()) == []


def test_a_length_that_is_no_line_end_is_refused_and_nothing_cut(run: RunDirectory) -> None:
    run.log_metrics({"step": 1})
    length = run.metrics_length()
    for wrong in (length - 1, length + 1, -1):
        with pytest.raises(StoreError, match="no line ending at byte"):
            run.rewind_metrics(wrong)
    run.log_metrics({"step": 2})
    assert list(run.metrics()) == [{"step": 1}, {"step": 2}]


def test_metrics_that_are_no_json_are_refused(run: RunDirectory) -> None:
    with pytest.raises(StoreError, match="metrics cannot be written"):
        run.log_metrics({"model": object()})
    assert list(run.metrics()) == []


def test_summary_and_report_are_replaced_whole(run: RunDirectory) -> None:
    for best in (0.5, math.inf):
        run.write_summary({"best": best})
        assert run.summary() == {"best": best}
    run.write_report("<html>ü</html>")
    assert run.report_path.read_text(encoding="utf-8") == "<html>ü</html>"
    assert not list(run.path.glob(".*"))


def test_what_cannot_be_parsed_is_named(run: RunDirectory) -> None:
    run.summary_path.write_text("[1")
    with pytest.raises(StoreError, match=r"summary\.json"):
        run.summary()
    run.config_path.write_text("= nothing")
    with pytest.raises(StoreError, match=r"config\.toml"):
        run.config()


_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from palaestra.mcp_servers.errors import StoreError
from palaestra.trainers.run_directory import RunDirectory

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with RunDirectory.resume(Path(sys.argv[1])) as run:
    run.write_summary({"steps": 1})
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    for write in (lambda: run.log_metrics({"text": "y" * 600}), lambda: run.write_summary({"text": "y" * 2000})):
        try:
            write()
        except StoreError as error:
            print(error.code)
"""


def test_a_full_disk_loses_nothing_that_was_written(run: RunDirectory) -> None:
    run.log_metrics({"text": "x" * 600})
    run.close()
    command = [sys.executable, "-c", _FULL_DISK, str(run.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["disk_full", "disk_full"]
    assert list(run.metrics()) == [{"text": "x" * 600}]
    assert run.metrics_path.read_bytes().endswith(b"\n")
    assert run.summary() == {"steps": 1}
    assert not list(run.path.glob(".*"))
