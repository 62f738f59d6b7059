"""Stateful tool calls over HTTP and stdio, beside a trivial tool on the SDK's own HTTP application and stdio server.

The same official client, processes of their own, taking turns in one run. Ours validates, runs a transaction, hashes
and records every call; the peer echoes its argument. CPU time of the server process and of the client are told apart:
the client is not ours, and ours gives it more to check.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import anyio
import uvicorn
from mcp import Client, StdioServerParameters
from mcp.server.stdio import stdio_server

from palaestra.benchmarks.harness import result, with_rows
from palaestra.benchmarks.tool_peers import trivial_server
from palaestra.mcp_servers.transports.service import Service
from palaestra.mcp_servers.transports.wire import connect

TARGET: Final = 1.0
ERAS: Final = {"2026-07-28": "2026-07-28", "2025-11-25": "legacy"}
FLIGHTS: Final = (1, 16)
CALLS: Final = 100
"""In one turn: short ones, so that both sides of a pair meet the same machine."""


@dataclass
class Side:
    """One of the two that take turns."""

    pid: int
    client: Client
    tool: str
    arguments: dict[str, Any]
    meta: Any = None


@dataclass
class Turn:
    """What a number of calls took."""

    server_s: float
    client_s: float
    wall_s: float


def run(quick: bool, seed: int) -> dict[str, Any]:
    """Calls per CPU-second of the server process; the first row is one client over HTTP in the newest revision."""
    calls, repeats = (CALLS, 3) if quick else (CALLS, 15)
    rows = []
    for wire in ("http", "stdio"):
        for era, mode in ERAS.items():
            for flight in FLIGHTS:
                ours, peer = anyio.run(_compare, wire, mode, flight, calls, repeats, seed)
                rows.append(_row(f"{wire} {era}, {flight} in flight", ours, peer, calls, seed))
    return with_rows(rows)


def _row(name: str, ours: list[Turn], peer: list[Turn], calls: int, seed: int) -> dict[str, Any]:
    def rate(turns: list[Turn], field: str) -> dict[str, float]:
        rates = [calls / getattr(turn, field) for turn in turns]
        return {"median": statistics.median(rates), "min": min(rates), "max": max(rates)}

    details = {
        field: {"ours": rate(ours, field), "peer": rate(peer, field)} for field in ("server_s", "client_s", "wall_s")
    }
    found = result(
        "tool_http", rate(ours, "server_s"), "calls/server CPU-s", target=TARGET,
        peer=("bare SDK, trivial tool", rate(peer, "server_s")), seeds=[seed], details={"calls": calls, **details},
    )  # fmt: skip
    pairs = [peer_turn.server_s / our_turn.server_s for our_turn, peer_turn in zip(ours, peer, strict=True)]
    return {**found, "measures": name, "ratio": statistics.median(pairs)}


async def _compare(
    wire: str, mode: str, flight: int, calls: int, repeats: int, seed: int
) -> tuple[list[Turn], list[Turn]]:
    """Turns of ours and of the peer, alternating, after one of each to warm up."""
    async with AsyncExitStack() as stack:
        sides = [
            await stack.enter_async_context(_ours(wire, mode, seed)),
            await stack.enter_async_context(_peer(wire, mode)),
        ]
        for side in sides:
            await side.client.list_tools(meta=side.meta)
            await _take(side, flight, min(calls, 50))
        turns: tuple[list[Turn], list[Turn]] = ([], [])
        for number in range(repeats):
            for which in ((0, 1), (1, 0))[number % 2]:
                turns[which].append(await _take(sides[which], flight, calls))
        return turns


async def _take(side: Side, flight: int, calls: int) -> Turn:
    left = iter(range(calls))

    async def work() -> None:
        for _ in left:
            got = await side.client.call_tool(side.tool, side.arguments, meta=side.meta)
            assert not got.is_error, got

    server, client, wall = _cpu_s(side.pid), time.process_time(), time.perf_counter()
    async with anyio.create_task_group() as group:
        for _ in range(flight):
            group.start_soon(work)
    return Turn(_cpu_s(side.pid) - server, time.process_time() - client, time.perf_counter() - wall)


@asynccontextmanager
async def _ours(wire: str, mode: str, seed: int) -> AsyncIterator[Side]:
    words = ["--servers", "banking", "--seed", str(seed), "--quiet"]
    if wire == "http":
        with Service(["banking"], options=["--default-episode", "--seed", str(seed)]) as service:
            async with connect(service.url, mode=mode) as client:
                yield await _side(service.process.pid, client)
        return
    async with _stdio(["-m", "palaestra", "serve", "--transport", "stdio", *words], mode) as (pid, client):
        yield await _side(pid, client)


async def _side(pid: int, client: Client) -> Side:
    accounts = await client.call_tool("list_bank_accounts", {})
    account = accounts.structured_content["items"][0]["account_id"]
    return Side(pid, client, "get_bank_account", {"account_id": account})


@asynccontextmanager
async def _peer(wire: str, mode: str) -> AsyncIterator[Side]:
    arguments = {"account_id": "acc_1"}
    if wire == "stdio":
        async with _stdio(["-m", "palaestra.benchmarks.tool_http", "stdio"], mode) as (pid, client):
            yield Side(pid, client, "echo", arguments)
        return
    command = [sys.executable, "-m", "palaestra.benchmarks.tool_http", "http"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            async with connect(process.stdout.readline().strip(), mode=mode) as client:
                yield Side(process.pid, client, "echo", arguments)
        finally:
            process.kill()


@asynccontextmanager
async def _stdio(words: list[str], mode: str) -> AsyncIterator[tuple[int, Client]]:
    from palaestra.benchmarks.server_faults import children

    before = children()
    parameters = StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ))
    async with connect(parameters, mode=mode) as client:
        await client.list_tools()
        (pid,) = children() - before
        yield pid, client


def _cpu_s(pid: int) -> float:
    """CPU time of another process, all its threads, to the nanosecond (Linux's clock of that process)."""
    return time.clock_gettime((~pid << 3) | 2)


def serve_peer(wire: str) -> None:
    """The bare SDK as its documentation runs it."""
    server = trivial_server()
    if wire == "http":
        bound = socket.create_server(("127.0.0.1", 0))
        print(f"http://127.0.0.1:{bound.getsockname()[1]}/mcp", flush=True)
        app = server.streamable_http_app(json_response=True)
        uvicorn.Server(uvicorn.Config(app, log_level="error")).run([bound])
        return

    async def talk() -> None:
        async with stdio_server() as (read_stream, write_stream):
            await server.run(read_stream, write_stream, server.create_initialization_options())

    anyio.run(talk)


if __name__ == "__main__":
    serve_peer(sys.argv[1])
