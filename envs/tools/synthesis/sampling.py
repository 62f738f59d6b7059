"""Live-state sampling: what the READ tools of a server show of its world, and which call shows it.

Tasks name only what is found here, and what a user knows by heart: a passphrase, the code on a device's label.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from palaestra.envs.tools.synthesis.slots import Slot, fields_of, slots_of, units_of
from palaestra.envs.tools.synthesis.vocabulary import NAMES, named_by, offered, seen_as
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode
from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.mcp_servers.framework.spec import Effect, ToolSpec

PAGE: Final = 100
PER_TOOL: Final = 16
"""Calls of one READ tool in one round of the crawl."""
ROUNDS: Final = 3
_LETTERS: Final = ["a", "e", "i", "o"]
_WORD: Final = re.compile(r"[^\W\d_]{4,}")
_WORDS_PER_ROW: Final = 4
_MOST_VALUES: Final = 400

Call = tuple[str, dict[str, Any]]


@dataclass(slots=True)
class Context:
    """What is known of one server's world.

    Attributes:
        rows: table -> key -> what READs showed of that row.
        shown_by: (table, key) -> the calls that showed the row itself.
        values: field -> the plain values it was seen to hold.
        near: key -> keys seen in the same row, or above or below it.
        secrets: column -> values only the user knows; `secret_of` narrows them by a key.
        listed: text -> the calls that show it without being asked for anything.
        calls: every READ made, with its result.
    """

    server: ToolServer
    seed: int
    now: int
    rows: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    shown_by: dict[tuple[str, str], list[Call]] = field(default_factory=dict)
    values: dict[str, dict[Any, None]] = field(default_factory=dict)
    near: dict[str, dict[str, None]] = field(default_factory=dict)
    secret_of: dict[str, list[str]] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    calls: list[tuple[Call, dict[str, Any]]] = field(default_factory=list)
    listed: dict[str, list[Call]] = field(default_factory=dict)
    _groups: dict[str, tuple[int, list[list[str]]]] = field(default_factory=dict)

    @property
    def units(self) -> Mapping[str, str]:
        """Column -> what it counts; empty for a plain number."""
        return units_of(self.server)

    def keys(self, entity: str) -> list[str]:
        """Known keys of a table, in the order they were seen."""
        return list(self.rows.get(entity, ()))

    def entity_of(self, key: str) -> str | None:
        """The table a key is known to be of."""
        return next((entity for entity, rows in self.rows.items() if key in rows), None)

    def groups(self, entity: str) -> list[list[str]]:
        """The known keys of a table by their rows' choices and flags (kind, status): so that the rare is found too."""
        table = self.server.schema.by_name.get(entity)
        telling = [n for n, info in table.infos.items() if info.kind in ("choice", "flag")] if table else []
        rows = self.rows[entity]
        known = self._groups.get(entity)
        if known is None or known[0] != len(rows):
            found: dict[tuple[Any, ...], list[str]] = {}
            for key, row in rows.items():
                found.setdefault(tuple(row.get(name) for name in telling), []).append(key)
            known = self._groups[entity] = (len(rows), list(found.values()))
        return known[1]

    def learn(self, value: Any, call: Call | None = None, above: str | None = None) -> None:
        """Take in a result: rows, plain values, and what stands near what. Linear in the result."""
        if isinstance(value, list):
            for member in value:
                self.learn(member, call, above)
        elif isinstance(value, dict):
            self._learn_row(value, call, above)

    def learn_words(self, tool: str, value: Mapping[str, Any]) -> None:
        """Note what a list's rows are called: words its tool can be asked for."""
        for row in value.get("items", ()):
            for name in (*NAMES, "text") if isinstance(row, dict) else ():
                for word in _WORD.findall(str(row.get(name, "")))[:_WORDS_PER_ROW]:
                    self.see(f"{tool}.text", word)

    def learn_listed(self, call: Call, value: Any) -> None:
        """Note every text a call shows that asks for nothing."""
        if isinstance(value, dict | list):
            for member in value.values() if isinstance(value, dict) else value:
                self.learn_listed(call, member)
        elif isinstance(value, str):
            known = self.listed.setdefault(value, [])
            if call not in known:
                known.append(call)

    def _learn_row(self, row: Mapping[str, Any], call: Call | None, above: str | None) -> None:
        fields, own = fields_of(self.server), self.server.schema.keys()
        keys = {name: value for name, value in row.items() if name in fields and isinstance(value, str)}
        main = next((value for name, value in keys.items() if name in own), above)
        entity = next((own[name] for name in keys if name in own), None)
        plain = {name: value for name, value in row.items() if isinstance(value, str | int | bool)}
        if entity is not None and main is not None:
            self.rows.setdefault(entity, {}).setdefault(main, {}).update(plain)
            if call is not None:
                shown = self.shown_by.setdefault((entity, main), [])
                if len(shown) < 4 and call not in shown:
                    shown.append(call)
        for name, key in keys.items():
            self.rows.setdefault(fields[name], {}).setdefault(key, {})
            self._link(main, key)
        self._link(main, above)
        for name, value in plain.items():
            self.see(name, value)
        for name, value in named_by(plain):
            self.see(name, value)
        for name, value in row.items():
            if isinstance(value, list):
                for member in value:
                    if isinstance(member, str | int) and member != "":
                        self.see(name, member)
            if isinstance(value, list | dict):
                self.learn(value, call, main)

    def see(self, name: str, value: Any) -> None:
        """Note a plain value of a field."""
        known = self.values.setdefault(name, {})
        if len(known) < _MOST_VALUES:
            known[value] = None

    def _link(self, one: str | None, other: str | None) -> None:
        if one is not None and other is not None and one != other:
            self.near.setdefault(one, {})[other] = None
            self.near.setdefault(other, {})[one] = None

    def copy(self) -> Context:
        """A context of its own that may learn more."""
        return Context(
            self.server, self.seed, self.now,
            {entity: {key: dict(row) for key, row in rows.items()} for entity, rows in self.rows.items()},
            {at: list(calls) for at, calls in self.shown_by.items()},
            {name: dict(values) for name, values in self.values.items()},
            {key: dict(near) for key, near in self.near.items()},
            self.secret_of, self.secrets, self.calls, self.listed,
        )  # fmt: skip


