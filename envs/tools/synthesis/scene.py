"""The scene: a conversation while it is being acted out on the live server, and what has been shown in it so far.

A key is never said as such if it can be helped: by a pronoun if the call before was about nothing else, by a name the
row has (which costs a look-up if no result has shown it yet), by its place in a list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from palaestra.envs.tools.synthesis.bindings import pick
from palaestra.envs.tools.synthesis.phrases import Phrases, phrases_of
from palaestra.envs.tools.synthesis.pools import Arguments, Field
from palaestra.envs.tools.synthesis.sampling import Call
from palaestra.envs.tools.synthesis.slots import Slot, fields_of, slots_of
from palaestra.envs.tools.synthesis.speaking import noun, say
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.spec import Effect, ToolSpec

NAME_RATE: Final = 0.7
"""How often a row nobody has shown yet is named rather than numbered, where it has a name."""
_ORDINALS: Final = ("first", "second", "third", "fourth")
_PLAIN_NAMES: Final = frozenset({"name", "handle", "code", "symbol", "number", "month", "email", "login"})


@dataclass(frozen=True, slots=True)
class Made:
    """A gold call that was made: its turn, its result, and whether it only looks up what the user named."""

    turn: int
    tool: str
    arguments: Arguments
    value: dict[str, Any]
    lookup: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """Where a row was shown: by which call, at which place of a list, alone or among others."""

    call: int
    row: dict[str, Any]
    place: int
    alone: bool


@dataclass(frozen=True, slots=True)
class Spoken:
    """A call as the user asks for it: argument -> what is said, and the arguments a pronoun may stand for."""

    tool: str
    said: dict[str, str]
    pronouns: frozenset[str]


@dataclass(slots=True)
class Scene:
    """One conversation in one world.

    Attributes:
        turn: the one being acted out.
        made: the gold calls so far.
    """

    world: Field
    rng: np.random.Generator
    turn: int = 0
    made: list[Made] = field(default_factory=list)
    names: dict[tuple[str, str], Counter[Any]] = field(default_factory=dict)

    @property
    def phrases(self) -> Phrases:
        """What the users of the server say."""
        return phrases_of(self.world.server.name)

    def perform(self, call: Call, *, lookup: bool = False) -> bool:
        """Make a gold call; False if it fails."""
        value = dispatch(self.world.episode, *call).value
        if value is not None:
            self.made.append(Made(self.turn, call[0], call[1], value, lookup))
        return value is not None

    def speak(self, call: Call, *, look: bool = True) -> Spoken:
        """How the user says a call, after looking up what has to be; the call itself is still to be made.

        Without `look`, rows are named although nothing showed them: for requests that will not be served.
        """
        spec = self.world.server.tools[call[0]]
        said, pronouns = {}, set()
        for slot in slots_of(spec):
            if slot.name in call[1]:
                said[slot.name], bends = self._mention(slot, call[1][slot.name], look)
                if bends:
                    pronouns.add(slot.name)
        return Spoken(call[0], said, frozenset(pronouns))

    def _mention(self, slot: Slot, value: Any, look: bool) -> tuple[str, bool]:
        kind = self.phrases.slots.get(slot.name, _kind(slot))
        if slot.entity is None:
            return say(_kind(slot) if ":" in kind else kind, value, self.rng), self._was_result(value)
        shown = self.find(slot.entity, value)
        name = self._name(slot.entity, value, kind, shown)
        if shown is None:
            if name is None or self.rng.random() >= NAME_RATE:
                return value, False
            return (name if not look or self.look_up(slot.entity, value) else value), False
        latest = shown.call == len(self.made) - 1
        if latest and shown.alone:
            return name or f"that {noun(slot.entity)}", bool(shown.row)
        if latest and name is None and shown.row and shown.place < len(_ORDINALS):
            return f"the {_ORDINALS[shown.place]} {noun(slot.entity)}", False
        return name or value, False

    def _was_result(self, value: Any) -> bool:
        """Whether a plain value is one the last call gave back, so that it can be pointed at."""
        return bool(self.made) and isinstance(value, str) and value in self.made[-1].value.values()

    def _name(self, entity: str, key: str, kind: str, shown: Shown | None) -> str | None:
        """What the row is called, if nothing else is called that."""
        table, _, column = kind.partition(":")
        if not column:
            return None
        row = self.world.context.rows.get(entity, {}).get(key, {}) if shown is None else shown.row
        name = row.get(column)
        if not isinstance(name, str) or not name.strip() or self._bearers(table, column)[name] != 1:
            return None
        return name if column in _PLAIN_NAMES or " " not in name else f"“{name}”"

    def _bearers(self, table: str, column: str) -> Counter[Any]:
        if (table, column) not in self.names:
            rows = self.world.context.rows.get(table, {}).values()
            counts = Counter(row.get(column) for row in rows)
            for model, statements in self.world.server.schema.by_model.items():
                if statements.entity == table and column in statements.columns:
                    every = self.world.episode.state(self.world.server.name).database.every(model)
                    counts = Counter(row[column] for row in every)
            self.names[table, column] = counts
        return self.names[table, column]

    def has_shown(self, value: Any) -> bool:
        """Whether a result of this conversation holds the value."""
        return any(shows(made.value, value) for made in self.made)

    def look_into(self, entity: str | None, value: str) -> bool:
        """Make a READ that asks for nothing and shows a thing, a row as its own; False if there is none."""
        calls = list(self.world.context.listed.get(value, ()))
        calls = [calls[i] for i in self.rng.permutation(len(calls)).tolist()]
        tools = self.world.server.tools
        for call in sorted(calls, key=lambda call: tools[call[0]].kind != "generated"):  # plain lists first
            if self.perform(call, lookup=True):
                shown = None if entity is None else self.find(entity, value)
                if shows(self.made[-1].value, value) if entity is None else shown is not None and shown.row:
                    return True
                self.made.pop()
        return False

    def look_up(self, entity: str, key: str) -> bool:
        """Make a READ that shows the row under its name, without knowing its key; False if there is none."""
        column = next(
            (kind.partition(":")[2] for kind in self.phrases.slots.values() if kind.startswith(f"{entity}:")), ""
        )
        name = self.world.context.rows.get(entity, {}).get(key, {}).get(column)
        calls = [call for call in self.world.context.shown_by.get((entity, key), ()) if not call[1]]
        searches: list[Call] = [(spec.name, {"text": name}) for spec in self._searches()] if name else []
        for call in [*searches, *calls] if self.rng.random() < 0.5 else [*calls, *searches]:
            if self.perform(call, lookup=True):
                shown = self.find(entity, key)
                if (
                    shown is not None
                    and shown.call == len(self.made) - 1
                    and shown.row
                    and shown.row.get(column) == name
                ):
                    return True
                self.made.pop()
        return False

    def _searches(self) -> Iterator[ToolSpec]:
        for spec in self.world.server.tools.values():
            if spec.effect is Effect.READ and [s.name for s in slots_of(spec) if s.required] == ["text"]:
                yield spec

    def find(self, entity: str, key: str) -> Shown | None:
        """Where the row was last shown by a result of this conversation; one that shows its own columns if any does."""
        fields, keys = fields_of(self.world.server), self.world.server.schema.keys()
        best: Shown | None = None
        for index in range(len(self.made) - 1, -1, -1):
            for row, place, count in _rows(self.made[index].value):
                main = next((name for name in row if name in keys), "")
                for name, value in row.items():
                    if value == key and fields.get(name) == entity:
                        own = name == main and keys[name] == entity
                        shown = Shown(index, row if own else {}, place, count == 1)
                        if own:
                            return shown
                        best = best or shown
        return best

    def choose(self, options: Any) -> Any:
        """One of several, drawn."""
        return pick(options, self.rng)


def shows(result: Any, value: Any) -> bool:
    """Whether a result holds the value, at any depth."""
    if isinstance(result, dict):
        return any(shows(member, value) for member in result.values())
    if isinstance(result, list):
        return any(shows(member, value) for member in result) or result == value
    return type(result) is type(value) and bool(result == value)


def _rows(value: Any, place: int = 0, count: int = 1) -> Iterator[tuple[dict[str, Any], int, int]]:
    """Every object in a result, with its place in the list it stands in and the list's length."""
    if isinstance(value, dict):
        yield value, place, count
        for member in value.values():
            yield from _rows(member, place, count)
    elif isinstance(value, list):
        for at, member in enumerate(value):
            if isinstance(member, dict):
                yield from _rows(member, at, max(count, len(value)))


def _kind(slot: Slot) -> str:
    """How an argument is said if its server's phrases do not say."""
    if slot.kind in ("instant", "day", "list"):
        return slot.kind
    return "money" if slot.unit == "minor units" else "raw"
