from __future__ import annotations

from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from palaestra.mcp_servers.errors import ConfigError
from palaestra.mcp_servers.framework.spec import Output, ToolSpec, query
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import PRIVATE
from palaestra.rewards.equality import catalogue_parameters, declared_comparator, equal, parameters_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(("one", "other"), [(True, 1), (False, 0), (True, "true"), (1, "1"), (None, 0), (None, "")])
def test_the_type_comes_first(one: Any, other: Any) -> None:
    assert not equal(one, other)
    assert not equal(other, one)
    assert not equal([one], [other])
    assert equal(one, one)


def test_booleans_equal_booleans_and_null_equals_null() -> None:
    assert equal(True, True)
    assert not equal(True, False)
    assert equal(None, None)


def test_numbers_compare_by_exact_value() -> None:
    assert equal(1, 1.0)
    assert equal(2**53, float(2**53))
    assert not equal(2**53 + 1, float(2**53))
    assert not equal(0.1 + 0.2, 0.3)


def test_strings_compare_after_nfc_with_case_and_blanks() -> None:
    assert equal("caf\u00e9", "cafe\u0301")
    assert equal({"caf\u00e9": 1}, {"cafe\u0301": 1})
    assert not equal("Caf\u00e9", "caf\u00e9")
    assert not equal(" a", "a")
    assert not equal("ﬁ", "fi")


def test_arrays_compare_in_order_and_objects_by_keys() -> None:
    assert not equal([1, 2], [2, 1])
    assert not equal([1], [1, 1])
    assert equal({"a": [1, {"b": None}], "c": 2}, {"c": 2.0, "a": [1, {"b": None}]})
    assert not equal({"a": 1}, {"a": 1, "b": None})
    assert not equal({}, [])


def test_depth_costs_no_stack() -> None:
    one: list[Any] = []
    other: list[Any] = []
    for _ in range(100_000):
        one, other = [one], [other]
    assert equal(one, other)
    while one:  # freeing it level by level keeps the interpreter's own stack flat too
        one, other = one.pop(), other.pop()


@given(JSON, JSON)
def test_equality_is_reflexive_and_symmetric(one: Any, other: Any) -> None:
    assert equal(one, one)
    assert equal(one, other) == equal(other, one)


class BookArgs(Args):
    """Arguments that declare how they compare."""

    title: Annotated[str, Field(json_schema_extra={PRIVATE: {"equality": "casefold"}})]
    at: Annotated[str, Field(json_schema_extra={PRIVATE: {"equality": "instant"}})]
    tags: Annotated[list[str], Field(json_schema_extra={PRIVATE: {"equality": "set"}})]
    file: Annotated[str | None, Field(json_schema_extra={PRIVATE: {"equality": "path"}})] = None
    price: Annotated[float, Field(json_schema_extra={PRIVATE: {"equality": {"tolerance": 0.1}}})] = 1.5
    note: str = "none"


class Found(Output):
    """Nothing of interest."""

    ok: bool


@query(returns=Found)
def find_book(db: Any, sources: Any, args: BookArgs) -> dict[str, Any]:
    """Find a book."""
    return {"ok": True}


SAME = [
    ("title", "STRASSE", "straße"),
    ("at", "2026-03-02T10:30:00+01:00", "2026-03-02T09:30:00Z"),
    ("at", "2026-03-02T09:30:00", "2026-03-02T09:30:00Z"),
    ("at", "soon", "soon"),
    ("tags", ["a", "b", "b"], ["b", "a", "b"]),
    ("file", "/a//b/./c/../d/", "/a/b/d"),
    ("file", "//a", "/a"),
    ("price", 0.3, 0.2),
    ("price", 2, 2.1),
    ("note", "x", "x"),
]
DIFFERENT = [
    ("title", "a", "b"),
    ("title", 1, "1"),
    ("at", "2026-03-02T09:30:00Z", "2026-03-02T09:30:01Z"),
    ("at", "soon", "later"),
    ("at", "2026-03-02T09:30:00Z", 5),
    ("tags", ["a", "b", "b"], ["b", "a", "a"]),
    ("tags", ["a"], ["a", "a"]),
    ("tags", "a", ["a"]),
    ("file", "/a", "a"),
    ("file", None, "a"),
    ("price", 0.3, 0.19),
    ("price", True, 1),
    ("price", float("nan"), 1.0),
    ("price", "1", 1),
    ("note", "x", "X"),
]


@pytest.mark.parametrize(("name", "one", "other"), SAME)
def test_a_declared_comparator_widens_what_is_the_same(name: str, one: Any, other: Any) -> None:
    assert parameters_of(find_book).same(name, one, other)
    assert parameters_of(find_book).same(name, other, one)


@pytest.mark.parametrize(("name", "one", "other"), DIFFERENT)
def test_a_declared_comparator_still_tells_apart(name: str, one: Any, other: Any) -> None:
    assert not parameters_of(find_book).same(name, one, other)
    assert not parameters_of(find_book).same(name, other, one)


def test_defaults_fill_what_is_left_out() -> None:
    found = parameters_of(find_book)
    assert found.filled({"title": "x", "note": "n"}) == {"title": "x", "price": 1.5, "note": "n"}


def test_the_declaration_is_not_shown_to_the_agent() -> None:
    assert isinstance(find_book, ToolSpec)
    assert PRIVATE not in str(find_book.input_schema())


@pytest.mark.parametrize("declared", ["fuzzy", {"tolerance": -1}, {"tolerance": True}, {"tolerance": 1, "x": 2}, None])
def test_an_unknown_comparator_names_the_parameter_and_what_there_is(declared: Any) -> None:
    with pytest.raises(ConfigError, match=r"find\.x declares equality = .*casefold"):
        declared_comparator(declared, "find.x")


def test_the_catalogue_knows_the_defaults_of_its_tools() -> None:
    found = catalogue_parameters(("banking", "not of the catalogue"))
    assert len(found) == 17
    assert any(parameters.defaults for parameters in found.values())
