"""When two values of a tool's argument are the same, compared as JSON values and never as text.

Exact by default. A parameter may declare another comparator under `equality` in its private annotation:

    "casefold", "instant", "set", "path" or {"tolerance": 0.01}

The declaration stands on the server's side; no agent sees it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache, lru_cache
from math import isfinite
from typing import Any, Final
from unicodedata import normalize

from palaestra.mcp_servers.catalog import CATALOG, load_server
from palaestra.mcp_servers.errors import ConfigError, nearest
from palaestra.mcp_servers.framework.spec import ToolSpec
from palaestra.mcp_servers.framework.values import PRIVATE

ANNOTATION: Final = "equality"
Comparator = Callable[[Any, Any], bool]


def equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same.

    Type first: a boolean equals only a boolean, a string never a number, null only null. Numbers by exact value,
    strings after Unicode NFC, arrays in order, objects by keys. Linear in the smaller value; depth costs no stack.

    >>> equal(1, 1.0), equal(True, 1), equal("1", 1), equal({"a": [1, 2]}, {"a": [2, 1]})
    (True, False, False, False)
    """
    pending = [(one, other)]
    while pending:
        left, right = pending.pop()
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            left, right = _by_plain_keys(left), _by_plain_keys(right)
            if left.keys() != right.keys():
                return False
            pending.extend((value, right[key]) for key, value in left.items())
        elif isinstance(left, list | tuple) and isinstance(right, list | tuple):
            if len(left) != len(right):
                return False
            pending.extend(zip(left, right, strict=True))
        elif not _same_scalars(left, right):
            return False
    return True


def _same_scalars(one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return one == other or _nfc(one) == _nfc(other)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other
    return one is None and other is None


def _by_plain_keys(found: Mapping[str, Any]) -> Mapping[str, Any]:
    return found if all(key.isascii() for key in found) else {_nfc(key): value for key, value in found.items()}


def _nfc(text: str) -> str:
    return text if text.isascii() else normalize("NFC", text)


def casefold(one: Any, other: Any) -> bool:
    """Equal as text whose case does not matter."""
    if isinstance(one, str) and isinstance(other, str):
        return _nfc(_nfc(one).casefold()) == _nfc(_nfc(other).casefold())
    return equal(one, other)


def instant(one: Any, other: Any) -> bool:
    """Equal as moments: ISO 8601 in any writing and zone, UTC where none is named; other text as it stands."""
    if isinstance(one, str) and isinstance(other, str):
        try:
            return _moment(one) == _moment(other)
        except ValueError:
            return equal(one, other)
    return equal(one, other)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def unordered(one: Any, other: Any) -> bool:
    """Equal as arrays whose order does not matter; how often a value occurs does. Quadratic in their length."""
    if not (isinstance(one, list | tuple) and isinstance(other, list | tuple)):
        return equal(one, other)
    if len(one) != len(other):
        return False
    left = list(other)
    for value in one:
        at = next((index for index, candidate in enumerate(left) if equal(value, candidate)), None)
        if at is None:
            return False
        del left[at]
    return True


def path(one: Any, other: Any) -> bool:
    """Equal as paths: no doubled slashes, no `.`, no `..`, no slash at the end."""
    if isinstance(one, str) and isinstance(other, str):
        return _plain_path(one) == _plain_path(other)
    return equal(one, other)


def _plain_path(text: str) -> str:
    plain = posixpath.normpath(_nfc(text))
    return plain[1:] if plain.startswith("//") else plain


def within(tolerance: float) -> Comparator:
    """Equal as numbers at most `tolerance` apart, in decimals as they are written: 0.3 is 0.1 from 0.2."""
    widest = Decimal(str(tolerance))

    def compare(one: Any, other: Any) -> bool:
        if any(isinstance(v, bool) or not isinstance(v, int | float) or not isfinite(v) for v in (one, other)):
            return equal(one, other)
        return abs(Decimal(str(one)) - Decimal(str(other))) <= widest

    return compare


_DECLARED: Final[Mapping[str, Comparator]] = {
    "casefold": casefold, "instant": instant, "set": unordered, "path": path,
}  # fmt: skip


def declared_comparator(annotation: Any, where: str) -> Comparator:
    """The comparator an `equality` annotation asks for.

    Raises: ConfigError "bad_comparator" naming the parameter, what it declares and what it could.
    """
    if isinstance(annotation, str) and annotation in _DECLARED:
        return _DECLARED[annotation]
    tolerance = annotation.get("tolerance") if isinstance(annotation, Mapping) and len(annotation) == 1 else None
    if isinstance(tolerance, int | float) and not isinstance(tolerance, bool) and 0 <= tolerance < float("inf"):
        return within(tolerance)
    known = nearest(str(annotation), [*_DECLARED, "{'tolerance': number}"])
    raise ConfigError("bad_comparator", f"{where} declares {ANNOTATION} = {annotation!r}; {known}")


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a reward needs to know of a tool's parameters: their default values and how their values compare."""

    defaults: Mapping[str, Any] = field(default_factory=dict)
    comparators: Mapping[str, Comparator] = field(default_factory=dict)

    def filled(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """The arguments with the defaults of those left out."""
        return {**self.defaults, **arguments} if self.defaults else arguments

    def same(self, name: str, one: Any, other: Any) -> bool:
        """Whether two values of a parameter are the same."""
        return self.comparators.get(name, equal)(one, other)


UNKNOWN: Final = Parameters()
"""Of a tool whose schema is not at hand: no defaults, exact comparison."""


def parameters_of(spec: ToolSpec) -> Parameters:
    """The parameters of a tool. Raises: ConfigError "bad_comparator"."""
    defaults, comparators = {}, {}
    for name, schema in spec.input_schema(private=True).get("properties", {}).items():
        if "default" in schema:
            defaults[name] = schema["default"]
        if ANNOTATION in (private := schema.get(PRIVATE, {})):
            comparators[name] = declared_comparator(private[ANNOTATION], f"{spec.name}.{name}")
    return Parameters(defaults, comparators)


@lru_cache(maxsize=1024)
def catalogue_parameters(servers: tuple[str, ...]) -> Mapping[str, Parameters]:
    """Parameters by tool name of these servers; one that is not of the catalogue is passed over.

    Cost: a server is imported and its schemas are read at its first use, some ms each.
    """
    found: dict[str, Parameters] = {}
    for name in servers:
        if name in CATALOG:
            found |= _of_server(name)
    return found


@cache
def _of_server(name: str) -> Mapping[str, Parameters]:
    return {tool.name: parameters_of(tool) for tool in load_server(name).tools.values()}
