"""Guessed episode handles: random ones and near misses of real ones. None may open anything."""

from __future__ import annotations

from typing import Any, Final

from palaestra.benchmarks.harness import count_result
from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.sources import stream

ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
LENGTH: Final = 43


def count_hits(guesses: int, episodes: int, seed: int) -> dict[str, Any]:
    """Guesses that opened an episode; half are random, half a real handle with one to three characters changed."""
    rng = stream(seed, "guesses")
    letters = list(ALPHABET)
    hits = made = 0
    with EpisodeStore([load_server("banking")]) as store:
        handles = [store.open(seed=number)[0] for number in range(episodes)]
        known = set(handles)
        while made < guesses:
            random = ["".join(row) for row in rng.choice(letters, (500, LENGTH)).tolist()]
            near = []
            for handle in rng.choice(handles, 500).tolist():
                text = list(handle)
                for at in rng.integers(LENGTH, size=int(rng.integers(1, 4))).tolist():
                    text[at] = letters[int(rng.integers(len(letters)))]
                near.append("".join(text))
            tried = [guess for guess in random + near if guess not in known]
            hits += sum(isinstance(store.find(guess), Episode) for guess in tried)
            made += len(tried)
        lost = sum(not isinstance(store.find(handle), Episode) for handle in handles)
    return {"hits": hits + lost, "guesses": made, "episodes": episodes}


def run(quick: bool, seed: int) -> dict[str, Any]:
    """10,000 guesses if quick, otherwise 1,000,000 (some half CPU-minute), among 1,000 open episodes."""
    found = count_hits(10_000 if quick else 1_000_000, 50 if quick else 1_000, seed)
    return count_result("tool-handles", found.pop("hits"), "guesses that opened an episode", seed, found)
