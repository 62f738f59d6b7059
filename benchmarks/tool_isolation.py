"""Leaks between episodes: `python -m palaestra.benchmarks.tool_isolation`.

Many episodes of all servers are open at once and take turns at random, several threads at a time. Each makes the calls
of a recorded episode; every result and the state at the end must be those of the recording, which was made alone.
Episodes that come to an end are reset or ended by turns, so that databases of ended ones are used again.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from palaestra.benchmarks.harness import count_result
from palaestra.benchmarks.tool_scripts import WAIT, Script, perform, record_all, unlimited
from palaestra.mcp_servers.catalog import load_servers
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.mcp_servers.framework.sources import stream

SEEDS = (0, 1)
THREADS = 2
FULL_EVERY = 10
"""The full digest costs as much as some fifty calls, so one end in ten is held to it; the others to the goal digest."""


class _Player:
    """One of the episodes: which script it plays and how far it got."""

    def __init__(self, store: EpisodeStore, scripts: list[Script], number: int) -> None:
        self._store = store
        self._scripts = scripts
        self._number = number
        self._open()

    def _open(self) -> None:
        self.script = self._scripts[self._number % len(self._scripts)]
        self.handle, self.episode = self._store.open([self.script.server], seed=self.script.seed)
        self.at = 0

    def step(self) -> tuple[int, int]:
        """One operation; how many calls and how many differences that makes."""
        operation = self.script.operations[self.at]
        differs = perform(self.episode, operation) != self.script.digests[self.at]
        self.at += 1
        wrong = int(differs)
        if self.at == len(self.script.operations):
            wrong += self._finish(self.episode)
        return int(operation[0] != WAIT), wrong

    def _finish(self, episode: Episode) -> int:
        differs = episode.digest() != self.script.goal
        if self._number % FULL_EVERY == 0:
            differs |= episode.full_digest() != self.script.final
        self._number += 7
        if self._number % 2:
            episode.reset()
            self.at = 0
        else:
            self._store.end(self.handle)
            self._open()
        return int(differs)


def count_leaks(episodes: int, calls: int, seed: int, servers: Sequence[ToolServer] = ()) -> dict[str, Any]:
    """How many results and final states differ from those recorded alone, over at least so many calls."""
    with unlimited(servers or load_servers(), episodes=episodes + 8, episodes_per_principal=episodes + 8) as store:
        scripts = record_all(store, SEEDS)
        players = [_Player(store, scripts, number) for number in range(episodes)]
        shares = [players[at::THREADS] for at in range(THREADS)]
        totals = [[0, 0] for _ in shares]

        def play(at: int) -> None:
            rng = stream(seed, "interleaving", at)
            share, total = shares[at], totals[at]
            while total[0] < calls / THREADS:
                for number in rng.integers(len(share), size=1_000).tolist():
                    made, wrong = share[number].step()
                    total[0] += made
                    total[1] += wrong

        threads = [threading.Thread(target=play, args=(at,)) for at in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {
            "leaks": sum(total[1] for total in totals), "calls": sum(total[0] for total in totals),
            "episodes": len(store), "servers": len(store.servers), "threads": THREADS, "scripts": len(scripts),
        }  # fmt: skip


def run(quick: bool, seed: int) -> dict[str, Any]:
    """50 episodes and 10,000 calls if quick, otherwise 1,000 and 1,000,000 (some two CPU-minutes)."""
    found = count_leaks(50, 10_000, seed) if quick else count_leaks(1_000, 1_000_000, seed)
    return count_result("tool-isolation", found.pop("leaks"), "leaks", seed, found)
