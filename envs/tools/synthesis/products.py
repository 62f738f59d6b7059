"""Products: what a result gives that was not put in, and values nobody gave, to compare with."""

from __future__ import annotations

from typing import Any

from palaestra.envs.tools.synthesis.slots import Slot, fields_of
from palaestra.mcp_servers.framework.server import ToolServer


def produced(server: ToolServer, result: Any, given: dict[str, Any]) -> dict[str, list[Any]]:
    """Table, or field -> values of a result that were not among the arguments it was asked with."""
    fields = fields_of(server)
    passed: set[Any] = {value for value in given.values() if isinstance(value, str | int)}
    found: dict[str, dict[Any, None]] = {}

    def walk(node: Any) -> None:
        if isinstance(node, list):
            for member in node:
                walk(member)
        elif isinstance(node, dict):
            for name, value in node.items():
                if isinstance(value, list | dict):
                    walk(value)
                    plain = [v for v in value if isinstance(v, str)] if isinstance(value, list) else []
                    found.setdefault(str(name), {}).update(dict.fromkeys(plain))
                elif isinstance(value, str) and value and value not in passed:
                    found.setdefault(fields.get(str(name), str(name)), {})[value] = None
                elif type(value) is int and value not in passed:
                    found.setdefault(str(name), {})[value] = None

    walk(result)
    return {name: list(values)[-8:] for name, values in found.items()}


def made_up(slot: Slot, server: ToolServer) -> Any:
    """A value of the slot's type that nobody gave: the control of an explicit edge."""
    match slot.kind:
        case "key":
            return f"{server.schema.by_name[slot.entity].prefix}_1" if slot.entity else "x_1"
        case "integer":
            return slot.minimum + 3 * slot.step
        case "instant":
            return "2026-03-09T10:17:00Z"
        case "day":
            return "2026-03-09"
        case "choice":
            return slot.options[-1]
        case "flag":
            return True
        case "list":
            return []
        case _:
            return "nothing of this name"
