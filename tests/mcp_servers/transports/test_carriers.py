"""R6 over the wires: whatever a request carries, it reaches its own episode or none, and nothing is made up."""

from __future__ import annotations

import anyio
import httpx2
import pytest
from mcp import Client

from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.framework.carriers import (
    EPISODE_HEADER,
    EPISODE_KEY,
    EPISODE_PARAMETER,
    LegacySessions,
    SignedUrls,
)
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.faults import Fault
from palaestra.mcp_servers.framework.leases import Limits
from palaestra.mcp_servers.transports.http import HttpSettings, build_http_app
from palaestra.mcp_servers.transports.wire import connect
from tests.mcp_servers.conftest import HandClock
from tests.mcp_servers.transports.conftest import ALICE, BOB, ERAS, Run
from tests.mcp_servers.transports.test_doors import stdio
from tests.requirements.ledger import requirement

CALL = ("list_calendars", {"limit": 1})


def own(**settings: object) -> EpisodeStore:
    return EpisodeStore([load_server("calendar"), load_server("banking")], **settings)  # type: ignore[arg-type]


async def code(client: Client, handle: object = None) -> str:
    """What a call with this `_meta` gets: "ok" or its fault's code."""
    meta = None if handle is None else {EPISODE_KEY: handle}
    got = await client.call_tool(*CALL, meta=meta)  # type: ignore[arg-type]
    return str(got.structured_content["code"]) if got.is_error else "ok"


async def post(http: httpx2.AsyncClient, url: str, meta: object, **headers: str) -> str:
    """The same, byte by byte, for what no client would send."""
    params = {
        "name": CALL[0], "arguments": CALL[1],
        "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28",
                  "io.modelcontextprotocol/clientCapabilities": {}, "io.modelcontextprotocol/clientInfo":
                  {"name": "x", "version": "1"}, **({} if meta is None else {EPISODE_KEY: meta})},
    }  # fmt: skip
    answer = await http.post(
        url, json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params},
        headers={"accept": "application/json, text/event-stream", "mcp-protocol-version": "2026-07-28",
                 "mcp-method": "tools/call", "mcp-name": CALL[0], **headers},
    )  # fmt: skip
    found = answer.json()["result"]
    return str(found["structuredContent"]["code"]) if found.get("isError") else "ok"


@requirement("R6")
@pytest.mark.parametrize("era", ERAS)
def test_over_http_every_wrong_handle_is_refused_and_nothing_runs(run: Run, era: str) -> None:
    async def attack() -> None:
        handle, episode = store.open(principal="alice")
        foreign, theirs = store.open(principal="bob")
        ended, _ = store.open(principal="alice")
        store.end(ended)
        wrong = {
            handle[:-1]: "unknown_episode", handle + "A": "unknown_episode", handle.swapcase(): "unknown_episode",
            "": "unknown_episode", foreign: "unknown_episode", ended: "expired_episode",
            episode.episode_id: "unknown_episode", ALICE: "unknown_episode",
        }  # fmt: skip
        async with connect(f"{url}/mcp", ALICE, mode=era) as client:
            for given, expected in wrong.items():
                assert await code(client, given) == expected
            for odd in (0, True, ["x"], {"a": handle}, 1.5):
                assert await code(client, odd) == "unknown_episode"
            assert await code(client) == "no_episode"
            assert len(episode.journal) == len(theirs.journal) == 0
            assert await code(client, handle) == "ok"
        async with connect(f"{url}/mcp", BOB, mode=era) as client:
            assert await code(client, handle) == "unknown_episode"
            assert await code(client, foreign) == "ok"
        assert (len(episode.journal), len(theirs.journal), len(store)) == (1, 1, 2)

    with own() as store:
        url = run(build_http_app(store, HttpSettings(tokens={"alice": ALICE, "bob": BOB})))
        anyio.run(attack)


@requirement("R6")
@pytest.mark.parametrize("era", ERAS)
def test_over_stdio_every_wrong_handle_is_refused(tmp_path_factory: pytest.TempPathFactory, era: str) -> None:
    async def attack() -> None:
        folder = tmp_path_factory.mktemp("wire")
        async with stdio(folder, era, "--servers", "calendar,banking", "--no-default-episode") as (client, control):
            mine, ended = await control.open(["calendar"]), await control.open()
            foreign = await control.open(principal="somebody else")
            await ended.close()
            for given, expected in (
                (None, "no_episode"), ("A" * 43, "unknown_episode"), (mine.handle[1:], "unknown_episode"),
                (foreign.handle, "unknown_episode"), (ended.handle, "expired_episode"), (mine.handle, "ok"),
            ):  # fmt: skip
                assert await code(client, given) == expected
            assert (len(await mine.journal()), len(await foreign.journal())) == (1, 0)

    anyio.run(attack)


