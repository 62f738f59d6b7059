"""Calls for policies that count every token: `<tool_call>freeze_card card_id=crd_1 reason="lost it"</tool_call>`.

A value is typed by the tool's schema: a bare word is a string where one is asked for, JSON elsewhere. What holds
blanks, or begins like JSON, is written as JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from palaestra.envs.tools.calls import (
    CLOSE,
    DECODER,
    OPEN,
    AskedCall,
    CallFormat,
    Schemas,
    bare_name,
    dump,
    said,
    unparsable,
)

_NAME: Final = re.compile(r"\s*([A-Za-z_][\w.]*)")
_KEY: Final = re.compile(r"\s+([A-Za-z_]\w*)=")
_BARE: Final = re.compile(r"[^\s\"\[{<][^\s<]*")


def _read(reply: str, schemas: Schemas) -> Iterator[AskedCall]:
    before, *blocks = reply.split(OPEN)
    for block in blocks:
        body, _, after = block.partition(CLOSE)
        yield _call(body.rstrip(), schemas)
        before += after
    if CLOSE in before:
        yield unparsable(f"{CLOSE} without {OPEN}")


def _call(body: str, schemas: Schemas) -> AskedCall:
    found = _NAME.match(body)
    if found is None:
        return unparsable("write the tool's name first, then argument=value")
    tool = bare_name(found[1])
    properties = schemas.get(tool, {}).get("properties", {})
    arguments: dict[str, Any] = {}
    position = found.end()
    while position < len(body):
        key = _KEY.match(body, position)
        if key is None or key[1] in arguments:
            return AskedCall(tool, None, f"expected another argument=value at {body[position : position + 40]!r}")
        try:
            arguments[key[1]], position = _value(body, key.end(), properties.get(key[1], {}))
        except (ValueError, RecursionError) as error:
            return AskedCall(tool, None, f"{key[1]} has no readable value: {said(error)}")
    return AskedCall(tool, arguments)


def _value(body: str, position: int, schema: Mapping[str, Any]) -> tuple[Any, int]:
    """The value that begins here, and where it ends. Raises: ValueError, RecursionError."""
    if body[position : position + 1] in ('"', "[", "{"):
        return DECODER.raw_decode(body, position)
    bare = _BARE.match(body, position)
    if bare is None:
        raise ValueError("it is empty; write an empty string as two quotes")
    return _typed(bare[0], schema), bare.end()


def _typed(word: str, schema: Mapping[str, Any]) -> Any:
    if schema.get("type") == "string":
        return word
    try:
        return DECODER.decode(word)
    except ValueError:
        return word  # does not fit its schema, which is not for the reader to judge


def _write(calls: Sequence[AskedCall], schemas: Schemas) -> str:
    return "".join(f"{OPEN}{_write_call(call, schemas)}{CLOSE}" for call in calls)


def _write_call(call: AskedCall, schemas: Schemas) -> str:
    properties = schemas.get(call.tool, {}).get("properties", {})
    pairs = (f"{name}={_written(value, properties.get(name, {}))}" for name, value in (call.arguments or {}).items())
    return " ".join([call.tool, *pairs])


def _written(value: Any, schema: Mapping[str, Any]) -> str:
    if isinstance(value, str) and _BARE.fullmatch(value) and _typed(value, schema) == value:
        return value
    return dump(value, (",", ":"))


COMPACT: Final = CallFormat(
    "compact",
    f'To call a tool write {OPEN}tool_name argument=value other="two words"{CLOSE}. Several calls run in order.',
    _read,
    _write,
)
