"""The tools of BFCL's backends: their schemas as JSON Schema, and how a call's arguments meet the Python method."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from palaestra.envs.tools.bfcl.package import backend_class, read_lines, schema_file

BACKENDS: Final = (
    "GorillaFileSystem", "MathAPI", "MessageAPI", "TwitterAPI", "TicketAPI", "TradingBot", "TravelAPI",
    "VehicleControlAPI",
)  # fmt: skip
"""Those of the multi-turn tasks; the package's memory and web search need models and the network."""

_TYPES: Final = {"dict": "object", "float": "number", "tuple": "array", "list": "array", "any": None}
_BOUNDS: Final[Mapping[str, int]] = {"precision": 10_000, "exponent": 10_000}
"""Parameters that decide how long the mathematics of a call takes, and what they may be at most."""


@dataclass(frozen=True, slots=True)
class BfclTool:
    """One tool of one backend; in the places a `ToolSpec` of ours goes, with no declared effect.

    Attributes:
        server: its backend's class.
        schema: of its arguments, as JSON Schema.
        signature: of the Python method.
    """

    name: str
    server: str
    description: str
    schema: Mapping[str, Any]
    signature: inspect.Signature
    effect: None = None

    def problem(self, arguments: Mapping[str, Any]) -> str | None:
        """Why the method cannot take these arguments at all; a wrong type it can, as the official executor does."""
        try:
            self.signature.bind(**arguments)
        except TypeError as error:
            return str(error)
        return None

    def excess(self, arguments: Mapping[str, Any]) -> str | None:
        """Why a call would take too long; only mathematics can."""
        for name, most in _BOUNDS.items():
            value = arguments.get(name)
            if isinstance(value, int | float) and abs(value) > most:
                return f"{name} is beyond {most}"
        return None


@cache
def backend_tools(name: str) -> Mapping[str, BfclTool]:
    """The tools of a backend by name, in the package's order. Raises: ConfigError "missing_bfcl"."""
    found = backend_class(name)
    return {
        line["name"]: BfclTool(
            line["name"],
            name,
            line["description"],
            json_schema(line["parameters"]),
            _without_self(inspect.signature(getattr(found, line["name"]))),
        )
        for line in read_lines("multi_turn_func_doc", schema_file(name))
    }


def _without_self(signature: inspect.Signature) -> inspect.Signature:
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def json_schema(node: Mapping[str, Any]) -> dict[str, Any]:
    """BFCL's way to write schemas as JSON Schema: other words for types, no defaults.

    >>> json_schema({"type": "dict", "properties": {"x": {"type": "float", "default": 1.0}, "y": {"type": "any"}}})
    {'type': 'object', 'properties': {'x': {'type': 'number'}, 'y': {}}}
    """
    found: dict[str, Any] = {}
    for key, value in node.items():
        if key == "properties":
            found[key] = {name: json_schema(member) for name, member in value.items()}
        elif key == "items":
            found[key] = json_schema(value)
        elif key == "type":
            if (kind := _TYPES.get(value, value)) is not None:
                found[key] = kind
        elif key != "default":
            found[key] = value
    return found
