"""What each term of the tool-use reward is worth: RL without it, from the same warm start, beside the paper's figures.

One policy is warmed up by the recipe `tools`; every arm goes on from it for half of the recipe's iterations, with the
same seeds and tasks, and is measured on the same worlds of the test split. The success counted is the environment's,
whatever the reward was.

Source: arXiv 2606.03892, the ablation with Qwen3-4B (BFCL multi-turn / tau2 / T-Eval). Differs: a policy of half a
million weights, twenty kinds of tasks on thirteen servers, held-out success; one seed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path
from typing import Any, Final

from palaestra.benchmarks.harness import result, with_rows
from palaestra.benchmarks.learning import train

_OFF: Final = "reward.prove.weights.{}=0"
ARMS: Final[Mapping[str, tuple[str, ...]]] = {
    "full": (),
    "without validity": (_OFF.format("validity"),),
    "without coverage": (_OFF.format("coverage"),),
    "without efficiency": (_OFF.format("efficiency"),),
    "without name": (_OFF.format("name"),),
    "without argument": (_OFF.format("argument"),),
    "without state": (_OFF.format("state"),),
    "beta = 0": ("reward.prove.beta=0.0",),
    "the paper's reward": ("reward.prove={preset='paper'}",),
}
PAPER: Final[Mapping[str, str]] = {
    "full": "29.0 / 28.6 / 78.2", "without validity": "23.8 / 30.7 / 74.8", "without coverage": "26.6 / 29.0 / 76.7",
    "without efficiency": "25.0 / 28.5 / 76.5", "without name": "23.0 / 27.8 / 75.8",
    "without argument": "30.6 / 24.5 / 77.6", "beta = 0": "22.4 / 25.5 / 78.6",
}  # fmt: skip
_SHORT: Final = ("rl.iterations=10", "evaluation.every=10")
"""By then the full reward is two thirds of its way up, so that arms differ."""
_QUICK: Final = ("rl.iterations=2", "evaluation.valid_tasks=16", "evaluation.test_tasks=32", "evaluation.every=2")


def run(quick: bool, seed: int) -> dict[str, Any]:
    """Gain of every arm in percentage points of greedy held-out success.

    Cost: a warm-up of some seven minutes of CPU, then four for each of nine arms, as many at once as there are cores.
    """
    names = ["full", "without name"] if quick else list(ARMS)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(cpu_count() or 1) as pool:
        words = ["rl.iterations=0", *(("warmup.tasks=100", "warmup.num_train_epochs=1", *_QUICK[1:]) if quick else ())]
        train("tools", words, seed, Path(folder) / "warm")
        (model,) = (Path(folder) / "warm" / "checkpoints").glob("step-*/model")
        start = ["warmup.tasks=0", f"policy={{path='{model}'}}", *(_QUICK if quick else _SHORT)]

        def arm(name: str) -> dict[str, Any]:
            return train("tools", [*start, *ARMS[name]], seed, Path(folder) / name.replace(" ", "-"))

        found = dict(zip(names, pool.map(arm, names), strict=True))
    return with_rows([_row(name, summary["held_out"], seed) for name, summary in found.items()])


def _row(name: str, held_out: Mapping[str, Any], seed: int) -> dict[str, Any]:
    rate = dict.fromkeys(("median", "min", "max"), 100 * held_out["greedy"]["gain"])
    details = {"held_out": dict(held_out), "paper": PAPER.get(name)}
    return result(name, rate, "points of greedy success", target=None, peer=None, seeds=[seed], details=details)
