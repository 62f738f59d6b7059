"""Batched Sokoban beside envpool's: `python -m palaestra.benchmarks.sokoban_batched`.

Random push actions, 1,024 environments, next-step autoreset, observations and infos built; steps per CPU-second, all
threads counted (envpool is given one). envpool plays 10x10 boards with four boxes and 120 steps; ours is measured on
the same shape too, but the headline is the default 6x6 board with 15 steps, which resets eight times as often and is
the slower of the two.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from palaestra.benchmarks.harness import cpu_rate, result
from palaestra.envs.sokoban.kernels import BACKENDS, DEFAULT_BACKEND
from palaestra.envs.sokoban.vector import SokobanVectorEnv

ENVS = 1024
SMALL: dict[str, Any] = {"size": (6, 6), "boxes": 1, "max_steps": 15, "pool": 1024}
LARGE: dict[str, Any] = {"size": (10, 10), "boxes": 4, "max_steps": 120, "levels": "embedded"}


def _actions(seed: int) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 4, ENVS) for _ in range(64)]


def ours(settings: Mapping[str, Any], backend: str, seed: int, batches: int) -> Callable[[], int]:
    """A function that makes `batches` batched steps."""
    env = SokobanVectorEnv(ENVS, backend=backend, obs="symbol", actions="push4", info="numeric", **settings)
    env.reset(seed=seed)
    actions = _actions(seed)

    def steps() -> int:
        for i in range(batches):
            env.step(actions[i % len(actions)])
        return batches * ENVS

    return steps


def envpool(seed: int, batches: int) -> Callable[[], int] | str:
    """The same for envpool, or the reason why it cannot be measured."""
    try:
        pool = importlib.import_module("envpool")
    except ImportError as error:
        return f"envpool is not installed ({error}); pip install palaestra[bench]"
    try:
        env = pool.make("Sokoban-v0", env_type="gymnasium", num_envs=ENVS, num_threads=1, seed=seed)
    except Exception as error:  # noqa: BLE001 - whatever a foreign package does, ours is still to be measured
        return f"envpool cannot make Sokoban-v0: {type(error).__name__}: {error}"
    env.reset()
    actions = [batch.astype(np.int32) for batch in _actions(seed)]

    def steps() -> int:
        for i in range(batches):
            env.step(actions[i % len(actions)])
        return batches * ENVS

    return steps


def run(quick: bool, seed: int) -> dict[str, Any]:
    """Measure; about half a minute, or a few seconds if quick."""
    repeats, batches = (3, 50) if quick else (7, 500)
    small = {name: cpu_rate(ours(SMALL, name, seed, batches), repeats) for name in sorted(BACKENDS)}
    large = cpu_rate(ours(LARGE, DEFAULT_BACKEND, seed, batches), repeats)
    theirs = envpool(seed, max(batches // 50, 2))
    details: dict[str, Any] = {"envs": ENVS, "backend": DEFAULT_BACKEND, "by_backend_6x6": small, "ours_10x10": large}
    peer = None
    if isinstance(theirs, str):
        details["peer_missing"] = theirs
    else:
        peer = "envpool Sokoban-v0", cpu_rate(theirs, repeats)
        details["ratio_10x10"] = large["median"] / peer[1]["median"]
    return result(
        "sokoban_batched",
        small[DEFAULT_BACKEND],
        "steps per CPU-second",
        target=4.5e6 if DEFAULT_BACKEND == "numba" else 1e6,
        peer=peer,
        seeds=[seed],
        details=details,
    )


if __name__ == "__main__":
    print(json.dumps(run(quick=False, seed=0), indent=2))
