"""A database that rested is the seed again, whoever used it before; none is used by two at once."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import REFERENCE_TIME, EpisodeStore
from palaestra.mcp_servers.framework.forks import Forks
from palaestra.mcp_servers.framework.images import Image
from palaestra.mcp_servers.framework.state import ServerState
from palaestra.mcp_servers.framework.stories import Teller
from tests.mcp_servers.shelf import build_shelf, fill_one, open_one


def image(forks: Forks, seed: int = 0) -> Image:
    return forks.image(SHELF, seed, "small", REFERENCE_TIME)


SHELF = build_shelf()


def test_a_used_state_comes_back_as_the_seed() -> None:
    with EpisodeStore([SHELF]) as store:
        fresh = store.open(seed=5)[1].full_digest()
        for story in (open_one, fill_one):
            handle, episode = store.open(seed=5)
            story(Teller(episode, "shelf"))
            episode.advance_clock(3600)
            used = episode.state("shelf")
            store.end(handle)
            _, again = store.open(seed=5)
            assert again.state("shelf") is used
            assert again.full_digest() == fresh
            assert again.changes() == {"shelf": {}}


def test_a_state_that_was_restored_to_a_snapshot_comes_back_as_the_seed_too() -> None:
    with EpisodeStore([SHELF]) as store:
        handle, episode = store.open()
        fresh = episode.full_digest()
        fill_one(Teller(episode, "shelf"))
        snapshot = episode.snapshot()
        open_one(Teller(episode, "shelf"))
        episode.restore(snapshot)
        used = episode.state("shelf")
        store.end(handle)
        _, again = store.open()
        assert (again.state("shelf"), again.full_digest()) == (used, fresh)


def test_states_of_another_seed_are_not_taken() -> None:
    forks = Forks()
    forks.give(forks.take(image(forks, 0)))
    assert len(forks) == 1
    other = forks.take(image(forks, 1))
    assert len(forks) == 1
    assert other.digest != forks.take(image(forks, 0)).digest
    assert len(forks) == 0


def test_the_longest_unused_go_first_and_are_freed() -> None:
    forks = Forks(resting=2)
    states = [forks.take(image(forks, seed)) for seed in range(3)]
    for state in states:
        forks.give(state)
    assert len(forks) == 2
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        states[0].full_digest()
    assert forks.take(image(forks, 2)) is states[2]
    forks.close()
    assert len(forks) == 0
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        states[1].full_digest()


def test_none_rests_if_none_may() -> None:
    forks = Forks(resting=0)
    state = forks.take(image(forks))
    forks.give(state)
    assert len(forks) == 0
    assert forks.take(image(forks)) is not state


def test_a_state_that_cannot_be_reset_is_freed_and_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: ServerState) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    forks = Forks()
    state = forks.take(image(forks))
    with monkeypatch.context() as patch:
        patch.setattr(ServerState, "reset", broken)
        with pytest.raises(sqlite3.OperationalError):
            forks.give(state)
    assert len(forks) == 0
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        state.full_digest()


def test_threads_never_share_a_state() -> None:
    problems: list[str] = []
    with EpisodeStore([SHELF], resting=3) as store:
        expected = store.open()[1].full_digest()

        def play(number: int) -> None:
            for turn in range(20):
                handle, episode = store.open()
                if episode.full_digest() != expected:
                    problems.append(f"thread {number} began with something else")
                label = f"{number}-{turn}"
                shelf = dispatch(episode, "list_shelves", {}).content["items"][0]["shelf_id"]
                dispatch(episode, "create_box", {"shelf_id": shelf, "label": label})
                found = dispatch(episode, "search_boxes", {"text": "-"}).content["items"]
                if [box["label"] for box in found] != [label]:
                    problems.append(f"thread {number} saw {found}")
                store.end(handle)

        threads = [threading.Thread(target=play, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert problems == []


def test_a_server_not_used_yet_learns_of_the_time_that_passed() -> None:
    with EpisodeStore([SHELF]) as store:
        _, episode = store.open()
        episode.advance_clock(60)
        snapshot = episode.snapshot()
        episode.advance_clock(7)
        assert episode.state("shelf").sources.now == REFERENCE_TIME + 67
        episode.restore(snapshot)
        assert episode.state("shelf").sources.now == REFERENCE_TIME + 60
        _, twin = store.fork(episode, snapshot)
        assert twin.state("shelf").sources.now == REFERENCE_TIME + 60
        episode.reset()
        assert episode.state("shelf").sources.now == REFERENCE_TIME
        with pytest.raises(ValueError, match="cannot go back"):
            store.open()[1].advance_clock(-1)
