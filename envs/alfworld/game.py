"""One game, compiled: everything about it that never changes, in the form the state machine reads fastest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, Self

from palaestra.envs.alfworld import sexpr
from palaestra.envs.alfworld.goal import Goal, compile_goal
from palaestra.envs.alfworld.grammar import Grammar
from palaestra.envs.alfworld.moves import About, AtReceptacle, Command, Moves
from palaestra.envs.alfworld.names import entity_names
from palaestra.envs.alfworld.problem import Problem
from palaestra.envs.core.errors import TaskError

TASK_TYPES: Final = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)
"""The six tasks, in the original's numbering from 1."""

LONGEST_OBSERVATION: Final = 8192
_STATE_NAMES: Final = ("ishot", "iscool", "isclean", "issliced", "istoggled")
_APPLIANCES: Final = {"microwavetype": "heat", "fridgetype": "cool", "sinkbasintype": "clean"}
_TREATABLE: Final = {"heat": "heatable", "cool": "coolable", "clean": "cleanable"}
_KNIVES: Final = ("knifetype", "butterknifetype")


@dataclass(frozen=True, slots=True)
class Start:
    """The state a game begins in; see `World` for the meaning."""

    place: int
    held: int
    opened: bytes
    states: bytes
    inside: tuple[tuple[int, ...], ...]
    lying: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Game:
    """A game ready to be played; immutable and shared by all who play it.

    Attributes:
        task_id: "alf-" and 12 hex digits of what the game is (problem and goal sentence), the same in every process.
        task_type: one of `TASK_TYPES`, or what the file calls it.
        split, file: where the game belongs, and its path as `info` names it.
        receptacles, objects: names by number.
        a_object: names of objects with their article.
        room: names of all receptacles with their article, as the first look lists them.
        receptacle_types, object_types: per number, e.g. "cabinettype"; "" if the file does not say.
        openable: per receptacle.
        home: location of every receptacle, -1 if it has none.
        here: per location, the receptacles there, in order.
        number: id -> number, of receptacles, objects and locations.
        knives, sliceable, toggleable: objects by number.
        contents: names of what a receptacle object holds, by its number.
        moves: the commands.
    """

    task_id: str
    task_type: str
    split: str
    file: str
    grammar: Grammar
    problem: Problem
    goal: Goal
    receptacles: tuple[str, ...]
    objects: tuple[str, ...]
    a_object: tuple[str, ...]
    room: tuple[str, ...]
    receptacle_types: tuple[str, ...]
    object_types: tuple[str, ...]
    openable: tuple[bool, ...]
    home: tuple[int, ...]
    here: tuple[tuple[int, ...], ...]
    number: Mapping[str, int]
    knives: frozenset[int]
    sliceable: tuple[int, ...]
    toggleable: frozenset[int]
    contents: Mapping[int, tuple[str, ...]]
    moves: Moves
    start: Start

    def __deepcopy__(self, memo: Mapping[int, object]) -> Self:
        return self


def compile_game(problem: Problem, grammar: Grammar, *, split: str, file: str, task_type: str = "") -> Game:
    """Compile a game; cost grows with objects times receptacles.

    Raises: TaskError "bad_game" if the state machine cannot keep track of it (no agent, two hands full, a receptacle
        at two places, texts above `LONGEST_OBSERVATION`); "bad_goal".
    """
    return _Compiler(problem, grammar).game(split, file, task_type)


