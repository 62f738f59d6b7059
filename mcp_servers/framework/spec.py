"""What a tool is: a name, an effect, schemas, named preconditions and a handler.

A handler gets the open transaction, the episode's sources and its validated arguments, and returns a row, or a
mapping of the output's fields. Only the arguments appear in the schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from palaestra.mcp_servers.errors import ConfigError
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.faults import Fault
from palaestra.mcp_servers.framework.sql import Database, Model, Row, TableStatements
from palaestra.mcp_servers.framework.validation import Args, explain
from palaestra.mcp_servers.framework.values import PRIVATE, result_type

Handler = Callable[[Database, EpisodeSources, Any], Mapping[str, Any]]
Check = Callable[[Database, EpisodeSources, Any], bool]
Kind = Literal["generated", "query", "verb"]

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", re.ASCII)
_NULL = {"type": "null"}
RESERVED = frozenset({"reset", "step", "state", "close"})


class Effect(StrEnum):
    """Whether a tool may change the state. Declared, and checked at every call."""

    READ = "read"
    WRITE = "write"


class Output(BaseModel):
    """Base of hand-written results: no unknown fields, declared field order."""

    model_config = ConfigDict(extra="forbid", strict=True)


class NoArgs(Args):
    """No arguments."""


@dataclass(frozen=True, slots=True)
class Precondition:
    """A named predicate that must hold before a verb runs; it reads and never writes.

    Attributes:
        name: goes into the fault's details.
        rule: what must hold, as a sentence a policy can act on.
    """

    name: str
    rule: str
    check: Check


def precondition(check: Check) -> Precondition:
    """Make a predicate over (db, sources, args) a precondition: its name is the function's, its rule the docstring."""
    rule = (check.__doc__ or "").strip().partition("\n")[0]
    if not rule:
        raise ConfigError("bad_tool", f"precondition {check.__name__} needs a docstring: the rule it states")
    return Precondition(check.__name__, rule, check)


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """One tool of one server.

    Attributes:
        name: unique over all servers, `verb_object`.
        description: what the agent reads; business rules, no names of preconditions.
        input_model: validates the arguments strictly.
        output_model: validates and orders the result.
        server: name of its server; filled in by it.
        references: argument name -> entity its value identifies; filled in by the server.
    """

    name: str
    description: str
    effect: Effect
    kind: Kind
    input_model: type[Args]
    output_model: type[BaseModel]
    handler: Handler
    requires: tuple[Precondition, ...] = ()
    server: str = ""
    references: Mapping[str, str] = field(default_factory=dict)
    sensitive: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if len(self.name) > 64 or not _NAME.fullmatch(self.name) or self.name in RESERVED:
            raise ConfigError(
                "bad_tool", f"tool name {self.name!r}: use at most 64 of [a-z0-9_], and none of {sorted(RESERVED)}"
            )
        if not self.description:
            raise ConfigError("bad_tool", f"tool {self.name} needs a docstring: what the agent reads")
        if self.kind == "verb" and (not self.requires or self.effect is not Effect.WRITE):
            raise ConfigError("bad_tool", f"verb {self.name} needs a precondition and the effect WRITE")
        if self.kind == "query" and (self.requires or self.effect is not Effect.READ):
            raise ConfigError("bad_tool", f"query {self.name} must be a READ without preconditions")

    def validate(self, arguments: dict[str, Any]) -> Args | Fault:
        """The arguments as the handler gets them, or what is wrong with them."""
        try:
            return self.input_model.model_validate(arguments)
        except ValidationError as error:
            return explain(error, self.sensitive)

    def input_schema(self, *, private: bool = False) -> dict[str, Any]:
        """JSON Schema of the arguments; with `private` the annotations no agent may see stay in."""
        schema = _tidy(self.input_model.model_json_schema(), private, without_null=True)
        schema.pop("description", None)  # of the arguments' class, which is written for who reads the code
        if private:
            for name, entity in self.references.items():
                schema["properties"][name].setdefault(PRIVATE, {})["ref"] = entity
        return schema

    def output_schema(self) -> dict[str, Any]:
        """JSON Schema of the result."""
        schema = _tidy(self.output_model.model_json_schema(mode="serialization"), private=False, without_null=False)
        schema.pop("description", None)
        return schema

    def of_server(self, server: str, references: Mapping[str, str]) -> ToolSpec:
        """The same tool as part of a server."""
        # Read off the schema, which finds marks inside `T | None` too.
        properties = self.input_schema(private=True).get("properties", {})
        marks: dict[str, dict[str, Any]] = {name: found.get(PRIVATE, {}) for name, found in properties.items()}
        own = {name: mark.get("ref") or references.get(name) for name, mark in marks.items()}
        return replace(
            self,
            server=server,
            references={name: entity for name, entity in own.items() if entity is not None},
            sensitive=frozenset(name for name, mark in marks.items() if mark.get("sensitive")),
        )


