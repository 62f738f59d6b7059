"""The guard: exactly which JSON is let through, and how the refusal reads."""

from __future__ import annotations

from typing import Any

import pytest

from palaestra.mcp_servers.framework.faults import Fault, FaultCode
from palaestra.mcp_servers.framework.validation import MAX_DEPTH, MAX_ITEMS, MAX_SHOWN, MAX_STRING, guard, pointer


class Sneaky(str):
    """A string with behaviour of its own."""


def nested(depth: int) -> dict[str, Any]:
    value: Any = "end"
    for _ in range(depth):
        value = {"a": value}
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize(
    "arguments",
    [
        {}, {"a": [1, 2.5, True, "ü", {"b": []}]}, {"a": 2**53 - 1}, {"a": -(2**53) + 1}, {"a": "x" * MAX_STRING},
        {"a": [0] * MAX_ITEMS}, nested(MAX_DEPTH), {"ключ": "значение 😀"},
    ],
)  # fmt: skip
def test_json_is_let_through_as_it_is(arguments: dict[str, Any]) -> None:
    assert guard(arguments) is arguments


@pytest.mark.parametrize(
    ("arguments", "at", "problem"),
    [
        (None, "", "must be an object, got NoneType"),
        ([], "", "must be an object"),
        ({"a": None}, "/a", "leave the key out"),
        ({"a": 2**53}, "/a", "beyond 2^53"),
        ({"a": {"b": [0, float("nan")]}}, "/a/b/1", "not a finite"),
        ({"a": float("-inf")}, "/a", "not a finite"),
        ({"a": "\ud800"}, "/a", "surrogate"),
        ({"\udfff": 1}, "/\\udfff", "surrogate"),
        ({"a": "x\x00"}, "/a", "NUL"),
        ({"a\x00": 1}, "/a\\0", "NUL"),
        ({"a": "x" * (MAX_STRING + 1)}, "/a", "longer than"),
        ({"a": [0] * (MAX_ITEMS + 1)}, "/a", "more than"),
        ({"a": [[0] * 9_999] * 20}, "/a", "more than"),
        ({1: 1}, "/1", "not a string"),
        ({"a": (1,)}, "/a", "not JSON but tuple"),
        ({"a": b""}, "/a", "not JSON but bytes"),
        ({"a": {1}}, "/a", "not JSON but set"),
        ({"a": Sneaky("x")}, "/a", "not JSON but Sneaky"),
    ],
)
def test_anything_else_is_refused_by_name(arguments: object, at: str, problem: str) -> None:
    fault = guard(arguments)
    assert isinstance(fault, Fault)
    assert fault.code is FaultCode.INVALID_ARGUMENTS
    (found,) = fault.details["problems"]
    assert problem in found["problem"]
    assert found["at"].startswith(at)


def test_depth_costs_no_stack_and_cycles_end() -> None:
    fault = guard(nested(200_000))
    assert isinstance(fault, Fault)
    assert "deeper than 64" in fault.message
    cycle: dict[str, Any] = {}
    cycle["again"] = cycle
    assert isinstance(guard(cycle), Fault)


def test_pointers_escape_and_are_cut() -> None:
    assert pointer(("a~b/c", 3)) == "/a~0b~1c/3"
    assert len(pointer(("x" * 500, "y" * 500))) == MAX_SHOWN
