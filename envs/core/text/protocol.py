"""How a text agent is spoken to and understood: the settings shared by prompts, parser, rollouts and trainers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from palaestra.envs.core.config import Settings
from palaestra.envs.core.text.parser import NOOP, ParsedResponse, Think, format_answer, parse_loose, parse_strict
from palaestra.envs.core.types import Action, ActionStatus, ParseFailure
from palaestra.mcp_servers.errors import RolloutError


class TextProtocol(Settings):
    """The contract of one text agent.

    Attributes:
        style: "full" prose prompts; "compact" ones for tiny policies: the observation alone; or "chat" for worlds that
            are conversations: their own messages, and the whole response handed on to them as it is.
        context: "append", one growing transcript in which each turn adds only what is new; or "window", a fresh
            prompt per turn showing the last `history` steps.
        history: steps shown by a window prompt.
        think: whether a response must, may or must not hold a thought; by default required in full style, else none.
        actions: how a response names its action: by its "words", listed where they change; by words that are never
            listed ("unlisted"), where observations say enough; or by its "number" in the list, which then always shows.
        progress: ask for, and accept, a progress estimate between thought and action.
        parser: "strict", or the loose rules of "verl-agent" for comparison with numbers published under them.
        loose_words, loose_tail: the loose parser's fixed vocabulary and its fallback length in characters.
        prompt_tokens: budget of one prompt; what does not fit is trimmed, oldest history first.
        response_tokens: budget of one response.
        max_action_length: longest action in characters.
        template: a text file of yours that replaces the full style's prompt; fields as in `TEMPLATE_FIELDS`.
    """

    style: Literal["chat", "full", "compact"] = "full"
    context: Literal["append", "window"] = "append"
    history: int = Field(default=2, ge=0)
    think: Think = "required"
    actions: Literal["words", "unlisted", "number"] = "words"
    progress: bool = False
    parser: Literal["strict", "verl-agent"] = "strict"
    loose_words: tuple[str, ...] = ()
    loose_tail: int = Field(default=30, ge=1)
    prompt_tokens: int = Field(default=2048, ge=1)
    response_tokens: int = Field(default=512, ge=1)
    max_action_length: int = Field(default=256, ge=1)
    template: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _think_follows_style(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("style") in ("compact", "chat") and "think" not in data:
            return {**data, "think": "none"}
        return data

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        if self.style == "chat" and (self.think != "none" or self.progress or self.parser != "strict"):
            raise ValueError('style "chat" leaves the response to the environment; drop think, progress and parser')
        if self.actions == "number" and (self.style == "chat" or self.parser != "strict"):
            raise ValueError('actions = "number" needs style "full" or "compact" and the strict parser')
        if self.template is not None and self.style != "full":
            raise ValueError('template replaces the full prompt; set style = "full" or drop template')
        if self.parser == "verl-agent" and self.think != "required":
            raise ValueError('parser "verl-agent" always asks for a thought; set think = "required"')
        return self

    def parse(self, response: str, listed: Sequence[str] = ()) -> ParsedResponse:
        """Read a response by this protocol's rules; `listed` are the actions that its prompt listed."""
        if self.style == "chat":
            return ParsedResponse(Action(response))
        if self.parser == "verl-agent":
            return parse_loose(response, words=self.loose_words, tail=self.loose_tail)
        read = parse_strict(
            response, think=self.think, progress=self.progress, max_action_length=self.max_action_length
        )
        return read if self.actions != "number" or read.action.failure is not None else _numbered(read, listed)

    def answer(self, action: str, listed: Sequence[str] = ()) -> str:
        """The response that says `action` in this protocol, where the prompt lists `listed`.

        Raises: RolloutError "unlisted" if actions are named by number and this one has none.
        """
        if self.style == "chat":
            return action
        if self.actions == "number":
            if action not in listed:
                raise RolloutError("unlisted", f"{action!r} is none of the {len(listed)} actions that the prompt lists")
            action = str(listed.index(action) + 1)
        return format_answer(action, think=self.think)


def _numbered(read: ParsedResponse, listed: Sequence[str]) -> ParsedResponse:
    """The response with the action its number stands for; a failure if it is none of the numbers listed."""
    said = read.action.text
    if said.isascii() and said.isdecimal() and len(said) <= 9 and 1 <= int(said) <= len(listed):
        return replace(read, action=replace(read.action, text=listed[int(said) - 1]))
    failure = ParseFailure(ActionStatus.NOT_IN_LANGUAGE, f"{said!r} is no number from 1 to {len(listed)}")
    return ParsedResponse(Action(NOOP, failure.status, failure=failure))
