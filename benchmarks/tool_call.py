"""Calls of stateful tools through the in-process door, beside a trivial tool on the SDK's in-memory path.

Ours validates, runs a transaction, hashes and records every call; the peer echoes its argument. One client and one
call at a time on both sides, CPU time of the whole process.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import mcp_types as types
from mcp import Client
from mcp.server.lowlevel import Server

from palaestra.benchmarks.harness import cpu_rate, result
from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore

TARGET = 20_000.0
WRITE_TARGET = 10_000.0


def run(quick: bool, seed: int) -> dict[str, Any]:
    """Point reads per CPU-second; committed one-row writes in the details."""
    calls, repeats = (200, 3) if quick else (500, 7)
    with EpisodeStore([load_server("banking"), load_server("calendar")]) as store:
        episode = store.open(seed=seed)[1]
        account = dispatch(episode, "list_bank_accounts", {}).content["items"][0]["account_id"]
        event = dispatch(episode, "search_calendar_events", {"text": "e"}).content["items"][0]["event_id"]
        reads = cpu_rate(lambda: _call(episode, "get_bank_account", {"account_id": account}, calls), repeats)
        change = {"event_id": event, "title": "another title"}
        writes = cpu_rate(lambda: _call(episode, "update_calendar_event", change, calls), repeats)
    peer = anyio.run(_peer, calls, repeats)
    return result(
        "tool_call",
        reads,
        "calls/CPU-s",
        target=TARGET,
        peer=("mcp in-memory, trivial tool", peer),
        seeds=[seed],
        details={"calls": calls, "writes": writes, "write_target": WRITE_TARGET},
    )


def _call(episode: Episode, tool: str, arguments: dict[str, Any], calls: int) -> int:
    episode.journal.rewind(0)  # the quota of an episode is smaller than what is measured
    for _ in range(calls):
        assert not dispatch(episode, tool, arguments).is_error
    return calls


async def _peer(calls: int, repeats: int) -> dict[str, float]:
    schema = {"type": "object", "properties": {"account_id": {"type": "string"}}, "required": ["account_id"]}

    async def list_tools(ctx: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[types.Tool(name="echo", input_schema=schema)])

    async def call_tool(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        arguments = params.arguments or {}
        return types.CallToolResult(content=[types.TextContent(text=arguments["account_id"])])

    async with Client(Server("peer", on_list_tools=list_tools, on_call_tool=call_tool)) as client:
        await client.list_tools()

        async def some() -> int:
            for _ in range(calls):
                await client.call_tool("echo", {"account_id": "acc_1"})
            return calls

        return await _async_cpu_rate(some, repeats)


async def _async_cpu_rate(fn: Callable[[], Awaitable[int]], repeats: int) -> dict[str, float]:
    """`cpu_rate` inside a running event loop: the work is awaited between two readings of the same clock."""
    await fn()
    rates = []
    for _ in range(repeats):
        started = time.process_time()
        done = await fn()
        rates.append(done / max(time.process_time() - started, 1e-9))
    return {"median": statistics.median(rates), "min": min(rates), "max": max(rates)}
