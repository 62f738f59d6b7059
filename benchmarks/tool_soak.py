"""What is left behind by episodes that come and go: memory, descriptors, threads.

Episodes of all servers are opened on ever new seeds, played and ended, some left to the reaper. The slope is of
resident memory over episodes, by least squares, after a first third in which caches fill; the clock starts when every
server has been open once.
"""

from __future__ import annotations

import gc
import threading
import time
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np

from palaestra.benchmarks.harness import count_result
from palaestra.benchmarks.tool_scripts import Recorder
from palaestra.mcp_servers.catalog import load_servers
from palaestra.mcp_servers.framework.episodes import EpisodeStore
from palaestra.mcp_servers.framework.leases import Limits

SAMPLES: Final = 60


def soak(seconds: float, seed: int, *, images: int, seeds: int) -> dict[str, Any]:
    """Play for so long; growth per 10,000 episodes, and what is still open at the end.

    Args:
        seconds: of wall time.
        seed: of the first worlds.
        images: how many the store keeps.
        seeds: worlds of each server; more than images, so that the cache is full and turning over.
    """
    limits = Limits(calls=10**9, ttl_s=2.0, reaper_period_s=0.5)
    samples: list[tuple[int, float, int, int]] = []
    with EpisodeStore(load_servers(), limits=limits, images=images) as store:
        threads_before, files_before = threading.active_count(), _open_files()
        for name in store.servers:
            store.end(store.open([name], seed=seed)[0])
        gc.collect()
        gc.freeze()  # collecting at every sample need not look at what the process held before
        started, made, calls = time.monotonic(), 0, 0
        stories = [(s.name, story) for s in store.servers.values() for story in (*s.stories, *s.chains)]
        for number in count():
            spent = time.monotonic() - started
            if spent >= seconds * (len(samples) + 1) / SAMPLES:
                gc.collect()
                samples.append((made, _rss_mb(), _open_files(), threading.active_count()))
            if spent >= seconds:
                break
            server, story = stories[number % len(stories)]
            handle, episode = store.open([server], seed=seed + number // len(stories) % seeds)
            recorder = Recorder(episode, server)
            story(recorder)
            calls += len(recorder.told)
            made += 1
            if number % 10:  # the others are left to the reaper
                store.end(handle)
        gc.unfreeze()
        remembered = store.stats()
    kept = samples[len(samples) // 3 :]
    slope = float(np.polyfit([s[0] for s in kept], [s[1] for s in kept], 1)[0]) * 10_000
    return {
        "mb_per_10k_episodes": slope, "episodes": made, "calls": calls, "seconds": seconds,
        "rss_mb": [round(s[1], 1) for s in samples], "store": remembered,
        "descriptors_left": _open_files() - files_before, "threads_left": threading.active_count() - threads_before,
    }  # fmt: skip


def _rss_mb() -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1000


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def run(quick: bool, seed: int) -> dict[str, Any]:
    """A minute if quick, otherwise an hour."""
    found = soak(60.0 if quick else 3_600.0, seed, images=64, seeds=16)
    result = count_result("tool-soak", 0, "MB per 10,000 episodes", seed, found)
    return {**result, "value": found["mb_per_10k_episodes"], "target": 1.0}