@requirement("R6")
def test_two_carriers_have_to_agree(run: Run) -> None:
    async def attack() -> None:
        (mine, episode), (other, theirs) = store.open(), store.open()
        signed, foreign = (f"?{EPISODE_PARAMETER}={urls.sign(found, 60)}" for found in (episode, theirs))
        async with httpx2.AsyncClient() as http:
            endpoint = f"{url}/mcp"
            for meta, header, parameter, expected in (
                (mine, None, "", "ok"), (None, mine, "", "ok"), (None, None, signed, "ok"),
                (mine, mine, "", "ok"), (mine, mine, signed, "ok"), (mine, None, signed, "ok"),
                (mine, other, "", "unknown_episode"), (other, mine, "", "unknown_episode"),
                (mine, None, foreign, "unknown_episode"), (None, mine, foreign, "unknown_episode"),
                (mine, "A" * 43, "", "unknown_episode"), ("A" * 43, mine, "", "unknown_episode"),
                ("A" * 43, None, signed, "unknown_episode"), (mine, None, signed[:-1], "unknown_episode"),
                (None, None, "", "no_episode"), (None, None, f"?{EPISODE_PARAMETER}={mine}", "unknown_episode"),
            ):  # fmt: skip
                headers = {} if header is None else {EPISODE_HEADER: header}
                assert await post(http, endpoint + parameter, meta, **headers) == expected, (meta, header, parameter)
        assert (len(episode.journal), len(theirs.journal)) == (6, 0)

    with own() as store:
        urls = SignedUrls()
        url = run(build_http_app(store, HttpSettings(), urls))
        anyio.run(attack)


@requirement("R6")
def test_signed_urls_expire_are_bound_to_their_principal_and_to_their_process(clock: HandClock) -> None:
    with own(clock=clock) as store:
        handle, episode = store.open(principal="alice")
        urls = SignedUrls()
        value = urls.sign(episode, 60)
        assert urls.find(value, "alice") is episode
        assert handle not in value
        for found in (urls.find(value, "bob"), urls.find(value, ""), SignedUrls().find(value, "alice")):
            assert isinstance(found, Fault)
        clock.now += 60
        assert isinstance(urls.find(value, "alice"), Fault)
        again = urls.sign(episode, 60)
        store.end(handle)
        ended = urls.find(again, "alice")
        assert isinstance(ended, Fault)
        assert ended.code == "expired_episode"


@requirement("R6")
def test_a_session_is_its_principals_own(run: Run) -> None:
    """A 2025-11-25 session id opens nothing for another principal, and ends for nobody else."""

    async def attack() -> None:
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
        initialize = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": CALL[0], "arguments": CALL[1]}}
        accept = {"accept": "application/json, text/event-stream"}
        async with httpx2.AsyncClient(base_url=url, headers=accept) as http:
            alice, bob = ({"authorization": f"Bearer {token}"} for token in (ALICE, BOB))
            session = (await http.post("/mcp", json=initialize, headers=alice)).headers["mcp-session-id"]
            named = {"mcp-session-id": session, "mcp-protocol-version": "2025-11-25"}
            assert (await http.post("/mcp", json=call, headers={**bob, **named})).status_code == 404
            assert (await http.delete("/mcp", headers={**bob, **named})).status_code == 404
            assert len(store) == 0
            assert (await http.post("/mcp", json=call, headers={**alice, **named})).status_code == 200
            assert len(store) == 1
            assert (await http.delete("/mcp", headers={**alice, **named})).status_code == 200
            assert len(store) == 0
            assert (await http.post("/mcp", json=call, headers={**alice, **named})).status_code == 404

    with own() as store:
        url = run(build_http_app(store, HttpSettings(tokens={"alice": ALICE, "bob": BOB}, legacy_seed=3)))
        anyio.run(attack)


@requirement("R6")
def test_a_session_that_outlives_its_episode_gets_no_other(clock: HandClock) -> None:
    def found(session: str) -> str:
        answer = sessions.find(session, "")
        return "ok" if isinstance(answer, Episode) else answer.code.value

    with own(clock=clock, limits=Limits(episodes=3)) as store:
        sessions = LegacySessions(store, ("calendar",), seed=1)
        assert [found(session) for session in "abc"] == ["ok"] * 3
        assert sessions.find("a", "") is sessions.find("a", "")
        assert found("d") == "unavailable"
        clock.now += 899
        assert found("a") == "ok"
        clock.now += 1
        store.reap()
        assert [found(session) for session in "abc"] == ["expired_episode"] * 3
        for number in range(40):  # the table does not grow with the number of sessions there have been
            assert found(f"s{number}") == "ok"
            if number % 2:
                sessions.end(f"s{number}", "")
            else:
                clock.now += 901
        assert len(sessions._handles) <= 12
