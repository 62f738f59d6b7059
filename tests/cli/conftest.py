"""Runs the real command in this process, and in a process of its own where that is what matters."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from palaestra.cli.main import main

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "160", "TERM": "xterm-256color"}


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one JSON object a `--json` command prints."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


Command = Callable[..., Finished]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """`command("env", "list", stdin="...")` runs `palaestra env list`."""

    def run(*words: object, stdin: str = "") -> Finished:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        captured = capfd.readouterr()
        code = caught.value.code
        assert isinstance(code, int | None)
        return Finished(code or 0, captured.out, captured.err)

    return run


def in_process(*words: object, stdin: str = "", cwd: Path | None = None) -> Finished:
    """`palaestra WORDS` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "palaestra", *map(str, words)],
        input=stdin, capture_output=True, text=True, env=ENVIRONMENT, cwd=cwd, check=False, timeout=120,
    )  # fmt: skip
    return Finished(done.returncode, done.stdout, done.stderr)
