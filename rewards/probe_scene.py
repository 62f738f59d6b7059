"""What a cheat can find out about a task: the gold calls and their results, the rows it can see, what succeeds there.

Everything is learnt by really playing the gold calls in the record's world and trying further calls after them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Final

from palaestra.envs.tools.calls import AskedCall
from palaestra.envs.tools.config import ToolConfig
from palaestra.envs.tools.conversation import Conversation, Shelf
from palaestra.envs.tools.evidence import StepEvidence
from palaestra.envs.tools.records import TaskRecord
from palaestra.envs.tools.worlds import Session, open_session
from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.framework.faults import ToolResult
from palaestra.mcp_servers.framework.spec import Effect
from palaestra.rewards.replay import Move, carry_out

Plan = list[list[Move]]
"""Moves per user turn."""
TRIES: Final = 40
"""Candidates tried in a world before a cheat gives up."""
_CONFIG: Final = ToolConfig()
_UNDO: Final = (
    "cancel", "close", "delete", "disable", "disconnect", "lock", "pause", "reject", "release", "remove", "reopen",
    "restore", "resume", "return", "revoke", "stop", "turn", "unarchive", "unassign", "unblock", "unfollow", "unfreeze",
    "unlike", "unlock", "unmute", "unpin", "unstar", "withdraw",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as a cheat knows it.

    Attributes:
        effect: declared or found out; None if it is not known.
        references: parameter -> table of the rows it names.
        generated: whether it writes rows as it is told, and does nothing else.
    """

    name: str
    effect: Effect | None
    schema: Mapping[str, Any]
    references: Mapping[str, str] = field(default_factory=dict)
    generated: bool = False

    @property
    def required(self) -> tuple[str, ...]:
        """Parameters that must be given."""
        return tuple(self.schema.get("required", ()))


@cache
def _tool(server: str, name: str) -> Tool:
    spec = load_server(server).tools[name]
    return Tool(name, spec.effect, spec.input_schema(), spec.references, spec.kind == "generated")


@dataclass(frozen=True)
class Scene:
    """A task as a cheat sees it who knows the gold calls."""

    record: TaskRecord

    @property
    def call_limit(self) -> int:
        """One call less than an episode takes, so that its turns can still be ended."""
        return _CONFIG.max_calls - 1

    def open(self) -> Session:
        """A fresh episode. Raises: as `open_session`."""
        return open_session(self.record)

    def converse(self, session: Session) -> Conversation:
        """The task, to be played over an episode."""
        return Conversation(self.record, _CONFIG, session, self.shelf)

    def perform(self, plan: Plan) -> tuple[StepEvidence, ...]:
        """What these moves come to in a fresh episode."""
        session = self.open()
        try:
            return carry_out(plan, self.converse(session))
        finally:
            session.close()

    @cached_property
    def gold(self) -> list[list[AskedCall]]:
        """The gold calls per turn."""
        return [[AskedCall(call.tool, dict(call.arguments)) for call in turn.gold] for turn in self.record.turns]

    @cached_property
    def shelf(self) -> Shelf:
        """The tools as they are shown turn by turn."""
        return Shelf(self.record)

    @cached_property
    def tools(self) -> Mapping[str, Tool]:
        """The tools shown in the last turn, by name."""
        return {spec.name: _tool(spec.server, spec.name) for spec in self.shelf.visible(len(self.record.turns) - 1)}

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
            if call.tool in self.tools and self.tools[call.tool].effect is Effect.WRITE
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
            for tool in self.tools.values():
                if tool.effect is Effect.READ and not tool.required:
                    _collect(session.call(tool.name, {}).value, named, found)
            for value in (value for turn in results for value in turn):
                _collect(value, named, found)
        return results, {table: tuple(keys) for table, keys in found.items()}

    @cached_property
    def reads(self) -> list[AskedCall]:
        """READs that succeed after the gold calls, one of each tool."""
        found = []
        with after_gold(self) as (session, _):
            for tool in self.tools.values():
                arguments = fill(tool, self.keys, {}) if tool.effect is Effect.READ else None
                if arguments is not None and session.call(tool.name, arguments).fault is None:
                    found.append(AskedCall(tool.name, arguments))
        return found

    def undoing(self, turn: int, at: int) -> Iterator[AskedCall]:
        """Calls that might take back a gold call: of tools that undo, on the rows it named or returned."""
        done, result = self.gold[turn][at], self.results[turn][at]
        shown = {name: value for name, value in result.items() if not isinstance(value, dict | list)}
        given = {**shown, **(done.arguments or {})}
        for tool in self.tools.values():
            undoes = tool.effect is Effect.WRITE and tool.name.partition("_")[0] in _UNDO
            if undoes and tool.references.keys() & given.keys():
                arguments = fill(tool, self.keys, given)
                if arguments is not None:
                    yield AskedCall(tool.name, arguments)

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
    session = scene.open()
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


def fill(tool: Tool, keys: Mapping[str, tuple[Any, ...]], given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Arguments for every required parameter: what is given by name, a row's key, or a value of the right form."""
    arguments: dict[str, Any] = {}
    for name in tool.required:
        entity = tool.references.get(name)
        if name in given:
            arguments[name] = given[name]
        elif entity is not None:
            if not keys.get(entity):
                return None
            arguments[name] = keys[entity][0]
        else:
            arguments[name] = _some_value(tool.schema["properties"][name])
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
