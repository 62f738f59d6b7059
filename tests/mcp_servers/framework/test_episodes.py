"""Episodes: leases, capacity, handles, snapshots, forks, resets, digests and change sets."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest

from palaestra.mcp_servers.errors import ConfigError, ToolError
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.faults import Fault, FaultCode
from palaestra.mcp_servers.framework.images import ImageCache
from palaestra.mcp_servers.framework.journal import Journal
from palaestra.mcp_servers.framework.leases import Limits
from palaestra.mcp_servers.framework.sources import stream
from palaestra.mcp_servers.framework.tokens import SHAPE, new_token, redact
from tests.mcp_servers.conftest import HandClock
from tests.mcp_servers.shelf import build_shelf


def open_box(episode: Episode, at: int) -> None:
    boxes = dispatch(episode, "list_boxes", {}).content["items"]
    assert not dispatch(episode, "open_box", {"box_id": boxes[at]["box_id"]}).is_error


def code_of(found: Episode | Fault) -> FaultCode:
    assert isinstance(found, Fault)
    return found.code


def test_equal_seeds_give_equal_worlds_and_others_do_not(store: EpisodeStore) -> None:
    first, again, other = (store.open(seed=seed)[1] for seed in (5, 5, 6))
    assert first.full_digest() == again.full_digest() != other.full_digest()
    assert first.digest() == again.digest() != other.digest()
    small, later = store.open(seed=5, profile="small")[1], store.open(seed=5, reference_time=0)[1]
    assert len({e.full_digest() for e in (first, small, later)}) == 3
    assert dispatch(small, "count_boxes", {}).value == {"count": 3}


def test_using_a_server_does_not_change_the_digest(store: EpisodeStore) -> None:
    _, episode = store.open(seed=5)
    unused = episode.digest()
    dispatch(episode, "count_boxes", {})
    assert episode.digest() == unused


def test_the_change_set_is_what_differs_from_the_seed(episode: Episode, box_id: str) -> None:
    label = dispatch(episode, "get_box", {"box_id": box_id}).content["label"]
    dispatch(episode, "update_box", {"box_id": box_id, "label": "other"})
    row = episode.changes()["shelf"]["box", box_id]
    assert row is not None
    assert row["label"] == "other"
    assert "updated_at" not in row
    changed = episode.digest()
    dispatch(episode, "update_box", {"box_id": box_id, "label": label})
    assert episode.changes() == {"shelf": {}}
    assert episode.digest() != changed
    dispatch(episode, "delete_box", {"box_id": box_id})
    assert episode.changes() == {"shelf": {("box", box_id): None}}
    assert episode.state("shelf").digest == episode.state("shelf").recomputed_digest()


def test_reset_gives_the_seed_back_under_the_same_handle(store: EpisodeStore) -> None:
    handle, episode = store.open(seed=5)
    before = episode.full_digest()
    open_box(episode, 0)
    episode.begin_turn(2)
    assert episode.full_digest() != before
    episode.reset()
    assert episode.full_digest() == before
    assert (len(episode.journal), episode.turn) == (0, 0)
    assert store.find(handle) is episode


def test_reset_undoes_whatever_was_done_in_whatever_order(store: EpisodeStore) -> None:
    rng = stream(8, "reset")
    _, episode = store.open(seed=5)
    fresh = episode.full_digest()
    for _ in range(20):
        shelves = [shelf["shelf_id"] for shelf in dispatch(episode, "list_shelves", {}).content["items"]]
        for _ in range(int(rng.integers(0, 30))):
            boxes = [box["box_id"] for box in dispatch(episode, "list_boxes", {"limit": 100}).content["items"]]
            box, shelf = str(rng.choice(boxes)), str(rng.choice(shelves))
            tool, arguments = (
                ("create_box", {"shelf_id": shelf, "label": "new"}), ("delete_box", {"box_id": box}),
                ("update_box", {"box_id": box, "shelf_id": shelf}), ("open_box", {"box_id": box}),
                ("roll_dice", {"sides": 6}),
            )[int(rng.integers(5))]  # fmt: skip
            dispatch(episode, tool, arguments)
        episode.reset()
        assert episode.full_digest() == fresh
        assert episode.changes() == {"shelf": {}}
        state = episode.state("shelf")
        assert state.digest == state.recomputed_digest()


def test_a_fork_continues_on_its_own(store: EpisodeStore) -> None:
    _, episode = store.open(seed=5)
    open_box(episode, 0)
    snapshot = episode.snapshot()
    open_box(episode, 1)
    handle, twin = store.fork(episode, snapshot)
    assert twin.full_digest() != episode.full_digest()
    assert len(twin.journal) == snapshot.calls
    open_box(twin, 1)
    assert twin.full_digest() == episode.full_digest()
    assert twin.changes() == episode.changes()
    assert [r.result_digest for r in twin.journal.records] == [r.result_digest for r in episode.journal.records]
    open_box(twin, 2)
    assert twin.digest() != episode.digest()
    assert store.find(handle) is twin


def test_restoring_also_forgets_servers_first_used_later(store: EpisodeStore) -> None:
    _, episode = store.open(seed=5)
    empty = episode.snapshot()
    open_box(episode, 0)
    later = episode.snapshot()
    episode.restore(empty)
    assert episode.changes() == {}
    with pytest.raises(ToolError, match="unknown_snapshot"):
        episode.restore(later)


def test_time_passes_on_every_server_and_never_back(episode: Episode) -> None:
    before = episode.state("shelf").sources.now
    episode.advance_clock(3600)
    assert episode.state("shelf").sources.now == before + 3600
    assert dispatch(episode, "roll_dice", {"sides": 6}).content["now"] == before + 3600
    with pytest.raises(ValueError, match="cannot go back"):
        episode.advance_clock(-1)
    episode.begin_turn(1)
    with pytest.raises(ConfigError, match="bad_turn"):
        episode.begin_turn(0)


def test_bad_openings_are_refused(store: EpisodeStore) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"servers": ["shelv"]}, "did you mean 'shelf'"),
        ({"profile": "smal"}, "did you mean 'small'"),
        ({"visible_tools": ["get_bax"]}, "did you mean 'get_box'"),
    ]
    for arguments, match in refused:
        with pytest.raises(ConfigError, match=match):
            store.open(**arguments)
    assert len(store) == 0
    with (
        EpisodeStore([build_shelf(), build_shelf(name="twin")]) as doubled,
        pytest.raises(ConfigError, match="a tool of"),
    ):
        doubled.open()
    with pytest.raises(ConfigError, match="unknown_server"):
        store.open()[1].state("nowhere")


def test_a_lease_ends_is_remembered_and_is_forgotten(store: EpisodeStore, clock: HandClock) -> None:
    handle, episode = store.open(ttl_s=10)
    clock.now += 9
    assert not dispatch(episode, "count_boxes", {}).is_error  # renews
    clock.now += 9
    assert store.find(handle) is episode
    clock.now += 1
    assert code_of(store.find(handle)) is FaultCode.EXPIRED_EPISODE
    late = dispatch(episode, "count_boxes", {})
    assert late.fault is not None
    assert late.fault.code is FaultCode.EXPIRED_EPISODE
    assert store.reap() == 1
    assert store.stats() == {"open": 0, "remembered": 1}
    assert code_of(store.find(handle)) is FaultCode.EXPIRED_EPISODE
    clock.now += 600
    assert code_of(store.find(handle)) is FaultCode.UNKNOWN_EPISODE
    assert store.reap() == 0
    assert store.stats() == {"open": 0, "remembered": 0}


def test_a_lifetime_ends_however_busy(store: EpisodeStore, clock: HandClock) -> None:
    _, episode = store.open()
    for _ in range(16):
        clock.now += 899
        assert not dispatch(episode, "count_boxes", {}).is_error
    clock.now += 899
    assert dispatch(episode, "count_boxes", {}).is_error


def test_a_call_in_flight_pins_its_episode(store: EpisodeStore, clock: HandClock) -> None:
    handle, episode = store.open(ttl_s=1)
    clock.now += 2
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with episode.lock:
            held.set()
            free.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    assert store.reap() == 0
    free.set()
    thread.join()
    assert store.reap() == 1
    store.end(handle)  # already gone


def test_the_reaper_runs_by_itself() -> None:
    reaped = threading.Event()

    class Watched(EpisodeStore):
        def reap(self) -> int:
            count = super().reap()
            if count:
                reaped.set()
            return count

    limits = Limits(ttl_s=0.01, reaper_period_s=0.01)
    with Watched([build_shelf()], limits=limits) as store:
        store.open()
        assert reaped.wait(10)
        assert len(store) == 0


def test_the_reaper_does_not_keep_its_store_alive() -> None:
    store = EpisodeStore([build_shelf()], limits=Limits(reaper_period_s=0.01))
    store.open()
    reaper = store._reaper
    assert reaper is not None
    del store
    gc.collect()
    reaper._thread.join(10)
    assert not reaper._thread.is_alive()


def test_capacity_is_refused_and_no_live_episode_is_evicted(clock: HandClock) -> None:
    limits = Limits(episodes=3, episodes_per_principal=2)
    with EpisodeStore([build_shelf()], limits=limits, clock=clock) as store:
        mine = [store.open(principal="a")[1] for _ in range(2)]
        with pytest.raises(ToolError, match="unavailable") as refused:
            store.open(principal="a")
        assert refused.value.retryable
        handle, _ = store.open(principal="b")
        with pytest.raises(ToolError, match="unavailable"):
            store.open(principal="c")
        assert not any(dispatch(episode, "count_boxes", {}).is_error for episode in mine)
        store.end(handle)
        store.open(principal="c")
        clock.now += 901
        store.open(principal="c")  # reaps first


def test_handles_are_bound_to_their_principal(store: EpisodeStore) -> None:
    handle, episode = store.open(principal="alice")
    assert store.find(handle, "alice") is episode
    assert code_of(store.find(handle, "bob")) is FaultCode.UNKNOWN_EPISODE
    assert code_of(store.find(handle)) is FaultCode.UNKNOWN_EPISODE
    store.end(handle)
    assert code_of(store.find(handle, "alice")) is FaultCode.EXPIRED_EPISODE


def test_handles_carry_256_bits_and_are_redacted() -> None:
    handle = new_token()
    assert len(handle) == 43
    assert SHAPE.fullmatch(handle)
    assert redact(f"GET /x?h={handle} 200") == "GET /x?h=[handle] 200"


def test_images_are_kept_and_dropped_in_order_of_use() -> None:
    server, cache = build_shelf(), ImageCache(2)
    images = [cache.get(server, seed, "small", 0) for seed in (0, 1)]
    assert cache.get(server, 0, "small", 0) is images[0]
    cache.get(server, 2, "small", 0)
    assert cache.get(server, 0, "small", 0) is images[0]
    assert cache.get(server, 1, "small", 0) is not images[1]


def test_a_copied_journal_is_its_own(episode: Episode) -> None:
    dispatch(episode, "count_boxes", {})
    twin: Journal = episode.journal.copy()
    dispatch(episode, "count_boxes", {})
    assert (len(twin), len(episode.journal)) == (1, 2)
