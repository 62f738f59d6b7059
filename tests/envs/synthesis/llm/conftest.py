"""One server for the session, a fresh endpoint for each test, and a key in the environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from .endpoint import KEY, VARIABLE, Endpoint, running


@pytest.fixture(scope="session")
def fresh() -> Iterator[Callable[[], Endpoint]]:
    with running() as start:
        yield start


@pytest.fixture
def endpoint(fresh: Callable[[], Endpoint], monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    monkeypatch.setenv(VARIABLE, KEY)
    return fresh()
