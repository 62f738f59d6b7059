"""The benchmarks by name: what each measures, what is promised, and where it lives.

Every module has `run(quick, seed) -> dict` with name, value, unit, target, peer, ratio, machine, seeds and details; one
that measures several things has a list of such results under `rows`, and the first one's figures as its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal

from palaestra.mcp_servers.errors import ConfigError, nearest

Kind = Literal["value at least", "ratio at least", "value at most"]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One promised number.

    Attributes:
        module: below `palaestra.benchmarks`; imported only when it runs.
        measures: what, in one line.
        kind: what the result's target is compared with, and in which direction.
        promise: the target in words.
    """

    module: str
    measures: str
    kind: Kind
    promise: str


CATALOG: Final[dict[str, Benchmark]] = {
    "sokoban-batched": Benchmark(
        "sokoban_batched", "batched Sokoban beside envpool", "value at least", "4.5 M steps/CPU-s (1 M without numba)"
    ),
    "sokoban-text": Benchmark(
        "sokoban_text", "one text Sokoban beside gym-sokoban", "value at least", "100,000 steps/CPU-s"
    ),
    "engine-single-turn": Benchmark(
        "engine_single_turn", "sampled tokens, one turn", "ratio at least", "1.3 x transformers' generate"
    ),
    "engine-multi-turn": Benchmark(
        "engine_multi_turn", "sampled tokens, ten-turn episodes", "ratio at least", "3 x transformers' generate"
    ),
    "trainer-step": Benchmark(
        "trainer_step", "one optimiser step beside TRL's", "ratio at least", "no slower than TRL's"
    ),
    "learning": Benchmark("learning", "held-out success gained by training", "value at least", "15 points"),
    "learning-webshop": Benchmark(
        "learning_webshop", "held-out goals of the web shop gained by training", "value at least", "10 points"
    ),
    "learning-alfworld": Benchmark(
        "learning_alfworld", "tasks in unseen households gained by training", "value at least", "10 points"
    ),
    "learning-tools": Benchmark(
        "learning_tools", "held-out tool use gained by training", "value at least", "10 points"
    ),
    "store-kill": Benchmark(
        "store_kill", "episodes lost or damaged by SIGKILL", "value at most", "0 of 1,000 kills"
    ),
    "checkpoint-kill": Benchmark(
        "checkpoint_kill", "checkpoints lost to SIGKILL or damaged unseen", "value at most", "0 of 200 kills, 10k flips"
    ),
    "resume": Benchmark(
        "resume", "parts of a resumed run unlike one never stopped", "value at most", "0 after each of 50 steps"
    ),
    "tool-call": Benchmark(
        "tool_call", "stateful tool calls, in process", "value at least", "20,000 reads, 10,000 writes/CPU-s"
    ),
    "episode-open": Benchmark(
        "episode_open", "tool episodes opened, used and reset", "value at least", "5,000 episodes/CPU-s"
    ),
    "tool-http": Benchmark(
        "tool_http", "stateful tool calls over HTTP and stdio beside the bare SDK", "ratio at least", "no slower"
    ),
    "http-fuzz": Benchmark(
        "http_fuzz", "raw inputs that break the HTTP door", "value at most", "0 of 100,000 inputs"
    ),
    "server-faults": Benchmark(
        "server_faults", "faults of tool servers handled badly", "value at most", "0 of 500 faults"
    ),
    "tool-growth": Benchmark(
        "tool_growth", "memory of all tool servers and of 1,024 episodes", "value at most", "150 MB; 1,536 MB"
    ),
    "tool-isolation": Benchmark(
        "tool_isolation", "leaks between tool episodes", "value at most", "0 in 1,000 episodes, 1,000,000 calls"
    ),
    "tool-malformed": Benchmark(
        "tool_malformed", "malformed calls not refused as such", "value at most", "0 of 343 tools x 1,000"
    ),
    "tool-injection": Benchmark(
        "tool_injection", "payloads that had an effect", "value at most", "0 of 343 tools x 200"
    ),
    "tool-handles": Benchmark(
        "tool_handles", "guessed handles that opened an episode", "value at most", "0 of 1,000,000"
    ),
    "tool-replay": Benchmark(
        "tool_replay", "tool episodes that differ when played again", "value at most", "0 of 10,000 episodes"
    ),
    "tool-branch": Benchmark(
        "tool_branch", "branches of tool episodes that differ", "value at most", "0 of 1,000 of every server"
    ),
    "tool-soak": Benchmark(
        "tool_soak", "memory kept by tool episodes that ended, 1 h", "value at most", "1 MB per 10,000 episodes"
    ),
    "tool-rollout": Benchmark(
        "tool_rollout", "tool conversations, their reward, and where the time goes", "value at least", "none"
    ),
    "prove-ablation": Benchmark(
        "prove_ablation", "what each term of the tool-use reward is worth", "value at least", "none"
    ),
    "bfcl": Benchmark(
        "bfcl", "BFCL ground truth over the in-memory MCP client, judged", "value at most", "5.6 CPU-s for 4,625 calls"
    ),
    "alfworld": Benchmark(
        "alfworld", "ALFWorld steps beside alfworld's own", "value at least", "10,000 steps/CPU-s"
    ),
    "alfworld-parity": Benchmark(
        "alfworld_parity", "walks that differ from alfworld's own", "value at most", "0 of 363 walks"
    ),
    "webshop": Benchmark("webshop", "WebShop steps, and how they grow", "value at least", "10,000 steps/CPU-s"),
    "synth": Benchmark(
        "synth", "tool-use tasks written and graphs found", "value at most", "15 CPU-min for 14,017; 5 for graphs"
    ),
    "probe": Benchmark(
        "probe", "cheats that earn as much as honest tool use", "value at most", "0 of 67 behaviours, all tasks"
    ),
    "replay": Benchmark("replay", "episodes that differ when played again", "value at most", "0 of 10,000 episodes"),
}  # fmt: skip


