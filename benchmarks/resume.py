"""Stop a training run after every step, go on in a new process, and compare with the run that never stopped (R11).

A chain of processes makes the run one step at a time: each takes it up where the last one stopped, does a step and
stops. Processes that go on from a stop to the end must find there what the straight run has, as hashes: weights,
optimizer, average, random streams, metrics, stored episodes, summary, and one more iteration.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from palaestra.agents.store import Store
from palaestra.benchmarks.killing import Killer, die, report, serve, server
from palaestra.mcp_servers.errors import TrainingError
from palaestra.trainers.config import TrainConfig, build_config
from palaestra.trainers.experiment import Experiment
from palaestra.trainers.initial import check_sources
from palaestra.trainers.rng_streams import capture_rng
from palaestra.trainers.run_directory import RunFiles
from palaestra.trainers.tensor_tree import flatten

MODULE = "palaestra.benchmarks.resume"
_WAITING = "OMP_WAIT_POLICY"
_CLOCKS = ("wall_s", "cpu_s", "seconds", "phases")

STEP_ROWS: Mapping[str, Any] = {
    "name": "resume",
    "env": {"kwargs": {"size": 6, "min_len": 1, "max_len": 4, "max_steps": 4, "oracle_info": True}},
    "policy": {"size": "XS"},
    "protocol": {"style": "compact", "context": "window", "history": 0, "response_tokens": 6},
    "rl": {"tasks_per_step": 3, "mini_batches": 2, "weight_average": 0.9},
    "reward": {"components": {"success": 1.0, "step": -0.02, "malformed": -0.2, "progress": 0.5}},
    "objective": {"adv_estimator": "step_return", "step_norm": "batch", "num_generations": 2, "gamma": 0.5},
    "evaluation": {"every": 2, "valid_tasks": 3, "test_tasks": 4},
    "checkpoint": {"every": 2, "keep": 1},
}
"""A row per step, a weight average, the sampler's own log-probabilities."""

TRAJECTORY_ROWS: Mapping[str, Any] = {
    **STEP_ROWS,
    "protocol": {"style": "compact", "context": "append", "response_tokens": 6},
    "rl": {"tasks_per_step": 3, "mini_batches": 2, "rows": "trajectory", "old_logprobs": "recompute"},
    "objective": {
        "num_generations": 2, "beta": 0.1, "entropy_coef": 0.01, "use_adaptive_entropy": True, "entropy_target": 9.0,
        "filter_groups": {"enable": False},
    },
}  # fmt: skip
"""A row per episode, a frozen reference model, an entropy bonus whose coefficient adapts: all the state there is."""


def settings(base: Mapping[str, Any], warmup_steps: int, iterations: int, *, threads: int, seed: int) -> TrainConfig:
    """A run of exactly so many warm-up updates and RL iterations."""
    # More rows in a batch than there are make one update an epoch.
    warmup = {"tasks": 6, "num_train_epochs": max(warmup_steps, 1), "batch_rows": 1024}
    return build_config({
        **base,
        "seed": seed,
        "threads": threads,
        "warmup": warmup if warmup_steps else {"tasks": 0},
        "rl": {**base["rl"], "iterations": iterations},
    })  # fmt: skip


def sha256_of(tree: object) -> str:
    """Hash of nested data with tensors in it."""
    data, tensors = flatten(tree)
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def fingerprint(experiment: Experiment, summary: Mapping[str, Any]) -> dict[str, str]:
    """Hashes of everything a finished run holds, by name, times of the clock left out; does one more iteration."""
    trainer, files = experiment.trainer, RunFiles(experiment.folder.path)
    with Store.open(files.store_path) as store:
        found = [
            [r.iteration, r.phase, r.rollout_id, r.digest, r.reward, r.reward_invalid] for r in store.find(limit=10_000)
        ]
    parts: dict[str, Any] = {
        "model": dict(experiment.model.state_dict()),
        "optimizer": trainer.optimizer.state_dict(),
        "average": trainer.average,
        "objective": trainer.objective.state_dict(),
        "rng": capture_rng(),
        "metrics": [without_clocks(record) for record in files.metrics()],
        "summary": without_clocks(summary),
        "store": sorted(found, key=lambda row: row[:3]),
    }
    hashes = {name: sha256_of(part) for name, part in parts.items()}
    experiment.policy.engine.update_weights(experiment.model)
    following = trainer.iterate(experiment.config.rl.iterations)
    batch = [[list(c.token_ids), list(c.logprobs)] for g in following.groups for r in g.rollouts for c in r.completions]
    hashes["next_batch"] = sha256_of([batch, without_clocks(following.metrics)])
    hashes["next_model"] = sha256_of(dict(experiment.model.state_dict()))
    return hashes


