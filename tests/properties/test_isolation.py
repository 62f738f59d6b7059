"""R1, R13, R14: episodes never touch each other, replay exactly, and branch exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import anyio
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from mcp import Client

from palaestra.benchmarks import tool_branch, tool_isolation, tool_replay, tool_scripts
from palaestra.mcp_servers.catalog import CATALOG, load_server
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore, Snapshot
from palaestra.mcp_servers.framework.forks import Forks
from palaestra.mcp_servers.framework.leases import Limits
from palaestra.mcp_servers.framework.mcp_adapter import EPISODE_KEY, build_protocol_server
from palaestra.mcp_servers.framework.state import ServerState
from tests.requirements.ledger import requirement

SEED = 3


def first_events(episode: Episode) -> list[str]:
    found = dispatch(episode, "search_calendar_events", {"text": "e", "limit": 4}).content["items"]
    return [event["event_id"] for event in found]


class Worlds(RuleBasedStateMachine):
    """Titles written in many episodes, mirrored in one plain dictionary per episode."""

    episodes: Bundle[int] = Bundle("episodes")

    def __init__(self) -> None:
        super().__init__()
        self.store = EpisodeStore([load_server("calendar")], limits=Limits(calls=10**6))
        self.open: dict[int, tuple[str, Episode, dict[str, str]]] = {}
        self.snapshots: dict[int, tuple[Snapshot, dict[str, str]]] = {}
        self.count = 0

    def _adopt(self, handle: str, episode: Episode, titles: dict[str, str]) -> int:
        self.count += 1
        self.open[self.count] = (handle, episode, titles)
        return self.count

    @rule(target=episodes, seed=st.integers(0, 2))
    def open_one(self, seed: int) -> int:
        handle, episode = self.store.open(seed=seed)
        titles = {event: dispatch(episode, "get_calendar_event", {"event_id": event}).content["title"]
                  for event in first_events(episode)}  # fmt: skip
        return self._adopt(handle, episode, titles)

    @rule(which=episodes, at=st.integers(0, 3), title=st.text("abcÜ門 '\";-", min_size=1, max_size=20))
    def write(self, which: int, at: int, title: str) -> None:
        _, episode, titles = self.open[which]
        event = sorted(titles)[at]
        assert not dispatch(episode, "update_calendar_event", {"event_id": event, "title": title}).is_error
        titles[event] = title

    @rule(which=episodes)
    def fail(self, which: int) -> None:
        assert dispatch(self.open[which][1], "update_calendar_event", {"event_id": "evt_0", "title": "x"}).is_error

    @rule(which=episodes)
    def remember(self, which: int) -> None:
        _, episode, titles = self.open[which]
        self.snapshots[which] = (episode.snapshot(), dict(titles))

    @rule(which=episodes)
    def go_back(self, which: int) -> None:
        if which in self.snapshots:
            handle, episode, _ = self.open[which]
            snapshot, titles = self.snapshots[which]
            episode.restore(snapshot)
            self.open[which] = (handle, episode, dict(titles))

    @rule(target=episodes, which=episodes)
    def fork(self, which: int) -> int:
        _, episode, titles = self.open[which]
        return self._adopt(*self.store.fork(episode), dict(titles))

    @rule(target=episodes, which=consumes(episodes))
    def end(self, which: int) -> Any:
        handle, episode, _ = self.open.pop(which)
        self.snapshots.pop(which, None)
        self.store.end(handle)
        assert dispatch(episode, "list_calendars", {}).is_error
        return multiple()

    @invariant()
    def every_episode_holds_exactly_what_was_written_in_it(self) -> None:
        for handle, episode, titles in self.open.values():
            assert self.store.find(handle) is episode
            for event, title in titles.items():
                assert dispatch(episode, "get_calendar_event", {"event_id": event}).content["title"] == title
            state = episode.state("calendar")
            assert state.digest == state.recomputed_digest()

    def teardown(self) -> None:
        self.store.close()


TestWorlds = requirement("R1")(Worlds.TestCase)
TestWorlds.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)


@requirement("R1")
def test_fifty_interleaved_episodes_of_all_servers_leak_nothing() -> None:
    found = tool_isolation.count_leaks(50, 10_000, seed=2)
    assert found["leaks"] == 0
    assert found["calls"] >= 10_000
    assert found["episodes"] == 50


@requirement("R1")
def test_a_planted_leak_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the recording, forks are handed out without being taken away from who has them already."""
    given: dict[int, ServerState] = {}

    def record_and_plant(store: EpisodeStore, seeds: Sequence[int]) -> list[tool_scripts.Script]:
        recorded = tool_scripts.record_all(store, seeds)
        monkeypatch.setattr(Forks, "take", lambda self, image: given.setdefault(id(image), ServerState(image)))
        monkeypatch.setattr(Forks, "give", lambda self, state: None)
        return recorded

    monkeypatch.setattr(tool_isolation, "record_all", record_and_plant)
    monkeypatch.setattr(tool_isolation, "THREADS", 1)
    assert tool_isolation.count_leaks(4, 300, seed=2, servers=[load_server("calendar")])["leaks"] > 0


@requirement("R1")
@pytest.mark.parametrize("era", ["2026-07-28", "legacy"])
def test_interleaved_calls_over_one_connection_stay_apart(era: str) -> None:
    async def run() -> None:
        with EpisodeStore([load_server("calendar")]) as store:
            opened = [store.open(seed=SEED) for _ in range(3)]
            event = first_events(opened[0][1])[0]
            async with Client(build_protocol_server(store), mode=era) as client:

                async def write(at: int, number: int) -> None:
                    meta: Any = {EPISODE_KEY: opened[at][0]}
                    arguments = {"event_id": event, "title": f"{at}", "notes": f"{number}"}
                    assert not (await client.call_tool("update_calendar_event", arguments, meta=meta)).is_error

                async with anyio.create_task_group() as group:
                    for number in range(50):
                        for at in range(3):
                            group.start_soon(write, at, number)
            for at, (_, episode) in enumerate(opened):
                records = [r for r in episode.journal.records if r.tool == "update_calendar_event"]
                assert len(records) == 50
                assert dispatch(episode, "get_calendar_event", {"event_id": event}).content["title"] == f"{at}"

    anyio.run(run)


@requirement("R13.servers")
def test_episodes_replay_on_used_databases_and_in_another_process_with_another_hash_seed() -> None:
    found = tool_replay.count_differing(200, seed=5)
    assert (found["differing"], found["episodes"]) == (0, 200)


@requirement("R13.servers")
def test_a_call_that_differs_is_counted() -> None:
    with tool_scripts.unlimited([load_server("banking")]) as store:
        script = next(tool_replay.recordings(store, SEED))
        assert not tool_replay.differs(store, script)
        assert tool_replay.differs(store, replace(script, operations=script.operations[:-1]))
        assert tool_replay.differs(store, replace(script, seed=SEED + 1))


@requirement("R14.servers")
def test_branches_of_every_server_equal_the_run_never_left() -> None:
    found = tool_branch.count_differing(20, seed=SEED)
    assert found["differing"] == 0
    assert found["branches"] == 20 * found["servers"] == 20 * len(CATALOG)


@requirement("R14.servers")
def test_a_restore_that_forgets_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ServerState, "restore", lambda self, snapshot: None)
    assert tool_branch.count_differing(10, seed=SEED, servers=[load_server("banking")])["differing"] > 0
