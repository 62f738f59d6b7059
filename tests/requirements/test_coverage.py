"""The ledger and the tests hold each other: no promise without a test, no test of a promise without its id.

The tests are read as source, not imported, so that this holds when run alone and without any optional dependency;
that an id exists is checked where `requirement` is called, at import.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.requirements.ledger import BY_ID, PROMISES, Promise, requirement

ROOT = Path(__file__).resolve().parents[2]
STRICT_FOLDERS = ("properties", "chaos", "conformance", "golden")  # here every test carries an id
EXEMPT: tuple[str, ...] = ()  # tests of the harness itself in those folders, as "chaos/test_x.py::test_y"


def ids_on(node: ast.AST) -> list[str]:
    """Every id given to `requirement` anywhere below a node."""
    return [
        call.args[0].value
        for call in ast.walk(node)
        if isinstance(call, ast.Call)
        and getattr(call.func, "id", getattr(call.func, "attr", None)) == "requirement"
        and call.args
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    ]


def unmarked(module: ast.Module) -> Iterator[str]:
    """Tests that carry no id, neither themselves nor through their class."""
    for node in module.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if not node.name.lower().startswith("test") or any(ids_on(decorator) for decorator in node.decorator_list):
            continue
        if isinstance(node, ast.ClassDef):
            inner = ast.Module(body=list(node.body), type_ignores=[])
            yield from (f"{node.name}::{name}" for name in unmarked(inner))
        else:
            yield node.name


def parse_tests(root: Path = ROOT) -> dict[str, ast.Module]:
    """Every test module by its path below tests/."""
    paths = sorted((root / "tests").rglob("test_*.py"))
    return {
        path.relative_to(root / "tests").as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in paths
        if path.parent.name != "requirements"
    }


def gaps(promises: Sequence[Promise], modules: Mapping[str, ast.Module], root: Path = ROOT) -> list[str]:
    """Everything that does not hold, one sentence each."""
    covered = {promise_id for module in modules.values() for promise_id in ids_on(module)}
    found = []
    for promise in promises:
        if promise.deferred is None and promise.id not in covered:
            found.append(f"{promise.id} is promised but no test carries it")
        if promise.deferred is not None and promise.id in covered:
            found.append(f"{promise.id} is deferred but a test carries it: the deferral is stale")
        if promise.deferred is not None:
            found += _bad_deferral(promise, promise.deferred, root)
    for path, module in modules.items():
        if path.startswith(STRICT_FOLDERS):
            found += [f"{path}::{n} carries no id" for n in unmarked(module) if f"{path}::{n}" not in EXEMPT]
    return found


def _bad_deferral(promise: Promise, deferred: str, root: Path) -> list[str]:
    if deferred.startswith("Covered by "):
        path = deferred.removeprefix("Covered by ").split()[0].rstrip(":,;")
        return [] if (root / path).exists() else [f"{promise.id} is deferred to {path}, which does not exist"]
    if deferred.startswith(("Not implemented", "Not yet covered")):
        return []
    return [f"{promise.id}: a deferral starts with Covered by, Not implemented or Not yet covered"]


def test_the_ledger_and_the_tests_agree() -> None:
    assert gaps(PROMISES, parse_tests()) == []


def test_ids_are_unique_and_complete() -> None:
    assert len(BY_ID) == len(PROMISES)
    assert [promise_id for promise_id in BY_ID if "." not in promise_id] == [f"R{n}" for n in range(1, 21)]


def test_an_unknown_id_fails_at_import() -> None:
    with pytest.raises(LookupError, match="'R99' is not in the ledger"):
        requirement("R99")


def test_every_kind_of_gap_is_found(tmp_path: Path) -> None:
    held = Promise("R1", "statement", "anchor", "figure")
    marked = ast.parse('@requirement("R1")\ndef test_x(): ...')
    bare = ast.parse("class TestY:\n    def test_x(self): ...\ndef test_y(): ...\ndef helper(): ...")
    by_class = ast.parse('@requirement("R1")\nclass TestY:\n    def test_x(self): ...')
    machine = ast.parse('TestZ = requirement("R1")(Machine.TestCase)')

    def check(promise: Promise, **modules: ast.Module) -> list[str]:
        return gaps([promise], {name.replace("_", "/", 1) + ".py": tree for name, tree in modules.items()}, tmp_path)

    for carrier in (marked, by_class, machine):
        assert check(held, chaos_a=carrier) == []
    assert check(held) == ["R1 is promised but no test carries it"]
    assert check(replace(held, deferred="Not yet covered"), chaos_a=marked) == [
        "R1 is deferred but a test carries it: the deferral is stale"
    ]
    assert check(replace(held, deferred="Covered by tests/nowhere.py")) == [
        "R1 is deferred to tests/nowhere.py, which does not exist"
    ]
    (tmp_path / "here.py").touch()
    assert check(replace(held, deferred="Covered by here.py: elsewhere")) == []
    assert check(replace(held, deferred="later")) == [
        "R1: a deferral starts with Covered by, Not implemented or Not yet covered"
    ]
    assert check(held, chaos_a=marked, golden_b=bare) == [
        "golden/b.py::TestY::test_x carries no id",
        "golden/b.py::test_y carries no id",
    ]
    assert check(held, chaos_a=marked, agents_b=bare) == []
