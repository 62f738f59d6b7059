"""What the user of a task record says, turn by turn, in a model's words: the same wishes, and every value said.

What a message may say is worked out from the record alone: the values of its gold calls, what the calls' results name,
and what stands out in the text. Where the model does not keep to it, the record's own words stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from palaestra.envs.tools.records import TaskRecord
from palaestra.envs.tools.synthesis.llm_chat import Chat
from palaestra.envs.tools.synthesis.llm_reading import FIGURE, Rules, stands_in
from palaestra.envs.tools.synthesis.llm_settings import read_llm_settings
from palaestra.envs.tools.synthesis.llm_user import LlmUser
from palaestra.envs.tools.synthesis.machine import Dropped
from palaestra.envs.tools.synthesis.speaking import says, ways
from palaestra.envs.tools.worlds import open_session, tools_of
from palaestra.mcp_servers.framework.sources import derive_seed

_KINDS: Final = ("raw", "money", "minutes", "instant", "day")
_SHORTEST: Final = 3
"""Characters of a name; what is shorter stands in any text."""
_QUOTED: Final = re.compile(r"[“\"]([^“”\"]+)[”\"]")
_CAPITALS: Final = re.compile(r"(?<!\w)[A-Z][\w’'-]+(?:\s[A-Z][\w’'-]+)*")
_SENTENCE_ENDS: Final = (".", "!", "?", ":", ";", "“", '"', "")


@dataclass(frozen=True, slots=True)
class Words:
    """What the user says in each turn, and in how many turns these are the record's own words after all."""

    texts: tuple[str, ...]
    kept: int = 0


class Rewording:
    """Puts records into a model's words, each once; another `seed` in the settings makes other words.

    Args:
        file: TOML of `LlmSettings`; the answers are kept beside it, in `<name>.answers.sqlite`.

    Raises: as `read_llm_settings`.
    """

    def __init__(self, file: Path) -> None:
        self._settings = read_llm_settings(file)
        self._cache = file.with_suffix(".answers.sqlite")
        self._known: dict[str, Words] = {}

    def words(self, record: TaskRecord) -> Words:
        """What the user of a record says.

        Raises: as `Chat.complete`. Cost: one replay of the gold calls; one request per turn, up to four, if they are
            not in the cache; afterwards nothing.
        """
        if record.id not in self._known:
            with Chat(self._settings, self._cache) as chat:
                self._known[record.id] = self._ask(LlmUser(chat), record)
        return self._known[record.id]

    def _ask(self, user: LlmUser, record: TaskRecord) -> Words:
        persona, texts, kept = str(record.meta.get("persona", "")), list[str](), 0
        for number, (turn, rules) in enumerate(zip(record.turns, rules_of(record), strict=True)):
            seed = derive_seed(self._settings.seed, "user", record.id, number) >> 33
            try:
                texts.append(user.say_again(persona, turn.user, texts, rules, seed))
            except Dropped:
                texts.append(turn.user)
                kept += 1
        return Words(tuple(texts), kept)


def rules_of(record: TaskRecord) -> list[Rules]:
    """What each turn's message is held to. Costs one replay of the gold calls."""
    own = [turn.user for turn in record.turns]
    named = _named(record)
    said: list[list[Any]] = [[] for _ in own]
    for _, call in record.gold_calls:
        for name, source in call.source.items():
            kind, _, turn = source.partition(":")
            if kind == "user":
                said[int(turn)].append(call.arguments[name])
    tools = [name for name in (*record.shown.tools, *record.shown.missing) if not any(stands_in(name, t) for t in own)]
    rules = []
    for at, text in enumerate(own):
        parts = [part for value in said[at] for part in _forms(value) if stands_in(part, text)]
        parts += [name for name in named if name in text and stands_in(name, text)]
        later = [form for values in said[at + 1 :] for value in values for form in _forms(value)]
        held = [form for form in later if len(form) >= _SHORTEST and not says(" ".join(own[: at + 1]), form)]
        says_all = _largest([*parts, *_standing_out(text)])
        rules.append(Rules(says_all, held, tools, figures=" ".join(own[: at + 1]), values=said[at]))
    return rules


def _forms(value: Any) -> list[str]:
    """Every way a value may be said, of a list that of its members."""
    members = value if isinstance(value, list) else [value]
    return list(dict.fromkeys(form for member in members for kind in _KINDS for form in ways(kind, member)))


def _named(record: TaskRecord) -> list[str]:
    """The texts that the results of the gold calls hold: rows are often meant by what a result calls them."""
    every = tuple(tools_of(record.env.servers))
    session = open_session(record)
    try:
        found: dict[str, None] = {}
        for number, turn in enumerate(record.turns):
            session.begin_turn(number, every)
            for call in turn.gold:
                found |= dict.fromkeys(_texts(session.call(call.tool, call.arguments).value))
    finally:
        session.close()
    return [text for text in found if len(text) >= _SHORTEST]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for member in value.values():
            yield from _texts(member)
    elif isinstance(value, list):
        for member in value:
            yield from _texts(member)


def _standing_out(text: str) -> Iterator[str]:
    """What nobody can say otherwise: what is quoted, what has a digit, and names.

    >>> list(_standing_out('Send Ann Lee “the rent” on 3 May. Thanks!'))
    ['the rent', '3', 'Ann Lee', 'May']
    """
    yield from _QUOTED.findall(text)
    yield from FIGURE.findall(text)
    for found in _CAPITALS.finditer(text):
        first = text[: found.start()].rstrip(" \n(")[-1:] in _SENTENCE_ENDS
        name = found.group().partition(" ")[2] if first else found.group()
        if name and not name.startswith(("I’", "I'")):
            yield name


def _largest(parts: Sequence[str]) -> list[str]:
    """The texts, those left out that stand in another one."""
    found: list[str] = []
    for part in sorted(dict.fromkeys(parts), key=lambda one: (-len(one), one)):
        if not any(stands_in(part, longer) for longer in found):
            found.append(part)
    return found
