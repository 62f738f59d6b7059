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
from palaestra.benchmarks.harness import cpu_rate, result, with_rows
from palaestra.envs.alfworld.env import ALFWorldEnv
from palaestra.envs.alfworld.generator import SPLITS, make_household
from palaestra.envs.alfworld.sources import EmbeddedGames, compile_household
from palaestra.envs.alfworld.vector import ALFWorldVectorEnv
from palaestra.envs.alfworld.world import World
from palaestra.mcp_servers.errors import ConfigError

BATCHES: Final = (1, 64, 1000)
STEPS_TARGET: Final = 1e4
STARTS_TARGET: Final = 200.0
_IMPORT: Final = """
import time
times = [time.process_time()]
import gymnasium
times.append(time.process_time())
import palaestra
env = gymnasium.make("palaestra/ALFWorld-v0", disable_env_checker=True)
times.append(time.process_time())
env.reset(seed=0)
times.append(time.process_time())
print(*(after - before for before, after in zip(times, times[1:])))
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
    """CPU seconds to import what everyone imports anyway (gymnasium), then ALFWorld, and to start a game."""
    out = subprocess.check_output([sys.executable, "-c", _IMPORT], text=True)
    gymnasium_s, alfworld_s, reset_s = map(float, out.split())
    return {"gymnasium_s": gymnasium_s, "alfworld_s": alfworld_s, "first_reset_s": reset_s}


def original(seed: int, games: int, count: int) -> dict[str, float] | str:
    """What the original does per CPU-second; or the reason why it cannot be measured."""
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
    spent = {name: sum(walk["cpu_s"][name] for walk in walks) for name in ("load", "reset", "steps")}
    return {
        "steps_per_s": done / spent["steps"],
        "resets_per_s": len(walks) / spent["reset"],
        "games_per_s": len(walks) / (spent["load"] + spent["reset"]),
    }


def resets(seed: int, count: int) -> Callable[[], int]:
    """Start games that are compiled already."""
    env = ALFWorldEnv()
    env.reset(seed=seed)

    def start() -> int:
        for _ in range(count):
            env.reset()
        return count

    return start


def rows(quick: bool, seed: int) -> list[dict[str, Any]]:
    """A result for everything measured; the original beside whatever it was asked to do as well."""
    repeats, count = (3, 3_000) if quick else (7, 20_000)
    theirs = original(seed, 2 if quick else 6, 20)
    missing = {"peer_missing": theirs} if isinstance(theirs, str) else {}

    def row(name: str, fn: Callable[[], int], unit: str, target: float | None, peer: str = "") -> dict[str, Any]:
        beside = None
        if peer and not isinstance(theirs, str):
            beside = "alfworld 0.4.2", dict.fromkeys(("median", "min", "max"), theirs[peer])
        details = missing if peer else {}
        unit = f"{unit} per CPU-second"
        return result(
            name, cpu_rate(fn, repeats), unit, target=target, peer=beside, seeds=[seed], details=details
        )  # fmt: skip

    return [
        row("one game", steps(seed, count), "steps", STEPS_TARGET, "steps_per_s"),
        row("one game, with the exact distance", steps(seed, count // 10, oracle_info=True), "steps", None),
        *(row(f"batch of {n:,}", batched_steps(seed, n, count), "steps", None) for n in BATCHES),
        row("resets of known games", resets(seed, count // 10), "resets", None, "resets_per_s"),
        row("embedded games loaded and started", embedded_games(), "games", STARTS_TARGET, "games_per_s"),
        row("generated games made and started", new_games(seed + 1, 50), "games", None),
        seconds("import and first reset", import_seconds(), seed),
    ]


def seconds(name: str, parts: dict[str, float], seed: int) -> dict[str, Any]:
    """A result in seconds: the sum of the parts, which are its details."""
    spent = dict.fromkeys(("median", "min", "max"), sum(parts.values()))
    return result(name, spent, "CPU-seconds", target=None, peer=None, seeds=[seed], details=parts)


def run(quick: bool, seed: int) -> dict[str, Any]:
    """Measure; about a minute and the original's minute, or a third of that if quick."""
    return with_rows(rows(quick, seed))


if __name__ == "__main__":
    print(json.dumps(run(quick=False, seed=0), indent=2))
