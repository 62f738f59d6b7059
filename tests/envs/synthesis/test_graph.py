"""The dependency graph: what was planted is found and nothing else; every rule of the servers can be met."""

from __future__ import annotations

import pytest
from parcel_station import PLANTED, STATION

from palaestra.envs.tools.synthesis.graph import Graph, build_graph, graph_of, shipped_graphs
from palaestra.envs.tools.synthesis.pools import survey
from palaestra.envs.tools.synthesis.probing import WORKS, probe, replay
from palaestra.mcp_servers.catalog import CATALOG, load_server
from palaestra.mcp_servers.errors import TaskError
from palaestra.mcp_servers.framework.episodes import EpisodeStore
from palaestra.mcp_servers.framework.leases import Limits

UNLIMITED = Limits(calls=10**9)


def test_the_planted_graph_is_found_and_nothing_else() -> None:
    graph = build_graph(STATION, trials=6)
    assert {(edge.source, edge.target, edge.kind, edge.label) for edge in graph.edges} == PLANTED
    assert graph.weak == ()
    assert all(edge.held == edge.trials > 0 for edge in graph.edges)


def test_the_examples_of_edges_can_be_replayed() -> None:
    graph = build_graph(STATION, trials=2)
    for edge in graph.edges:
        calls = [(tool, dict(arguments)) for tool, arguments in edge.calls]
        assert [tool for tool, _ in calls][-2:] == [edge.source, edge.target]
        with EpisodeStore([STATION], limits=UNLIMITED) as store:
            _, episode = store.open(["station"], seed=edge.seed)
            with_all, without = replay(episode, calls), replay(episode, [*calls[:-2], calls[-1]])
            if edge.kind == "implicit":
                assert with_all is not None
                assert without is None
            elif edge.kind == "blocks":
                assert with_all is None
                assert without is not None
            else:
                assert with_all is not None


def test_a_probe_says_what_a_call_would_and_changes_nothing() -> None:
    with EpisodeStore([STATION], limits=UNLIMITED) as store:
        _, episode = store.open(["station"], seed=3)
        world = survey(episode, STATION)
        before = episode.full_digest()
        state = episode.state("station")
        for name, pool in world.pools.items():
            for arguments in pool.good:
                assert probe(state, STATION.tools[name], arguments) == WORKS
            for reason, arguments in pool.refused():
                assert probe(state, STATION.tools[name], arguments) == reason != WORKS
        assert episode.full_digest() == before
        for name, pool in world.pools.items():
            assert all(replay(episode, [(name, arguments)]) is not None for arguments in pool.good)


def test_the_shipped_graphs_are_those_of_the_tools_that_are_there() -> None:
    for name in CATALOG:
        graph = graph_of(load_server(name))
        assert all(edge.rate >= 0.5 for edge in graph.edges)
        assert all(edge.rate < 0.5 for edge in graph.weak)
        assert graph.needs(), name


def test_a_graph_of_other_tools_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TaskError, match="stale_graph"):
        graph_of(STATION)
    stale = shipped_graphs()["banking"].model_copy(update={"digest": "0" * 16})
    monkeypatch.setitem(shipped_graphs(), "banking", stale)
    with pytest.raises(TaskError, match="run python -m"):
        graph_of(load_server("banking"))


def test_a_graph_survives_its_json() -> None:
    graph = build_graph(STATION, trials=2)
    assert Graph.of(graph.model_dump(mode="json")) == graph


@pytest.mark.parametrize("name", CATALOG)
def test_every_precondition_can_be_met(name: str) -> None:
    """At the seed some call gets past it, or some edge leads there."""
    server, met = load_server(name), set()
    graph = graph_of(server)
    for edge in (*graph.edges, *graph.weak):
        if edge.kind != "blocks":
            met |= {(edge.target, condition.name) for condition in server.tools[edge.target].requires}
    with EpisodeStore([server], limits=UNLIMITED) as store:
        for seed in range(4):
            _, episode = store.open([name], seed=seed)
            for tool, pool in survey(episode, server).pools.items():
                order = [condition.name for condition in server.tools[tool].requires]
                past = [order.index(reason) for reason in pool.bad if reason in order]
                met |= {(tool, rule) for rule in order[: max(past, default=0)]}
                met |= {(tool, rule) for rule in order if pool.good}
    declared = {(tool, condition.name) for tool, spec in server.tools.items() for condition in spec.requires}
    assert declared - met == set()
