"""The value types of tool arguments and results, and how a column's meaning becomes one of them.

Annotations meant for Palaestra alone (which entity a key identifies, what must not be made up, units) sit under one
schema key, `x-palaestra`, and are stripped before an agent sees a schema.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, StringConstraints, WithJsonSchema

from palaestra.mcp_servers.framework.columns import ColumnInfo

PRIVATE = "x-palaestra"

_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_LAST_SECOND = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())


@lru_cache(maxsize=4096)
def to_iso(seconds: int) -> str:
    """Seconds since the epoch as ISO 8601 in UTC.

    >>> to_iso(0)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_instant(text: object) -> int:
    """The inverse of `to_iso`. Raises: ValueError unless the text is a real time, written like that."""
    if not isinstance(text, str) or not _INSTANT.fullmatch(text):
        raise ValueError("must be a UTC time written like 2026-03-02T09:30:00Z")
    seconds = int(datetime.fromisoformat(text).timestamp())
    if seconds < 0:
        raise ValueError("must not lie before 1970")
    return seconds


def parse_day(text: object) -> str:
    """A calendar day as it stands. Raises: ValueError unless it is a real day written like 2026-03-02."""
    if not isinstance(text, str) or not _DAY.fullmatch(text):
        raise ValueError("must be a day written like 2026-03-02")
    datetime.fromisoformat(text)
    return text


_INSTANT_SCHEMA = WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-03-02T09:30:00Z"]})

Key = Annotated[str, StringConstraints(min_length=1, max_length=64)]
"""The key of a row."""
Line = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""A short text."""
Paragraph = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
"""A longer text."""
Instant = Annotated[int, PlainValidator(parse_instant), _INSTANT_SCHEMA]
"""A time: an ISO string in the call, seconds in the handler."""
Day = Annotated[str, PlainValidator(parse_day), WithJsonSchema({"type": "string", "format": "date"})]
"""A calendar day, a string in both."""
Amount = Annotated[int, Field(ge=1, le=10**12, json_schema_extra={PRIVATE: {"unit": "minor units"}})]
"""A positive amount of money in minor units (cents)."""

InstantOut = Annotated[int, Field(ge=0, le=_LAST_SECOND), PlainSerializer(to_iso, return_type=str), _INSTANT_SCHEMA]
"""A time in a result: seconds in the handler, an ISO string in the result."""
FlagOut = Annotated[bool, BeforeValidator(bool)]
"""True or false in a result; 0 or 1 in the handler."""


def refers_to(entity: str, description: str | None = None) -> Any:
    """Marks a key that names a row of `entity` although its own name does not say so.

    `other_id: Annotated[Key, refers_to("issue", "the issue that waits")]`
    """
    return Field(description=description, json_schema_extra={PRIVATE: {"ref": entity}})


def argument_type(info: ColumnInfo, entity: str | None = None) -> Any:
    """The type of an argument that is written into a column; `entity` is what a foreign key refers to."""
    match info.kind:
        case "time":
            base: Any = Instant
        case "flag":
            base = bool
        case _:
            base = _plain_type(info)
    return Annotated[base, _described(info, entity)]


def result_type(info: ColumnInfo) -> Any:
    """The type of a column in a result."""
    match info.kind:
        case "time":
            base: Any = InstantOut
        case "flag":
            base = FlagOut
        case _:
            base = _plain_type(info)
    described = Annotated[base, _described(info)]
    return described | None if info.optional else described


def _plain_type(info: ColumnInfo) -> Any:
    match info.kind:
        case "integer":
            return Annotated[int, Field(ge=info.minimum, le=info.maximum)]
        case "choice":
            return Literal[info.choices]
        case "key":
            return Key
        case _:
            return Annotated[
                str, StringConstraints(min_length=info.minimum, max_length=info.maximum, pattern=info.pattern)
            ]


def _described(info: ColumnInfo, entity: str | None = None) -> Any:
    marks = {"unit": info.unit, "sensitive": info.sensitive or None, "ref": entity}
    private: dict[str, Any] = {name: mark for name, mark in marks.items() if mark is not None}
    return Field(description=info.doc or None, json_schema_extra={PRIVATE: private} if private else None)
