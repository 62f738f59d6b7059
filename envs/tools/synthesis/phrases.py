"""Phrases: what people say for each tool, out of phrases/<server>.toml.

A wording is text with slots. `{amount}` is an argument; `{account_id?that one}` has a pronoun for what the
conversation has just been about; `[[ with the note {purpose}]]` vanishes when its argument is not given;
`{result.status}` is a field of the tool's answer.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from palaestra.envs.tools.synthesis.speaking import noun

_SLOT: Final = re.compile(r"\{([a-z_.]+)(?:\?([^}]*))?\}")
_OPTIONAL: Final = re.compile(r"\[\[(.*?)\]\]")
_ONE: Final = re.compile(
    r"(?<![\w.,:-])(1|one) (byte|degree|hit|line|match|metre|pack|piece|point|result|share|star|time)(?:e?s)\b"
)


@dataclass(frozen=True, slots=True)
class Wording:
    """One way to say something.

    Attributes:
        needed: slots outside of optional segments.
        possible: all slots.
        bending: slots that may be said with a pronoun.
    """

    text: str
    needed: frozenset[str]
    possible: frozenset[str]
    bending: frozenset[str]

    def suits(self, given: Iterable[str]) -> bool:
        """Whether it says all of the given arguments and needs no other."""
        names = frozenset(given)
        return self.needed <= names <= self.possible

    def fill(self, said: Mapping[str, str], pronouns: Iterable[str] = ()) -> str:
        """The text with what is said in its slots; slots in `pronouns` take their pronoun if they have one.

        >>> wording("I'll take {item}[[, {quantity} pieces]].").fill({"item": "the lamp", "quantity": "1"})
        "I'll take the lamp, 1 piece."
        """
        bent = frozenset(pronouns)

        def value(match: re.Match[str]) -> str:
            name, pronoun = match[1], match[2]
            return pronoun if pronoun is not None and name in bent else said[name]

        def segment(match: re.Match[str]) -> str:
            inner = match[1]
            names = {slot[1] for slot in _SLOT.finditer(inner)}
            return inner if names <= said.keys() else ""

        return _ONE.sub(r"\1 \2", _SLOT.sub(value, _OPTIONAL.sub(segment, self.text)))


def wording(text: str) -> Wording:
    """Read a wording."""
    bare = _OPTIONAL.sub("", text)
    return Wording(
        text,
        frozenset(match[1] for match in _SLOT.finditer(bare)),
        frozenset(match[1] for match in _SLOT.finditer(text)),
        frozenset(match[1] for match in _SLOT.finditer(text) if match[2] is not None),
    )


@dataclass(frozen=True, slots=True)
class ToolPhrases:
    """What is said about one tool; see the schema in docs/synthesis.md."""

    ask: tuple[Wording, ...]
    then: tuple[Wording, ...]
    goal: tuple[Wording, ...]
    done: tuple[Wording, ...]
    supply: Mapping[str, tuple[Wording, ...]]


@dataclass(frozen=True, slots=True)
class Phrases:
    """What the users of one server say.

    Attributes:
        slots: argument or field -> how its value is said, or "table:column" to name a row by.
    """

    slots: Mapping[str, str]
    voices: tuple[str, ...]
    openers: tuple[str, ...]
    closers: tuple[str, ...]
    tools: Mapping[str, ToolPhrases]

    def of(self, tool: str, arguments: Sequence[str] = ()) -> ToolPhrases:
        """The phrases of a tool; plain ones made of its name if nobody wrote any."""
        return self.tools.get(tool) or _plain(tool, tuple(arguments))


@cache
def phrases_of(server: str) -> Phrases:
    """The phrases of a server; empty ones if there is no file."""
    source = files("palaestra.envs.tools.synthesis").joinpath("phrases", f"{server}.toml")
    data: dict[str, Any] = tomllib.loads(source.read_text("utf-8")) if source.is_file() else {}
    persona = data.pop("_persona", {})
    slots = data.pop("_slots", {})
    tools = {name: _tool(entry) for name, entry in data.items() if "ask" in entry}
    return Phrases(
        slots, tuple(persona.get("voices", ("plain",))), tuple(persona.get("openers", ("",))),
        tuple(persona.get("closers", ("",))), tools,
    )  # fmt: skip


def _tool(entry: Mapping[str, Any]) -> ToolPhrases:
    ask, then, goal, done = (tuple(map(wording, entry.get(part, ()))) for part in ("ask", "then", "goal", "done"))
    return ToolPhrases(ask, then, goal, done, {n: tuple(map(wording, texts)) for n, texts in entry["supply"].items()})


@cache
def _plain(tool: str, arguments: tuple[str, ...]) -> ToolPhrases:
    what = noun(tool)
    listed = "".join(f"[[, {noun(name)} {{{name}}}]]" for name in arguments)
    return ToolPhrases(
        (wording(f"Please {what}{listed}."), wording(f"Could you {what}{listed}?")),
        (wording(f"then {what}{listed}"),),
        (wording(f"I need to {what}."),),
        (wording("That is done."),),
        {name: (wording(f"The {noun(name)} is {{{name}}}."),) for name in arguments},
    )
