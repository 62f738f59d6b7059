"""Repeatability: branches of a shopping trip, and the same trips in processes with other hash seeds."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from typing import Any

import pytest
from tests.requirements.ledger import requirement

from palaestra.envs.core.seeding import stream
from palaestra.envs.webshop.env import WebShopEnv

SETTINGS: list[dict[str, Any]] = [
    {},
    {"obs": "compact", "catalogue": "corner", "goals": "synthetic", "labels": "number", "oracle_info": True},
    {"obs": "html", "reward": "win10", "show_attrs": True},
]


def trip(env: WebShopEnv, seed: int, *, most: int = 15) -> list[tuple[str, tuple[Any, ...]]]:
    """Searches and random clicks, and what they showed; the first entry is the start."""
    rng = stream(seed, "trip")
    *shown, info = env.reset(seed=seed)
    found: list[tuple[str, tuple[Any, ...]]] = [("", (*shown, info))]
    for _ in range(most):
        listed = info["admissible_commands"]
        action = listed[int(rng.integers(len(listed)))]
        if action.startswith("search"):
            words = info["task"].split()
            action = f"search[{' '.join(words[int(k)] for k in rng.integers(len(words), size=3))}]"
        found.append((action, env.step(action)))
        _, _, terminated, truncated, info = found[-1][1]
        if terminated or truncated:
            break
    return found


@requirement("R14")
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_branches_equal_the_run_never_left(settings: dict[str, Any]) -> None:
    env, other = WebShopEnv(**settings), WebShopEnv(**settings)
    for seed in range(5):
        straight = trip(env, seed)
        env.reset(seed=seed)
        other.reset(seed=seed + 1)
        for at, (action, shown) in enumerate(straight[1:], start=1):
            saved, twin = env.snapshot(), copy.deepcopy(env)
            other.restore(saved)
            assert other.snapshot() == saved
            assert other.plan() == twin.plan()
            assert other.step(action) == shown
            assert [twin.step(later) for later, _ in straight[at:]] == [later for _, later in straight[at:]]
            assert env.step(action) == shown
        assert env.reset() == other.reset() == twin.reset()


REPLAY = """
import hashlib, sys
from tests.envs.webshop.test_repeat import SETTINGS, WebShopEnv, trip
digest = hashlib.sha256()
for settings in SETTINGS:
    env = WebShopEnv(**settings)
    for seed in range(int(sys.argv[1])):
        digest.update(repr(trip(env, seed)).encode())
print(digest.hexdigest())
"""


@requirement("R13")
def test_trips_replay_alike_whatever_the_hash_seed() -> None:
    digests = set()
    for hash_seed in ("0", "7"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", REPLAY, "100"]
        digests.add(subprocess.check_output(command, env=environment, text=True, timeout=120))
    assert len(digests) == 1
