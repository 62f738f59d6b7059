"""Slots: what an argument of a tool may hold, read off the tool's private schema."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal

from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.mcp_servers.framework.spec import ToolSpec
from palaestra.mcp_servers.framework.values import PRIVATE

SlotKind = Literal["key", "choice", "flag", "integer", "instant", "day", "text", "list"]
PAGING: Final = frozenset({"cursor", "limit"})
"""Arguments that say how to page, not what is wanted; tasks leave them out."""
MONEY: Final = "minor units"

_FORMATS: Final[dict[str, SlotKind]] = {"date-time": "instant", "date": "day"}
_TYPES: Final[dict[str, SlotKind]] = {"boolean": "flag", "integer": "integer", "array": "list"}


@dataclass(frozen=True, slots=True)
class Slot:
    """One argument.

    Attributes:
        entity: table whose key it holds, if it does.
        options: the allowed values of a choice.
        default: what the schema says it is if left out; None if it says nothing.
    """

    tool: str
    name: str
    kind: SlotKind
    required: bool
    entity: str | None = None
    options: tuple[Any, ...] = ()
    minimum: int = 0
    maximum: int = 10**12
    step: int = 1
    unit: str = ""
    pattern: str = ""
    longest: int = 10**6
    sensitive: bool = False
    default: Any = None


def slots_of(spec: ToolSpec) -> tuple[Slot, ...]:
    """Every argument of a tool, required ones first, paging left out."""
    return _slots(spec.server, spec.name, spec)


_known: dict[tuple[str, str], tuple[Slot, ...]] = {}


def _slots(server: str, name: str, spec: ToolSpec) -> tuple[Slot, ...]:
    found = _known.get((server, name))
    if found is None:
        schema = spec.input_schema(private=True)
        required = schema.get("required", ())
        made = [
            _slot(spec, argument, about, argument in required)
            for argument, about in schema.get("properties", {}).items()
            if argument not in PAGING
        ]
        found = _known[server, name] = tuple(sorted(made, key=lambda slot: not slot.required))
    return found


def _slot(spec: ToolSpec, name: str, about: dict[str, Any], required: bool) -> Slot:
    marks = about.get(PRIVATE, {})
    options = tuple(about.get("enum", ())) or ((about["const"],) if "const" in about else ())
    kind: SlotKind = "text"
    if name in spec.references:
        kind = "key"
    elif options:
        kind = "choice"
    else:
        kind = _FORMATS.get(about.get("format", "")) or _TYPES.get(about.get("type", ""), "text")
    return Slot(
        spec.name, name, kind, required, spec.references.get(name), options, about.get("minimum", 0),
        about.get("maximum", 10**12), about.get("multipleOf", 1), marks.get("unit", ""), about.get("pattern", ""),
        about.get("maxLength", 10**6), bool(marks.get("sensitive")), about.get("default"),
    )  # fmt: skip


@cache
def _fields_of(server: ToolServer) -> dict[str, str]:
    fields = dict(server.schema.keys())
    for table in server.schema.by_name.values():
        for column, (entity, _) in table.references.items():
            fields.setdefault(column, entity)
    for tool in server.tools.values():
        for argument, entity in tool.references.items():
            fields.setdefault(argument, entity)
    return fields


@cache
def units_of(server: ToolServer) -> dict[str, str]:
    """Column -> what its integers count; empty for a plain number."""
    infos = [pair for table in server.schema.by_name.values() for pair in table.infos.items()]
    return {name: info.unit or "" for name, info in infos if info.kind == "integer"}


def fields_of(server: ToolServer) -> dict[str, str]:
    """Field of a result, or argument -> table whose key it holds."""
    return _fields_of(server)
