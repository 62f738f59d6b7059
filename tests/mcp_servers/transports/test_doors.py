"""Every story of every server gives the same results through every door, in both protocol revisions.

Results, faults, dispatch logs and final digests, byte for byte; over stdio and HTTP the latter two are read through
the control plane of the process that has the state.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters

from palaestra.mcp_servers.catalog import load_servers
from palaestra.mcp_servers.errors import ConfigError, ToolError
from palaestra.mcp_servers.framework.episodes import EpisodeStore
from palaestra.mcp_servers.framework.mcp_adapter import build_protocol_server
from palaestra.mcp_servers.transports.control_client import ControlClient
from palaestra.mcp_servers.transports.http import HttpSettings, build_http_app
from palaestra.mcp_servers.transports.local import LocalDoor
from palaestra.mcp_servers.transports.service import Service
from palaestra.mcp_servers.transports.wire import WireDoor, connect
from tests.mcp_servers.transports.conftest import ALICE, BOB, ERAS
from tests.mcp_servers.transports.scripts import SEED, Script, logged, scripts, seen


@pytest.fixture(scope="module")
def store() -> Iterator[EpisodeStore]:
    with EpisodeStore(load_servers()) as opened:
        yield opened


async def repeat_remotely(script: Script, control: ControlClient, client: Client) -> None:
    """Repeat a script on a service and hold everything it shows to what the in-process door showed."""
    episode = await control.open([script.server], seed=SEED)
    door = episode.door(client)
    await door.list_tools()
    for number, ((tool, arguments), expected) in enumerate(zip(script.calls, script.results, strict=True)):
        if number in script.waits:
            await episode.advance_clock(script.waits[number])
        assert seen(await door.call(tool, arguments)) == expected, (script.name, number, tool)
    assert tuple(logged(record) for record in await episode.journal()) == script.journal, script.name
    assert (await episode.digest(), await episode.full_digest()) == (script.digest, script.full), script.name
    await episode.close()


@pytest.mark.parametrize("era", ERAS)
def test_the_in_memory_door_equals_the_in_process_one(store: EpisodeStore, era: str) -> None:
    async def run() -> None:
        async with Client(build_protocol_server(store), mode=era) as client:
            for script in scripts():
                handle, episode = store.open((script.server,), seed=SEED)
                door = WireDoor(client, handle)
                await door.list_tools()
                for number, ((tool, arguments), expected) in enumerate(zip(script.calls, script.results, strict=True)):
                    if number in script.waits:
                        episode.advance_clock(script.waits[number])
                    assert seen(await door.call(tool, arguments)) == expected, (script.name, number, tool)
                assert tuple(logged(record.to_dict()) for record in episode.journal.records) == script.journal
                assert (episode.digest(), episode.full_digest()) == (script.digest, script.full), script.name
                store.end(handle)

    anyio.run(run)


@pytest.mark.parametrize("era", ERAS)
def test_the_http_door_equals_the_in_process_one(service: Service, era: str) -> None:
    async def run() -> None:
        async with service.control() as control, connect(service.url, mode=era) as client:
            for script in scripts():
                await repeat_remotely(script, control, client)

    anyio.run(run)


@asynccontextmanager
async def stdio(folder: Path, era: str, *words: str) -> AsyncIterator[tuple[Client, ControlClient]]:
    """A stdio server of its own and, on a Unix socket, its control plane."""
    token = folder / "token"
    token.write_text(secrets.token_urlsafe())
    control = ["--control-socket", str(folder / "control"), "--control-token-file", str(token)]
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "palaestra", "serve", "--transport", "stdio", "--quiet", *control, *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    async with (
        Client(parameters, mode=era) as client,
        ControlClient(f"unix:{folder / 'control'}", token.read_text()) as plane,
    ):
        await client.list_tools()  # a 2026-07-28 client has said nothing yet; now the server is up
        yield client, plane


@pytest.mark.parametrize("era", ERAS)
def test_the_stdio_door_equals_the_in_process_one(tmp_path: Path, era: str) -> None:
    async def run() -> None:
        async with stdio(tmp_path, era) as (client, control):
            for script in scripts():
                await repeat_remotely(script, control, client)

    anyio.run(run)


@pytest.mark.parametrize("era", ERAS)
def test_stdio_has_one_episode_for_calls_that_name_none(tmp_path: Path, era: str) -> None:
    async def run() -> None:
        script = scripts()[0]
        words = ["--servers", script.server, "--seed", str(SEED), "--default-episode"]
        async with stdio(tmp_path, era, *words) as (client, _):
            door = WireDoor(client, None)
            for number, (tool, arguments) in enumerate(script.calls[: min(script.waits, default=None)]):
                assert seen(await door.call(tool, arguments)) == script.results[number]

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


def test_unsafe_settings_are_refused(store: EpisodeStore) -> None:
    with pytest.raises(ConfigError, match="reachable by others"):
        build_http_app(store, HttpSettings(host="0.0.0.0"))  # noqa: S104 - what is refused
    with pytest.raises(ConfigError, match="reachable by others"):
        build_http_app(store, HttpSettings(host="tools.example"))
    with pytest.raises(ConfigError, match="shared by several"):
        build_http_app(store, HttpSettings(tokens={"a": ALICE, "b": BOB}, default_handle="h"))
    with pytest.raises(ConfigError, match="weak_token"):
        build_http_app(store, HttpSettings(tokens={"a": "short"}))
    with pytest.raises(ConfigError, match="shared_token"):
        build_http_app(store, HttpSettings(tokens={"a": ALICE, "b": ALICE}))
    build_http_app(store, HttpSettings(host="localhost"))


def test_a_local_door_tells_when_its_episode_is_gone(store: EpisodeStore) -> None:
    handle, episode = store.open()
    store.end(handle)
    with pytest.raises(ToolError, match="expired_episode"):
        LocalDoor(episode).call("list_bills", {})
