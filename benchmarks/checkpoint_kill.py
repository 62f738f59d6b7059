"""SIGKILL while checkpoints are saved, and flipped bits: always one to load, damage always found (promise R12).

A killed process must leave the last acknowledged checkpoint or the one after it, intact, with no broken one beside
it. Kills come at random instants and at each kind of file-system call a save makes.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from palaestra.benchmarks.killing import die, report, serve, server
from palaestra.mcp_servers.errors import TrainingError
from palaestra.mcp_servers.framework.sources import stream
from palaestra.trainers.checkpoint import RunState, latest_valid, load_checkpoint, save_checkpoint
from palaestra.trainers.rng_streams import capture_rng

CALLS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")
LONGEST_S = 0.25  # a random kill comes within this time of the first acknowledgement
KEEP = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was tried and found; `unloadable`, `broken` and `undetected` must be 0."""

    kills: int
    acknowledged: int
    unloadable: int
    broken: int
    flips: int
    undetected: int


def state(step: int) -> RunState:
    """A run state whose every tensor is a function of the step."""
    torch.manual_seed(step)
    weights = {"weight": torch.randn(64, 64), "bias": torch.randn(64)}
    slots = {n: {"step": torch.tensor(float(step)), "exp_avg": w.clone()} for n, w in enumerate(weights.values())}
    optimizer = {"state": slots, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.99), "params": [0, 1]}]}
    return RunState(step, weights, optimizer, capture_rng(), {"cursor": step}, {"config.json": b"{}"})


def save_until_killed(task: dict[str, Any]) -> None:
    """What the child does: save checkpoint after checkpoint, each step twice, report each once it is acknowledged."""
    armed, seen = False, 0

    def watch(name: str, _arguments: Any) -> None:
        nonlocal seen
        if armed and name == task["call"]:
            seen += 1
            if seen > task["at"]:
                die()

    sys.addaudithook(watch)
    step = 1
    while True:
        for _ in range(2):  # the second one replaces the first
            save_checkpoint(Path(task["directory"]), state(step), keep=KEEP)
            report(str(step))
            armed = True
        step += 1


def verify(directory: Path, acknowledged: list[int]) -> tuple[int, int]:
    """After a kill: (unloadable, broken), each 0 or 1."""
    found = latest_valid(directory)
    if found.path is None:
        return 1, int(bool(found.refused))
    loaded = load_checkpoint(found.path)
    expected = state(loaded.step)
    equal = all(torch.equal(loaded.model[name], expected.model[name]) for name in expected.model)
    last = acknowledged[-1]
    return int(not equal or loaded.step not in (last, last + 1)), int(bool(found.refused))


def kill_many(kills: int, seed: int, folder: Path) -> tuple[int, int, int]:
    """Kill saving processes; returns (checkpoints acknowledged, unloadable, broken)."""
    rng = stream(seed, "checkpoint_kill")
    acknowledged = unloadable = broken = 0
    with server("palaestra.benchmarks.checkpoint_kill") as killer:
        for number in range(kills):
            directory = folder / f"kill-{number}"
            call = CALLS[number // 2 % len(CALLS)] if number % 2 else None
            task = {"directory": str(directory), "call": call, "at": int(rng.integers(0, 40))}
            reports = killer.kill_one(task, None if call else float(rng.uniform(0.0, LONGEST_S)))
            wrong = verify(directory, [int(text) for text in reports])
            acknowledged += len(reports)
            unloadable, broken = unloadable + wrong[0], broken + wrong[1]
            shutil.rmtree(directory)
    return acknowledged, unloadable, broken


def flip_many(flips: int, seed: int, folder: Path) -> int:
    """Flip one random bit of a random file of a checkpoint, `flips` times; returns how many were not refused."""
    rng = stream(seed, "checkpoint_flips")
    path = save_checkpoint(folder, state(1))
    files = sorted(entry for entry in path.rglob("*") if entry.is_file())
    undetected = 0
    for number in range(flips):
        file = files[number % len(files)]
        good = file.read_bytes()
        bad = bytearray(good)
        bad[int(rng.integers(len(bad)))] ^= 1 << int(rng.integers(8))
        file.write_bytes(bad)
        try:
            load_checkpoint(path)
            undetected += 1
        except TrainingError:
            pass
        file.write_bytes(good)
    load_checkpoint(path)  # and the untouched one still loads
    return undetected


def measure(kills: int, flips: int, seed: int, folder: Path) -> Outcome:
    """Both parts of the promise."""
    acknowledged, unloadable, broken = kill_many(kills, seed, folder / "kills")
    undetected = flip_many(flips, seed, folder / "flips")
    return Outcome(kills, acknowledged, unloadable, broken, flips, undetected)


def run(quick: bool, seed: int) -> dict[str, Any]:
    """10 kills and 200 flips if quick, otherwise 200 kills and 10,000 flips (about two minutes of one core)."""
    from palaestra.benchmarks.harness import machine_facts

    with tempfile.TemporaryDirectory() as folder:
        outcome = measure(10 if quick else 200, 200 if quick else 10_000, seed, Path(folder))
    return {
        "name": "checkpoint_kill",
        "value": outcome.unloadable + outcome.broken + outcome.undetected,
        "unit": "checkpoints unloadable or broken after a kill, or damage undetected",
        "target": 0,
        "peer": None,
        "ratio": None,
        "machine": machine_facts(),
        "seeds": [seed],
        "details": {name: getattr(outcome, name) for name in Outcome.__slots__},
    }


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve(save_until_killed)
    else:
        import json

        print(json.dumps(run("--quick" in sys.argv, seed=0), indent=2))
