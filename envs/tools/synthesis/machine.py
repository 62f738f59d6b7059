"""The state machine that acts a conversation out on the live server, turn by turn, as its brief says.

act      the user asks, the calls are made
clarify  a required value is withheld, nothing is called; the next turn supplies it
look     only the goal is named, and looked into; the next turn says which and how
abstain  the user asks for what no tool does
hidden   the user asks for what only a hidden tool does
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from palaestra.envs.tools.records import Kind
from palaestra.envs.tools.synthesis.bindings import propose
from palaestra.envs.tools.synthesis.brief import Brief
from palaestra.envs.tools.synthesis.chains import Paths
from palaestra.envs.tools.synthesis.pools import Field
from palaestra.envs.tools.synthesis.probing import WORKS
from palaestra.envs.tools.synthesis.sampling import Call
from palaestra.envs.tools.synthesis.scene import Made, Scene, Spoken
from palaestra.envs.tools.synthesis.slots import slots_of
from palaestra.envs.tools.synthesis.teacher import Manner, Query, Teacher
from palaestra.mcp_servers.framework.spec import Effect

REPLIES: Final = 10
"""Replies of the assistant in a conversation: calls made one by one, and one answer per turn."""
_PROPOSALS: Final = 10
_PER_TURN: Final = 3
"""Calls asked for in one turn, look-ups left out, at most."""
_SPARE_RATE: Final = 0.7
"""How often a chain that did not suit one brief is kept for another, and used before a new one is bound."""


class Dropped(Exception):
    """A conversation that could not be acted out; says why in a word."""


@dataclass(slots=True)
class Said:
    """One turn: what the user says, what should come of it, and what a good assistant answers."""

    user: str
    kind: Kind
    reply: str


@dataclass(slots=True)
class Draft:
    """A conversation as it was acted out.

    Attributes:
        chain: the calls it is about, look-ups left out.
        hidden: tool that is not shown -> turn in which it appears, None for never.
        beside: tools that could do the same, so that they must not be shown meanwhile.
    """

    chain: list[Call] = field(default_factory=list)
    turns: list[Said] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    hidden: dict[str, int | None] = field(default_factory=dict)
    beside: frozenset[str] = frozenset()


class Machine:
    """Writes conversations in one world with one teacher.

    Args:
        beside: tool -> tools whose effects overlap with its own.
    """

    def __init__(self, world: Field, paths: Paths, teacher: Teacher, beside: Mapping[str, frozenset[str]]) -> None:
        self.world, self.paths, self.teacher, self.beside = world, paths, teacher, beside
        self._server = world.server.name
        self._spare: list[list[Call]] = []

    def write(self, brief: Brief, rng: np.random.Generator) -> Draft:
        """Act out one conversation. Raises: Dropped. Costs some ms."""
        draft = Draft()
        scene = Scene(self.world, rng)
        if brief.family == "abstain":
            self._abstain(brief, draft, scene)
            return draft
        self.world.episode.reset()
        refused = self._hidden_call(scene) if brief.family == "missing" and not brief.returns else None
        calls = self._chain(brief.scenes.count("act"), rng)
        try:
            self._act(brief, draft, scene, calls, refused)
        except Dropped:
            if rng.random() < _SPARE_RATE:  # another brief may have use for it
                self._spare.append(calls)
            raise
        return draft

    def _act(self, brief: Brief, draft: Draft, scene: Scene, calls: list[Call], refused: Call | None) -> None:
        groups = self._groups(brief, draft, calls, refused, scene.rng)
        self.world.episode.reset()
        turn = 0
        while turn < len(brief.scenes):
            turn = self._turn(brief, turn, draft, scene, groups, refused)
        draft.made = scene.made
        if len(scene.made) + len(draft.turns) > REPLIES:
            raise Dropped("too_long")

    def _groups(
        self, brief: Brief, draft: Draft, calls: list[Call], refused: Call | None, rng: np.random.Generator
    ) -> list[list[Call]]:
        """The calls of a chain, spread over the acting turns."""
        acting = brief.scenes.count("act")
        if brief.family == "missing":
            hidden = calls[0][0] if refused is None else refused[0]
            self._hide(draft, hidden, calls, brief.returns)
        draft.chain = calls
        cuts = sorted(int(c) + 1 for c in rng.choice(len(calls) - 1, acting - 1, replace=False)) if acting > 1 else []
        return [list(calls[a:b]) for a, b in zip([0, *cuts], [*cuts, len(calls)], strict=True)]

    def _chain(self, acting: int, rng: np.random.Generator) -> list[Call]:
        """A bound chain of a fitting length: one that did not suit another brief, or a new one."""
        fitting = [calls for calls in self._spare if acting <= len(calls) <= _PER_TURN * acting]
        if fitting and rng.random() < _SPARE_RATE:
            calls = fitting[int(rng.integers(len(fitting)))]
            self._spare.remove(calls)
            return calls
        bound = self.teacher.next_action(self.world, self.paths, rng)
        if bound is None:
            raise Dropped("unbound")
        if not acting <= len(bound) <= _PER_TURN * acting:
            self._spare.append(bound)
            raise Dropped("wrong_length")
        return bound

    def _hide(self, draft: Draft, tool: str, calls: Sequence[Call], returns: bool) -> None:
        if tool not in self.beside:
            raise Dropped("cannot_hide")
        later = {name for name, _ in calls}
        others = self.beside[tool] - {tool}
        if not returns and later & {tool, *others}:
            raise Dropped("cannot_hide")
        draft.hidden = {tool: 1 if returns else None} | {name: 1 for name in sorted(others & later)}
        draft.beside = others - later

    def _hidden_call(self, scene: Scene) -> Call:
        """A call nobody will make: its tool is hidden."""
        names = [name for name in self.beside if self.world.pools[name].good]
        if not names:
            raise Dropped("cannot_hide")
        spec = self.world.server.tools[scene.choose(names)]
        for _ in range(_PROPOSALS):
            arguments = propose(spec, self.world.context, scene.rng)
            if arguments is not None and self.world.asks(spec, arguments) == WORKS:
                return spec.name, arguments
        return spec.name, scene.choose(self.world.pools[spec.name].good)

    def _abstain(self, brief: Brief, draft: Draft, scene: Scene) -> None:
        query = Query("irrelevant", self._server, opening=True)
        if brief.scenes == ("hidden",):
            call = self._hidden_call(scene)
            draft.hidden, draft.beside = {call[0]: None}, self.beside[call[0]] - {call[0]}
            self.world.episode.reset()
            query = Query("ask", self._server, (scene.speak(call, look=False),), opening=True)
            draft.chain = [call]
        draft.turns.append(self._said(query, (), "abstain", scene.rng))

    def _turn(
        self, brief: Brief, turn: int, draft: Draft, scene: Scene, groups: list[list[Call]], refused: Call | None
    ) -> int:
        """Act one turn out, or two that belong together; the number of the next."""
        match brief.scenes[turn]:
            case "abstain":
                query = Query("irrelevant", self._server, opening=turn == 0)
                draft.turns.append(self._said(query, (), "abstain", scene.rng))
                return turn + 1
            case "act":
                scene.turn = turn
                manner: Manner = "instead" if refused is not None and turn == 1 else "ask" if turn == 0 else "follow_up"
                before = len(scene.made)
                query = Query(manner, self._server, tuple(self._perform(scene, groups.pop(0))), opening=turn == 0)
                draft.turns.append(self._said(query, scene.made[before:], "act", scene.rng))
                return turn + 1
            case "hidden":
                return self._without_a_tool(turn, draft, scene, groups, refused)
            case kind:
                return self._in_two_steps(kind, turn, draft, scene, groups.pop(0))

    def _perform(self, scene: Scene, calls: Sequence[Call]) -> list[Spoken]:
        spoken = []
        for call in calls:
            spoken.append(scene.speak(call))
            if not scene.perform(call):
                raise Dropped("refused")
        return spoken

    def _without_a_tool(
        self, turn: int, draft: Draft, scene: Scene, groups: list[list[Call]], refused: Call | None
    ) -> int:
        if refused is not None:
            query = Query("ask", self._server, (scene.speak(refused, look=False),), opening=turn == 0)
            draft.turns.append(self._said(query, (), "abstain", scene.rng))
            return turn + 1
        scene.turn = turn + 1
        asked = Query("ask", self._server, tuple(self._perform(scene, groups.pop(0))), opening=turn == 0)
        draft.turns.append(self._said(asked, (), "abstain", scene.rng))
        again = Query("again", self._server, asked.calls)
        draft.turns.append(self._said(again, scene.made, "act", scene.rng))
        return turn + 2

    def _in_two_steps(self, kind: str, turn: int, draft: Draft, scene: Scene, calls: Sequence[Call]) -> int:
        """A turn that leaves something open, and the one that settles it."""
        start = len(scene.made)
        if kind == "look":
            scene.turn = turn
            calls = self._look_into(scene, calls)
        looked = len(scene.made)
        slots = slots_of(self.world.server.tools[calls[0][0]])
        if sum(not slot.required and slot.name in calls[0][1] for slot in slots) > 1:
            raise Dropped("too_much_to_ask")
        scene.turn = turn + 1
        spoken = self._perform(scene, calls)
        withheld = self._withhold(kind, spoken[0], scene)
        asked = tuple(slot.name for slot in slots if slot.required and slot.name in withheld)
        opened = Query("goal", self._server, (spoken[0],), withheld, asked, opening=turn == 0)
        draft.turns.append(
            self._said(opened, scene.made[start:looked], "act" if kind == "look" else "clarify", scene.rng)
        )
        supplied = Query("supply", self._server, tuple(spoken), withheld)
        draft.turns.append(self._said(supplied, scene.made[looked:], "act", scene.rng))
        return turn + 2

    def _look_into(self, scene: Scene, calls: Sequence[Call]) -> Sequence[Call]:
        """READ what a goal may be about, knowing no more than the goal; the calls that are left for later."""
        tool, arguments = calls[0]
        spec = self.world.server.tools[tool]
        if spec.effect is Effect.READ and not arguments and len(calls) > 1 and scene.perform(calls[0]):
            return calls[1:]
        for slot in slots_of(spec):
            value = arguments.get(slot.name)
            wanted = slot.required and slot.kind in ("key", "text")
            if wanted and isinstance(value, str) and not scene.has_shown(value):
                scene.look_into(slot.entity, value)
        if not scene.made or scene.made[-1].turn != scene.turn:
            raise Dropped("nothing_to_look_up")
        return calls

    def _withhold(self, kind: str, spoken: Spoken, scene: Scene) -> frozenset[str]:
        """What is left open: everything if only the goal is named, else one required argument."""
        if kind == "look":
            return frozenset(spoken.said)
        required = [slot.name for slot in slots_of(self.world.server.tools[spoken.tool]) if slot.required]
        open_ = [name for name in required if name in spoken.said and name not in spoken.pronouns]
        if not open_:
            raise Dropped("nothing_to_withhold")
        return frozenset({scene.choose(open_)})

    def _said(self, query: Query, made: Sequence[Made], kind: Kind, rng: np.random.Generator) -> Said:
        return Said(self.teacher.write_query(query, rng), kind, self.teacher.write_reply(query, made, rng))
