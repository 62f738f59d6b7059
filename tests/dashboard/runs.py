"""Run folders for the report's tests: real episodes of real environments in a real store, metrics through the run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from palaestra.agents.policies.base import Policy
from palaestra.agents.policies.expert import ExpertPolicy
from palaestra.agents.policies.random import RandomPolicy
from palaestra.agents.rollout import collect
from palaestra.agents.store import Store
from palaestra.agents.types import Rollout, RolloutGroup
from palaestra.envs.core.types import Task
from palaestra.trainers.run_directory import RunDirectory
from palaestra.trainers.statistics import length_band, paired_gain, rates_by_stratum, wilson

ENV_ID = "palaestra/Sokoban-v0"
KWARGS = {"size": [7, 7], "max_steps": 20, "max_len": 12, "oracle_info": True}
CONFIG = {"name": "demo", "seed": 7, "env": {"id": ENV_ID, "kwargs": KWARGS}, "rl": {"iterations": 6}}


def tasks(count: int, split: str, kwargs: Mapping[str, Any] = KWARGS) -> list[Task]:
    return [Task(ENV_ID, i, dict(kwargs), {"split": split, "index": i}) for i in range(count)]


def play(count: int, split: str, policy: Policy, prefix: str = "") -> list[RolloutGroup]:
    return collect(tasks(count, split), policy, prefix=prefix)


def won(groups: Sequence[RolloutGroup]) -> list[bool]:
    return [group.rollouts[0].trajectory.won for group in groups]


def build_run(path: Path, *, levels: int = 16, iterations: int = 6, finished: bool = True) -> Path:
    """A run whose policy is an expert that strays less and less; its signals without a policy are smooth curves."""
    with RunDirectory.create(path, CONFIG) as run, Store.open(run.store_path) as store:
        store.add_run(run.name, CONFIG)
        before = play(levels, "test", RandomPolicy(1), "b-")
        store.append(before, run_id=run.name, iteration=0, phase="eval_before")
        for step in range(4 * iterations):
            loss = 2.0 * math.exp(-step / 10) + 0.2
            run.log_metrics(_line("warmup", step, float(step), loss=loss, lr=1e-3, accuracy=1 - loss / 2.5))
        clock = 4.0 * iterations
        _log_evaluation(run, 0, clock, levels, noise=0.7)
        for step in range(1, iterations + 1):
            clock += 10
            noise = 0.7 * (1 - step / iterations) + 0.05
            groups = play(8, "train", ExpertPolicy(step, noise=noise), f"rl{step}-")
            store.append(groups, run_id=run.name, iteration=step, phase="rl")
            run.log_metrics(_rl_line(step, iterations, clock, groups))
            if step % 2 == 0:
                clock += 2
                _log_evaluation(run, step, clock, levels, noise)
        if finished:
            after = play(levels, "test", ExpertPolicy(2, noise=0.25), "a-")
            store.append(after, run_id=run.name, iteration=iterations, phase="eval_after")
            again = play(2, "test", RandomPolicy(3), "s-")
            store.append(again, run_id=run.name, iteration=iterations, phase="eval_after_sampled")
            run.write_summary(_summary(before, after, iterations, clock))
    return path


def _line(phase: str, step: int, wall_s: float, **values: Any) -> dict[str, Any]:
    return {"phase": phase, "step": step, "wall_s": wall_s, "cpu_s": 0.9 * wall_s, **values}


def _rl_line(step: int, iterations: int, wall_s: float, groups: Sequence[RolloutGroup]) -> dict[str, Any]:
    episodes: list[Rollout] = [group.rollouts[0] for group in groups]
    wins = sum(won(groups))
    returns = [episode.trajectory.native_return for episode in episodes]
    lengths = [len(episode.trajectory.steps) for episode in episodes]
    wave = math.sin(3.0 * step) / 20
    return _line(
        "rl",
        step,
        wall_s,
        reward_mean=wins / len(groups),
        return_mean=sum(returns) / len(returns),
        success=wins / len(groups),
        length_mean=sum(lengths) / len(lengths),
        entropy=0.9 * math.exp(-step / iterations) + wave,
        kl_old=0.004 + abs(wave) / 10,
        clip_frac=0.05 + abs(wave),
        grad_norm=0.6 + wave,
        loss=0.1 * wave,
        lr=1e-4,
        rows=sum(lengths),
        tokens=4 * sum(lengths),
        groups=len(groups),
        groups_zero_signal=wins // 2,
        groups_invalid=0,
        stop_reasons={"terminated": wins, "truncated": len(groups) - wins},
        malformed=0,
        seconds={"rollout": 6.0, "old_pass": 0.5, "update": 3.0},
    )


def _log_evaluation(run: RunDirectory, step: int, wall_s: float, levels: int, noise: float) -> None:
    for mode, extra in (("greedy", 0.0), ("sampled", 0.1)):
        wins = won(play(levels, "valid", ExpertPolicy(3, noise=min(1.0, noise + extra)), f"{mode}{step}-"))
        run.log_metrics(
            _line(
                "eval",
                step,
                wall_s,
                split="valid",
                mode=mode,
                n=levels,
                success=sum(wins) / levels,
                ci95=list(wilson(sum(wins), levels)),
            )
        )


def _summary(
    before: Sequence[RolloutGroup], after: Sequence[RolloutGroup], iterations: int, wall_s: float
) -> dict[str, Any]:
    won_before, won_after = won(before), won(after)
    strata = [length_band(_optimal_moves(group)) for group in before]
    result = _compare(won_before, won_after)
    by_stratum = {}
    for name in rates_by_stratum(strata, won_before):
        own = [index for index, stratum in enumerate(strata) if stratum == name]
        by_stratum[name] = _compare([won_before[i] for i in own], [won_after[i] for i in own])
    both = {**result, "by_stratum": by_stratum}
    return {
        "name": "demo",
        "recipe": "sokoban",
        "env_id": ENV_ID,
        "palaestra": "0.1.0",
        "versions": {"python": "3.11", "torch": "2.13"},
        "machine": {"cpu": {"cores": 2}},
        "seeds": {"root": 7},
        "phases": {
            "warmup": {"wall_s": 4.0 * iterations, "cpu_s": 3.5 * iterations},
            "rl": {"wall_s": 10.0 * iterations, "cpu_s": 9.0 * iterations},
            "eval": {"wall_s": wall_s - 14.0 * iterations, "cpu_s": 1.0 * iterations},
        },
        "steps": iterations,
        "best_step": iterations,
        "stopped": "finished",
        "held_out": {"split": "test", "mode": "greedy", **both, "greedy": both, "sampled": both},
        "reward_components": {"outcome": {"weight": 1.0, "mean": 0.4}},
    }


def _compare(before: list[bool], after: list[bool]) -> dict[str, Any]:
    gain, low, high = paired_gain(before, after)
    n = len(before)
    return {"n": n, "before": sum(before) / n, "after": sum(after) / n, "gain": gain, "gain_ci95": [low, high]}


def _optimal_moves(group: RolloutGroup) -> float:
    return float(group.rollouts[0].trajectory.start["oracle_distance"])