def verb(
    *, requires: Iterable[Precondition], returns: type[BaseModel], name: str | None = None
) -> Callable[[Handler], ToolSpec]:
    """Declare a domain verb: a WRITE with at least one precondition. Its docstring is what the agent reads."""
    conditions = tuple(requires)
    return lambda handler: _declare(handler, Effect.WRITE, "verb", conditions, returns, name)


def query(*, returns: type[BaseModel], name: str | None = None) -> Callable[[Handler], ToolSpec]:
    """Declare a hand-written READ without preconditions. Its docstring is what the agent reads."""
    return lambda handler: _declare(handler, Effect.READ, "query", (), returns, name)


def _declare(
    handler: Handler, effect: Effect, kind: Kind, requires: tuple[Precondition, ...], returns: type[BaseModel],
    name: str | None,
) -> ToolSpec:  # fmt: skip
    takes = get_type_hints(handler).get("args")
    if not isinstance(takes, type) or not issubclass(takes, Args):
        raise ConfigError("bad_tool", f"{handler.__name__}: annotate its parameter `args` with a subclass of Args")
    text = " ".join((handler.__doc__ or "").split())
    return ToolSpec(name or handler.__name__, text, effect, kind, takes, returns, handler, requires)


def view(model: Model) -> type[BaseModel]:
    """The result type of one row of a model: every column, in declared order."""
    fields: dict[str, Any] = {name: (result_type(info), ...) for name, info in TableStatements(model).infos.items()}
    return create_model(f"{model.__name__}View", __base__=Output, **fields)


def page_of(item: type[BaseModel], name: str = "") -> type[BaseModel]:
    """The result type of a list: `items`, and `next_cursor` if there is more."""
    fields: dict[str, Any] = {"items": (list[item], ...), "next_cursor": (str | None, None)}  # type: ignore[valid-type]
    return create_model(name or f"{item.__name__}Page", __base__=Output, **fields)


def _tidy(schema: dict[str, Any], private: bool, without_null: bool) -> dict[str, Any]:
    """A schema with its definitions inlined and without what says nothing to an agent: titles and our marks.

    In arguments a key that may be left out is `T | None` to Python, but null itself is refused, so it is not shown.
    """
    definitions = schema.pop("$defs", {})

    def tidy(node: Any) -> Any:
        if isinstance(node, list):
            return [tidy(member) for member in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return tidy(definitions[node["$ref"].rpartition("/")[2]])
        if without_null and _NULL in node.get("anyOf", ()):
            (kept,) = (member for member in node["anyOf"] if member != _NULL)
            return tidy({**{k: v for k, v in node.items() if k not in ("anyOf", "default")}, **kept})
        return {
            key: {name: tidy(member) for name, member in value.items()} if key == "properties" else tidy(value)
            for key, value in node.items()
            if key != "title" and (private or key != PRIVATE)
        }

    tidied: dict[str, Any] = tidy(schema)
    return tidied


__all__ = [
    "Effect",
    "NoArgs",
    "Output",
    "Precondition",
    "Row",
    "ToolSpec",
    "page_of",
    "precondition",
    "query",
    "verb",
    "view",
]