def sample(episode: Episode, server: ToolServer, rng: np.random.Generator) -> Context:
    """Crawl a server through its READ tools, and learn what its user knows by heart. Costs some hundred READs."""
    context = Context(server, episode.seed, episode.reference_time)
    _learn_secrets(context, episode)
    made: set[str] = set()
    for _ in range(ROUNDS):
        for spec in server.tools.values():
            if spec.effect is not Effect.READ:
                continue
            for arguments in _fillings(context, spec, rng):
                call = (spec.name, arguments)
                if repr(call) not in made:
                    made.add(repr(call))
                    value = dispatch(episode, *call).value
                    if value is not None:
                        shown = {name: held for name, held in arguments.items() if name != "limit"}
                        context.calls.append(((spec.name, shown), value))
                        context.learn(value, (spec.name, shown), _subject(spec, arguments))
                        context.learn_words(spec.name, value)
                        if not shown:
                            context.learn_listed((spec.name, shown), value)
    return context


def _subject(spec: ToolSpec, arguments: Mapping[str, Any]) -> str | None:
    """The key a READ was asked about."""
    return next((arguments[name] for name in spec.references if name in arguments), None)


def _fillings(context: Context, spec: ToolSpec, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Some ways to fill the required arguments of a READ from what is known so far."""
    slots = [slot for slot in slots_of(spec) if slot.required]
    paging = (
        {"limit": PAGE}
        if "limit" in spec.input_model.model_fields and "cursor" in spec.input_model.model_fields
        else {}
    )
    if not slots:
        yield dict(paging)
        for slot in slots_of(spec):
            if slot.name in ("path", "delivery_address_id"):
                for value in _choices(context, slot, rng)[:PER_TOOL]:
                    yield {slot.name: value, **paging}
        return
    choices = [_choices(context, slot, rng) for slot in slots]
    if all(choices):
        for at in range(min(PER_TOOL, max(map(len, choices)))):
            yield {slot.name: found[at % len(found)] for slot, found in zip(slots, choices, strict=True)} | paging


def _choices(context: Context, slot: Slot, rng: np.random.Generator) -> list[Any]:
    if slot.entity is not None:
        known = context.keys(slot.entity)
        return [known[i] for i in sorted(rng.permutation(len(known))[:PER_TOOL].tolist())]
    if slot.kind == "choice":
        return list(slot.options)
    found = list(offered(slot, context.values, context.now, rng))
    if slot.name == "text":
        found += _LETTERS  # names nobody has seen yet are found by a letter
    return [found[i] for i in sorted(rng.permutation(len(found))[:PER_TOOL].tolist())]


def _learn_secrets(context: Context, episode: Episode) -> None:
    """What tools ask for and none shows; and the places a traveller knows by name."""
    wanted = {seen_as(slot) for spec in context.server.tools.values() for slot in slots_of(spec) if slot.kind == "text"}
    state = episode.state(context.server.name)
    for model, table in context.server.schema.by_model.items():
        hidden = [name for name, info in table.infos.items() if info.sensitive and info.role.value == "guarded"]
        told = [name for name in table.columns if name == "city" and name in wanted]
        if not hidden and not told:
            continue
        for row in state.database.every(model):
            for name in hidden:
                context.secrets.append(row[name])
                for column in (table.key, *table.references):
                    context.secret_of.setdefault(str(row[column]), []).append(row[name])
            for name in told:
                context.see(name, row[name])
