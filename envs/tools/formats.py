"""The ways to write calls, by name; `register_format` adds another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from palaestra.envs.core.types import canonical_json
from palaestra.envs.tools.calls import AskedCall, CallFormat, Schemas, said, unparsable
from palaestra.envs.tools.compact import COMPACT
from palaestra.envs.tools.json_calls import HERMES, JSON
from palaestra.envs.tools.pythonic import PYTHONIC
from palaestra.mcp_servers.errors import ConfigError, nearest
from palaestra.mcp_servers.framework.validation import MAX_DEPTH

MAX_CALLS: Final = 256
"""Most calls read from one reply; what follows is one unparsable call."""

_FORMATS: Final[dict[str, CallFormat]] = {each.name: each for each in (HERMES, JSON, PYTHONIC, COMPACT)}


def register_format(added: CallFormat) -> None:
    """Make a format known by its name. Raises: ConfigError "call_format" if another has that name."""
    if _FORMATS.setdefault(added.name, added) is not added:
        raise ConfigError("call_format", f"there is a call format {added.name!r} already; take another name")


def call_format(name: str) -> CallFormat:
    """The format of this name. Raises: ConfigError "call_format" naming the nearest."""
    if name not in _FORMATS:
        raise ConfigError("call_format", f"no call format {name!r}; {nearest(name, _FORMATS)}")
    return _FORMATS[name]


def read_calls(reply: str, written_in: CallFormat, schemas: Schemas) -> tuple[AskedCall, ...]:
    """The calls of a reply, in order. Never raises; linear in the reply.

    What a model thinks, in `<think>…</think>`, is not looked at; a thought that never ends is the whole rest.
    """
    calls: list[AskedCall] = []
    for call in written_in.read(spoken(reply), schemas):
        if len(calls) == MAX_CALLS:
            calls.append(unparsable(f"more than {MAX_CALLS} calls in one reply; make fewer at a time"))
            break
        calls.append(_carried(call))
    return tuple(calls)


def _carried(call: AskedCall) -> AskedCall:
    """The call as a record can carry it: a printable name, and arguments that are JSON in UTF-8 and not too deep."""
    tool = call.tool[:64].encode("ascii", "backslashreplace").decode()
    if call.arguments is None:
        return replace(call, tool=tool)
    try:
        canonical_json(call.arguments).encode()
        deep = _depth(call.arguments) > MAX_DEPTH
    except (ValueError, RecursionError) as error:
        return AskedCall(tool, None, f"arguments are not JSON: {said(error)}")
    return AskedCall(tool, None, f"arguments are nested deeper than {MAX_DEPTH}") if deep else replace(call, tool=tool)


def _depth(value: Any) -> int:
    """How deeply containers are nested; stops counting beyond `MAX_DEPTH`."""
    layer, depth = [value], 0
    while layer and depth <= MAX_DEPTH:
        containers = [each for each in layer if isinstance(each, dict | list)]
        layer = [member for each in containers for member in (each.values() if isinstance(each, dict) else each)]
        depth += bool(containers)
        if not containers:
            break
    return depth


def spoken(reply: str) -> str:
    """A reply without what was thought.

    >>> spoken("<think>which card?</think>Which card?"), spoken("which card?</think>Which?"), spoken("<think>hm")
    ('Which card?', 'Which?', '')
    """
    before, opened, rest = reply.partition("<think>")
    if opened:
        return before + rest.rpartition("</think>")[2] if "</think>" in rest else before
    return reply.rpartition("</think>")[2]
