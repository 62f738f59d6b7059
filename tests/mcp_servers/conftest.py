"""Episodes of the tests' own server, with every tool and a clock that only the test moves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from tests.mcp_servers.shelf import MISBEHAVING, build_shelf


class HandClock:
    """Monotonic seconds that stand still unless moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store(clock: HandClock) -> Iterator[EpisodeStore]:
    with EpisodeStore([build_shelf(*MISBEHAVING)], clock=clock) as opened:
        yield opened


@pytest.fixture
def episode(store: EpisodeStore) -> Episode:
    return store.open(seed=5)[1]


@pytest.fixture
def box_id(episode: Episode) -> str:
    value = dispatch(episode, "list_boxes", {"limit": 1}).value
    assert value is not None
    return str(value["items"][0]["box_id"])
