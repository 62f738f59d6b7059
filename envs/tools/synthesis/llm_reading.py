"""Reading what a model wrote: JSON out of text, typed actions out of JSON, messages held to what they must say."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from palaestra.envs.tools.synthesis.speaking import says
from palaestra.mcp_servers.errors import nearest
from palaestra.mcp_servers.framework.faults import Fault
from palaestra.mcp_servers.framework.spec import ToolSpec
from palaestra.mcp_servers.framework.validation import guard

LONGEST: Final = 1500
"""Characters of a message."""
_PROBLEMS: Final = 5
_THOUGHT: Final = "</think>"
FIGURE: Final = re.compile(r"\w*\d(?:[\w:.,/-]*\w)?")

Needs = Literal["explicit", "implicit", "none"]


class Malformed(Exception):
    """An answer that cannot be used; says why, to whom wrote it."""


class _Answer(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class CallAction(_Answer):
    """Make this call."""

    tool: str
    arguments: dict[str, Any]


class GiveUp(_Answer):
    """No call can be made, and why."""

    give_up: str


class PairAnswer(_Answer):
    """What two tools need from each other."""

    a_then_b: Needs
    b_then_a: Needs


class Message(_Answer):
    """Something to say."""

    message: str


class Done(_Answer):
    """Nothing more to say."""

    done: Literal[True]


A = TypeVar("A", bound=_Answer)


def json_in(text: str) -> dict[str, Any]:
    """The first JSON object of a text; what a model thought before is skipped. Raises: Malformed."""
    said = text.rpartition(_THOUGHT)[2]
    start = said.find("{")
    if start < 0:
        raise Malformed("There is no JSON object in the answer.")
    decoder = json.JSONDecoder(parse_constant=_no_number, object_pairs_hook=_once)
    try:
        found: dict[str, Any] = decoder.raw_decode(said, start)[0]
    except (ValueError, RecursionError) as error:
        raise Malformed(f"The answer is no JSON: {str(error)[:200]}.") from None
    return found


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def read_as(model: type[A], text: str) -> A:
    """The answer as one kind of action. Raises: Malformed."""
    return _checked(model, json_in(text))


def _checked(model: type[A], data: dict[str, Any]) -> A:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[:_PROBLEMS]
        listed = "; ".join(f"{'.'.join(map(str, one['loc']))[:80]}: {one['msg']}" for one in found)
        raise Malformed(f"The answer does not have the form asked for: {listed}.") from None


def read_call(text: str, tools: Mapping[str, ToolSpec], wanted: str) -> CallAction | GiveUp:
    """A call that its tool's strict validator takes, of the tool that is wanted; or that none can be made.

    Raises: Malformed for an unknown or another tool, and for arguments the validator refuses.
    """
    data = json_in(text)
    if "give_up" in data:
        return _checked(GiveUp, data)
    call = _checked(CallAction, data)
    if call.tool not in tools:
        raise Malformed(f"There is no tool {call.tool[:64]!r}; {nearest(call.tool[:64], tools)}.")
    if call.tool != wanted:
        raise Malformed(f"The next call is one of {wanted}, not of {call.tool}.")
    guarded = guard(call.arguments)
    checked = guarded if isinstance(guarded, Fault) else tools[wanted].validate(call.arguments)
    if isinstance(checked, Fault):
        raise Malformed(f"{checked.message}.")
    return call


@dataclass(frozen=True, slots=True)
class Rules:
    """What a message is held to.

    Attributes:
        says: stands in it, word for word.
        keeps: does not.
        tools: names a user does not know.
        figures: text that holds every figure the message may name; None for any.
        values: arguments of calls; each can be read out of it, as the filter of provenance reads.
    """

    says: Collection[str] = ()
    keeps: Collection[str] = ()
    tools: Collection[str] = ()
    figures: str | None = None
    values: Sequence[Any] = ()


def read_message(text: str, rules: Rules) -> str:
    """A message that keeps the rules. Raises: Malformed."""
    return _held_to(rules, read_as(Message, text).message)


def read_user_turn(text: str, rules: Rules) -> str | None:
    """A user's message, or None if the user has nothing more to say. Raises: Malformed."""
    data = json_in(text)
    if "done" in data:
        _checked(Done, data)
        return None
    return _held_to(rules, _checked(Message, data).message)


def _held_to(rules: Rules, message: str) -> str:
    text = message.strip()
    if not 0 < len(text) <= LONGEST:
        raise Malformed(f"The message has {len(text)} characters; it may have 1 to {LONGEST}.")
    if "<|" in text or any(not (char.isprintable() or char == "\n") for char in text):
        raise Malformed("The message holds characters that nobody types.")
    named = [name for name in rules.tools if "_" in name and stands_in(name, text)]
    if named:
        raise Malformed(f"The message names the tool {named[0]}, which a user does not know.")
    unsaid = [part for part in rules.says if not stands_in(part, text)]
    if unsaid:
        raise Malformed(f"The message does not say, word for word: {', '.join(map(repr, unsaid[:_PROBLEMS]))}.")
    unread = [value for value in rules.values if not says(text, value)]
    if unread:
        raise Malformed(f"The message does not say: {', '.join(map(repr, unread[:_PROBLEMS]))}.")
    told = [part for part in rules.keeps if stands_in(part, text)]
    if told:
        raise Malformed(f"The message says what is to be held back: {', '.join(map(repr, told[:_PROBLEMS]))}.")
    if rules.figures is not None:
        made_up = [found for found in FIGURE.findall(text) if not stands_in(found, rules.figures)]
        if made_up:
            raise Malformed(f"The message names figures that are in no result: {', '.join(made_up[:_PROBLEMS])}.")
    return text


def stands_in(part: str, text: str) -> bool:
    """Whether a text holds a part as a word or number of its own; the quotation marks around it do not count.

    >>> stands_in("“Rent”", 'Name it "Rent".'), stands_in("12", "Pay 12.50."), stands_in("12", "Pay 12.")
    (True, False, True)
    """
    bare = part.strip("“”")
    return re.search(rf"(?<!\w){re.escape(bare)}(?!\w|[.,]\d)", text) is not None
