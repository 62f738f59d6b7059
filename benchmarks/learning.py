"""Does the policy learn: success on held-out tasks before and after RL, per seed, with paired intervals.

A recipe is run as a user runs it, `palaestra train`, with three seeds. The test split is played once before and once
after each run and used for nothing else; checkpoints are chosen on validation.

For Sokoban there is one more run, with the native outcome as its only reward; there credit has to travel the whole
episode, so that run discounts less and compares eight rollouts of the same level.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from palaestra.benchmarks.harness import machine_facts
from palaestra.mcp_servers.errors import TrainingError

Arms = Mapping[str, Sequence[str]]
"""Name of an arm -> changes to the recipe. The first is the recipe itself, run with every seed; the others with one."""

ARMS: Final[Arms] = {
    "progress": (),
    "native": (
        "reward.components={success=1.0}",
        "objective.gamma=0.95",
        "objective.step_norm=group",
        "objective.num_generations=8",
        "rl.tasks_per_step=32",
    ),
}
_QUICK: Final = (
    "warmup.tasks=300", "rl.iterations=4", "rl.tasks_per_step=16", "evaluation.valid_tasks=32",
    "evaluation.test_tasks=64", "evaluation.every=4",
)  # fmt: skip
TARGET_POINTS: Final = 15.0


def run(quick: bool, seed: int) -> dict[str, Any]:
    """Sokoban. Cost: four runs of some nine minutes of CPU each."""
    return measure("learning", "sokoban", ARMS, TARGET_POINTS, quick, seed)


def measure(name: str, recipe: str, arms: Arms, target: float, quick: bool, seed: int) -> dict[str, Any]:
    """Mean gain in percentage points (greedy, the recipe as it is) over three seeds; a quick run is one short seed.

    Cost: as many full runs as seeds and other arms, as many at a time as there are cores, one thread each.
    """
    seeds = [seed] if quick else [seed, seed + 1, seed + 2]
    main, *others = arms
    jobs = [*((main, number) for number in seeds), *((arm, seed) for arm in others)]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count() or 1) as pool:

        def trained(job: tuple[str, int]) -> dict[str, Any]:
            arm, number = job
            return train(recipe, [*arms[arm], *(_QUICK if quick else ())], number, Path(folder) / f"{arm}-{number}")

        found = list(pool.map(trained, jobs))
    by_arm: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
    for (arm, _), summary in zip(jobs, found, strict=True):
        by_arm[arm].append(summary)
    return {
        "name": name,
        "value": statistics.mean(100 * s["held_out"]["greedy"]["gain"] for s in by_arm[main]),
        "unit": "points of greedy held-out success gained by RL, mean of seeds",
        "target": target,
        "peer": None,
        "ratio": None,
        "machine": machine_facts(),
        "seeds": seeds,
        "details": {
            "intervals_above_zero": all(s["held_out"]["greedy"]["gain_ci95"][0] > 0 for s in by_arm[main]),
            "arms": {arm: _describe(summaries) for arm, summaries in by_arm.items()},
        },
    }


def _describe(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Per-seed figures and their means, for both ways of acting."""
    return {
        mode: {
            "gain_mean": statistics.mean(s["held_out"][mode]["gain"] for s in summaries),
            "before_mean": statistics.mean(s["held_out"][mode]["before"] for s in summaries),
            "after_mean": statistics.mean(s["held_out"][mode]["after"] for s in summaries),
            "seeds": [{"seed": s["seeds"]["run"], **s["held_out"][mode]} for s in summaries],
        }
        for mode in ("greedy", "sampled")
    } | {"phases": [s["phases"] for s in summaries], "best_steps": [s["best_step"] for s in summaries]}


def train(recipe: str, words: Sequence[str], seed: int, folder: Path) -> dict[str, Any]:
    """The summary of a run of `palaestra train` in a process of its own. Raises: TrainingError "benchmark"."""
    command = [sys.executable, "-m", "palaestra", "train", recipe, *words, f"seed={seed}", "threads=1"]
    command += ["--run-dir", str(folder), "--no-report", "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise TrainingError("benchmark", f"{folder.name}: {(done.stderr or done.stdout).strip()[-400:]}")
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return summary


if __name__ == "__main__":
    print(json.dumps(run("--quick" in sys.argv, 0)))
