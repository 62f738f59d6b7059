"""A tool service in a process of its own, for a program that wants its episodes apart from itself.

It dies with the program, and its control plane is a Unix socket that only this user may open.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import IO, Any, Final, Self, cast

from palaestra.mcp_servers.errors import ToolError
from palaestra.mcp_servers.transports.control_client import ControlClient

START_S: Final = 60.0
STOP_S: Final = 5.0


class Service:
    """`palaestra serve` over HTTP on a free loopback port, with a control plane; a context manager.

    Args:
        servers: names; empty = all.
        options: further words of `palaestra serve`.
        deadline_s: for the start; with all servers it takes seconds.
        log_calls: write a line per call to standard error; see `said`.

    Attributes:
        url: of its `/mcp`.
        control_url, control_token: of its control plane.
        process: the process itself.

    Raises: ToolError "unavailable" with what it said, if it does not start.
    """

    def __init__(
        self, servers: Sequence[str] = (), *, options: Sequence[str] = (), deadline_s: float = START_S,
        log_calls: bool = False,
    ) -> None:  # fmt: skip
        self._folder = Path(tempfile.mkdtemp(prefix="palaestra"))  # short and private: a socket's path is both
        token, control = self._folder / "token", self._folder / "control"
        self.control_token = secrets.token_urlsafe()
        token.write_text(self.control_token)
        self.control_url = f"unix:{control}"
        words = ["--servers", ",".join(servers), "--port", "0", "--with-parent", "--json"]
        words += ["--control-socket", str(control), "--control-token-file", str(token), *options]
        words += [] if log_calls else ["--quiet"]
        with (self._folder / "errors").open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "palaestra", "serve", *words],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, start_new_session=True,
            )  # fmt: skip
        self._output = cast(IO[bytes], self.process.stdout)
        try:
            self.url = str(self._first_line(monotonic() + deadline_s)["url"])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def control(self, **settings: Any) -> ControlClient:
        """A client of its control plane."""
        return ControlClient(self.control_url, self.control_token, **settings)

    def said(self) -> str:
        """What it wrote to standard error: warnings and failures."""
        return (self._folder / "errors").read_text("utf-8", "replace")

    def close(self) -> None:
        """End it: kindly, and after five seconds by force."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        self.process.kill()
        self.process.wait()
        self._output.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _first_line(self, deadline: float) -> dict[str, Any]:
        """What it announced when it was ready."""
        found = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            while not found.endswith(b"\n") and selector.select(max(0.0, deadline - monotonic())):
                chunk = os.read(self._output.fileno(), 65_536)
                found += chunk
                if not chunk:
                    break
        try:
            return dict(json.loads(found))
        except ValueError as error:
            wrong = found.decode("utf-8", "replace") or self.said()
            raise ToolError("unavailable", f"the tool service did not start: {wrong[-1000:]}") from error
