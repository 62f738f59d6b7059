"""What a tool conversation costs: replies, resets, whole rollouts, their reward, and where the time goes.

The embedded records are played by their expert with the tools shown as JSON Schema, as a large model would see them;
the model itself costs nothing here.
"""

from __future__ import annotations

import cProfile
import pstats
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from palaestra.agents.policies.expert import ExpertPolicy
from palaestra.agents.rollout import collect
from palaestra.benchmarks.harness import cpu_rate, result, with_rows
from palaestra.envs.core.text.protocol import TextProtocol
from palaestra.envs.core.types import Task, Trajectory
from palaestra.envs.tools.env import ToolEnv
from palaestra.rewards.compose import Invalid
from palaestra.rewards.prove import ProveSettings
from palaestra.rewards.recipe import RewardRecipe

ENV: Final = "palaestra/Tools-v0"
CHAT: Final = TextProtocol(style="chat", context="append", prompt_tokens=32_768)
_PACKAGE: Final = "palaestra/"


def run(quick: bool, seed: int) -> dict[str, Any]:
    """Some two minutes of CPU; seconds if quick."""
    count = 12 if quick else 120
    repeats = 2 if quick else 5
    tasks = [Task(ENV, seed + number, {"split": "all"}) for number in range(count)]
    trajectories = _play(tasks)
    replies = sum(len(trajectory.steps) for trajectory in trajectories)
    shared: dict[str, Any] = {"peer": None, "seeds": [seed], "target": None}
    told = {"conversations": count, "replies": replies, "won": sum(t.won for t in trajectories)}
    return with_rows([
        result("tool-rollouts", cpu_rate(lambda: len(_play(tasks)), repeats), "conversations/CPU-s",
               details={**told, "profile": _profile(tasks)}, **shared),
        result("tool-replies", cpu_rate(lambda: _step(tasks), repeats), "replies/CPU-s", details=told, **shared),
        result("tool-resets", cpu_rate(lambda: _reset(tasks), repeats), "resets/CPU-s", details=told, **shared),
        _scoring(trajectories, shared),
    ])  # fmt: skip


def _play(tasks: Sequence[Task]) -> list[Trajectory]:
    return [group.rollouts[0].trajectory for group in collect(tasks, ExpertPolicy(0, CHAT), protocol=CHAT)]


def _step(tasks: Sequence[Task]) -> int:
    """Every reply of every expert, straight into the environment; resets are paid for as well."""
    env = ToolEnv(split="all")
    made = 0
    for task in tasks:
        env.reset(seed=task.seed)
        for reply in env.plan() or ():
            env.step(reply)
            made += 1
    env.close()
    return made


def _reset(tasks: Sequence[Task]) -> int:
    env = ToolEnv(split="all")
    for task in tasks:
        env.reset(seed=task.seed)
    env.close()
    return len(tasks)


def _scoring(trajectories: Sequence[Trajectory], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Milliseconds of CPU for the whole composed reward of a trajectory: median, least, most."""
    score = RewardRecipe(prove=ProveSettings()).build()
    spent = []
    for trajectory in (*trajectories[:3], *trajectories):  # the first ones once more, to warm up
        started = time.process_time()
        assert not isinstance(score(trajectory), Invalid)
        spent.append(1e3 * (time.process_time() - started))
    kept = np.array(spent[3:])
    figures = {"median": float(np.median(kept)), "min": float(kept.min()), "max": float(kept.max())}
    details = {"p99": float(np.quantile(kept, 0.99)), "trajectories": len(kept)}
    return result("tool-scoring", figures, "CPU-ms a trajectory", details=details, **shared)


def _profile(tasks: Sequence[Task]) -> dict[str, float]:
    """Share of the time spent in the functions of each folder, or outside of the package."""
    profiler = cProfile.Profile()
    profiler.runcall(_play, tasks)
    own: Counter[str] = Counter()
    for (file, _, name), (_, _, spent, _, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        own[_where(file, name)] += spent
    return {place: round(spent / own.total(), 3) for place, spent in own.most_common(12)}


def _where(file: str, name: str) -> str:
    if _PACKAGE in file:
        return str(Path(file[file.rindex(_PACKAGE) + len(_PACKAGE) :]).parent)
    if file.startswith("~"):
        return "sqlite" if "sqlite3" in name else "Python's built-ins"
    return "other libraries"
