"""SIGKILL against the trajectory store: acknowledged rollouts lost, duplicated or damaged (promise R9, target 0).

Each kill appends to a store of its own until it dies, at a random instant or at a named point of a transaction. Then
the store is reopened and checked, everything is appended again as a trainer would after a restart, and the result is
compared with what was sent.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import event

from palaestra.agents.store import Store, find_damage
from palaestra.agents.types import Completion, FinishReason, Rollout, RolloutGroup
from palaestra.benchmarks.killing import Killer, die, report, serve, server
from palaestra.envs.core.types import Action, Step, StopReason, Task, Trajectory
from palaestra.mcp_servers.framework.sources import stream

POINTS = ("begin", "insert rollouts", "insert steps", "insert completions", "commit", "acknowledge")
LONGEST_S = 0.12  # a random kill comes within this time of the first acknowledgement
RUN = "run"


@dataclass(frozen=True, slots=True)
class KillCount:
    """What the kills did; `lost`, `duplicated` and `damaged` must be 0."""

    kills: int
    acknowledged: int
    lost: int
    duplicated: int
    damaged: int


def group(number: int, size: int = 4, steps: int = 3) -> RolloutGroup:
    """The group with this number; the same in every process."""
    rng = stream(number, "store_kill")
    task = Task("palaestra/Kill-v0", number)
    rollouts = []
    for member in range(size):
        tokens = rng.integers(0, 50_000, (steps, 24))
        logprobs = -rng.random((steps, 24)).astype("f4")
        completions = tuple(
            Completion((1, 2), tuple(tokens[s].tolist()), tuple(logprobs[s].tolist()), FinishReason.STOP)
            for s in range(steps)
        )
        turns = tuple(Step(f"room {s}", f"go {s}", Action(f"go {s}"), 0.5, False, False, {}) for s in range(steps))
        trajectory = Trajectory(task, turns, StopReason.TERMINATED, "end", member == 0, 0.25)
        rollouts.append(Rollout(f"r{number}-{member}", f"g{number}", member, trajectory, completions))
    return RolloutGroup(f"g{number}", task, rollouts)


def append_until_killed(task: dict[str, Any]) -> None:
    """What the child does: append group after group, report each once it is acknowledged."""
    with Store.open(task["store"]) as store:
        arm(store, task["point"], task["at"])
        number = 0
        while True:
            store.append([group(number)], run_id=RUN, iteration=0, phase="train")
            if task["point"] == "acknowledge" and number == task["at"]:
                die()
            report(str(number))
            number += 1


def arm(store: Store, point: str | None, at: int) -> None:
    """Make the process kill itself when append number `at` reaches a point of its transaction."""
    seen = 0

    def reach() -> None:
        nonlocal seen
        seen += 1
        if seen > at:
            die()

    def statement(_connection: Any, _cursor: Any, sql: str, *_: Any) -> None:
        if point == "begin" and sql.startswith("BEGIN IMMEDIATE"):
            reach()
        if point and point.startswith("insert") and sql.lower().startswith(f"insert into {point.split()[1]}"):
            reach()

    event.listen(store.engine, "after_cursor_execute", statement)
    if point == "commit":
        event.listen(store.engine, "commit", lambda _connection: reach())


def verify(path: Path, acknowledged: list[int]) -> KillCount:
    """Open the store after the kill, check it, and repeat every append."""
    with Store.open(path) as store:
        damaged = len(list(find_damage(store)))
        there = {record.rollout_id for record in store.find(limit=1_000_000)}
        sent = [group(number) for number in acknowledged]
        lost = sum(rollout.rollout_id not in there for own in sent for rollout in own.rollouts)
        again = [*sent, group(len(acknowledged))]  # the last one may have been committed unacknowledged
        for own in again:
            store.append([own], run_id=RUN, iteration=0, phase="train")
        stored = [found.rollout for found in store.rollouts()]
    expected = {rollout.rollout_id: rollout for own in again for rollout in own.rollouts}
    damaged += sum(expected.get(rollout.rollout_id) != rollout for rollout in stored)
    return KillCount(1, len(acknowledged), lost, len(stored) - len(expected), damaged)


def kill_many(kills: int, seed: int, folder: Path) -> KillCount:
    """Kill `kills` appending processes, in turn at a random instant and at a named point."""
    folder.mkdir(parents=True, exist_ok=True)
    empty = folder / "empty.sqlite"
    with Store.open(empty) as store:
        store.add_run(RUN)
    counts = []
    with server("palaestra.benchmarks.store_kill") as killer:
        for number, plan in enumerate(_plans(kills, seed)):
            path = folder / f"kill-{number}.sqlite"
            shutil.copy(empty, path)
            acknowledged = _kill(killer, path, plan)
            counts.append(verify(path, acknowledged))
            for used in folder.glob(f"{path.name}*"):
                used.unlink()
    totals = zip(*((c.kills, c.acknowledged, c.lost, c.duplicated, c.damaged) for c in counts), strict=True)
    return KillCount(*(sum(column) for column in totals))


@dataclass(frozen=True, slots=True)
class _Plan:
    point: str | None
    at: int
    after_s: float | None


def _plans(kills: int, seed: int) -> Iterator[_Plan]:
    rng = stream(seed, "store_kill", "plan")
    for number in range(kills):
        if number % 2:
            yield _Plan(POINTS[number // 2 % len(POINTS)], int(rng.integers(0, 12)), None)
        else:
            yield _Plan(None, 0, float(rng.uniform(0.0, LONGEST_S)))


def _kill(killer: Killer, path: Path, plan: _Plan) -> list[int]:
    task = {"store": str(path), "point": plan.point, "at": plan.at}
    return [int(text) for text in killer.kill_one(task, plan.after_s)]


def run(quick: bool, seed: int) -> dict[str, Any]:
    """40 kills if quick, otherwise 1,000 (about four minutes of one core)."""
    from palaestra.benchmarks.harness import machine_facts

    with tempfile.TemporaryDirectory() as folder:
        count = kill_many(40 if quick else 1000, seed, Path(folder))
    return {
        "name": "store_kill",
        "value": count.lost + count.duplicated + count.damaged,
        "unit": "rollouts lost, duplicated or damaged",
        "target": 0,
        "peer": None,
        "ratio": None,
        "machine": machine_facts(),
        "seeds": [seed],
        "details": {name: getattr(count, name) for name in KillCount.__slots__},
    }


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve(append_until_killed)
    else:
        import json

        print(json.dumps(run("--quick" in sys.argv, seed=0), indent=2))
