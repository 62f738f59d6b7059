"""The catalog: every benchmark exists, looks as promised, and is judged the right way round."""

from __future__ import annotations

import inspect
import json
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import palaestra.benchmarks
from palaestra.benchmarks.catalog import CATALOG, Kind, is_met, run_benchmark
from palaestra.mcp_servers.errors import ConfigError

SUPPORT = {
    "__init__",
    "catalog",
    "harness",
    "killing",
    "tool_peers",
    "tool_scripts",
    "alfworld_oddities",
    "alfworld_original",
}
LIGHT = ("sokoban-text", "replay")


@pytest.mark.parametrize("name", list(CATALOG))
def test_every_benchmark_has_its_module_and_run(name: str) -> None:
    module = f"palaestra.benchmarks.{CATALOG[name].module}"
    assert find_spec(module) is not None
    parameters = inspect.signature(import_module(module).run).parameters
    assert list(parameters) == ["quick", "seed"]


def test_every_benchmark_module_is_in_the_catalog() -> None:
    (folder,) = palaestra.benchmarks.__path__
    modules = {path.stem for path in Path(folder).glob("*.py")} - SUPPORT
    assert modules == {entry.module for entry in CATALOG.values()}


def test_the_catalog_imports_no_benchmark() -> None:
    import subprocess

    code = "import sys, palaestra.benchmarks.catalog\nprint([m for m in sys.modules if m.startswith('palaestra.b')])"
    out = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert out.strip() == "['palaestra.benchmarks', 'palaestra.benchmarks.catalog']"


@pytest.mark.parametrize("name", LIGHT)
def test_results_have_the_promised_keys_and_are_json(name: str) -> None:
    found = run_benchmark(name, quick=True, seed=1)
    assert {"name", "value", "unit", "target", "peer", "ratio", "machine", "seeds", "details", "quick", "met"} == set(
        found
    )
    assert found["name"] == name
    assert found["seeds"] == [1]
    json.dumps(found, allow_nan=False)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'store-kill'"):
        run_benchmark("store-kil", quick=True, seed=0)


@pytest.mark.parametrize(
    ("kind", "found", "met"),
    [
        ("value at least", {"value": 10, "target": 10}, True),
        ("value at least", {"value": 9, "target": 10, "ratio": 20}, False),
        ("value at most", {"value": 0, "target": 0}, True),
        ("value at most", {"value": 1, "target": 0}, False),
        ("ratio at least", {"value": 1, "ratio": 3.0, "target": 3.0}, True),
        ("ratio at least", {"value": 9, "ratio": 2.9, "target": 3.0}, False),
        ("ratio at least", {"value": 9, "ratio": None, "target": 3.0}, None),
        ("value at least", {"value": 9, "target": None}, None),
    ],
)
def test_promises_are_judged_the_right_way_round(kind: Kind, found: dict[str, Any], met: bool | None) -> None:
    assert is_met(kind, found) is met
