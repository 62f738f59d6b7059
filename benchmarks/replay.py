"""Episodes that differ when played again from seed and actions: `python -m palaestra.benchmarks.replay`.

Every episode is played at random once and then twice more from its task and actions alone: in reverse order on an
instance that has played others, and in a second process with another hash seed. Observations, rewards and the whole
info of every step must be equal.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Final

import gymnasium

from palaestra.benchmarks.harness import machine_facts
from palaestra.envs.core.types import canonical_json
from palaestra.mcp_servers.errors import TrainingError
from palaestra.mcp_servers.framework.sources import stream

ENV_ID: Final = "palaestra/Sokoban-v0"
SETTINGS: Final[dict[str, Any]] = {"pool": 2048, "oracle_info": True}
Env = gymnasium.Env[Any, Any]


def play(env: Env, seed: int, episode: int) -> list[str]:
    """The actions of a random episode."""
    rng = stream(seed, "replay", episode)
    _, info = env.reset(seed=episode)
    actions: list[str] = []
    over = False
    while not over:
        listed = info["admissible_commands"]
        actions.append(listed[int(rng.integers(len(listed)))])
        _, _, terminated, truncated, info = env.step(actions[-1])
        over = terminated or truncated
    return actions


def digest(env: Env, episode: int, actions: Sequence[str]) -> str:
    """A hash of everything the episode shows when these actions are played."""
    seen = hashlib.blake2b(digest_size=16)
    observation, info = env.reset(seed=episode)
    seen.update(_bytes([observation, info]))
    for action in actions:
        seen.update(_bytes(env.step(action)))
    return seen.hexdigest()


def _bytes(shown: Sequence[Any]) -> bytes:
    # An unreachable goal is an infinite distance, which canonical JSON has no word for.
    *rest, info = shown
    return canonical_json([*rest, {key: str(info[key]) for key in sorted(info)}]).encode()


def count_differing(episodes: int, seed: int) -> int:
    """Episodes whose digest is not the same everywhere."""
    env = _make()
    actions = [play(env, seed, episode) for episode in range(episodes)]
    first = [digest(env, episode, actions[episode]) for episode in range(episodes)]
    used = _make()
    again = [digest(used, episode, actions[episode]) for episode in reversed(range(episodes))][::-1]
    elsewhere = _in_another_process(actions)
    env.close()
    used.close()
    return sum(len({*digests}) > 1 for digests in zip(first, again, elsewhere, strict=True))


def _make() -> Env:
    env: Env = gymnasium.make(ENV_ID, disable_env_checker=True, **SETTINGS)
    return env


def _in_another_process(actions: Sequence[Sequence[str]]) -> list[str]:
    other_hashes = "1" if os.environ.get("PYTHONHASHSEED") == "2" else "2"
    done = subprocess.run(
        [sys.executable, "-m", "palaestra.benchmarks.replay", "serve"],
        input=json.dumps(actions),
        env={**os.environ, "PYTHONHASHSEED": other_hashes},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise TrainingError("replay", f"the second process failed: {done.stderr.strip()[-400:]}")
    digests: list[str] = json.loads(done.stdout)
    return digests


def serve() -> None:
    """The second process: digests of the episodes on standard input."""
    env = _make()
    print(json.dumps([digest(env, episode, actions) for episode, actions in enumerate(json.load(sys.stdin))]))
    env.close()


def run(quick: bool, seed: int) -> dict[str, Any]:
    """200 episodes if quick, otherwise 10,000 (20 CPU-seconds)."""
    episodes = 200 if quick else 10_000
    return {
        "name": "replay",
        "value": count_differing(episodes, seed),
        "unit": "episodes that differ",
        "target": 0,
        "peer": None,
        "ratio": None,
        "machine": machine_facts(),
        "seeds": [seed],
        "details": {"episodes": episodes, "env_id": ENV_ID, "settings": SETTINGS},
    }


if __name__ == "__main__":
    import palaestra  # noqa: F401 - registers the environment

    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        print(json.dumps(run("--quick" in sys.argv, seed=0), indent=2))
