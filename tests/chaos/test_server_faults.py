"""R10: a tool server that dies, hangs or starves ends its calls with a typed error, and takes nobody with it."""

from __future__ import annotations

import asyncio
import os
import resource
import selectors
import signal
import statistics
import subprocess
import sys
import zipfile
from pathlib import Path
from time import monotonic
from typing import IO

import pytest

from palaestra.benchmarks.server_faults import QUICK, RECOVERY_S, attack
from palaestra.mcp_servers.errors import ToolError
from palaestra.mcp_servers.transports.service import Service
from palaestra.mcp_servers.transports.wire import WireDoor, connect
from tests.requirements.ledger import requirement

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@requirement("R10")
@pytest.mark.slow
def test_every_fault_is_typed_in_time_and_spares_the_sibling() -> None:
    log = asyncio.run(attack(QUICK))
    assert log.broken == []
    assert log.orphans == 0
    assert {code.split()[0] for code in log.codes} >= {"kill_over_http", "hang_over_stdio", "starve_over_http"}
    assert statistics.median(log.recovery_cpu_s) < RECOVERY_S  # of its CPU: how long that takes is the machine's affair


@requirement("R10")
def test_who_shares_the_dead_connection_is_not_cancelled() -> None:
    """The official client cancels the task that connected; ours must not."""

    async def run() -> list[str]:
        with Service(["banking"]) as service:
            async with service.control() as control, connect(service.url) as client:
                doors = [(await control.open()).door(client, 5.0) for _ in range(4)]
                os.kill(service.process.pid, signal.SIGSTOP)
                calls = [asyncio.ensure_future(door.call("list_bills", {})) for door in doors]
                await asyncio.sleep(0)
                os.kill(service.process.pid, signal.SIGKILL)
                found = await asyncio.gather(*calls, return_exceptions=True)
                with pytest.raises(ToolError, match="unavailable"):
                    await doors[0].list_tools()
                with pytest.raises(ToolError, match="unavailable"):
                    async with connect(service.url):
                        pass
            return [error.code for error in found if isinstance(error, ToolError)]

    assert asyncio.run(run()) == ["unavailable"] * 4


def line_of(stream: IO[bytes] | None, deadline_s: float = 60.0) -> str:
    """One line, or nothing if none comes in time."""
    assert stream is not None
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        return stream.readline().decode() if selector.select(deadline_s) else ""


def gone(pid: int, within_s: float = 10.0) -> bool:
    """Whether a process that is nobody's child of ours ends in time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            return bool(selector.select(within_s))
    finally:
        os.close(descriptor)


PARENT = """
import subprocess, sys, threading
words = [sys.executable, "-m", "palaestra", "serve", "--servers", "banking", "--quiet", *sys.argv[1:]]
def start():
    global child
    child = subprocess.Popen(words, stdin=sys.stdin.fileno(), stdout=subprocess.PIPE)
    child.stdout.readline()  # an announcement, or an answer: it runs
    print(child.pid, flush=True)
thread = threading.Thread(target=start)
thread.start()
thread.join()
child.wait()
"""


@requirement("R10")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the end of standard input has to do")
@pytest.mark.parametrize("words", [["--port", "0", "--with-parent"], ["--transport", "stdio"]], ids=["http", "stdio"])
def test_a_server_outlives_the_thread_that_started_it_but_not_its_parent(words: list[str]) -> None:
    """Its standard input stays open, held by this test: only the parent's death can end it."""
    reading, writing = os.pipe()
    try:
        os.write(writing, b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        with subprocess.Popen(
            [sys.executable, "-c", PARENT, *words], stdin=reading, stdout=subprocess.PIPE, env=ENVIRONMENT
        ) as parent:
            server = int(line_of(parent.stdout))
            assert not gone(server, within_s=2.0)  # its thread is over, its parent lives
            started = monotonic()
            parent.kill()
            assert gone(server)
            assert monotonic() - started < 5
    finally:
        os.close(reading)
        os.close(writing)


@requirement("R10")
def test_a_full_disk_keeps_the_last_state(tmp_path: Path) -> None:
    """What cannot be written whole is not written: the file of the last run stays, and the error says so."""
    state = tmp_path / "state"
    words = ["--default-episode", "--state", str(state)]
    for limited in (False, True):
        with Service(["banking"], options=words) as service:

            async def use(url: str = service.url) -> None:
                async with connect(url) as client:
                    door = WireDoor(client, None)
                    card = (await door.call("list_bank_cards", {})).content["items"][0]["card_id"]
                    await door.call("freeze_card", {"card_id": card, "reason": "lost"})

            asyncio.run(use())
            if limited:
                before = state.read_bytes()
                resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (1024, 1024))
            service.process.terminate()
            assert service.process.wait(20) == (2 if limited else 0)
            if limited:
                assert "state_unwritable" in line_of(service.process.stdout)
    assert state.read_bytes() == before
    assert zipfile.ZipFile(state).testzip() is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state", "state.lock"]
