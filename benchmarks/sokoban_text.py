"""One text Sokoban, unwrapped, beside gym-sokoban: `python -m palaestra.benchmarks.sokoban_text`.

Random words, episodes reset when they end, the whole info dictionary built. gym-sokoban makes the same moves on boards
of the same size, once as shipped (it draws a picture in every step) and once with its renderer switched off.
"""

from __future__ import annotations

import importlib
import json
import random  # noqa: TID251 - gym-sokoban draws its rooms from the global generators
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from palaestra.benchmarks.harness import cpu_rate, result
from palaestra.envs.sokoban.core import WORDS
from palaestra.envs.sokoban.env import SokobanEnv


def ours(seed: int, steps: int, **settings: Any) -> Callable[[], int]:
    """A function that makes `steps` steps, resets included."""
    env = SokobanEnv(pool=256, **settings)
    env.reset(seed=seed)
    for index in range(256):  # levels are made once, outside the measurement
        env.reset(options={"index": index})
    words = [WORDS[i] for i in np.random.default_rng(seed).integers(0, 4, 4096)]

    def play() -> int:
        for i in range(steps):
            _, _, terminated, truncated, _ = env.step(words[i % 4096])
            if terminated or truncated:
                env.reset()
        return steps

    return play


def gym_sokoban(seed: int, steps: int, *, drawing: bool) -> Callable[[], int] | str:
    """The same moves in the original, its room restored at each end; or the reason why it cannot be measured."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = importlib.import_module("gym_sokoban.envs.sokoban_env")
    except ImportError as error:
        return f"gym-sokoban is not installed ({error}); pip install palaestra[bench]"
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    base: Any = module.SokobanEnv
    kind = base if drawing else type("Undrawn", (base,), {"render": lambda self, *args, **kwargs: None})
    env = kind(dim_room=(6, 6), num_boxes=1, max_steps=15)
    start = env.room_state.copy(), env.player_position.copy()
    actions = (1 + np.random.default_rng(seed).integers(0, 4, 4096)).tolist()

    def play() -> int:
        for i in range(steps):
            if env.step(actions[i % 4096])[2]:
                env.room_state, env.player_position = start[0].copy(), start[1].copy()
                env.num_env_steps = env.boxes_on_target = 0
        return steps

    return play


def run(quick: bool, seed: int) -> dict[str, Any]:
    """Measure; about ten seconds, or two if quick."""
    repeats, steps = (3, 5_000) if quick else (7, 50_000)
    rate = cpu_rate(ours(seed, steps), repeats)
    details: dict[str, Any] = {"numeric_info": cpu_rate(ours(seed, steps, info="numeric"), repeats)}
    peer = None
    undrawn = gym_sokoban(seed, steps, drawing=False)
    drawn = gym_sokoban(seed, max(steps // 50, 100), drawing=True)
    if isinstance(undrawn, str) or isinstance(drawn, str):
        details["peer_missing"] = undrawn if isinstance(undrawn, str) else drawn
    else:
        peer = "gym-sokoban 0.0.6 without its renderer", cpu_rate(undrawn, repeats)
        details["peer_as_shipped"] = cpu_rate(drawn, repeats)
        details["ratio_as_shipped"] = rate["median"] / details["peer_as_shipped"]["median"]
    return result("sokoban_text", rate, "steps per CPU-second", target=1e5, peer=peer, seeds=[seed], details=details)


if __name__ == "__main__":
    print(json.dumps(run(quick=False, seed=0), indent=2))
