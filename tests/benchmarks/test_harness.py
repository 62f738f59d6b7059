"""The harness measures what it says, and the Sokoban benchmarks run."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest

from palaestra.benchmarks import sokoban_batched, sokoban_text
from palaestra.benchmarks.harness import cpu_rate, machine_facts, result


def test_machine_facts_name_the_machine_but_not_the_host() -> None:
    facts = machine_facts()
    assert set(facts) == {"cpu", "cores", "memory_gib", "python", "numpy", "platform"}
    assert facts["cores"] >= 1
    assert os.uname().nodename not in json.dumps(facts)


def test_rate_counts_operations_per_cpu_second() -> None:
    calls = []

    def work() -> int:
        calls.append(1)
        started = time.process_time()
        while time.process_time() - started < 0.01:
            pass
        return 5

    rate = cpu_rate(work, repeats=3)
    assert len(calls) == 4  # one to warm up
    assert 200 < rate["median"] <= 500
    assert rate["min"] <= rate["median"] <= rate["max"]


def test_result_compares_with_the_peer() -> None:
    rate = {"median": 6.0, "min": 5.0, "max": 7.0}
    peer = {"median": 2.0, "min": 1.0, "max": 3.0}
    with_peer = result("x", rate, "u", target=1.0, peer=("them", peer), seeds=[0], details={"k": 1})
    assert with_peer["ratio"] == 3.0
    assert with_peer["peer"] == {"name": "them", "value": 2.0, "unit": "u"}
    alone = result("x", rate, "u", target=None, peer=None, seeds=[0], details={})
    assert alone["peer"] is None
    assert alone["ratio"] is None


@pytest.mark.parametrize("benchmark_module", [sokoban_text, sokoban_batched])
def test_sokoban_benchmarks_run(benchmark_module: Any) -> None:
    measured = benchmark_module.run(quick=True, seed=0)
    json.dumps(measured)
    assert measured["value"] > 10_000
    assert (measured["peer"] is None) == ("peer_missing" in measured["details"])
