"""R1, R13, R14: episodes never touch each other, replay exactly, and branch exactly."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import anyio
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from mcp import Client

from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore, Snapshot
from palaestra.mcp_servers.framework.leases import Limits
from palaestra.mcp_servers.framework.mcp_adapter import EPISODE_KEY, build_protocol_server
from palaestra.mcp_servers.framework.sources import stream
from tests.properties.tool_worlds import SEED, story_calls
from tests.requirements.ledger import requirement

ADDRESS = {"location": "Room Birch"}


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
def test_fifty_interleaved_episodes_leak_nothing() -> None:
    rng = stream(2, "interleaving")
    with EpisodeStore([load_server("calendar")], limits=Limits(calls=10**6)) as store:
        episodes = [store.open(seed=index % 3)[1] for index in range(50)]
        events = [first_events(episode) for episode in episodes]
        for call in range(5_000):
            at = int(rng.integers(50))
            event = events[at][int(rng.integers(4))]
            arguments = {"event_id": event, "title": f"episode {at}", "notes": f"call {call}"}
            assert not dispatch(episodes[at], "update_calendar_event", arguments).is_error
            seen = dispatch(episodes[at], "get_calendar_event", {"event_id": event}).content
            assert (seen["title"], seen["notes"]) == (f"episode {at}", f"call {call}")
        for at, episode in enumerate(episodes):
            changed = episode.changes()["calendar"].values()
            assert {row["title"] for row in changed if row is not None} == {f"episode {at}"}
            assert episode.digest() != store.open(seed=at % 3)[1].digest()


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


_REPLAY = """
from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.framework.episodes import EpisodeStore
from palaestra.mcp_servers.framework.stories import Teller
for name in ("banking", "calendar"):
    with EpisodeStore([load_server(name)]) as store:
        episode = store.open(seed=3)[1]
        load_server(name).stories[0](Teller(episode, name))
        print([r.result_digest for r in episode.journal.records], episode.digest(), episode.full_digest())
"""


@requirement("R13.servers")
def test_another_process_with_another_hash_seed_replays_exactly() -> None:
    outputs = {
        subprocess.check_output(
            [sys.executable, "-c", _REPLAY], text=True, env={**os.environ, "PYTHONHASHSEED": hash_seed}
        )
        for hash_seed in ("0", "1")
    }
    assert len(outputs) == 1
    assert all(result.result_digest in next(iter(outputs)) for _, result in story_calls("banking"))


@requirement("R14.servers")
@pytest.mark.parametrize("name", ["banking", "calendar"])
def test_a_branch_from_any_call_equals_the_straight_run(name: str) -> None:
    calls = story_calls(name)
    with EpisodeStore([load_server(name)]) as store:
        _, straight = store.open(seed=SEED)
        for (tool, arguments), _ in calls:
            dispatch(straight, tool, arguments)
        _, trunk = store.open(seed=SEED)
        for at, ((tool, arguments), _) in enumerate(calls):
            handle, branch = store.fork(trunk)
            for (later_tool, later_arguments), expected in calls[at:]:
                assert dispatch(branch, later_tool, later_arguments) == expected
            assert branch.full_digest() == straight.full_digest()
            assert branch.changes() == straight.changes()
            store.end(handle)
            dispatch(trunk, tool, arguments)
