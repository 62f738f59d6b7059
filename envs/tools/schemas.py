"""What an agent is shown of a tool, and whether its arguments fit that (not whether the server would take them)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from palaestra.mcp_servers.framework.spec import ToolSpec

_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
"""JSON type -> exact Python types: 1.0 is no integer and true is no number."""
_SHORT: Final = {"integer": "int", "number": "float", "boolean": "bool", "array": "list", "object": "object"}


def shown_schema(spec: ToolSpec, stripped: Collection[str] = ()) -> dict[str, Any]:
    """The JSON Schema of a tool's arguments, without the lists of allowed words of the parameters in `stripped`."""
    schema = spec.input_schema()
    for name in stripped:
        if name in schema["properties"]:
            schema["properties"][name] = _without_words(schema["properties"][name])
    return schema


def _without_words(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _without_words(member) for key, member in schema.items() if key not in ("enum", "const")}
    return [_without_words(member) for member in schema] if isinstance(schema, list) else schema


def fits(arguments: Mapping[str, Any], schema: Mapping[str, Any], *, extra: bool = False) -> bool:
    """Whether arguments have the structure of a schema: required keys, JSON types, words of a list that is shown.

    Bounds, patterns and formats are the server's to check. Keys the schema does not have are let pass with `extra`.

    >>> schema = {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]}
    >>> fits({"amount": 5}, schema), fits({"amount": 5.0}, schema), fits({"amount": True}, schema), fits({}, schema)
    (True, False, False, False)
    """
    properties: Mapping[str, Any] = schema.get("properties", {})
    if any(name not in arguments for name in schema.get("required", ())):
        return False
    if not extra and any(name not in properties for name in arguments):
        return False
    return all(_fits_value(value, properties[name], extra) for name, value in arguments.items() if name in properties)


def _fits_value(value: Any, schema: Mapping[str, Any], extra: bool) -> bool:
    if "anyOf" in schema:
        return any(_fits_value(value, option, extra) for option in schema["anyOf"])
    kind = schema.get("type")
    if kind is not None and type(value) not in _KINDS[kind]:
        return False
    if "enum" in schema and not any(type(value) is type(word) and value == word for word in schema["enum"]):
        return False
    if isinstance(value, list) and "items" in schema:
        return all(_fits_value(member, schema["items"], extra) for member in value)
    return fits(value, schema, extra=extra) if isinstance(value, dict) and "properties" in schema else True


def with_defaults(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with the defaults of the schema filled in."""
    properties: Mapping[str, Any] = schema.get("properties", {})
    return {name: found["default"] for name, found in properties.items() if "default" in found} | dict(arguments)


def function_of(spec: ToolSpec, schema: Mapping[str, Any]) -> dict[str, Any]:
    """A tool as chat interfaces and templates want it."""
    function = {"name": spec.name, "description": spec.description, "parameters": schema}
    return {"type": "function", "function": function}


def signature_of(spec: ToolSpec, schema: Mapping[str, Any]) -> str:
    """A tool on one line: `freeze_card(card_id, reason) - Freeze an active card, so that it cannot be used.`

    A parameter without a type is a string, one with a question mark may be left out.
    """
    required = schema.get("required", ())
    properties: Mapping[str, Any] = schema.get("properties", {})
    names = [*(name for name in properties if name in required), *(name for name in properties if name not in required)]
    shown = (f"{name}{'' if name in required else '?'}{_kind(properties[name])}" for name in names)
    return f"{spec.name}({', '.join(shown)}) - {spec.description}"


def _kind(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ": " + "|".join(str(word) for word in schema["enum"])
    short = _SHORT.get(schema.get("type", ""))
    return f": {short}" if short else ""
