"""BFCL's tasks as a cheat sees them.

BFCL declares neither what a tool does nor which rows its arguments name: what a tool does is found out by calling it,
and what takes a call back is written down here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, cast

from palaestra.envs.tools.bfcl.env import BfclConfig, BfclConversation
from palaestra.envs.tools.bfcl.records import BfclItem
from palaestra.envs.tools.bfcl.session import BfclSession
from palaestra.envs.tools.bfcl.tools import BfclTool
from palaestra.envs.tools.calls import AskedCall
from palaestra.envs.tools.conversation import Conversation, Shelf
from palaestra.envs.tools.worlds import Session
from palaestra.mcp_servers.framework.spec import Effect
from palaestra.rewards.probe_scene import Scene, Tool, after_gold, changed, fill

_CONFIG: Final = BfclConfig()
_NAMING: Final = ("_id", "_token")
"""How parameters end whose values name something."""
_Given = Mapping[str, Any]
_UNDO: Final[Mapping[str, tuple[str, Callable[[_Given], dict[str, Any]]]]] = {
    "activateParkingBrake": ("activateParkingBrake", lambda g: {"mode": _other(g["mode"], "engage", "release")}),
    "add_to_watchlist": ("remove_stock_from_watchlist", lambda g: {"symbol": g["stock"]}),
    "book_flight": ("cancel_booking", lambda g: {name: g[name] for name in ("access_token", "booking_id")}),
    "close_ticket": ("edit_ticket", lambda g: {"ticket_id": g["ticket_id"], "updates": {"status": "Open"}}),
    "cp": ("rm", lambda g: {"file_name": g["destination"]}),
    "create_ticket": ("close_ticket", lambda g: {"ticket_id": g["id"]}),
    "follow_user": ("unfollow_user", lambda g: {"username_to_unfollow": g["username_to_follow"]}),
    "fund_account": ("withdraw_funds", lambda g: {"amount": g["amount"]}),
    "lockDoors": ("lockDoors", lambda g: {"unlock": not g["unlock"], "door": g["door"]}),
    "mkdir": ("rmdir", lambda g: {"dir_name": g["dir_name"]}),
    "mv": ("mv", lambda g: {"source": g["destination"], "destination": g["source"]}),
    "place_order": ("cancel_order", lambda g: {"order_id": g["order_id"]}),
    "pressBrakePedal": ("releaseBrakePedal", lambda g: {}),
    "remove_stock_from_watchlist": ("add_to_watchlist", lambda g: {"stock": g["symbol"]}),
    "resolve_ticket": ("edit_ticket", lambda g: {"ticket_id": g["ticket_id"], "updates": {"status": "Open"}}),
    "send_message": ("delete_message", lambda g: {"receiver_id": g["receiver_id"]}),
    "setHeadlights": ("setHeadlights", lambda g: {"mode": _other(g["mode"], "on", "off")}),
    "startEngine": ("startEngine", lambda g: {"ignitionMode": _other(g["ignitionMode"], "START", "STOP")}),
    "ticket_login": ("logout", lambda g: {}),
    "touch": ("rm", lambda g: {"file_name": g["file_name"]}),
    "trading_login": ("trading_logout", lambda g: {}),
    "unfollow_user": ("follow_user", lambda g: {"username_to_follow": g["username_to_unfollow"]}),
    "withdraw_funds": ("fund_account", lambda g: {"amount": g["amount"]}),
}
"""Tool -> the one that takes it back, and with which of the values given and returned."""


def _other(value: Any, one: str, two: str) -> str:
    return two if value == one else one


@dataclass(frozen=True)
class BfclScene(Scene):
    """A task of BFCL; the cheat knows the initial state as well."""

    item: BfclItem

    @classmethod
    def of(cls, item: BfclItem) -> BfclScene:
        """The scene of a task."""
        return cls(item.record, item)

    @property
    def call_limit(self) -> int:
        """As in `Scene`; BFCL's conversations are longer."""
        return _CONFIG.max_calls - 1

    def open(self) -> Session:
        """A fresh episode."""
        return BfclSession(self.item.task)

    def converse(self, session: Session) -> Conversation:
        """As in `Scene`."""
        return BfclConversation(self.item, _CONFIG, cast(BfclSession, session))

    @cached_property
    def shelf(self) -> Shelf:
        """As in `Scene`."""
        return self.item.shelf

    @cached_property
    def tools(self) -> Mapping[str, Tool]:
        """As in `Scene`; the effect is what a call with some values had after the gold calls, None if it failed."""
        shown = cast(list[BfclTool], self.shelf.visible(len(self.record.turns) - 1))
        found = {tool.name: Tool(tool.name, None, tool.schema, _named(tool.schema)) for tool in shown}
        calls = [
            (name, arguments) for name, tool in found.items() if (arguments := fill(tool, self.keys, {})) is not None
        ]
        for name, effect in self._effects(calls):
            found[name] = replace(found[name], effect=effect)
        return found

    def _effects(self, calls: list[tuple[str, dict[str, Any]]]) -> Iterator[tuple[str, Effect | None]]:
        """What each call does in the world the gold calls leave, which is made anew after every change."""
        left = calls[::-1]
        while left:
            with after_gold(self) as (session, _):
                touched = False
                while left and not touched:
                    name, arguments = left.pop()
                    result = session.call(name, arguments)
                    touched = result.digest_before != result.digest_after
                    works = Effect.WRITE if touched else Effect.READ
                    yield name, works if result.fault is None else None

    @cached_property
    def writes(self) -> list[tuple[int, int]]:
        """As in `Scene`: the gold calls that changed something when they were made."""
        session = self.open()
        try:
            return [
                (t, n)
                for t, turn in enumerate(self.gold)
                for n, call in enumerate(turn)
                if changed(session.call(call.tool, call.arguments or {}))
            ]
        finally:
            session.close()

    @cached_property
    def _learnt(self) -> tuple[list[list[dict[str, Any]]], Mapping[str, tuple[Any, ...]]]:
        """As in `Scene`: a value stands for what the parameter of its name, or any if it is called `id`, names."""
        with after_gold(self) as (_, results):
            seen: list[tuple[str, Any]] = [*_leaves(self.item.task.config), *_leaves(results)]
            seen += [pair for turn in self.gold for call in turn for pair in _leaves(call.arguments)]
        named = {name: schema for tool in self.item.task.tools.values() for name, schema in _parameters(tool.schema)}
        keys = {
            name: tuple({value: None for key, value in seen if key in (name, "id") and _is_a(value, schema)})
            for name, schema in named.items()
        }
        return results, keys

    def undoing(self, turn: int, at: int) -> Iterator[AskedCall]:
        """As in `Scene`, by the list above."""
        done = self.gold[turn][at]
        tool, arguments = _UNDO.get(done.tool, ("", dict))
        if tool in self.tools:
            yield AskedCall(tool, arguments({**self.results[turn][at], **(done.arguments or {})}))


def _parameters(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((name, member) for name, member in schema.get("properties", {}).items() if name.endswith(_NAMING))


def _named(schema: Mapping[str, Any]) -> dict[str, str]:
    return {name: name for name, _ in _parameters(schema)}


def _is_a(value: Any, schema: Mapping[str, Any]) -> bool:
    return isinstance(value, int if schema.get("type") == "integer" else str)


def _leaves(value: Any) -> Iterator[tuple[str, Any]]:
    """Every text and integer in a JSON value that stands under a name, with it."""
    if isinstance(value, list):
        for member in value:
            yield from _leaves(member)
    elif isinstance(value, dict):
        for name, member in value.items():
            if isinstance(member, str | int) and not isinstance(member, bool):
                yield name, member
            else:
                yield from _leaves(member)
