"""R19: episodes that come and go leave no memory, descriptors or threads behind."""

from __future__ import annotations

import pytest

from palaestra.benchmarks import tool_soak
from palaestra.mcp_servers.framework.state import ServerState
from tests.requirements.ledger import requirement

MOST_MB = 12.0
"""What resident memory may differ by over a few seconds without anything being kept: allocators and caches breathe."""


@requirement("R19")
@pytest.mark.timeout(120)
def test_a_short_soak_leaves_nothing_behind() -> None:
    found = tool_soak.soak(8.0, seed=3, images=20, seeds=1)
    assert found["episodes"] > 100
    assert (found["descriptors_left"], found["threads_left"]) == (0, 0)
    settled = found["rss_mb"][len(found["rss_mb"]) // 2 :]
    assert settled[-1] - settled[0] < MOST_MB
    assert found["store"]["open"] < 0.2 * found["episodes"] + 200


@requirement("R19")
@pytest.mark.timeout(120)
def test_what_is_kept_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[bytearray] = []
    close = ServerState.reset

    def hoard(self: ServerState) -> None:
        kept.append(bytearray(200_000))
        close(self)

    monkeypatch.setattr(ServerState, "reset", hoard)
    found = tool_soak.soak(4.0, seed=3, images=20, seeds=1)
    assert found["mb_per_10k_episodes"] > 500
