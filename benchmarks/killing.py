"""Processes to kill: a server process that has everything imported forks a fresh child for each kill.

Forking costs milliseconds where starting Python costs a second, so that hundreds of kills fit in a minute. A child
reports each acknowledged piece of work as one line; whatever it reported before SIGKILL must have survived.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any

DEADLINE_S = 60.0


def report(text: str) -> None:
    """One line to the parent, complete or not at all."""
    os.write(1, f"{text}\n".encode())


def die() -> None:
    """SIGKILL to this very process: what a named crash point does."""
    os.kill(os.getpid(), signal.SIGKILL)


def serve(work: Callable[[dict[str, Any]], None]) -> None:
    """Fork a child that does `work(task)` for every task line on standard input, one after the other."""
    report("ready")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                work(json.loads(line))
            finally:
                os._exit(3)  # neither handlers nor buffers of the server run twice
        report(f"pid {child}")
        _, status = os.waitpid(child, 0)
        report(f"dead {os.waitstatus_to_exitcode(status)}")


class Killer:
    """The parent's end of a server."""

    def __init__(self, server: subprocess.Popen[bytes]) -> None:
        assert server.stdin is not None
        assert server.stdout is not None
        self._server = server
        self._input, self._output = server.stdin, server.stdout
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._output, selectors.EVENT_READ)
        self._pending = b""

    def kill_one(self, task: Mapping[str, Any], after_s: float | None) -> list[str]:
        """Run one task and return what it reported before it died.

        Args:
            task: JSON-ready; handed to `work`.
            after_s: SIGKILL so long after its first report; None if the task kills itself.
        """
        self._input.write(json.dumps(task).encode() + b"\n")
        self._input.flush()
        pid = 0
        reports: list[str] = []
        deadline = monotonic() + DEADLINE_S
        kill_at: float | None = None
        while True:
            if kill_at is not None and monotonic() >= kill_at:
                os.kill(pid, signal.SIGKILL)  # alive: it works until it is killed
                kill_at = None
            line = self._line(deadline if kill_at is None else kill_at)
            if line is None:
                if monotonic() >= deadline:
                    raise TimeoutError(f"no end of {dict(task)!r} within {DEADLINE_S} s")
            elif line.startswith("pid "):
                pid = int(line.removeprefix("pid "))
            elif line.startswith("dead "):
                if line != f"dead {-signal.SIGKILL}":
                    raise RuntimeError(f"{dict(task)!r} ended by itself ({line}), not by SIGKILL")
                return reports
            else:
                reports.append(line)
                if len(reports) == 1 and after_s is not None:
                    kill_at = monotonic() + after_s

    def ready(self) -> None:
        """Wait until the server has imported everything."""
        if self._line(monotonic() + DEADLINE_S) != "ready":
            raise RuntimeError("the server did not start; see its messages above")

    def close(self) -> None:
        """End the server."""
        self._selector.close()
        self._input.close()
        self._server.wait(timeout=DEADLINE_S)
        self._output.close()

    def _line(self, deadline: float) -> str | None:
        """The next line, or None if there is none before the deadline or the server ended."""
        while b"\n" not in self._pending:
            if not self._selector.select(max(0.0, deadline - monotonic())):
                return None
            chunk = os.read(self._output.fileno(), 65_536)
            if not chunk:
                raise RuntimeError("the server ended; see its messages above")
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode()


@contextmanager
def server(module: str) -> Iterator[Killer]:
    """A server that runs `python -m module serve`."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", module, "serve"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment) as process:
        killer = Killer(process)
        try:
            killer.ready()
            yield killer
        finally:
            killer.close()