def without_clocks(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without the times it took."""
    return {key: value for key, value in record.items() if key not in _CLOCKS}


def describe(event: Mapping[str, Any]) -> str:
    """An event in a few words: "warmup begin", "warmup 2", "eval 4 test greedy", "rl 3"."""
    words = ("phase", "event", "step", "split", "mode")
    return " ".join(str(event[word]) for word in words if word in event)


def work(task: dict[str, Any]) -> None:
    """What a process does: make the run in `folder` or take it up, and report its events and how it ended.

    The last report is "interrupted", or the hashes of a finished run. `stop_at` names an event at which the process
    asks the run to stop, `die_at` one at which it kills itself; `die_at` wins over everything.
    """
    folder = Path(task["folder"])

    def listen(event: Mapping[str, Any]) -> None:
        name = describe(event)
        if name == task.get("die_at"):
            die()
        if name == task.get("stop_at"):
            experiment.stop = True
        report(name)

    try:
        if (folder / "config.toml").exists():
            # A run killed while its hashes were taken is finished: without its summary it plays the last part again.
            RunFiles(folder).summary_path.unlink(missing_ok=True)
            experiment = Experiment.resume(folder, listen)
        else:
            experiment = Experiment.create(folder, build_config(task["config"]), listen)
        summary = experiment.run()
        report(json.dumps(fingerprint(experiment, summary)) if summary["stopped"] == "finished" else summary["stopped"])
    except BaseException:
        traceback.print_exc()  # the process ends without a word otherwise
        raise
    die()


class Runner:
    """Processes that work on runs of one configuration."""

    def __init__(self, killer: Killer, config: TrainConfig, warmup_steps: int) -> None:
        self._killer = killer
        self.config = config
        updates = [f"warmup {number + 1}" for number in range(warmup_steps)]
        self.steps = [*updates, *(f"rl {number + 1}" for number in range(config.rl.iterations))]

    def process(self, folder: Path, *, after_s: float | None = None, **orders: str) -> list[str]:
        """One process, killed so long after its first event if `after_s` is given; what it reported."""
        task = {"folder": str(folder), "config": self.config.to_toml_data(), **orders}
        return self._killer.kill_one(task, after_s)

    def stop(self, folder: Path, at: str) -> None:
        """A process that stops after the next step, named `at`. Raises: TrainingError "resume" if it did not."""
        reports = self.process(folder, stop_at=at)
        if [name for name in reports if name in self.steps] != [at] or reports[-1] != "interrupted":
            raise TrainingError("resume", f"asked to stop after {at!r}, the process reported {reports}")

    def finish(self, folder: Path) -> dict[str, str]:
        """A process that goes on to the end; the hashes of what it found there."""
        hashes: dict[str, str] = json.loads(self.process(folder)[-1])
        return hashes


@contextmanager
def workers() -> Iterator[Killer]:
    """The server of the processes. Their idle threads sleep: waiting in a loop, on busy cores, is ten times slower."""
    earlier = os.environ.get(_WAITING)
    os.environ[_WAITING] = "PASSIVE"
    try:
        with server(MODULE) as killer:
            yield killer
    finally:
        del os.environ[_WAITING]
        if earlier is not None:
            os.environ[_WAITING] = earlier


def differing(straight: Mapping[str, str], resumed: Mapping[str, str]) -> list[str]:
    """Names of the parts that are not equal."""
    return sorted(name for name in straight.keys() | resumed.keys() if straight.get(name) != resumed.get(name))


def stop_everywhere(runner: Runner, folder: Path, *, ends: bool) -> dict[str, list[str]]:
    """Parts that differ from the straight run after a stop, by the step stopped at; all lists empty is the promise.

    A chain of processes does one step each; the first dies before anything is saved. With `ends`, the run goes on to
    its end from a copy of every stop; otherwise only from the last one, which has all others behind it.

    Cost: N processes of one step, and with `ends` N more that go on to the end.
    """
    straight = runner.finish(folder / "straight" / "run")
    found: dict[str, list[str]] = {}
    chain = folder / "chain" / "run"
    runner.process(chain, die_at="setup begin")
    for step in ("", *runner.steps):
        if step:
            runner.stop(chain, step)
        if ends or step == runner.steps[-1]:
            copy = folder / "copy" / "run"
            shutil.copytree(chain, copy)
            found[step] = differing(straight, runner.finish(copy))
            shutil.rmtree(copy)
    return found


def measure(warmup_steps: int, iterations: int, seed: int, *, ends: bool = True) -> dict[str, int]:
    """Stops tried and parts that differed, over both configurations."""
    outcome = {"stops": 0, "differing": 0}
    with workers() as killer, tempfile.TemporaryDirectory() as folder:
        for name, base, threads in (("step", STEP_ROWS, 1), ("trajectory", TRAJECTORY_ROWS, 2)):
            config = settings(base, warmup_steps, iterations, threads=threads, seed=seed)
            found = stop_everywhere(Runner(killer, config, warmup_steps), Path(folder) / name, ends=ends)
            outcome["stops"] += warmup_steps + iterations + 1
            outcome["differing"] += sum(len(parts) for parts in found.values())
    return outcome


def warm() -> None:
    """Do the imports that come late, so that forks find them done; computing here would break their OpenMP."""
    from transformers import AutoTokenizer, Qwen3ForCausalLM  # noqa: F401

    check_sources(settings(STEP_ROWS, 0, 0, threads=1, seed=0))
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "store.sqlite") as store:
        store.add_run("warm")


def run(quick: bool, seed: int) -> dict[str, Any]:
    """2 + 3 steps if quick, otherwise 10 + 40 (some minutes); step rows on 1 thread and episode rows on 2."""
    from palaestra.benchmarks.harness import machine_facts

    warmup_steps, iterations = (2, 3) if quick else (10, 40)
    outcome = measure(warmup_steps, iterations, seed, ends=not quick)
    return {
        "name": "resume",
        "value": outcome["differing"],
        "unit": "parts of a resumed run that differ from the run that never stopped",
        "target": 0,
        "peer": None,
        "ratio": None,
        "machine": machine_facts(),
        "seeds": [seed],
        "details": {**outcome, "warmup_steps": warmup_steps, "iterations": iterations, "torch": torch.__version__},
    }


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        warm()
        serve(work)
    else:
        print(json.dumps(run("--quick" in sys.argv, seed=0), indent=2))
