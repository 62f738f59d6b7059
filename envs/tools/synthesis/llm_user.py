"""A user played by a language model: says what comes next, knowing the goal and what has happened so far.

Where the conversation is written already, as in a task record, the model only says a message again in other words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from palaestra.envs.tools.synthesis.brief import Level
from palaestra.envs.tools.synthesis.llm_chat import Chat
from palaestra.envs.tools.synthesis.llm_prompts import REWORD, USER, told
from palaestra.envs.tools.synthesis.llm_reading import Malformed, Rules, read_message, read_user_turn


@dataclass(frozen=True, slots=True)
class Line:
    """Something that was said."""

    speaker: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Situation:
    """What a user knows before they speak.

    Attributes:
        persona: how they speak.
        level: "complete" tells every fact at once, "missing" holds `withheld` back until asked, "minimal" all of them.
        goal: what they want, in words.
        facts: what they know that may be needed, as they say it.
        withheld: names of facts.
        tools: names they do not know and may not utter.
        lines: the conversation so far.
    """

    persona: str
    level: Level
    goal: str
    facts: Mapping[str, str] = field(default_factory=dict)
    withheld: frozenset[str] = frozenset()
    tools: frozenset[str] = frozenset()
    lines: tuple[Line, ...] = ()

    def held_back(self) -> frozenset[str]:
        """Facts that the first message may not tell."""
        return {"complete": frozenset[str](), "missing": self.withheld, "minimal": frozenset(self.facts)}[self.level]


class UserSimulator(Protocol):
    """Plays the user of a conversation."""

    def next_message(self, situation: Situation, rng: np.random.Generator) -> str | None:
        """What the user says next; None if there is nothing more to say. Raises: whatever its source raises."""
        ...


class LlmUser:
    """A user simulator over a model. The same words for the same situation, stream and cache."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    def next_message(self, situation: Situation, rng: np.random.Generator) -> str | None:
        """The model's message, held to the information level at the opening.

        Raises: as `Chat.ask`, Dropped "llm_user" if no usable message came. Cost: one request, up to four.
        """
        opening = not situation.lines
        held = situation.held_back() if opening else frozenset[str]()
        says = [text for name, text in situation.facts.items() if text and name not in held] if opening else []
        keeps = [text for name, text in situation.facts.items() if text and name in held and text not in says]
        facts = {
            "persona": situation.persona, "goal": situation.goal,
            "so_far": [{"speaker": line.speaker, "text": line.text} for line in situation.lines],
            "facts": dict(situation.facts), "must_say": says, "must_not_say": keeps,
        }  # fmt: skip
        rules = Rules(says, keeps, situation.tools)

        def read(text: str) -> str | None:
            message = read_user_turn(text, rules)
            if message is None and opening:
                raise Malformed("Nothing was said yet; the user has to say what they want.")
            return message

        return self._chat.ask("user", told(USER, facts), read, int(rng.integers(2**31)))

    def say_again(self, persona: str, message: str, before: Sequence[str], rules: Rules, seed: int) -> str:
        """A message in the model's words, held to the rules; `before` is what the user has said so far.

        Raises: as `Chat.ask`, Dropped "llm_user" if no usable message came. Cost: one request, up to four.
        """
        facts = {"persona": persona, "so_far": list(before), "message": message, "must_say": list(rules.says)}
        return self._chat.ask("user", told(REWORD, facts), lambda answer: read_message(answer, rules), seed)
