"""A run's folder: everything needed to look at it, continue it and repeat it.

    runs/<name>/
        config.toml       the resolved settings
        metrics.jsonl     one JSON object a line, append-only
        store.sqlite      every rollout
        checkpoints/      see `checkpoint.py`
        logs/
        report.html  summary.json
        run.lock          held by the process that trains

The lock is the operating system's (`flock`): it ends with its process, however that dies, so a lock file left behind
never blocks a resume, and two trainers never share a run.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import socket
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import tomli_w

from palaestra.agents.durable import disk_errors, replace_atomically, sync_folder
from palaestra.mcp_servers.errors import StoreError

_KEPT = "What was written before is as it was."
_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class RunFiles:
    """The names inside a run folder, and reading them; needs no lock and changes nothing.

    Raises: StoreError "no_run" unless the folder is there with a config.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_path = path / "config.toml"
        self.metrics_path = path / "metrics.jsonl"
        self.store_path = path / "store.sqlite"
        self.checkpoints_path = path / "checkpoints"
        self.report_path = path / "report.html"
        self.summary_path = path / "summary.json"
        self.logs_path = path / "logs"
        self.lock_path = path / "run.lock"
        if not self.config_path.is_file():
            raise StoreError("no_run", f"{path} is not a run folder (no config.toml); check the name")

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.resolve().name

    @property
    def store_address(self) -> str | Path:
        """Where the episodes are: the database of `store.url` in the settings, else `store.sqlite` in the folder."""
        url = self.config().get("store", {}).get("url")
        return str(url) if url else self.store_path

    def config(self) -> dict[str, Any]:
        """The resolved settings; StoreError "corrupt_run" if the file does not parse."""
        try:
            return tomllib.loads(self.config_path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise StoreError("corrupt_run", f"{self.config_path}: {error}; restore it from the recipe") from error

    def metrics(self) -> Iterator[dict[str, Any]]:
        """The records of `metrics.jsonl`, oldest first; a last line torn by a crash is left out.

        Raises: StoreError "corrupt_run" naming any other line that does not parse.
        """
        if not self.metrics_path.exists():
            return
        with self.metrics_path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    return
                try:
                    yield _finite_back(json.loads(line))
                except ValueError as error:
                    message = f"{self.metrics_path}, line {number}: {error}; delete that line"
                    raise StoreError("corrupt_run", message) from error

    def summary(self) -> dict[str, Any] | None:
        """The content of `summary.json`; None before the run wrote one; StoreError "corrupt_run"."""
        if not self.summary_path.exists():
            return None
        try:
            return dict(_finite_back(json.loads(self.summary_path.read_bytes())))
        except (ValueError, TypeError) as error:
            raise StoreError("corrupt_run", f"{self.summary_path}: {error}; delete it") from error


class RunDirectory(RunFiles):
    """A run folder locked for this process; a context manager that gives the lock back."""

    def __init__(self, path: Path, lock: IO[str]) -> None:
        super().__init__(path)
        self._lock = lock
        self._metrics: IO[bytes] | None = None

    @classmethod
    def create(cls, path: Path, config: Mapping[str, Any]) -> Self:
        """Make a new run folder and lock it.

        Raises: StoreError "run_exists" (says how to resume or rename), "run_locked", "bad_config" (not TOML data),
            "disk_full", "io_error".
        """
        try:
            text = tomli_w.dumps(config)
        except TypeError as error:
            raise StoreError(
                "bad_config", f"the config cannot be written as TOML: {error}; leave unset keys out"
            ) from error
        with disk_errors(StoreError, f"creating {path}", _KEPT):
            path.mkdir(parents=True, exist_ok=True)
            _refuse_used(path)
            lock = _acquire(path)
            try:
                _refuse_used(path)  # again: another process may have made a run here before the lock was ours
                replace_atomically(path / "config.toml", text.encode())
                run = cls(path, lock)
                run.logs_path.mkdir()
                run.checkpoints_path.mkdir()
                sync_folder(path.parent)
            except BaseException:
                lock.close()
                raise
        return run

    @classmethod
    def resume(cls, path: Path) -> Self:
        """Lock an existing run folder to continue it.

        Raises: StoreError "no_run", "run_locked" (names the process that holds it).
        """
        RunFiles(path)
        return cls(path, _acquire(path))

    def close(self) -> None:
        """Close the files and give the lock back."""
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def log_metrics(self, record: Mapping[str, Any]) -> None:
        """Append one record; it survives the death of the process when this returns.

        Non-finite numbers are written as the strings "NaN", "Infinity", "-Infinity", which every JSON reader takes.

        Raises: StoreError "not_json", "disk_full", "io_error".
        """
        line = _json_text(record, "metrics").encode() + b"\n"
        with disk_errors(StoreError, f"writing {self.metrics_path}", _KEPT):
            file = self._metrics_file()
            start = file.tell()
            try:
                written = 0
                while written < len(line):
                    written += file.write(line[written:])
            except OSError:
                file.truncate(start)
                raise

    def metrics_length(self) -> int:
        """Bytes of complete metrics, forced to the disk; a checkpoint records it so that a resume can go back to it."""
        with disk_errors(StoreError, f"writing {self.metrics_path}", _KEPT):
            file = self._metrics_file()
            os.fsync(file.fileno())
            return file.tell()

    def rewind_metrics(self, length: int) -> None:
        """Cut the metrics back to the length a checkpoint recorded: what came after it will be logged again.

        Raises: StoreError "metrics_mismatch" if the file is shorter or `length` is not the end of a line.
        """
        with disk_errors(StoreError, f"writing {self.metrics_path}", _KEPT):
            file = self._metrics_file()
            size = file.seek(0, os.SEEK_END)
            ends_line = length == 0
            if 0 < length <= size:
                file.seek(length - 1)
                ends_line = file.read(1) == b"\n"
            if not ends_line:
                fix = "it was changed since the checkpoint; resume in a copy of the untouched run"
                raise StoreError("metrics_mismatch", f"{self.metrics_path} has no line ending at byte {length}; {fix}")
            file.truncate(length)
            file.seek(length)
            os.fsync(file.fileno())

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Replace `summary.json`, old or new but never half; raises as `log_metrics`."""
        data = _json_text(summary, "summary").encode() + b"\n"
        with disk_errors(StoreError, f"writing {self.summary_path}", _KEPT):
            replace_atomically(self.summary_path, data)

    def write_report(self, html: str) -> None:
        """Replace `report.html`, old or new but never half; StoreError "disk_full", "io_error"."""
        with disk_errors(StoreError, f"writing {self.report_path}", _KEPT):
            replace_atomically(self.report_path, html.encode())

    def _metrics_file(self) -> IO[bytes]:
        """The metrics file, opened at its end; a torn last line is cut off first, or it would swallow the next one."""
        if self._metrics is None:
            self._metrics = self.metrics_path.open("r+b" if self.metrics_path.exists() else "x+b", buffering=0)
            _cut_torn_line(self._metrics)
        return self._metrics


def _cut_torn_line(file: IO[bytes]) -> None:
    """Move to the end of the last complete line and drop what follows it."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 65_536)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    file.truncate(end)
    file.seek(end)


def _refuse_used(path: Path) -> None:
    if (path / "config.toml").exists():
        fix = "continue it with --resume, or choose another run name"
        raise StoreError("run_exists", f"{path} already holds a run; {fix}")
    foreign = sorted(entry.name for entry in path.iterdir() if entry.name != "run.lock")
    if foreign:
        raise StoreError("run_exists", f"{path} is not empty (holds {foreign[0]!r}); choose another run name")


def _acquire(path: Path) -> IO[str]:
    lock = (path / "run.lock").open("a+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        holder = lock.read().strip() or "another process"
        lock.close()
        fix = "wait for it, stop it, or choose another run name"
        raise StoreError("run_locked", f"{path} is being written by {holder}; {fix}", retryable=True) from error
    lock.truncate(0)
    lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    lock.flush()
    return lock


def _json_text(value: Mapping[str, Any], where: str) -> str:
    try:
        return json.dumps(_finite_out(dict(value)), allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise StoreError("not_json", f"{where} cannot be written: {error}; make it plain JSON data") from error


def _finite_out(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: _finite_out(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite_out(item) for item in value]
    return value


def _finite_back(value: Any) -> Any:
    if isinstance(value, str):
        return _NON_FINITE.get(value, value)
    if isinstance(value, dict):
        return {key: _finite_back(item) for key, item in value.items()}
    return [_finite_back(item) for item in value] if isinstance(value, list) else value
