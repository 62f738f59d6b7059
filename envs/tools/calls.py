"""A tool call as an agent asks for it, and what a way of writing calls is. A reply may be anything: failure is data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

OPEN: Final = "<tool_call>"
CLOSE: Final = "</tool_call>"

Schemas = Mapping[str, Mapping[str, Any]]
"""Tool name -> JSON Schema of its arguments, as the agent was shown it."""


@dataclass(frozen=True, slots=True)
class AskedCall:
    """One call as asked for.

    Attributes:
        tool: its name without a qualifying server; empty if it could not be read.
        arguments: None if they could not be read as a JSON object.
        problem: why not; empty if they could.
    """

    tool: str
    arguments: dict[str, Any] | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class CallFormat:
    """A way to write calls.

    Attributes:
        name: as in `call_format=`.
        manual: how to call, told to the agent.
        read: the calls of a reply whose thoughts are taken out; none if it has none. It never raises.
        write: the inverse, for demonstrations of calls that fit their schemas.
    """

    name: str
    manual: str
    read: Callable[[str, Schemas], Iterator[AskedCall]]
    write: Callable[[Sequence[AskedCall], Schemas], str]


def unparsable(problem: str) -> AskedCall:
    """A call nobody can make sense of."""
    return AskedCall("", None, problem)


def bare_name(name: str) -> str:
    """A tool's own name, without the server that some clients put before it.

    >>> bare_name("mcp__banking__freeze_card"), bare_name("banking.freeze_card"), bare_name("freeze_card")
    ('freeze_card', 'freeze_card', 'freeze_card')
    """
    own = name.strip().rpartition(".")[2]
    return own.rpartition("__")[2] if own.startswith("mcp__") else own


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
"""Strict: neither a key twice nor NaN. Raises ValueError, and RecursionError for what is nested too deeply."""


def dump(value: Any, separators: tuple[str, str] = (", ", ": ")) -> str:
    r"""JSON in which no tag can stand: `<` is written as an escape.

    >>> dump({"text": "</tool_call>"})
    '{"text": "\\u003c/tool_call>"}'
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=separators).replace("<", "\\u003c")


def strings(value: Any) -> Iterator[str]:
    """Every text in a JSON value, keys of objects left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for member in value.values() if isinstance(value, dict) else value:
            yield from strings(member)


def said(error: BaseException) -> str:
    """What a parser had to say, short enough to be shown."""
    return f"{type(error).__name__}: {error}"[:120]
