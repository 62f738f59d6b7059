"""Real services: one process with every server for the whole session, and applications in a thread of this one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import uvicorn
from starlette.types import ASGIApp

from palaestra.mcp_servers.catalog import CATALOG
from palaestra.mcp_servers.transports.listening import bind_port, make_server
from palaestra.mcp_servers.transports.service import Service

ALICE = "wonderland-wonderland"
BOB = "builder-builder-builder"
ERAS = ("2026-07-28", "legacy")


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    """`palaestra serve` with every server, a control plane, and no default episode."""
    with Service(list(CATALOG)) as started:
        yield started


Run = Callable[[ASGIApp], str]


@pytest.fixture
def run() -> Iterator[Run]:
    """Runs an application in a thread, on a port of its own; returns its address."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(app: ASGIApp) -> str:
        listener = bind_port("127.0.0.1", 0)
        server = make_server(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
