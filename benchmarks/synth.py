"""Task synthesis: what the paper's number of conversations and the graphs cost, and how many chains the graphs know."""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from palaestra.benchmarks.harness import result, with_rows
from palaestra.benchmarks.tool_scripts import unlimited
from palaestra.envs.tools.synthesis.graph import build_graph, graph_of
from palaestra.envs.tools.synthesis.pipeline import SynthConfig, synthesise
from palaestra.mcp_servers.catalog import CATALOG, load_server
from palaestra.mcp_servers.framework.chains import tell_chain
from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.rewards.gold import SCORE

RECORDS: Final = 1_400
QUICK_RECORDS: Final = 40
PAPER_RECORDS: Final = 13_517 + 500
PAPER_TARGET: Final = 15.0
GRAPHS_TARGET: Final = 5.0
"""Both in minutes of CPU."""
SMALL: Final = ("banking", "payments", "maps")


def run(quick: bool, seed: int) -> dict[str, Any]:
    """Make a data set, find the graphs, and look the servers' own chains up in them.

    The minutes are extrapolated from a tenth of the paper's data set, where each world serves fewer conversations, so
    the whole is cheaper than said; a quick run says nothing about it.
    """
    names = SMALL if quick else tuple(CATALOG)
    shared: dict[str, Any] = {"peer": None, "seeds": [seed]}
    made, cpu = _records(QUICK_RECORDS if quick else RECORDS, names, seed)
    graphs = {name: _graph_cpu(name, seed, 4 if quick else 20) for name in names}
    total = sum(graphs.values())
    recall = {name: _recall(load_server(name)) for name in CATALOG}
    known, all_ = (sum(pair[at] for pair in recall.values()) for at in (0, 1))
    minutes = cpu / made["records"] * PAPER_RECORDS / 60
    told = {"cpu_s": cpu, "report": made}
    promised = None if quick else PAPER_TARGET
    steps = {"found": known, "chain_steps": all_, "by_server": recall}
    return with_rows(
        [
            result(
                "synth-records", _one(minutes), "CPU-min", target=promised, details=told, **shared
            ),
            result(
                "synth-graphs", _one(total / 60), "CPU-min", target=None if quick else GRAPHS_TARGET,
                details={"by_server_s": graphs}, **shared,
            ),
            result("synth-recall", _one(known / all_), "of the chains' steps", target=None, details=steps, **shared),
        ]
    )  # fmt: skip


def _one(value: float) -> dict[str, float]:
    return {"median": value, "min": value, "max": value}


def _records(records: int, names: tuple[str, ...], seed: int) -> tuple[dict[str, Any], float]:
    """The report of a data set, and the CPU seconds of all processes that made it."""
    before = _cpu()
    with tempfile.TemporaryDirectory() as folder:
        config = SynthConfig(train=records, servers=names, seed=seed, score=SCORE)
        found = synthesise(config, Path(folder) / "tasks.jsonl")
    return found, _cpu() - before


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _graph_cpu(name: str, seed: int, trials: int) -> float:
    server = load_server(name)
    started = time.process_time()
    build_graph(server, seed=seed, trials=trials)
    return time.process_time() - started


def _recall(server: ToolServer) -> tuple[int, int]:
    """(steps of the server's chains that the graph knows, all): a step is known if some earlier call leads to it."""
    graph = graph_of(server)
    edges = {(edge.source, edge.target) for edge in (*graph.edges, *graph.weak) if edge.kind != "blocks"}
    known = steps = 0
    with unlimited([server]) as store:
        for chain in server.chains:
            handle, episode = store.open([server.name], seed=0)
            names = [told.tool for told in tell_chain(episode, chain, server)]
            store.end(handle)
            for at in range(1, len(names)):
                steps += 1
                known += any((earlier, names[at]) in edges for earlier in names[:at] if earlier != names[at])
    return known, steps
