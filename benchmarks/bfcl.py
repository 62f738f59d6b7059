"""BFCL v4 multi-turn: the ground truth of all 800 tasks through our doors, beside the official checker.

Ours: every task opened, its 4,625 calls made, each turn judged by the package's checkers against a gold replay: over
the in-memory MCP client, and in this process. Peer: the package's own `multi_turn_checker`, which parses and executes
the same calls twice. Both must accept every task and reject every task without its last call. CPU time of the process.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from palaestra.benchmarks.harness import machine_facts
from palaestra.envs.tools.bfcl.package import checker
from palaestra.envs.tools.bfcl.replay import replay_truth
from palaestra.envs.tools.bfcl.tasks import CATEGORIES, BfclTask, load_tasks, own_faults

TARGET: Final = 5.6
"""CPU-seconds for all calls over the in-memory MCP client, gold replay and judgement included."""


def run(quick: bool, seed: int) -> dict[str, Any]:
    """CPU-seconds over MCP; in the rows, in this process as well. A quick run plays the first 25 of each category."""
    tasks = [task for category in CATEGORIES for task in load_tasks(category)[: 25 if quick else None]]
    over_mcp, local = replay_truth(tasks, "mcp"), replay_truth(tasks)
    rejected = replay_truth(tasks, drop_last=True)
    peer_s, peer_passed = judge_officially(tasks)
    _, peer_mutants = judge_officially(tasks, drop_last=True)
    assert over_mcp.results == local.results, "the two doors gave different results"
    counts = {
        "tasks": len(tasks),
        "calls": len(local.results),
        "passed": len(local.passed),
        "passed_over_mcp": len(over_mcp.passed),
        "passed_officially": peer_passed,
        "mutants_rejected": len(rejected.failed),
        "mutants_rejected_officially": len(tasks) - peer_mutants,
        "schema_breaking": [task.id for task in tasks if own_faults(task)],
    }
    peer = {"name": "bfcl-eval's multi_turn_checker", "value": peer_s, "unit": "CPU-s"}
    shared: dict[str, Any] = {
        "unit": "CPU-s",
        "peer": peer,
        "machine": machine_facts(),
        "seeds": [seed],
        "details": counts,
    }
    rows: list[dict[str, Any]] = [
        {"name": "over MCP", "value": over_mcp.cpu_seconds, "target": TARGET, **shared},
        {"name": "in process", "value": local.cpu_seconds, "target": None, **shared},
    ]
    rows = [{**row, "ratio": row["value"] / peer_s} for row in rows]
    return {**rows[0], "name": "bfcl", "rows": rows}


def judge_officially(tasks: Sequence[BfclTask], *, drop_last: bool = False) -> tuple[float, int]:
    """(CPU-seconds, tasks accepted) of the package's own checker given the ground truth as a model's answer."""
    judge = checker("multi_turn_checker")
    questions = [(task, *_strings(task, drop_last)) for task in tasks]
    started = time.process_time()
    # The package keeps instances by model name and task id for ever: a name that was used would meet a used world.
    name = f"truth{'_mutant' if drop_last else ''}_{time.monotonic_ns()}"
    accepted = 0
    for task, said, truth in questions:
        entry = {"id": task.id, "initial_config": task.config, "involved_classes": list(task.backends)}
        steps = [[turn] if turn else [] for turn in said]
        accepted += bool(judge(steps, truth, entry, f"multi_turn_{task.category}", name)["valid"])
    return time.process_time() - started, accepted


def _strings(task: BfclTask, drop_last: bool) -> tuple[list[list[str]], list[list[str]]]:
    """The calls as the package writes them: those said, and the ground truth."""
    truth = [
        [f"{call.tool}({', '.join(f'{name}={value!r}' for name, value in call.arguments.items())})" for call in turn]
        for turn in task.truth
    ]
    last = max(number for number, turn in enumerate(truth) if turn)
    return [turn[:-1] if drop_last and number == last else turn for number, turn in enumerate(truth)], truth