def run_benchmark(name: str, *, quick: bool, seed: int) -> dict[str, Any]:
    """Run one benchmark and add `met`: whether the promise held here (None where there is no target).

    A quick run measures fewer repeats or cases of the same thing; figures to be published come from a full one.

    Raises: ConfigError "unknown_benchmark" naming the nearest; whatever the benchmark raises.
    """
    if name not in CATALOG:
        raise ConfigError("unknown_benchmark", f"no benchmark {name!r}; {nearest(name, CATALOG)}")
    found: dict[str, Any] = import_module(f"palaestra.benchmarks.{CATALOG[name].module}").run(quick=quick, seed=seed)
    kind = CATALOG[name].kind
    if "rows" in found:
        found["rows"] = [{**row, "met": is_met(kind, row)} for row in found["rows"]]
    return {**found, "name": name, "quick": quick, "met": _all_met(kind, found)}


def draw_benchmark(name: str, found: dict[str, Any], path: Path) -> None:
    """Draw a result of `run_benchmark`. Raises: ConfigError "no_plot" if the benchmark has nothing to draw."""
    module = import_module(f"palaestra.benchmarks.{CATALOG[name].module}")
    if not hasattr(module, "plot"):
        raise ConfigError("no_plot", f"{name} draws nothing; leave --plot out")
    module.plot(found, path)


def _all_met(kind: Kind, found: dict[str, Any]) -> bool | None:
    """Whether every row keeps its promise; a row without a target promises nothing."""
    rows = [met for row in found.get("rows", [found]) if (met := is_met(kind, row)) is not None]
    return all(rows) if rows else None


def is_met(kind: Kind, found: dict[str, Any]) -> bool | None:
    """Whether a result keeps its promise; None without a target, or without the peer it is measured against.

    >>> is_met("ratio at least", {"value": 900.0, "ratio": 3.1, "target": 3.0})
    True
    """
    measured = found.get("ratio" if kind == "ratio at least" else "value")
    target = found.get("target")
    if measured is None or target is None:
        return None
    return bool(measured <= target if kind == "value at most" else measured >= target)
