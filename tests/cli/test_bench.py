"""`palaestra bench`: the list, a real run, and what is shown of it."""

from __future__ import annotations

from palaestra.benchmarks.catalog import CATALOG
from palaestra.cli.bench import _rows
from tests.cli.conftest import Command


def test_the_list_names_every_benchmark_with_its_promise(command: Command) -> None:
    listed = command("bench", "--list", "--json").json()["benchmarks"]
    assert list(listed) == list(CATALOG)
    table = command("bench", "--list").out
    assert [name for name, entry in CATALOG.items() if f"  {name} " not in table or entry.promise not in table] == []


def test_a_quick_run_is_one_json_object(command: Command) -> None:
    found = command("bench", "replay", "--quick", "--seed", 4, "--json").json()
    assert (found["name"], found["value"], found["met"]) == ("replay", 0, True)
    assert (found["quick"], found["seeds"]) == (True, [4])
    assert found["machine"]["cores"] >= 1


def test_a_run_as_a_table(command: Command) -> None:
    out = command("bench", "replay", "--quick").out
    assert "0 episodes that differ" in out
    assert "0 (met)" in out
    assert "(quick)" in out


def test_mistakes_are_named(command: Command) -> None:
    done = command("bench", "sokoban-batch", "--json")
    assert done.code == 2
    assert "did you mean 'sokoban-batched'" in done.json()["error"]["message"]
    assert "[name]" in command("bench").err


def test_peer_and_ratio_are_shown_where_there_are_any() -> None:
    found = {
        "value": 61234.5, "unit": "tokens/CPU-s", "target": 3.0, "ratio": 2.5, "met": False, "quick": False,
        "peer": {"name": "peer 1.0", "value": 24493.8, "unit": "tokens/CPU-s"},
        "machine": {"cpu": "c", "cores": 2, "python": "3.11"}, "seeds": [0, 1],
    }  # fmt: skip
    rows = dict(_rows(found))
    assert rows["measured"] == "61,234 tokens/CPU-s"
    assert rows["peer 1.0"] == "24,494 tokens/CPU-s"
    assert rows["ratio"] == "2.50"
    assert rows["target"] == "3 (missed)"
    assert rows["seeds"] == "0, 1"
    without = dict(_rows(found | {"peer": None, "ratio": None, "met": None}))
    assert "ratio" not in without
    assert without["target"] == "3 (not decided here)"
    assert "target" not in dict(_rows(found | {"target": None}))
