"""One script of calls gives the same results through every door, in both protocol revisions."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import httpx2
import pytest
import uvicorn
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from palaestra.mcp_servers.catalog import load_servers
from palaestra.mcp_servers.errors import ConfigError, ToolError
from palaestra.mcp_servers.framework.episodes import EpisodeStore
from palaestra.mcp_servers.framework.faults import ToolResult
from palaestra.mcp_servers.framework.mcp_adapter import EPISODE_HEADER, EPISODE_KEY, build_protocol_server
from palaestra.mcp_servers.framework.stories import Teller
from palaestra.mcp_servers.transports.http import HttpSettings, build_http_app
from palaestra.mcp_servers.transports.local import LocalDoor
from palaestra.mcp_servers.transports.wire import WireDoor, from_wire

SEED = 4
ERAS = ("2026-07-28", "legacy")
Script = list[tuple[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def store() -> Iterator[EpisodeStore]:
    with EpisodeStore(load_servers()) as opened:
        yield opened


@pytest.fixture(scope="module")
def script(store: EpisodeStore) -> Script:
    """Every call of the first story of each server, faults included, as the in-process door made them."""
    calls: Script = []
    _, episode = store.open(seed=SEED)
    for server in store.servers.values():
        teller = Teller(episode, server.name)
        server.stories[0](teller)
        calls += [(told.tool, told.arguments) for told in teller.told]
    return [*calls, ("no_such_tool", {}), ("list_bills", {"limit": "1"}), ("list_bills", {"limit": 1.0})]


def run_locally(store: EpisodeStore, script: Script) -> tuple[list[ToolResult], list[str]]:
    _, episode = store.open(seed=SEED)
    door = LocalDoor(episode)
    results = [door.call(tool, arguments) for tool, arguments in script]
    return results, [record.result_digest for record in episode.journal.records]


async def run_over(client: Client, handle: str | None, script: Script) -> list[ToolResult]:
    door = WireDoor(client, handle)
    await door.list_tools()
    return [await door.call(tool, arguments) for tool, arguments in script]


def same_results(first: list[ToolResult], second: list[ToolResult]) -> bool:
    def seen(results: list[ToolResult]) -> list[tuple[Any, ...]]:
        return [(r.value, r.fault, r.text, r.result_digest) for r in results]

    return seen(first) == seen(second)


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Runs the HTTP door in a thread, on a port of its own; returns its address."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(store: EpisodeStore, **settings: Any) -> str:
        app = build_http_app(store, HttpSettings(**settings))
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(20)


@contextlib.asynccontextmanager
async def connect(url: str, era: str, **headers: str) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers=headers, timeout=20) as http,
        Client(streamable_http_client(url, http_client=http), mode=era) as client,
    ):
        yield client


@pytest.mark.parametrize("era", ERAS)
def test_the_in_memory_door_equals_the_in_process_one(store: EpisodeStore, script: Script, era: str) -> None:
    async def run() -> None:
        handle, episode = store.open(seed=SEED)
        async with Client(build_protocol_server(store), mode=era) as client:
            results = await run_over(client, handle, script)
        expected, journal = run_locally(store, script)
        assert same_results(results, expected)
        assert [record.result_digest for record in episode.journal.records] == journal

    anyio.run(run)


@pytest.mark.parametrize("era", ERAS)
def test_the_http_door_equals_the_in_process_one(
    store: EpisodeStore, script: Script, serve: Callable[..., str], era: str
) -> None:
    async def run() -> None:
        handle, episode = store.open(seed=SEED)
        async with connect(f"{serve(store)}/mcp", era) as client:
            results = await run_over(client, handle, script)
        expected, journal = run_locally(store, script)
        assert same_results(results, expected)
        assert [record.result_digest for record in episode.journal.records] == journal

    anyio.run(run)


@pytest.mark.parametrize("era", ERAS)
def test_the_stdio_door_equals_the_in_process_one(store: EpisodeStore, script: Script, era: str) -> None:
    async def run() -> None:
        module = "palaestra.mcp_servers.transports.stdio"
        parameters = StdioServerParameters(
            command=sys.executable, args=["-m", module, "--seed", str(SEED)], env=dict(os.environ)
        )
        async with Client(parameters, mode=era) as client:
            assert same_results(await run_over(client, None, script), run_locally(store, script)[0])

    anyio.run(run)


@pytest.mark.parametrize("era", ERAS)
def test_listings_show_what_the_episode_may_see(store: EpisodeStore, era: str) -> None:
    async def run() -> None:
        handle, episode = store.open(visible_tools=["list_bills", "book_event"])
        async with Client(build_protocol_server(store), mode=era) as client:
            assert await WireDoor(client, handle).list_tools() == LocalDoor(episode).list_tools()
            everything = await client.list_tools()
            assert len(everything.tools) == sum(len(server.tools) for server in store.servers.values())
            refused = await WireDoor(client, handle).call("list_calendars", {})
            assert refused.fault is not None
            assert refused.fault.code == "unknown_tool"

    anyio.run(run)


def test_every_carrier_reaches_its_episode_and_none_is_made_up(store: EpisodeStore, serve: Callable[..., str]) -> None:
    async def run() -> None:
        handle, episode = store.open(seed=1)
        other, _ = store.open(seed=2)
        url = f"{serve(store)}/mcp"
        before = len(store)
        async with connect(url, "2026-07-28", **{EPISODE_HEADER: handle}) as client:
            assert not (await client.call_tool("list_bills", {})).is_error
            assert len(episode.journal) == 1
            disagreeing: Any = {EPISODE_KEY: other}
            refused = from_wire(await client.call_tool("list_bills", {}, meta=disagreeing))
            assert refused.fault is not None
            assert refused.fault.code == "unknown_episode"
        for handle_sent, code in ((None, "no_episode"), ("A" * 43, "unknown_episode")):
            async with connect(url, "2026-07-28") as client:
                with pytest.raises(ToolError, match=code):
                    await WireDoor(client, handle_sent).call("list_bills", {})
        assert len(store) == before

    anyio.run(run)


def test_two_legacy_sessions_get_an_episode_each(store: EpisodeStore, serve: Callable[..., str]) -> None:
    async def run() -> None:
        url = f"{serve(store, legacy_seed=9)}/mcp/calendar"
        async with connect(url, "legacy") as first, connect(url, "legacy") as second:
            found = await first.call_tool("list_calendars", {})
            event = {"calendar_id": found.structured_content["items"][1]["calendar_id"], "title": "mine", "minutes": 30}
            booked = await first.call_tool("book_event", {**event, "starts_at": "2026-03-04T12:00:00Z"})
            assert not booked.is_error
            seen = await second.call_tool("search_calendar_events", {"text": "mine"})
            assert seen.structured_content["items"] == []
            mine = await first.call_tool("search_calendar_events", {"text": "mine"})
            assert len(mine.structured_content["items"]) == 1
            outside = from_wire(await first.call_tool("list_bills", {}))
            assert outside.fault is not None
            assert outside.fault.code == "unknown_tool"

    anyio.run(run)


def test_bearer_tokens_hosts_and_origins_are_enforced(store: EpisodeStore, serve: Callable[..., str]) -> None:
    url = serve(store, tokens={"alice": "wonderland-wonderland", "bob": "builder-builder-builder"})
    handle, _ = store.open(principal="alice")
    with httpx2.Client(base_url=url) as http:
        assert http.get("/healthz").text == "ok"
        assert http.post("/mcp", json={}).status_code == 401
        alice = {"authorization": "Bearer wonderland-wonderland"}
        assert http.post("/mcp", json={}, headers={**alice, "host": "evil.example"}).status_code == 421
        assert http.post("/mcp", json={}, headers={**alice, "origin": "http://evil.example"}).status_code == 403

    async def run() -> None:
        for token, lost in (("wonderland-wonderland", False), ("builder-builder-builder", True)):
            async with connect(f"{url}/mcp", "2026-07-28", authorization=f"Bearer {token}") as client:
                meta: Any = {EPISODE_KEY: handle}
                result = from_wire(await client.call_tool("list_bills", {}, meta=meta))
                assert result.is_error is lost

    anyio.run(run)


def test_unsafe_settings_are_refused(store: EpisodeStore) -> None:
    with pytest.raises(ConfigError, match="reachable by others"):
        build_http_app(store, HttpSettings(host="0.0.0.0"))  # noqa: S104 - what is refused
    with pytest.raises(ConfigError, match="reachable by others"):
        build_http_app(store, HttpSettings(host="tools.example"))
    with pytest.raises(ConfigError, match="shared by several"):
        build_http_app(store, HttpSettings(tokens={"a": "x", "b": "y"}, default_handle="h"))
    build_http_app(store, HttpSettings(host="localhost"))


def test_a_local_door_tells_when_its_episode_is_gone(store: EpisodeStore) -> None:
    handle, episode = store.open()
    store.end(handle)
    with pytest.raises(ToolError, match="expired_episode"):
        LocalDoor(episode).call("list_bills", {})