class _Compiler:
    """Reads a problem's facts into tables by number."""

    def __init__(self, problem: Problem, grammar: Grammar) -> None:
        self._problem = problem
        self._grammar = grammar
        self._facts: dict[str, list[tuple[str, ...]]] = {}
        for fact in problem.facts:
            self._facts.setdefault(fact[0], []).append(fact[1:])
        self._names = entity_names(name for fact in problem.facts for name in fact[1:])
        self._receptacles = self._of_type("receptacle")
        self._objects = self._of_type("object")
        self._locations = self._of_type("location")
        self._number = {
            entity: i for group in (self._receptacles, self._objects, self._locations) for i, entity in enumerate(group)
        }
        self._receptacle_types = dict(self._pairs("receptacletype"))
        self._object_types = dict(self._pairs("objecttype"))
        self._openable = self._having("openable")
        self._object_names = tuple(self._names[o] for o in self._objects)
        self._templates = grammar.commands
        self._pickupable, self._toggleable = self._able("pickupable"), self._able("toggleable")
        self._fitting = self._fits()
        self._home = self._homes()
        self._here = [
            tuple(self._number[r] for r in self._receptacles if self._home.get(r) == place) for place in self._locations
        ]

    def game(self, split: str, file: str, task_type: str) -> Game:
        """Put it all together."""
        names, goal = self._names, compile_goal(self._problem)
        known = goal.pattern.task_type if goal.pattern else task_type
        text = f"{sexpr.write(self._problem.goal)}\n{sorted(self._problem.facts)}\n{self._grammar.task}"
        things = self._pairs("inreceptacleobject")
        game = Game(
            task_id=f"alf-{blake2b(text.encode(), digest_size=6).hexdigest()}",
            task_type=known or "unknown",
            split=split,
            file=file,
            grammar=self._grammar,
            problem=self._problem,
            goal=goal,
            receptacles=tuple(names[r] for r in self._receptacles),
            objects=self._object_names,
            a_object=tuple(f"a {names[o]}" for o in self._objects),
            room=tuple(f"a {names[r]}" for r, _ in sorted(self._pairs("receptacleatlocation"))),
            receptacle_types=tuple(self._receptacle_types.get(r, "") for r in self._receptacles),
            object_types=tuple(self._object_types.get(o, "") for o in self._objects),
            openable=tuple(r in self._openable for r in self._receptacles),
            home=tuple(self._number[self._home[r]] if r in self._home else -1 for r in self._receptacles),
            here=tuple(self._here),
            number=self._number,
            knives=frozenset(i for i, o in enumerate(self._objects) if self._object_types.get(o) in _KNIVES),
            sliceable=self._numbers("sliceable"),
            toggleable=self._toggleable,
            contents={
                self._number[o]: tuple(f"a {names[inner]}" for inner, outer in sorted(things) if outer == o)
                for (o,) in self._facts.get("isreceptacleobject", ())
            },
            moves=self._moves(),
            start=self._start(),
        )
        _refuse_long(game)
        return game

    # -- facts -----------------------------------------------------------------------------------------------------

    def _of_type(self, kind: str) -> list[str]:
        """Ids of this type that facts mention, in order."""
        return [name for name in self._names if self._problem.types[name] == kind]

    def _pairs(self, predicate: str) -> list[tuple[str, str]]:
        return [(fact[0], fact[1]) for fact in self._facts.get(predicate, ())]

    def _having(self, predicate: str) -> frozenset[str]:
        return frozenset(fact[0] for fact in self._facts.get(predicate, ()))

    def _numbers(self, predicate: str) -> tuple[int, ...]:
        having = self._having(predicate)
        return tuple(i for i, o in enumerate(self._objects) if o in having)

    def _homes(self) -> dict[str, str]:
        homes: dict[str, str] = {}
        for r, place in self._pairs("receptacleatlocation"):
            if homes.setdefault(r, place) != place:
                raise TaskError("bad_game", f"{r} is at {homes[r]} and at {place}; a receptacle has one location")
        return homes

    def _start(self) -> Start:
        places = self._pairs("atlocation")
        if len(places) != 1:
            raise TaskError("bad_game", f"{len(places)} facts say where the agent is; expected one (atLocation)")
        held = self._pairs("holds")
        if len(held) > 1 or bool(held) != bool(self._facts.get("holdsany")):
            raise TaskError(
                "bad_game", f"the agent holds {len(held)} objects, which holdsAny contradicts; expected one"
            )
        states = bytearray(len(self._objects))
        for bit, predicate in enumerate(_STATE_NAMES):
            for o in self._numbers(predicate):
                states[o] |= 1 << bit
        inside: list[list[int]] = [[] for _ in self._receptacles]
        for thing, r in sorted(self._pairs("inreceptacle")):
            inside[self._number[r]].append(self._number[thing])
        lying = [0] * len(self._objects)
        for thing, place in self._pairs("objectatlocation"):
            lying[self._number[thing]] |= 1 << self._number[place]
        opened = self._having("opened")
        return Start(
            place=self._number[places[0][1]],
            held=self._number[held[0][1]] if held else -1,
            opened=bytes(r in opened for r in self._receptacles),
            states=bytes(states),
            inside=tuple(map(tuple, inside)),
            lying=tuple(lying),
        )

    # -- commands --------------------------------------------------------------------------------------------------

    def _moves(self) -> Moves:
        templates, names = self._templates, self._names
        always = {templates[verb]: (verb, -1, -1) for verb in ("look", "inventory", "help")}
        go = {
            r: (templates["gotolocation"].format(r=names[r]), ("go", self._number[self._home[r]], self._number[r]))
            for r in self._receptacles
            if r in self._home
        }
        anywhere = [
            always | dict(command for r, command in go.items() if self._home[r] != place) for place in self._locations
        ]
        examine: list[Command] = [
            (templates["examineobject"].format(o=names[o]), ("examine_object", i, -1))
            for i, o in enumerate(self._objects)
        ]

        objects = self._object_names

        def slice_command(o: int, knife: int) -> Command:
            return templates["sliceobject"].format(co=objects[o], ko=objects[knife]), ("slice", o, knife)

        return Moves(anywhere, [self._at(r) for r in self._receptacles], examine, slice_command)

    def _at(self, r: str) -> AtReceptacle:
        name, number, kind = self._names[r], self._number[r], self._receptacle_types.get(r, "")
        treatment = _APPLIANCES.get(kind, "")
        treatable = self._able(_TREATABLE[treatment]) if treatment else frozenset[int]()
        return AtReceptacle(
            examine=(self._templates["examinereceptacle"].format(r=name), ("examine_receptacle", number, -1)),
            open=(self._templates["openobject"].format(r=name), ("open", number, -1)),
            close=(self._templates["closeobject"].format(r=name), ("close", number, -1)),
            take=self._about("pickupobject", "take", r, self._pickupable),
            put=self._about("putobject", "put", r, self._fitting.get(kind, frozenset())),
            treat=self._about(f"{treatment}object", treatment, r, treatable),
            use=self._about("toggleobject", "use", r, self._toggleable),
        )

    def _able(self, predicate: str) -> frozenset[int]:
        return frozenset(self._numbers(predicate))

    def _fits(self) -> dict[str, frozenset[int]]:
        """Receptacle type -> objects that may be put into it."""
        fitting: dict[str, set[str]] = {}
        for home, kind in self._pairs("cancontain"):
            fitting.setdefault(home, set()).add(kind)
        kinds = [self._object_types.get(o) for o in self._objects]
        return {home: frozenset(i for i, kind in enumerate(kinds) if kind in fits) for home, fits in fitting.items()}

    def _about(self, action: str, verb: str, r: str, objects: frozenset[int]) -> About:
        # What the closure holds on to is what it needs, not the compiler with all its tables.
        names, template, name = self._object_names, self._templates.get(action, ""), self._names[r]
        number = -1 if verb == "use" else self._number[r]
        return About(objects, lambda o: (template.format(o=names[o], r=name), (verb, o, number)))


def _refuse_long(game: Game) -> None:
    """No observation may be longer than the space promises: neither the first nor a view of everything at once."""
    names: tuple[Any, ...] = (*game.a_object, *game.room, game.grammar.task)
    wordings = max(len(text) for texts in game.grammar.replies.values() for text in texts)
    longest = sum(len(name) + len(", and ") for name in names) + 2 * wordings
    if longest > LONGEST_OBSERVATION:
        message = f"{game.file}: texts may grow to {longest} characters; at most {LONGEST_OBSERVATION} are supported"
        raise TaskError("bad_game", message)
