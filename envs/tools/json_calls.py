"""Calls as JSON: tagged, as Qwen and Hermes models write them, or bare.

hermes     <tool_call>{"name": "freeze_card", "arguments": {"card_id": "crd_1"}}</tool_call>, text around allowed
json       the reply is one such object, or a list of them, in a code fence or not
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
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

_BLANKS: Final = re.compile(r"\s*")


def _read_hermes(reply: str, schemas: Schemas) -> Iterator[AskedCall]:
    position = 0
    while (begin := reply.find(OPEN, position)) != -1:
        if CLOSE in reply[position:begin]:
            yield unparsable(f"{CLOSE} without {OPEN}")
        position = begin + len(OPEN)
        try:
            value, end = DECODER.raw_decode(reply, _BLANKS.match(reply, position).end())  # type: ignore[union-attr]
        except (ValueError, RecursionError) as error:
            yield unparsable(f"not JSON: {said(error)}")
            position = _after_block(reply, position)
            continue
        position = _after_block(reply, end)
        extra = reply[end:position].removesuffix(CLOSE).strip()
        yield unparsable(f"text after the call: {extra[:40]!r}") if extra else _from_json(value)
    if CLOSE in reply[position:]:
        yield unparsable(f"{CLOSE} without {OPEN}")


def _after_block(reply: str, position: int) -> int:
    """Where the block ends that `position` lies in: after its closing tag, or before the next opening one."""
    closing, opening = reply.find(CLOSE, position), reply.find(OPEN, position)
    if closing != -1 and (opening == -1 or closing < opening):
        return closing + len(CLOSE)
    return len(reply) if opening == -1 else opening


def _from_json(value: Any) -> AskedCall:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return unparsable('a call is an object with "name" and "arguments"')
    name = bare_name(value["name"])
    if surplus := value.keys() - {"name", "arguments", "id", "type"}:
        return AskedCall(name, None, f"unknown key {min(surplus)!r} beside name and arguments")
    arguments = value.get("arguments", {})
    if isinstance(arguments, str):  # some models write the object as a string
        try:
            arguments = DECODER.decode(arguments)
        except (ValueError, RecursionError) as error:
            return AskedCall(name, None, f"arguments are not JSON: {said(error)}")
    if not isinstance(arguments, dict):
        return AskedCall(name, None, f"arguments must be an object, not {type(arguments).__name__}")
    return AskedCall(name, arguments)


def _write_hermes(calls: Sequence[AskedCall], schemas: Schemas) -> str:
    return "\n".join(f"{OPEN}\n{_json_call(call)}\n{CLOSE}" for call in calls)


def _json_call(call: AskedCall) -> str:
    return dump({"name": call.tool, "arguments": call.arguments})


_FENCE: Final = re.compile(r"```(?:json|python)?\n(.*?)\n?```", re.DOTALL)


def unfenced(reply: str) -> str:
    """A reply without the code fence around the whole of it."""
    text = reply.strip()
    found = _FENCE.fullmatch(text)
    return found[1].strip() if found else text


def _read_json(reply: str, schemas: Schemas) -> Iterator[AskedCall]:
    text = unfenced(reply)
    if not text.startswith(("{", "[")):
        return
    try:
        value = DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        yield unparsable(f"not JSON: {said(error)}")
        return
    for member in value if isinstance(value, list) else [value]:
        yield _from_json(member)


def _write_json(calls: Sequence[AskedCall], schemas: Schemas) -> str:
    if len(calls) == 1:
        return _json_call(calls[0])
    return f"[{', '.join(map(_json_call, calls))}]"


HERMES: Final = CallFormat(
    "hermes",
    f'To call a tool write {OPEN}{{"name": "tool name", "arguments": {{"argument": "value"}}}}{CLOSE}. '
    "Several calls in one reply run in order.",
    _read_hermes,
    _write_hermes,
)
JSON: Final = CallFormat(
    "json",
    'To call a tool reply with nothing but {"name": "tool name", "arguments": {"argument": "value"}}, or with a JSON '
    "list of such calls, which run in order.",
    _read_json,
    _write_json,
)
