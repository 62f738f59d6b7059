"""R11: a run stopped or killed anywhere, taken up in a new process, equals the run that never stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest
import torch

from palaestra.agents.store import Store
from palaestra.benchmarks.killing import Killer
from palaestra.benchmarks.resume import (
    STEP_ROWS,
    TRAJECTORY_ROWS,
    Runner,
    differing,
    settings,
    stop_everywhere,
    workers,
)
from palaestra.mcp_servers.errors import TrainingError
from palaestra.mcp_servers.framework.sources import stream
from palaestra.trainers.checkpoint import RunState, latest_valid, load_checkpoint, save_checkpoint
from palaestra.trainers.manifest import read_manifest
from palaestra.trainers.run_directory import RunFiles
from tests.requirements.ledger import requirement

WARMUP, ITERATIONS = 2, 4
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    with workers() as server:
        yield server


def runner(killer: Killer, base: Any, threads: int = 1) -> Runner:
    return Runner(killer, settings(base, WARMUP, ITERATIONS, threads=threads, seed=11), WARMUP)


@requirement("R11")
def test_a_stop_after_every_step_changes_nothing(killer: Killer, tmp_path: Path) -> None:
    found = stop_everywhere(runner(killer, STEP_ROWS), tmp_path, ends=True)
    assert list(found) == ["", "warmup 1", "warmup 2", "rl 1", "rl 2", "rl 3", "rl 4"]
    assert all(parts == [] for parts in found.values()), found


@requirement("R11")
def test_a_chain_of_stops_changes_nothing_on_two_threads(killer: Killer, tmp_path: Path) -> None:
    assert stop_everywhere(runner(killer, TRAJECTORY_ROWS, threads=2), tmp_path, ends=False) == {"rl 4": []}


@pytest.fixture(scope="module")
def straight(killer: Killer, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, str]]:
    """Hashes of the run that never stops, by configuration."""
    done: dict[str, dict[str, str]] = {}

    def hashes(name: str) -> dict[str, str]:
        if name not in done:
            done[name] = runner(killer, BASES[name]).finish(tmp_path_factory.mktemp(name) / "run")
        return done[name]

    return hashes


BASES = {"step": STEP_ROWS, "trajectory": TRAJECTORY_ROWS}
Straight = Callable[[str], dict[str, str]]


def turn_one_random_byte(saved: RunState) -> RunState:
    state = saved.rng["torch_cpu"].clone()
    state[1000] ^= 1
    return replace(saved, rng={**saved.rng, "torch_cpu": state})


def shift_one_moment(saved: RunState) -> RunState:
    assert saved.optimizer is not None
    moments = saved.optimizer["state"][0]["exp_avg"]
    moments.view(-1)[7] += 1e-3
    return saved


def shift_one_weight(entry: str) -> Callable[[RunState], RunState]:
    def shift(saved: RunState) -> RunState:
        weights: Mapping[str, torch.Tensor] = saved.model if entry == "average" else saved.state[entry]
        weights["model.norm.weight"][7] += 1e-3
        return saved

    return shift


def forget_the_coefficient(saved: RunState) -> RunState:
    return replace(saved, state={**saved.state, "objective": {**saved.state["objective"], "entropy_coef": 0.5}})


def forget_the_version(saved: RunState) -> RunState:
    return replace(saved, state={**saved.state, "policy_version": 0})


@requirement("R11")
@pytest.mark.parametrize(
    ("base", "change", "sees"),
    [
        ("step", turn_one_random_byte, {"rng"}),
        ("step", shift_one_moment, {"model", "optimizer", "average", "next_model"}),
        ("step", shift_one_weight("average"), {"average"}),
        ("step", forget_the_version, {"store"}),
        ("trajectory", shift_one_weight("reference"), {"model", "metrics", "next_model"}),
        ("trajectory", forget_the_coefficient, {"objective", "model", "metrics"}),
    ],
)
def test_the_comparison_sees_a_single_wrong_entry(
    killer: Killer,
    tmp_path: Path,
    straight: Straight,
    base: str,
    change: Callable[[RunState], RunState],
    sees: set[str],
) -> None:
    run = runner(killer, BASES[base])
    run.process(tmp_path / "run", stop_at="rl 2")
    copy = tmp_path / "copy" / "run"
    shutil.copytree(tmp_path / "run", copy)
    assert differing(straight(base), run.finish(copy)) == []

    checkpoints = RunFiles(tmp_path / "run").checkpoints_path
    path = latest_valid(checkpoints).path
    assert path is not None
    save_checkpoint(checkpoints, change(load_checkpoint(path)), keep=9, best=read_manifest(path).best)
    assert sees <= set(differing(straight(base), run.finish(tmp_path / "run")))


@requirement("R11")
@pytest.mark.parametrize(
    "event",
    [
        "warmup 2",
        "eval 0 test sampled",  # the warm-up is done but not kept yet
        "eval 0 valid greedy",
        "rl 1",  # its episodes are stored, no checkpoint holds it
        "rl 3",
        "eval 4 valid sampled",
        "evaluate_after begin",
    ],
)
def test_a_process_killed_in_the_middle_costs_only_time(
    killer: Killer, tmp_path: Path, straight: Straight, event: str
) -> None:
    run = runner(killer, STEP_ROWS)
    reports = run.process(tmp_path / "run", die_at=event)
    assert reports  # it did begin
    assert "interrupted" not in reports
    assert differing(straight("step"), run.finish(tmp_path / "run")) == []


@requirement("R11")
def test_kills_at_random_instants_one_after_the_other(killer: Killer, tmp_path: Path, straight: Straight) -> None:
    """The same run is killed until a process lives long enough to finish it."""
    run, rng = runner(killer, STEP_ROWS), stream(11, "kills")
    killed = 0
    while True:
        reports = run.process(tmp_path / "run", after_s=float(rng.uniform(0.1, 0.6)) * 1.5**killed)
        if reports[-1].startswith("{"):
            break
        killed += 1
    assert killed >= 1
    assert differing(straight("step"), json.loads(reports[-1])) == []


@requirement("R11")
def test_a_kill_during_the_last_evaluation(killer: Killer, tmp_path: Path, straight: Straight) -> None:
    """Its episodes are stored already and are stored again, as the same ones."""
    run = runner(killer, STEP_ROWS)
    whole = run.process(tmp_path / "whole" / "run")
    last = whole[-2]
    assert last.startswith("eval")
    assert last.endswith("test sampled")
    run.process(tmp_path / "run", die_at=last)
    assert differing(straight("step"), run.finish(tmp_path / "run")) == []


@requirement("R11")
def test_the_time_spent_is_kept_over_a_stop(killer: Killer, tmp_path: Path) -> None:
    run = runner(killer, STEP_ROWS)
    run.process(tmp_path / "run", stop_at="rl 3")
    summary = RunFiles(tmp_path / "run").summary()
    assert summary is not None
    first = summary["phases"]
    run.finish(tmp_path / "run")
    summary = RunFiles(tmp_path / "run").summary()
    assert summary is not None
    for clock in ("wall_s", "cpu_s"):
        assert summary["phases"]["evaluate_before"][clock] == first["evaluate_before"][clock]
        assert summary["phases"]["rl"][clock] > first["rl"][clock] > 0
    elapsed = [record["cpu_s"] for record in RunFiles(tmp_path / "run").metrics()]
    assert elapsed == sorted(elapsed)
    spent = sum(took["cpu_s"] for name, took in summary["phases"].items() if name != "setup")
    assert spent <= elapsed[-1] + 0.5


@requirement("R11")
def test_no_episode_is_lost_or_told_twice(killer: Killer, tmp_path: Path) -> None:
    run = runner(killer, STEP_ROWS)
    run.process(tmp_path / "run", die_at="rl 3")
    run.finish(tmp_path / "run")
    with Store.open(RunFiles(tmp_path / "run").store_path) as store:
        sizes = {(s.iteration, s.phase): s.rollouts for s in store.summary() if s.phase == "rl" or s.iteration == 0}
    rl = run.config.rl.tasks_per_step * run.config.objective.num_generations
    tests = run.config.evaluation.test_tasks
    expected = {(step, "rl"): rl for step in range(1, ITERATIONS + 1)}
    assert sizes.items() >= {**expected, (0, "eval_before"): tests, (0, "eval_before_sampled"): tests}.items()


def start(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "palaestra", "train", *map(str, words), "--no-report"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
    )  # fmt: skip


def read_until(lines: IO[str], words: str) -> list[str]:
    """The lines up to the first one with these words in it; the pipe ends if the process does."""
    seen = []
    for line in lines:
        seen.append(line)
        if words in line:
            return seen
    raise AssertionError(f"no line with {words!r}: {seen}")


@requirement("R11")
def test_ctrl_c_in_the_command_stops_after_the_iteration_and_says_how_to_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    small = [
        "env.kwargs.max_len=4", "env.kwargs.max_steps=4", "env.kwargs.min_len=1", "warmup.tasks=6", "threads=1",
        "rl.iterations=100000", "rl.tasks_per_step=2", "evaluation.every=2", "evaluation.valid_tasks=2",
        "evaluation.test_tasks=2", "checkpoint.every=100000",
    ]  # fmt: skip
    with start("sokoban", *small, "--run-dir", folder) as process:
        assert process.stderr is not None
        read_until(process.stderr, "step    2  valid sampled")
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(timeout=60) == 130
    assert "Stopping after this step, with a checkpoint" in rest
    assert f"palaestra train --resume {folder}" in rest
    steps = [record["step"] for record in RunFiles(folder).metrics() if record["phase"] == "rl"]
    path = latest_valid(folder / "checkpoints").path
    assert path is not None
    assert load_checkpoint(path).state["progress"]["step"] == steps[-1] >= 2
    summary = RunFiles(folder).summary()
    assert summary is not None
    assert (summary["stopped"], summary["steps"]) == ("interrupted", steps[-1])

    with start("--resume", folder) as process:
        assert process.stderr is not None
        read_until(process.stderr, f"step {steps[-1] // 2 * 2 + 2:>4}  valid sampled")
        process.send_signal(signal.SIGINT)
        read_until(process.stderr, "Stopping after this step")
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    again = [record["step"] for record in RunFiles(folder).metrics() if record["phase"] == "rl"]
    assert again == list(range(1, again[-1] + 1))
    assert again[: len(steps)] == steps
    assert again[-1] > steps[-1]


@requirement("R11")
def test_a_process_that_does_not_stop_where_asked_is_reported(killer: Killer, tmp_path: Path) -> None:
    run = runner(killer, STEP_ROWS)
    with pytest.raises(TrainingError, match="asked to stop after 'rl 1'"):
        run.stop(tmp_path / "run", "rl 1")
