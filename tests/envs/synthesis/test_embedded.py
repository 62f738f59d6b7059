"""The tasks that come with the package: as many as promised, kept apart, and worth the full reward."""

from __future__ import annotations

import gzip
from collections import Counter
from importlib.resources import files
from itertools import combinations

import pytest

from palaestra.envs.tools.records import TaskRecord
from palaestra.envs.tools.synthesis.dedup import THRESHOLD, features
from palaestra.envs.tools.synthesis.filters import primary_entity
from palaestra.envs.tools.worlds import catalog_digest
from palaestra.mcp_servers.catalog import CATALOG, load_server
from palaestra.rewards.gold import earns_the_most


@pytest.fixture(scope="module")
def records() -> list[TaskRecord]:
    content = files("palaestra.envs.tools").joinpath("data", "tasks.jsonl.gz").read_bytes()
    assert len(content) < 1_500_000
    return [TaskRecord.from_json(line) for line in gzip.decompress(content).decode().splitlines()]


def test_there_are_as_many_as_promised(records: list[TaskRecord]) -> None:
    assert Counter(record.split for record in records) == {"train": 600, "valid": 100, "test": 200}
    assert len({record.id for record in records}) == len(records)
    by_server = Counter(record.env.servers[0] for record in records)
    assert set(by_server) == set(CATALOG)
    assert min(by_server.values()) >= 30
    used = {call.tool for record in records for _, call in record.gold_calls}
    assert len(used) >= 330


def test_they_fit_the_tools_that_are_there(records: list[TaskRecord]) -> None:
    for servers in {record.env.servers for record in records}:
        assert {r.env.catalog_digest for r in records if r.env.servers == servers} == {catalog_digest(servers)}


def test_testing_shares_nothing_with_training(records: list[TaskRecord]) -> None:
    train, test = ([r for r in records if r.split == split and r.gold_calls] for split in ("train", "test"))
    assert not {tuple(r.meta["chain"]) for r in train} & {tuple(r.meta["chain"]) for r in test}
    assert not {r.env.seed for r in train} & {r.env.seed for r in test}
    about, tested = (
        {primary_entity(r, load_server(r.env.servers[0])) for r in part} - {None} for part in (train, test)
    )
    assert not about & tested


def test_no_two_are_alike(records: list[TaskRecord]) -> None:
    by_server: dict[str, list[frozenset[str]]] = {}
    for record in records:
        if record.gold_calls:
            made = features((call.tool, call.arguments) for _, call in record.gold_calls)
            by_server.setdefault(record.env.servers[0], []).append(made)
    for sets in by_server.values():
        assert all(len(a & b) / len(a | b) < THRESHOLD for a, b in combinations(sets, 2))


@pytest.mark.parametrize("server", CATALOG)
def test_their_gold_calls_earn_the_full_reward(records: list[TaskRecord], server: str) -> None:
    own = [record for record in records if record.env.servers[0] == server]
    failed = [record.id for record in own[:8] if not earns_the_most(record)]
    assert own
    assert not failed
