"""What a cheat can find out about a task: the gold calls and their results, the rows it can see, what succeeds there.

Everything is learnt by really playing the gold calls in the record's world and trying further calls after them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from palaestra.envs.tools.calls import AskedCall
from palaestra.envs.tools.conversation import Shelf
from palaestra.envs.tools.records import TaskRecord
from palaestra.envs.tools.worlds import Session, open_session
from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.framework.faults import ToolResult
from palaestra.mcp_servers.framework.spec import Effect, ToolSpec
from palaestra.rewards.replay import Move

Plan = list[list[Move]]
"""Moves per user turn."""
TRIES: Final = 40
"""Candidates tried in a world before a cheat gives up."""


@dataclass(frozen=True)
class Scene:
    """A task as a cheat sees it who knows the gold calls."""

    record: TaskRecord

    @cached_property
    def gold(self) -> list[list[AskedCall]]:
        """The gold calls per turn."""
        return [[AskedCall(call.tool, dict(call.arguments)) for call in turn.gold] for turn in self.record.turns]

    @cached_property
    def shelf(self) -> Shelf:
        """The tools as they are shown turn by turn."""
        return Shelf(self.record)

    @cached_property
    def specs(self) -> Mapping[str, ToolSpec]:
        """The tools shown in the last turn, by name."""
        return {spec.name: spec for spec in self.shelf.visible(len(self.record.turns) - 1)}

    @cached_property
    def names(self) -> frozenset[str]:
        """The tools of the gold calls."""
        return frozenset(call.tool for turn in self.gold for call in turn)

    @cached_property
    def writes(self) -> list[tuple[int, int]]:
        """(turn, position) of every gold call that is a WRITE."""
        return [
            (t, n)
            for t, turn in enumerate(self.gold)
            for n, call in enumerate(turn)
            if call.tool in self.specs and self.specs[call.tool].effect is Effect.WRITE
        ]

    @cached_property
    def results(self) -> list[list[dict[str, Any]]]:
        """What each gold call returned; empty for one that is refused."""
        return self._learnt[0]

    @cached_property
    def keys(self) -> Mapping[str, tuple[str, ...]]:
        """Table -> the keys of its rows that a READ without required arguments shows."""
        return self._learnt[1]

    @cached_property
    def _learnt(self) -> tuple[list[list[dict[str, Any]]], Mapping[str, tuple[str, ...]]]:
        with after_gold(self) as (session, results):
            named = {key: table for name in self.record.env.servers for key, table in _keys_of(name).items()}
            found: dict[str, dict[str, None]] = {}
            for spec in self.specs.values():
                if spec.effect is Effect.READ and not spec.input_schema().get("required"):
                    _collect(session.call(spec.name, {}).value, named, found)
            for value in (value for turn in results for value in turn):
                _collect(value, named, found)
        return results, {table: tuple(keys) for table, keys in found.items()}

    @cached_property
    def reads(self) -> list[AskedCall]:
        """READs that succeed after the gold calls, one of each tool."""
        found = []
        with after_gold(self) as (session, _):
            for spec in self.specs.values():
                arguments = fill(spec, self.keys, {}) if spec.effect is Effect.READ else None
                if arguments is not None and session.call(spec.name, arguments).fault is None:
                    found.append(AskedCall(spec.name, arguments))
        return found

    def first_that(self, candidates: Iterable[AskedCall], accept: Callable[[ToolResult], bool]) -> AskedCall | None:
        """The first candidate whose result after the gold calls is accepted; at most `TRIES` are tried."""
        with after_gold(self) as (session, _):
            for tried, call in enumerate(candidates):
                if tried == TRIES:
                    break
                if accept(session.call(call.tool, call.arguments or {})):
                    return call
        return None


@contextmanager
def after_gold(scene: Scene) -> Iterator[tuple[Session, list[list[dict[str, Any]]]]]:
    """The world once every gold call was made, and what each returned."""
    session = open_session(scene.record)
    try:
        results: list[list[dict[str, Any]]] = []
        for number, turn in enumerate(scene.gold):
            session.begin_turn(number, [spec.name for spec in scene.shelf.visible(number)])
            results.append([session.call(call.tool, call.arguments or {}).value or {} for call in turn])
        yield session, results
    finally:
        session.close()


def _keys_of(server: str) -> dict[str, str]:
    return load_server(server).schema.keys()


def _collect(value: Any, named: Mapping[str, str], found: dict[str, dict[str, None]]) -> None:
    if isinstance(value, list):
        for member in value:
            _collect(member, named, found)
    elif isinstance(value, dict):
        for name, member in value.items():
            if name in named and isinstance(member, str):
                found.setdefault(named[name], {})[member] = None
            else:
                _collect(member, named, found)


def changed(result: ToolResult) -> bool:
    """Whether a call changed what the goal is judged by."""
    return result.fault is None and result.digest_before != result.digest_after


def fill(spec: ToolSpec, keys: Mapping[str, tuple[str, ...]], given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Arguments for every required parameter: what is given by name, a row's key, or a value of the right form."""
    schema = spec.input_schema()
    arguments: dict[str, Any] = {}
    for name in schema.get("required", ()):
        entity = spec.references.get(name)
        if name in given:
            arguments[name] = given[name]
        elif entity is not None:
            if not keys.get(entity):
                return None
            arguments[name] = keys[entity][0]
        else:
            arguments[name] = _some_value(schema["properties"][name])
    return arguments


def _some_value(schema: Mapping[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    if "examples" in schema:
        return schema["examples"][0]
    match schema.get("type"):
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "array":
            return [_some_value(schema.get("items", {}))]
        case "object":
            properties = schema.get("properties", {})
            return {name: _some_value(properties[name]) for name in schema.get("required", ())}
        case _:
            return "2026-03-09" if schema.get("format") == "date" else "a note"
