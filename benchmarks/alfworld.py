"""ALFWorld beside alfworld itself: `python -m palaestra.benchmarks.alfworld`.

Random admissible commands in the embedded games, episodes reset when they end, the whole info dictionary with its
admissible commands built: one environment, then batches of up to 1,000. alfworld makes random steps in the same games,
in the same run, if it is installed here or the environment variable PALAESTRA_ALFWORLD_PYTHON names an interpreter
that has it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from palaestra.benchmarks.alfworld_parity import ask_original, entry_of, interpreter
from palaestra.benchmarks.harness import cpu_rate, result
from palaestra.envs.alfworld.env import ALFWorldEnv
from palaestra.envs.alfworld.generator import SPLITS, make_household
from palaestra.envs.alfworld.sources import EmbeddedGames, compile_household
from palaestra.envs.alfworld.vector import ALFWorldVectorEnv
from palaestra.envs.alfworld.world import World
from palaestra.mcp_servers.errors import ConfigError

BATCHES: Final = (1, 64, 1000)
_IMPORT: Final = """
import time
started = time.process_time()
import {first}
first = time.process_time() - started
import palaestra.envs.alfworld.env
print(first, time.process_time() - started - first)
"""


def steps(seed: int, count: int, **settings: Any) -> Callable[[], int]:
    """A function that makes `count` random steps in one environment, resets included."""
    env = ALFWorldEnv(**settings)
    for split in SPLITS:  # games are compiled once, outside the measurement
        for index in range(EmbeddedGames().count(split)):
            env.reset(seed=seed, options={"split": split, "index": index})
    rng = np.random.default_rng(seed)
    draws = rng.random(4096).tolist()

    def play() -> int:
        _, info = env.reset(seed=seed)
        for i in range(count):
            listed = info["admissible_commands"]
            _, _, terminated, truncated, info = env.step(listed[int(draws[i % 4096] * len(listed))])
            if terminated or truncated:
                _, info = env.reset()
        return count

    return play


def batched_steps(seed: int, num_envs: int, count: int) -> Callable[[], int]:
    """The same in a batch of `num_envs`, about `count` steps in all."""
    env = ALFWorldVectorEnv(num_envs)
    rng = np.random.default_rng(seed)
    rounds = max(count // num_envs, 3)

    def play() -> int:
        _, infos = env.reset(seed=seed)
        for _ in range(rounds):
            draws = rng.random(num_envs).tolist()
            actions = [
                listed[int(draw * len(listed))]
                for listed, draw in zip(infos["admissible_commands"], draws, strict=True)
            ]
            *_, infos = env.step(actions)
        return rounds * num_envs

    return play


def new_games(seed: int, count: int) -> Callable[[], int]:
    """Make, compile and start generated games that nobody has played yet."""
    numbers = iter(range(seed << 32, (seed + 1) << 32))

    def make() -> int:
        for _ in range(count):
            game = compile_household(make_household("train", next(numbers)), "new")
            world = World(game)
            world.intro()
            world.moves()
        return count

    return make


def embedded_games() -> Callable[[], int]:
    """Read, compile and start every embedded game."""

    def read() -> int:
        source = EmbeddedGames()
        total = 0
        for split in SPLITS:
            for index in range(source.count(split)):
                World(source.read(split, index)).intro()
                total += 1
        return total

    return read


def import_seconds() -> dict[str, float]:
    """CPU seconds to import what everyone has imported anyway (gymnasium), and ALFWorld on top of it."""
    out = subprocess.check_output([sys.executable, "-c", _IMPORT.format(first="gymnasium")], text=True)
    gymnasium_s, alfworld_s = map(float, out.split())
    return {"gymnasium": gymnasium_s, "alfworld": alfworld_s}


def original(seed: int, games: int, count: int) -> dict[str, float] | str:
    """What the original needs for the same, in CPU seconds; or the reason why it cannot be measured."""
    source = EmbeddedGames()
    asked = []
    for index in range(games):
        entry = entry_of(f"embedded/train/{index}", source.at("train", index), seed, count, sentence=True)
        asked.append({**entry, "walks": [{"seed": seed, "steps": count}]})
    try:
        walks = ask_original(interpreter(), asked)[1:]
    except ConfigError as error:
        return error.message
    done = sum(len(walk["steps"]) - 1 for walk in walks)
    seconds = {name: sum(walk["cpu_s"][name] for walk in walks) for name in ("load", "reset", "steps")}
    return {
        "steps_per_s": done / seconds["steps"],
        "load_s": seconds["load"] / len(walks),
        "reset_s": seconds["reset"] / len(walks),
    }


def run(quick: bool, seed: int) -> dict[str, Any]:
    """Measure; about half a minute and the original's minute, or a third of that if quick."""
    repeats, count = (3, 3_000) if quick else (7, 20_000)
    rate = cpu_rate(steps(seed, count), repeats)
    batches = {str(n): cpu_rate(batched_steps(seed, n, count), 3) for n in BATCHES}
    details: dict[str, Any] = {
        "batched": batches,
        "with_exact_distance": cpu_rate(steps(seed, count // 10, oracle_info=True), 3),
        "embedded_games_loaded_and_started_per_s": cpu_rate(embedded_games(), 3),
        "generated_games_made_and_started_per_s": cpu_rate(new_games(seed + 1, 50), 3),
        "resets_of_known_games_per_s": cpu_rate(resets(seed, count // 10), 3),
        "import_s": import_seconds(),
    }
    theirs = original(seed, 2 if quick else 6, 20)
    peer = None
    if isinstance(theirs, str):
        details["peer_missing"] = theirs
    else:
        peer = "alfworld 0.4.2", dict.fromkeys(("median", "min", "max"), theirs["steps_per_s"])
        details["original"] = theirs
    return result("alfworld", rate, "steps per CPU-second", target=1e4, peer=peer, seeds=[seed], details=details)


def resets(seed: int, count: int) -> Callable[[], int]:
    """Start games that are compiled already."""
    env = ALFWorldEnv()
    env.reset(seed=seed)

    def start() -> int:
        for _ in range(count):
            env.reset()
        return count

    return start


if __name__ == "__main__":
    print(json.dumps(run(quick=False, seed=0), indent=2))
