"""Reading a response: one thought, one action, nothing else; anything else is data that says what was wrong.

A parser is a pure function of the response. It never raises, runs in time linear in the response's length, and
returns where each part stands so that trainers can mask it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from palaestra.envs.core.types import Action, ActionStatus, ParseFailure

NOOP = "<noop>"
"""What an unreadable response becomes; every text environment accepts it and leaves its state alone."""

Think = Literal["required", "optional", "none"]
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ParsedResponse:
    """A response as read.

    Attributes:
        action: the action, its text `NOOP` if the response was malformed.
        think_span, progress_span, action_span: [start, end) of each block's content in the response, in characters;
            None if that block is missing or the response is malformed.
    """

    action: Action
    think_span: Span | None = None
    progress_span: Span | None = None
    action_span: Span | None = None


class _Malformed(Exception):
    """Leaves the reading early; never leaves this file."""

    def __init__(self, status: ActionStatus, detail: str) -> None:
        self.failure = ParseFailure(status, detail)


def parse_strict(
    response: str, *, think: Think = "required", progress: bool = False, max_action_length: int = 256
) -> ParsedResponse:
    """Read `<think>…</think><progress>…</progress><action>…</action>` with only white space around the blocks.

    Tags are lower case, not nested, each once and in this order. `think="optional"` lets the first block be missing,
    `"none"` forbids it; the progress block is allowed, never required, if `progress` is set. The action is stripped,
    its inner white space collapsed to single blanks, and lower-cased.

    Cost: linear in the response; no regular expression.

    >>> parse_strict("<think>box is left</think> <action> Push  Left </action>").action.text
    'push left'
    >>> parse_strict("up", think="none").action.failure
    ParseFailure(status=<ActionStatus.NO_ACTION: 'no_action'>, detail='no <action> block')
    """
    try:
        action_span = _required_span(response, "action", ActionStatus.NO_ACTION, ActionStatus.MANY_ACTIONS)
        think_span = _think_span(response, think)
        progress_span = (
            _span(response, "progress", ActionStatus.EXTRA_TEXT, ActionStatus.EXTRA_TEXT) if progress else None
        )
        blocks = (("think", think_span), ("progress", progress_span), ("action", action_span))
        _require_order_and_no_extra(response, [(name, span) for name, span in blocks if span is not None])
        text = _normalise(response[slice(*action_span)], max_action_length)
    except _Malformed as malformed:
        return ParsedResponse(Action(NOOP, malformed.failure.status, failure=malformed.failure))
    thought = None if think_span is None else response[slice(*think_span)].strip()
    return ParsedResponse(Action(text, think=thought), think_span, progress_span, action_span)


def _span(response: str, tag: str, missing: ActionStatus, several: ActionStatus) -> Span | None:
    """Where the content of the only `tag` block stands; None without any tag of that name."""
    opening, closing = f"<{tag}>", f"</{tag}>"
    opened, closed = response.count(opening), response.count(closing)
    if opened > 1 or closed > 1:
        raise _Malformed(several, f"{opened} {opening} and {closed} {closing}, expected one of each")
    if opened != closed:
        raise _Malformed(missing, f"{opening} never closed" if opened else f"{closing} never opened")
    if not opened:
        return None
    start, end = response.index(opening) + len(opening), response.index(closing)
    if end < start:
        raise _Malformed(ActionStatus.BAD_ORDER, f"{closing} stands before {opening}")
    return start, end


def _required_span(response: str, tag: str, missing: ActionStatus, several: ActionStatus) -> Span:
    span = _span(response, tag, missing, several)
    if span is None:
        raise _Malformed(missing, f"no <{tag}> block")
    return span


def _think_span(response: str, think: Think) -> Span | None:
    if think == "required":
        return _required_span(response, "think", ActionStatus.NO_THINK, ActionStatus.MANY_THINKS)
    span = _span(response, "think", ActionStatus.NO_THINK, ActionStatus.MANY_THINKS)
    if span is not None and think == "none":
        raise _Malformed(ActionStatus.EXTRA_TEXT, "a <think> block, but thinking is switched off")
    return span


def _require_order_and_no_extra(response: str, blocks: list[tuple[str, Span]]) -> None:
    position = 0
    outside: list[str] = []
    for name, (start, end) in blocks:
        opening = start - len(name) - 2
        if opening < position:
            raise _Malformed(ActionStatus.BAD_ORDER, f"<{name}> stands before or inside the block it must follow")
        outside.append(response[position:opening])
        position = end + len(name) + 3
    outside.append(response[position:])
    for text in outside:
        if extra := text.strip():
            raise _Malformed(ActionStatus.EXTRA_TEXT, f"text outside the blocks: {extra[:40]!r}")


def _normalise(raw: str, max_length: int) -> str:
    # More than max_length words cannot fit, so the split may stop there: hostile input costs no word list.
    text = " ".join(raw.split(None, max_length))
    if not text:
        raise _Malformed(ActionStatus.EMPTY_ACTION, "the <action> block is empty")
    if len(text) <= max_length:
        text = text.lower()  # may lengthen the text by a few code points
    if len(text) > max_length:
        raise _Malformed(ActionStatus.TOO_LONG, f"action above {max_length} characters")
    return text


_CJK = re.compile("[\u4e00-\u9fff]")


def parse_loose(response: str, *, words: tuple[str, ...] = (), tail: int = 30) -> ParsedResponse:
    """The rules of the public verl-agent code, for comparison with numbers published under them.

    The response is lower-cased; the action is what stands between the first `<action>` and the first `</action>`.
    With `words` (a fixed vocabulary) the first of them found anywhere inside counts, and a no-op if none is; without,
    the text itself counts. Missing tags give a no-op with `words`, else the last `tail` characters of the response.
    Missing think tags or a CJK character mark the turn invalid, but the action is still executed.

    Cost: linear in the response.

    >>> parse_loose("<think>t</think><action>go UP now</action>", words=("up", "down")).action.text
    'up'
    >>> action = parse_loose("<action>look</action>").action; action.text, action.status.value
    ('look', 'no_think')
    """
    lowered = response.lower()
    start, end = lowered.find("<action>"), lowered.find("</action>")
    tagged = start != -1 and end != -1
    inner = lowered[start + len("<action>") : end].strip() if tagged else ""
    if not tagged:
        text = NOOP if words else (lowered[-tail:] or NOOP)
        failure: ParseFailure | None = ParseFailure(ActionStatus.NO_ACTION, "no <action>…</action>")
    elif words:
        text = next((word for word in words if word in inner), NOOP)
        failure = (
            ParseFailure(ActionStatus.NOT_IN_LANGUAGE, f"no known word in {inner[:40]!r}") if text == NOOP else None
        )
    else:
        text = inner or NOOP
        failure = None if inner else ParseFailure(ActionStatus.EMPTY_ACTION, "the <action> block is empty")
    if failure is None:
        failure = _loose_fault(response)
    if failure is None:
        return ParsedResponse(Action(text))
    return ParsedResponse(Action(text, failure.status, failure=failure))


def _loose_fault(response: str) -> ParseFailure | None:
    """What marks a turn invalid although its action is executed."""
    if "<think>" not in response or "</think>" not in response:
        return ParseFailure(ActionStatus.NO_THINK, "no <think>…</think>")
    if not response.isascii() and _CJK.search(response):
        return ParseFailure(ActionStatus.EXTRA_TEXT, "a CJK character")
    return None


def format_answer(action: str, *, think: Think = "required", thought: str = "") -> str:
    """The response that `parse_strict` reads as `action`; how scripted policies speak.

    >>> format_answer("up"), format_answer("up", think="none")
    ('<think></think><action>up</action>', '<action>up</action>')
    """
    block = f"<think>{thought}</think>" if think == "required" or (think == "optional" and thought) else ""
    return f"{block}<action>{action}</action>"
