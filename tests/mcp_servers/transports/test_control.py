"""The control plane over a real wire, against the same operations in process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.errors import ConfigError, ToolError
from palaestra.mcp_servers.framework.control import OPERATIONS, ControlPlane
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import EpisodeStore
from palaestra.mcp_servers.framework.leases import Limits
from palaestra.mcp_servers.transports.control_app import build_control_app
from palaestra.mcp_servers.transports.control_client import ControlClient, RemoteEpisode
from palaestra.mcp_servers.transports.control_pool import ControlPool
from palaestra.mcp_servers.transports.service import Service
from palaestra.mcp_servers.transports.wire import connect
from tests.mcp_servers.conftest import HandClock
from tests.mcp_servers.transports.conftest import Run

TOKEN = "control-control-control"  # noqa: S105 - of a test


def own(servers: tuple[str, ...] = ("banking", "calendar"), **settings: Any) -> EpisodeStore:
    return EpisodeStore([load_server(name) for name in servers], **settings)


def failure(url: str, token: str) -> str:
    """The code of the error a client meets there."""

    async def run() -> str:
        async with ControlClient(url, token) as control:
            with pytest.raises(ToolError) as caught:
                await control.stats()
        return caught.value.code

    return anyio.run(run)


def test_an_episode_is_driven_from_another_process(service: Service) -> None:
    async def drive() -> None:
        async with service.control() as control, connect(service.url) as client:
            episode = await control.open(["banking", "calendar"], seed=5, principal="", ttl_s=60)
            with own() as store:
                twin = store.open(("banking", "calendar"), seed=5)[1]
                assert episode.servers == ("banking", "calendar")
                assert (await episode.digest(), await episode.digests()) == (twin.digest(), twin.digests())
                door = episode.door(client)
                calendars = (await door.call("list_calendars", {})).content["items"]
                assert calendars == dispatch(twin, "list_calendars", {}).content["items"]
                await episode.begin_turn(2)
                event = {"calendar_id": calendars[1]["calendar_id"], "title": "x", "minutes": 30,
                         "starts_at": "2026-03-04T12:00:00Z"}  # fmt: skip
                twin.begin_turn(2)
                await door.call("book_event", event)
                dispatch(twin, "book_event", event)
                await episode.advance_clock(3600)
                twin.advance_clock(3600)
                assert await episode.full_digest() == twin.full_digest()
                assert await episode.journal() == [record.to_dict() for record in twin.journal.records]
                assert [call["turn"] for call in await episode.journal(since=1)] == [2]
                (change,) = (await episode.changes())["calendar"]
                ((entity, key), row) = next(iter(twin.changes()["calendar"].items()))
                assert change == {"entity": entity, "key": key, "row": row}
            await episode.close()
            with pytest.raises(ToolError, match="expired_episode"):
                await door.call("list_calendars", {})
            with pytest.raises(ToolError, match="expired_episode"):
                await episode.digest()

    anyio.run(drive)


def test_snapshots_forks_and_resets_go_back_exactly(service: Service) -> None:
    async def drive() -> None:
        async with service.control() as control, connect(service.url) as client:
            episode = await control.open(["calendar"], seed=6)
            door = episode.door(client)
            seeded = await episode.full_digest()
            (first, *_) = (await door.call("search_calendar_events", {"text": "e"})).content["items"]
            before = await episode.snapshot()
            then = await episode.full_digest()
            await door.call("update_calendar_event", {"event_id": first["event_id"], "title": "changed"})
            after = await episode.snapshot()
            changed = await episode.full_digest()
            assert len({seeded, changed}) == 2
            fork = await episode.fork(before)
            assert fork.handle != episode.handle
            assert await fork.full_digest() == then
            assert await (await episode.fork()).full_digest() == changed
            await episode.restore(before)
            assert await episode.full_digest() == then
            assert len(await episode.journal()) == 1
            for lost in (after, "snapshot-0", ""):
                with pytest.raises(ToolError, match="unknown_snapshot"):
                    await episode.restore(lost)
            await episode.reset()
            assert await episode.full_digest() == seeded
            assert await episode.journal() == []
            with pytest.raises(ToolError, match="unknown_snapshot"):
                await episode.restore(before)

    anyio.run(drive)


def test_what_the_agent_sees_is_set_from_outside(service: Service) -> None:
    async def drive() -> None:
        async with service.control() as control, connect(service.url) as client:
            episode = await control.open(["calendar"], visible_tools=["list_calendars"])
            door = episode.door(client)
            assert [tool["name"] for tool in await door.list_tools()] == ["list_calendars"]
            await episode.set_visible_tools(["book_event", "list_calendars"])
            assert len(await door.list_tools()) == 2
            await episode.set_visible_tools(None)
            assert len(await door.list_tools()) == len(load_server("calendar").tools)
            with pytest.raises(ConfigError, match="did you mean 'book_event'"):
                await episode.set_visible_tools(["book_evnt"])

    anyio.run(drive)


def test_every_operation_of_the_plane_has_a_method_of_the_client() -> None:
    methods = set(dir(RemoteEpisode)) | set(dir(ControlClient))
    assert set(OPERATIONS) <= methods


def test_requests_are_strict_and_errors_typed(run: Run) -> None:
    with own() as store:
        url = run(build_control_app(ControlPlane(store), TOKEN))
        handle = store.open()[0]
        with httpx2.Client(base_url=url, headers={"authorization": f"Bearer {TOKEN}"}) as http:
            for operation, body, status, code, shown in (
                ("opne", {}, 404, "unknown_operation", "did you mean 'open'"),
                ("open", {"sed": 1}, 400, "bad_request", "sed: Extra inputs"),
                ("open", {"seed": "1"}, 400, "bad_request", "seed: "),
                ("open", {"seed": 2**63}, 400, "bad_request", "seed: "),
                ("open", {"ttl_s": 0}, 400, "bad_request", "ttl_s: "),
                ("open", {"servers": ["bankin"]}, 400, "unknown_server", "did you mean 'banking'"),
                ("open", {"profile": "huge"}, 400, "unknown_profile", "huge"),
                ("digest", {}, 400, "bad_request", "handle: Field required"),
                ("digest", {"handle": "A" * 43}, 404, "unknown_episode", ""),
                ("digest", {"handle": handle, "principal": "somebody"}, 404, "unknown_episode", ""),
                ("begin_turn", {"handle": handle, "turn": -1}, 400, "bad_request", "turn: "),
                ("advance_clock", {"handle": handle, "seconds": -1}, 400, "bad_request", "seconds: "),
                ("sign_url", {"handle": handle}, 400, "no_signed_urls", "--signed-urls"),
            ):  # fmt: skip
                answer = http.post(f"/control/{operation}", json=body)
                error = answer.json()["error"]
                assert (answer.status_code, error["code"]) == (status, code), (operation, error)
                assert shown in error["message"]
                assert handle not in answer.text
            for raw in (b"", b"[]", b"{", b"\xff", b'{"seed":1}' * 2, b"[" * 200_000):
                assert http.post("/control/digest", content=raw).json()["error"]["code"] == "bad_request"
            assert http.post("/control/open", content=b" " * (4 * 2**20 + 1)).status_code == 413
            assert http.get("/control/stats").status_code == 405
            assert http.post("/mcp", json={}).status_code == 404
        assert len(store) == 1


def test_without_the_control_token_nothing_is_done(run: Run) -> None:
    with own() as store:
        url = run(build_control_app(ControlPlane(store), TOKEN))
        handle = store.open()[0]
        for headers in (
            {},
            {"authorization": TOKEN},
            {"authorization": f"Bearer {handle}"},
            {"authorization": f"Basic {TOKEN}"},
        ):
            with httpx2.Client(base_url=url, headers=headers) as http:
                for operation in OPERATIONS:
                    assert http.post(f"/control/{operation}", json={"handle": handle}).status_code == 401
                assert http.get("/healthz").text == "ok"
        assert len(store) == 1
        with pytest.raises(ConfigError, match="weak_token"):
            build_control_app(ControlPlane(store), "short")


def test_snapshots_and_episodes_have_limits(run: Run) -> None:
    limits = Limits(episodes=2, snapshots=3)

    async def drive() -> None:
        async with ControlClient(url, TOKEN) as control:
            episode = await control.open(["banking"])
            kept = [await episode.snapshot() for _ in range(3)]
            with pytest.raises(ToolError, match="quota") as full:
                await episode.snapshot()
            assert not full.value.retryable
            await episode.restore(kept[0])
            assert await episode.snapshot() not in kept
            await control.open()
            with pytest.raises(ToolError, match="unavailable") as full:
                await control.open()
            assert full.value.retryable
            assert (await control.stats())["open"] == 2

    with own(limits=limits) as store:
        url = run(build_control_app(ControlPlane(store), TOKEN))
        anyio.run(drive)


def test_looking_renews_the_lease(run: Run, clock: HandClock) -> None:
    async def drive() -> None:
        async with ControlClient(url, TOKEN) as control:
            episode = await control.open(ttl_s=10)
            for _ in range(3):
                clock.now += 9
                assert await episode.renew() == 10
            clock.now += 9
            await episode.digest()
            clock.now += 11
            with pytest.raises(ToolError, match="expired_episode"):
                await episode.renew()

    with own(clock=clock) as store:
        url = run(build_control_app(ControlPlane(store), TOKEN))
        anyio.run(drive)


def test_a_client_tells_what_is_wrong_with_the_wire(run: Run, tmp_path: Path) -> None:
    assert failure("http://127.0.0.1:9", TOKEN) == "unavailable"
    assert failure(f"unix:{tmp_path / 'none'}", TOKEN) == "unavailable"
    with pytest.raises(ConfigError, match="control_url"):
        ControlClient("tools:9000", TOKEN)
    with own() as store:
        url = run(build_control_app(ControlPlane(store), TOKEN))
        assert failure(url, "wrong-wrong-wrong-wrong") == "bad_result"


def test_no_handle_is_in_what_is_shown(service: Service) -> None:
    async def drive() -> None:
        async with service.control() as control:
            episode = await control.open(["banking"])
            shown = repr(episode) + json.dumps(await control.stats()) + json.dumps(await episode.journal())
            assert episode.handle not in shown
            assert episode.episode_id in shown

    anyio.run(drive)


def test_a_pool_spreads_episodes_and_passes_over_what_is_full_or_gone(run: Run) -> None:
    async def drive() -> None:
        async with ControlPool([*urls, "http://127.0.0.1:9"], TOKEN) as pool:
            opened = [await pool.open(["banking"]) for _ in range(5)]
            assert pool.load() == {urls[0]: 2, urls[1]: 3, "http://127.0.0.1:9": 0}
            assert {episode.control.url for episode in opened} == set(urls)
            for episode in opened:  # each stays where it was opened
                assert (await episode.control.run("renew", handle=episode.handle))["ttl_s"] > 0
            with pytest.raises(ToolError, match="none of 3 services has room"):
                await pool.open(["banking"])
            with pytest.raises(ConfigError, match="unknown_server"):
                await pool.open(["bankin"])
            await pool.close(opened[0])
            await pool.open(["banking"])
            assert sum(pool.load().values()) == 5

    with own(limits=Limits(episodes=2)) as small, own(limits=Limits(episodes=3)) as large:
        urls = [run(build_control_app(ControlPlane(store), TOKEN)) for store in (small, large)]
        anyio.run(drive)
    with pytest.raises(ConfigError, match="no_replicas"):
        ControlPool([], TOKEN)
