"""The dependency graph of a server's tools, found by analysing schemas and by running calls in many seeded worlds.

An edge says that one tool gives another what it needs (explicit: a value, implicit: a state of the world) or takes it
away (blocks). It comes with how often it held where it could be tried, and with calls that show it. Edges that held in
less than half of the worlds are kept apart, as weak.
"""

from __future__ import annotations

import gzip
import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, Self

from pydantic import Field as Default

from palaestra.envs.core.config import Settings
from palaestra.envs.core.types import canonical_json
from palaestra.envs.tools.synthesis.exploring import DEEPEST, EdgeKind, Example, Finding, explore
from palaestra.envs.tools.synthesis.pools import survey
from palaestra.mcp_servers.catalog import CATALOG, load_server
from palaestra.mcp_servers.errors import TaskError
from palaestra.mcp_servers.framework.episodes import EpisodeStore
from palaestra.mcp_servers.framework.leases import Limits
from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.mcp_servers.framework.sources import derive_seed

TRIALS: Final = 20
"""Worlds in which every ordered pair of tools is tried."""
DEEP: Final = 12
"""Of these, the ones explored further than one call from the seed."""
STRONG: Final = 0.5
CALLS: Final = 10**9
DATA: Final = "graph.json.gz"


class Edge(Settings):
    """What one tool does to another.

    Attributes:
        label: the precondition or fault that the source takes away, or the argument its result fills.
        trials, held: worlds in which the edge could be tried, and in which it held.
        seed, calls: an example: made in this order in the world of this seed, the last needs the one before it.
    """

    source: str
    target: str
    kind: EdgeKind
    label: str
    trials: int
    held: int
    seed: int
    calls: tuple[tuple[str, Mapping[str, Any]], ...]

    @property
    def rate(self) -> float:
        """How often it held where it could be tried."""
        return self.held / self.trials


class Graph(Settings):
    """The edges between the tools of one server.

    Attributes:
        digest: of the tools' schemas the graph was found for.
        weak: edges that held in less than half of their trials.
    """

    server: str
    digest: str
    edges: tuple[Edge, ...]
    weak: tuple[Edge, ...] = Default(default=())

    def into(self, tool: str, kind: EdgeKind | None = None) -> list[Edge]:
        """The edges that end at a tool."""
        return [edge for edge in self.edges if edge.target == tool and kind in (None, edge.kind)]

    def needs(self) -> dict[tuple[str, str], Edge]:
        """(source, target) -> the explicit or implicit edge that held most often."""
        return strongest(self.edges)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """From JSON data."""
        return cls.model_validate(data)


def strongest(edges: Iterable[Edge]) -> dict[tuple[str, str], Edge]:
    """(source, target) -> the explicit or implicit edge that held most often."""
    found: dict[tuple[str, str], Edge] = {}
    for edge in edges:
        at = (edge.source, edge.target)
        if edge.kind != "blocks" and (at not in found or edge.rate > found[at].rate):
            found[at] = edge
    return found


def schema_digest(servers: Iterable[ToolServer]) -> str:
    """16 hex digits over the names, effects, arguments and results of all tools."""
    told = [
        [spec.server, spec.name, spec.effect.value, spec.input_schema(private=True), spec.output_schema()]
        for server in servers
        for spec in server.tools.values()
    ]
    return hashlib.blake2b(canonical_json(told).encode(), digest_size=8).hexdigest()


def build_graph(server: ToolServer, *, seed: int = 0, trials: int = TRIALS) -> Graph:
    """Find the graph of a server. Costs 2 to 60 CPU-seconds, quadratic in its tools."""
    tried: dict[Finding, int] = {}
    held: dict[Finding, int] = {}
    examples: dict[Finding, Example] = {}
    with EpisodeStore([server], limits=Limits(calls=CALLS)) as store:
        for trial in range(trials):
            handle, episode = store.open([server.name], seed=derive_seed(seed, "graph", trial) >> 33)
            found = explore(survey(episode, server), DEEPEST if trial < DEEP else 1)
            store.end(handle)
            for finding in found.tried:
                tried[finding] = tried.get(finding, 0) + 1
            for finding, example in found.held.items():
                held[finding] = held.get(finding, 0) + 1
                if len(example.calls) < len(examples.get(finding, example).calls) + (finding not in examples):
                    examples[finding] = example
    edges = [
        Edge(source=f[0], target=f[1], kind=f[2], label=f[3], trials=tried[f], held=held[f],
             seed=examples[f].seed, calls=examples[f].calls)
        for f in sorted(held)
    ]  # fmt: skip
    strong = tuple(edge for edge in edges if edge.rate >= STRONG)
    weak = tuple(edge for edge in edges if edge.rate < STRONG)
    return Graph(server=server.name, digest=schema_digest([server]), edges=strong, weak=weak)


def _build_named(name: str) -> dict[str, Any]:
    return build_graph(load_server(name)).model_dump(mode="json")


def build_graphs(
    names: Sequence[str] = tuple(CATALOG), *, workers: int = 2, progress: Callable[[str], None] | None = None
) -> dict[str, Graph]:
    """The graphs of several servers of the catalogue, over processes."""
    made = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for data in pool.map(_build_named, names):
            made[data["server"]] = Graph.of(data)
            if progress is not None:
                progress(data["server"])
    return made


@cache
def shipped_graphs() -> dict[str, Graph]:
    """The graphs that come with the package, by server."""
    import json

    content = files("palaestra.envs.tools").joinpath("data", DATA).read_bytes()
    return {data["server"]: Graph.of(data) for data in json.loads(gzip.decompress(content))}


def graph_of(server: ToolServer) -> Graph:
    """The shipped graph of a server. Raises: TaskError "stale_graph" if its tools have changed since."""
    found = shipped_graphs().get(server.name)
    if found is None or found.digest != schema_digest([server]):
        command = "python -m palaestra.envs.tools.synthesis.graph envs/tools/data/graph.json.gz"
        raise TaskError("stale_graph", f"the tools of {server.name} changed since its graph was found; run {command}")
    return found


def save_graphs(path: Path, graphs: Mapping[str, Graph]) -> None:
    """Write graphs as they are shipped: gzipped JSON without the time in it."""
    data = canonical_json([graph.model_dump(mode="json") for _, graph in sorted(graphs.items())])
    path.write_bytes(gzip.compress(data.encode(), mtime=0))


if __name__ == "__main__":
    save_graphs(Path(sys.argv[1]), build_graphs(progress=lambda name: print(name, flush=True)))
