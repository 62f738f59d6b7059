"""Episodes started, by opening and by resetting, beside a new in-memory connection of the SDK per episode.

Ours: open a handle, fork the bank's seeded database, read and write one row; reset to the seed, read and write again:
two starts, each of a world of its own. Peer: connect a client to a fresh server and call one trivial tool twice, which
is how state is kept apart without handles. CPU time of the whole process.
"""

from __future__ import annotations

from typing import Any

import anyio
import mcp_types as types
from mcp import Client
from mcp.server.lowlevel import Server

from palaestra.benchmarks.harness import cpu_rate, result
from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore

TARGET = 5_000.0


def run(quick: bool, seed: int) -> dict[str, Any]:
    """Starts per CPU-second, with their first calls; in the details, episodes created, forked and reset untouched."""
    episodes, repeats = (50, 3) if quick else (300, 7)
    with EpisodeStore([load_server("banking")]) as store:
        _, first = store.open(seed=seed)
        account = dispatch(first, "list_bank_accounts", {}).content["items"][0]["account_id"]
        card = dispatch(first, "list_bank_cards", {}).content["items"][0]["card_id"]

        def use(episode: Episode) -> None:
            assert not dispatch(episode, "get_bank_account", {"account_id": account}).is_error
            assert not dispatch(episode, "freeze_card", {"card_id": card, "reason": "lost"}).is_error

        def open_and_reset() -> int:
            for _ in range(episodes):
                handle, episode = store.open(seed=seed)
                use(episode)
                episode.reset()
                use(episode)
                store.end(handle)
            return 2 * episodes

        def create_and_reset() -> int:
            for _ in range(episodes):
                handle, episode = store.open(seed=seed)
                episode.state("banking")
                episode.reset()
                store.end(handle)
            return episodes

        ours = cpu_rate(open_and_reset, repeats)
        unused = cpu_rate(create_and_reset, repeats)
        image_bytes = len(first.state("banking").image.content)
    peer = cpu_rate(lambda: anyio.run(_connect, max(episodes // 10, 5)), repeats)
    return result(
        "episode_open",
        ours,
        "episodes/CPU-s",
        target=TARGET,
        peer=("mcp in-memory, one connection per episode", peer),
        seeds=[seed],
        details={"episodes": episodes, "image_bytes": image_bytes, "create_and_reset_without_calls": unused},
    )


async def _connect(episodes: int) -> int:
    async def list_tools(ctx: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[types.Tool(name="echo", input_schema={"type": "object"})])

    async def call_tool(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        return types.CallToolResult(content=[types.TextContent(text="ok")])

    for _ in range(episodes):
        async with Client(Server("peer", on_list_tools=list_tools, on_call_tool=call_tool)) as client:
            await client.call_tool("echo", {})
            await client.call_tool("echo", {})
    return episodes
