"""Strict validation of a call's arguments: a guard over the raw JSON, then the tool's own schema.

Pydantic's strict mode refuses "1", 1.0 and true for an integer and unknown keys, but it lets 10^30, lone surrogates
and NUL through, which a database driver answers with OverflowError, UnicodeEncodeError and silent storage, and binds
NaN as NULL. The guard refuses those first. It is iterative, so that depth costs no stack. Both name JSON pointers in
a fixed order.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from palaestra.mcp_servers.framework.columns import MAX_INTEGER
from palaestra.mcp_servers.framework.faults import Fault, FaultCode

MAX_DEPTH = 64
MAX_STRING = 256 * 1024
MAX_ITEMS = 10_000
MAX_NODES = 100_000
MAX_SHOWN = 200
MAX_PROBLEMS = 10

_Path = tuple[str | int, ...]


class Args(BaseModel):
    """Base of every tool's arguments: strict, no unknown keys, no NaN, read-only."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


def guard(arguments: object) -> dict[str, Any] | Fault:
    """The value as JSON arguments, or what is wrong with it before any schema is looked at.

    Refused: anything but an object at the top, nesting beyond 64, strings beyond 256 KiB, arrays beyond 10,000,
    integers beyond 2^53 - 1, NaN and infinity, lone surrogates, NUL, null, and whatever JSON cannot hold. Linear in
    the size of the value.
    """
    if not isinstance(arguments, dict) or type(arguments) is not dict:
        return refuse((), f"arguments must be an object, got {type(arguments).__name__}")
    pending: list[tuple[Any, _Path]] = [(arguments, ())]
    nodes = 0
    while pending:
        value, path = pending.pop()
        nodes += len(value)
        if len(value) > MAX_ITEMS or nodes > MAX_NODES:
            return refuse(path, f"has more than {MAX_ITEMS} members")
        if len(path) >= MAX_DEPTH:
            return refuse(path, f"is nested deeper than {MAX_DEPTH}")
        for key, member in value.items() if type(value) is dict else enumerate(value):
            if type(value) is dict and (problem := _problem(key) if type(key) is str else "is a key, not a string"):
                return refuse((*path, key), f"the key {problem}")
            if type(member) is dict or type(member) is list:
                pending.append((member, (*path, key)))
            elif problem := _problem(member):
                return refuse((*path, key), problem)
    return arguments


def _problem(value: object) -> str | None:
    """What is wrong with a scalar; exact types, because a subclass may carry behaviour of its own."""
    kind = type(value)
    if kind is str:
        return _text_problem(str(value))
    if kind is bool:
        return None
    if isinstance(value, int) and kind is int:
        return None if -MAX_INTEGER <= value <= MAX_INTEGER else "is beyond 2^53 - 1"
    if isinstance(value, float) and kind is float:
        return None if isfinite(value) else "is not a finite number"
    if value is None:
        return "is null, which is no value here: leave the key out"
    return f"is not JSON but {kind.__name__}"


def _text_problem(text: str) -> str | None:
    if len(text) > MAX_STRING:
        return f"is longer than {MAX_STRING} characters"
    if "\0" in text:
        return "holds NUL"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "holds a lone surrogate"
    return None


def refuse(path: _Path, problem: str, **details: Any) -> Fault:
    """The fault of one malformed argument, by its path."""
    return _fault([{"at": pointer(path), "problem": problem, **details}])


def explain(error: ValidationError, sensitive: frozenset[str]) -> Fault:
    """Everything a schema refused, as one fault: pointers in order, and at most 200 characters of any value.

    Values of `sensitive` fields, of unknown keys and of objects are never shown.
    """
    problems = []
    for found in error.errors(include_url=False, include_context=False):
        path = found["loc"]
        problem = {"at": pointer(path), "problem": found["msg"]}
        value = found["input"]
        if isinstance(value, str | int | float) and found["type"] != "extra_forbidden" and path[0] not in sensitive:
            problem["got"] = repr(value)[:MAX_SHOWN]
        problems.append(problem)
    return _fault(sorted(problems, key=lambda problem: problem["at"]))


def _fault(problems: list[dict[str, Any]]) -> Fault:
    listed = "; ".join(f"{problem['at'] or 'arguments'}: {problem['problem']}" for problem in problems[:MAX_PROBLEMS])
    return Fault(FaultCode.INVALID_ARGUMENTS, f"invalid arguments: {listed}", {"problems": problems[:MAX_PROBLEMS]})


def pointer(path: _Path) -> str:
    """A path as a JSON pointer (RFC 6901), cut at 200 characters, printable whatever the keys hold.

    >>> pointer(("a/b", 0))
    '/a~1b/0'
    """
    shown = "".join("/" + str(part)[:MAX_SHOWN].replace("~", "~0").replace("/", "~1") for part in path[:MAX_DEPTH])
    return shown[:MAX_SHOWN].encode("ascii", "backslashreplace").decode().replace("\0", "\\0")
