"""`palaestra serve`: the list, refusals, and real servers talked to by the official client."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from palaestra.mcp_servers.catalog import CATALOG, load_server
from palaestra.mcp_servers.errors import ToolError
from palaestra.mcp_servers.transports.control_client import ControlClient
from palaestra.mcp_servers.transports.wire import WireDoor, connect
from tests.cli.conftest import ENVIRONMENT, Command

TOKEN = "secret-secret-secret"  # noqa: S105 - of a test


class Served:
    """A running `palaestra serve --json`, and what it announced."""

    def __init__(self, process: subprocess.Popen[str], said: dict[str, Any]) -> None:
        self.process = process
        self.url = str(said["url"])
        self.control = str(said["control"])
        self.said = said

    def stop(self, with_signal: signal.Signals = signal.SIGINT) -> tuple[int, float]:
        """Its exit status, and how long it took to end."""
        started = monotonic()
        self.process.send_signal(with_signal)
        self.process.wait(20)
        return self.process.returncode, monotonic() - started


@contextmanager
def serving(*words: object) -> Iterator[Served]:
    command = [sys.executable, "-W", "error", "-m", "palaestra", "serve", "--json", "--quiet", *map(str, words)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            assert selector.select(60), "nothing was announced within a minute"
        line = process.stdout.readline()
        try:
            yield Served(process, json.loads(line)) if line else pytest.fail(process.communicate()[1])
        finally:
            process.kill()


def talk(
    url: str, calls: Sequence[tuple[str, dict[str, Any]]], mode: str = "auto", token: str | None = None
) -> list[Any]:
    """Results of an ordinary client that names no episode."""

    async def run() -> list[Any]:
        async with connect(url, token, mode=mode) as client:
            return [(await client.call_tool(tool, arguments)).structured_content for tool, arguments in calls]

    return anyio.run(run)


BOOK = ("book_event", {"title": "kept", "minutes": 30, "starts_at": "2026-03-04T12:00:00Z"})
FIND: tuple[str, dict[str, Any]] = ("search_calendar_events", {"text": "kept"})


def book(url: str, **settings: Any) -> None:
    (calendars,) = talk(url, [("list_calendars", {})], **settings)
    (booked,) = talk(url, [(BOOK[0], {**BOOK[1], "calendar_id": calendars["items"][1]["calendar_id"]})], **settings)
    assert "code" not in booked, booked


def kept(url: str, **settings: Any) -> int:
    return len(talk(url, [FIND], **settings)[0]["items"])


# -- the list ------------------------------------------------------------------------------------------------------


def test_the_list_names_every_server(command: Command) -> None:
    table = command("serve", "--list").out
    for name, entry in CATALOG.items():
        (line,) = [line for line in table.splitlines() if line.split()[:1] == [name]]
        assert line.split()[1:] == [entry.category, str(entry.tools), str(entry.verbs)]


def test_the_list_as_json_names_every_tool(command: Command) -> None:
    servers = command("serve", "--list", "--json").json()["servers"]
    assert [server["name"] for server in servers] == list(CATALOG)
    for server in servers:
        assert set(server) == {"name", "description", "category", "tools"}
        assert server["tools"] == [
            {"name": tool.name, "effect": tool.effect.value, "kind": tool.kind}
            for tool in load_server(server["name"]).tools.values()
        ]


# -- refusals ------------------------------------------------------------------------------------------------------


def test_what_cannot_be_served_is_refused(command: Command, tmp_path: Path) -> None:
    good, weak, two = tmp_path / "good", tmp_path / "weak", tmp_path / "two"
    good.write_text(f"{TOKEN}\n")
    weak.write_text("short")
    two.write_text(f"{TOKEN} {TOKEN}")
    for words, code, shown in (
        (["--servers", "bankin"], "unknown_server", "did you mean 'banking'"),
        (["--transport", "htp"], "option", "--transport: "),
        (["--profile", "huge"], "option", "--profile: "),
        (["--workers", "2"], "workers", "several services"),
        (["--host", "0.0.0.0"], "exposed", "bearer tokens"),  # noqa: S104 - what is refused
        (["--host", "203.0.113.9", "--token-file", good], "bad_address", "cannot listen"),
        (["--token-file", tmp_path / "none"], "token_file", "secrets.token_urlsafe"),
        (["--token-file", two], "token_file", "one token"),
        (["--token-file", weak], "weak_token", "16 or more"),
        (["--token-file", good, "--token-file", tmp_path / "good.txt"], "token_file", "good.txt"),
        (["--default-episode", "--token-file", good, "--token-file", two], "token_file", "one token"),
        (["--state", tmp_path / "s", "--no-default-episode"], "state", "--no-default-episode"),
        (["--control-port", "0"], "control_token", "--control-token-file"),
        (["--control-token-file", good], "control_token", "--control-port"),
        (["--control-socket", tmp_path / "good", "--control-token-file", good], "socket_taken", "no socket"),
        (["--no-default-episode", "--no-legacy-sessions"], "no_episodes", "--default-episode"),
        (["--transport", "stdio", "--token-file", good], "transport", "http transport"),
        (["--state", tmp_path / "nowhere" / "s"], "state_unwritable", "nowhere"),
    ):  # fmt: skip
        done = command("serve", "--port", 0, "--servers", "calendar", *words)
        assert (done.code, done.out) == (2, ""), words
        assert done.err.startswith(f"error [{code}]: "), done.err
        assert shown in done.err
        assert TOKEN not in done.err


def test_two_principals_share_no_default_episode(command: Command, tmp_path: Path) -> None:
    words: list[object] = ["serve", "--port", 0, "--default-episode"]
    for name in ("alice", "bob"):
        (tmp_path / name).write_text(name * 8)
        words += ["--token-file", tmp_path / name]
    done = command(*words)
    assert "error [shared_default]" in done.err


def test_a_taken_port_is_named(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command("serve", "--port", port)
    assert done.code == 2
    assert done.err.startswith(f"error [port_taken]: port {port} of 127.0.0.1 is taken")


# -- over http -----------------------------------------------------------------------------------------------------


def test_one_command_serves_any_client_and_ends_quickly(tmp_path: Path) -> None:
    with serving("--port", 0, "--servers", "calendar,banking") as served:
        assert served.said["servers"] == ["calendar", "banking"]
        book(served.url)
        for mode in ("auto", "legacy"):  # both revisions see the one episode
            assert kept(served.url, mode=mode) == 1
        assert kept(f"{served.url}/calendar") == 1
        root = served.url.removesuffix("/mcp")
        assert httpx2.get(f"{root}/healthz").text == "ok"
        metrics = httpx2.get(f"{root}/metrics").text
        assert 'palaestra_calls_total{code="ok",effect="write",server="calendar"} 1.0' in metrics
        assert httpx2.post(f"{root}/control/stats", json={}).status_code == 404
        code, seconds = served.stop()
        assert (code, served.process.stderr.read() if served.process.stderr else "") == (0, "")
        assert seconds < 10  # a second when the machine is idle


def test_people_read_what_is_served(tmp_path: Path) -> None:
    (tmp_path / "alice").write_text(TOKEN)
    with subprocess.Popen(
        [sys.executable, "-m", "palaestra", "serve", "--port", "0", "--servers", "banking", "--token-file",
         tmp_path / "alice", "--state", tmp_path / "mine"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        shown = "".join(process.stdout.readline() for _ in range(5))
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert "Palaestra serves banking: 17 tools, seed 0, profile default." in shown
    assert "endpoint  http://127.0.0.1:" in shown
    assert "bearer token of alice" in shown
    assert f"kept in {tmp_path / 'mine'}" in shown
    assert TOKEN not in shown


def test_sessions_get_an_episode_each_that_ends_with_them(tmp_path: Path) -> None:
    (tmp_path / "control").write_text(TOKEN)
    words = ["--port", 0, "--servers", "calendar", "--legacy-sessions", "--control-port", 0]
    with serving(*words, "--control-token-file", tmp_path / "control") as served:

        async def run() -> None:
            async with ControlClient(served.control, TOKEN) as control:
                async with connect(served.url, mode="legacy") as first, connect(served.url, mode="legacy") as second:
                    for client in (first, second):
                        assert not (await client.call_tool("list_calendars", {})).is_error
                    assert (await control.stats())["open"] == 2
                assert (await control.stats())["open"] == 0  # the client ends its session when it leaves
                headers = {"mcp-session-id": "a" * 32}  # means nothing in the revision that has no sessions
                async with (
                    httpx2.AsyncClient(headers=headers) as http,
                    Client(streamable_http_client(served.url, http_client=http)) as client,
                ):
                    assert (await client.call_tool("list_calendars", {})).structured_content["code"] == "no_episode"
                assert (await control.stats())["open"] == 0

        anyio.run(run)


def test_signed_urls_open_their_episode_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "control").write_text(TOKEN)
    words = ["--port", 0, "--servers", "calendar,banking", "--signed-urls", "--control-port", 0]
    with serving(*words, "--control-token-file", tmp_path / "control") as served:

        async def run() -> None:
            async with ControlClient(served.control, TOKEN) as control:
                mine, other = await control.open(seed=1), await control.open(seed=2)
                url, second = await mine.sign_url(60), await other.sign_url(60)
                assert mine.handle not in url
                async with connect(url) as client:
                    assert not (await client.call_tool("list_calendars", {})).is_error
                    disagreeing = await WireDoor(client, mine.handle).call("list_calendars", {})
                    assert disagreeing.fault is None  # the same episode twice
                    with pytest.raises(ToolError, match="unknown_episode"):
                        await WireDoor(client, other.handle).call("list_calendars", {})
                assert (len(await mine.journal()), len(await other.journal())) == (2, 0)
                name, deadline, signature = url.rpartition("=")[2].split(".")
                for wrong in (
                    f"{name}.{int(deadline) + 9}.{signature}", f"{name}.{deadline}.{signature[:-1]}", name, "", "..",
                    f"{name}.{deadline}.{second.rpartition('.')[2]}", f"{name}.-1.{signature}", mine.handle,
                ):  # fmt: skip
                    async with connect(f"{served.url}?palaestra_episode={wrong}") as client:
                        refused = await client.call_tool("list_calendars", {})
                        assert refused.structured_content["code"] == "unknown_episode"

        anyio.run(run)


# -- state ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM])
def test_a_state_file_keeps_the_default_episode(tmp_path: Path, ended_by: signal.Signals) -> None:
    words = ["--port", 0, "--servers", "calendar,banking", "--state", tmp_path / "mine"]
    with serving(*words) as served:
        book(served.url)
        with serving(*words[:4]) as forgetful:
            assert kept(forgetful.url) == 0
        assert served.stop(ended_by)[0] == 0
    with serving(*words) as again:
        assert kept(again.url) == 1
        taken = subprocess.run(
            [sys.executable, "-m", "palaestra", "serve", *map(str, words)],
            capture_output=True, text=True, env=ENVIRONMENT, check=False, timeout=60,
        )  # fmt: skip
        assert "error [state_in_use]" in taken.stderr
        again.stop()
    assert zipfile.ZipFile(tmp_path / "mine").namelist() == ["manifest.json", "calendar.sqlite"]


# -- over stdio ----------------------------------------------------------------------------------------------------


def test_stdio_serves_one_episode_for_the_life_of_the_process(tmp_path: Path) -> None:
    words = ["-W", "error", "-m", "palaestra", "serve", "--transport", "stdio", "--servers", "calendar", "--seed", "3",
             "--state", str(tmp_path / "mine")]  # fmt: skip

    async def run(mode: str) -> int:
        parameters = StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ))
        with (tmp_path / "said").open("w") as said:
            async with Client(stdio_client(parameters, errlog=said), mode=mode) as client:
                calendars = (await client.call_tool("list_calendars", {})).structured_content["items"]
                event = {"title": "kept", "minutes": 30, "calendar_id": calendars[1]["calendar_id"]}
                day = "04" if mode == "auto" else "05"
                await client.call_tool("book_event", {**event, "starts_at": f"2026-03-{day}T12:00:00Z"})
                return len((await client.call_tool(*FIND)).structured_content["items"])

    assert anyio.run(run, "auto") == 1
    assert anyio.run(run, "legacy") == 2
    said = (tmp_path / "said").read_text()
    assert "Palaestra serves calendar: 17 tools, seed 3, profile default." in said
    assert "Traceback" not in said
