"""Games made by us: a layout, things laid out in it, and one of the six tasks; a pure function of split and number.

Which split a game may appear in is a function of what it is (of its layout, then of its content), so nothing that is
trained on can ever be tested on, whatever seeds are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Literal

import numpy as np

from palaestra.envs.alfworld import sexpr
from palaestra.envs.alfworld.game import TASK_TYPES
from palaestra.envs.alfworld.household import Size, household
from palaestra.envs.alfworld.layouts import Layout, coordinates, make_layout
from palaestra.envs.alfworld.problem import Fact, Problem
from palaestra.envs.core.errors import TaskError
from palaestra.envs.core.seeding import stream

Split = Literal["train", "valid_seen", "valid_unseen"]
SPLITS: Final[tuple[Split, ...]] = ("train", "valid_seen", "valid_unseen")

_VALID_OF: Final = 5
"""One game in so many on a seen layout is a valid_seen one."""
_ATTEMPTS: Final = 512
_OBJECTS: Final[dict[Size, tuple[int, int]]] = {"full": (10, 30), "small": (4, 8)}
_STATE_OF: Final = {
    "pick_clean_then_place_in_recep": ("cleanable", "isclean"),
    "pick_heat_then_place_in_recep": ("heatable", "ishot"),
    "pick_cool_then_place_in_recep": ("coolable", "iscool"),
}
_SENTENCES: Final = {
    "pick_and_place_simple": ("put a {o} in {r}", "put some {o} on {r}"),
    "look_at_obj_in_light": ("look at {o} under the {r}", "examine the {o} with the {r}"),
    "pick_clean_then_place_in_recep": ("put a clean {o} in {r}", "clean some {o} and put it in {r}"),
    "pick_heat_then_place_in_recep": ("put a hot {o} in {r}", "heat some {o} and put it in {r}"),
    "pick_cool_then_place_in_recep": ("put a cool {o} in {r}", "cool some {o} and put it in {r}"),
    "pick_two_obj_and_place": ("put two {o} in {r}", "find two {o} and put them in {r}"),
}


@dataclass(frozen=True, slots=True)
class Household:
    """A game as made: what the files of a game are written from.

    Attributes:
        layout: the room.
        task_type, target, place, sentence: the task, the type it is about, the receptacle or lamp type, in words.
        problem: entities, facts and goal; ids keep their capitals until they are read.
    """

    layout: Layout
    task_type: str
    target: str
    place: str
    sentence: str
    problem: Problem

    @property
    def key(self) -> str:
        """16 hex digits of layout, placement and goal."""
        text = f"{self.layout.key}\n{sorted(self.problem.facts)}\n{sexpr.write(self.problem.goal)}"
        return blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def split(self) -> Split:
        """The only split the game may appear in."""
        if self.layout.unseen:
            return "valid_unseen"
        return "valid_seen" if int(self.key, 16) % _VALID_OF == 0 else "train"


def make_household(
    split: Split,
    number: int,
    *,
    size: Size = "full",
    layouts: int = 240,
    tasks: Sequence[str] = TASK_TYPES,
    fixed: Layout | None = None,
) -> Household:
    """Game `number` of a split.

    Args:
        split: train and valid_seen share their layouts; those of valid_unseen are others.
        number: any whole number from 0.
        size: "full", 8 to 24 receptacles and 10 to 30 objects; "small", 4 to 9 and 4 to 8 (and 2 for a lamp's room).
        layouts: how many layouts of every kind of room are in use.
        tasks: task types to choose from.
        fixed: the layout to use instead of drawing one.

    Raises: TaskError "no_game" if none is found; cost: a few draws (about seven for valid_seen).
    """
    unseen = split == "valid_unseen"
    for attempt in range(_ATTEMPTS):
        rng = stream(number, "household", split, size, layouts, attempt)
        task = tasks[int(rng.integers(len(tasks)))]
        rooms = rooms_for(task)
        drawn = rooms[int(rng.integers(len(rooms)))], int(rng.integers(layouts))
        layout = make_layout(*drawn, size, unseen=unseen) if fixed is None else fixed
        made = _Furnisher(layout, task, size, rng).make()
        if made is not None and made.split == split:
            return made
    raise TaskError("no_game", f"{_ATTEMPTS} draws gave no {size} game {number} of {split} with tasks {list(tasks)}")


def rooms_for(task: str) -> list[str]:
    """The kinds of room in which a task is asked."""
    return [kind for kind, room in household().rooms.items() if task in room.tasks]


class _Furnisher:
    """Lays things out in a layout for one task."""

    def __init__(self, layout: Layout, task: str, size: Size, rng: np.random.Generator) -> None:
        self._layout = layout
        self._task = task
        self._rng = rng
        self._count = int(rng.integers(_OBJECTS[size][0], _OBJECTS[size][1] + 1))
        self._tables = household()
        self._kinds = {kind for kind, _ in layout.receptacles.values()}
        self._inside: dict[str, str] = {}
        self._types: dict[str, str] = {}

    def make(self) -> Household | None:
        """The game, or None where the room does not allow the task."""
        lamp = self._set_lamp() if self._task == "look_at_obj_in_light" else ""
        targets = [] if self._task == "look_at_obj_in_light" and not lamp else self._targets()
        if not targets:
            return None
        target = targets[int(self._rng.integers(len(targets)))]
        places = [lamp] if lamp else self._places(target)
        place = places[int(self._rng.integers(len(places)))]
        if not self._lay_out(target, place):
            return None
        sentences = _SENTENCES[self._task]
        sentence = sentences[int(self._rng.integers(2))].format(o=target.lower(), r=place.lower())
        problem = self._problem(_goal(self._task, target, place))
        return Household(self._layout, self._task, target, place, sentence, problem)

    def _homes(self, kind: str) -> list[str]:
        """Receptacle types of this room that take an object of this type."""
        return [home for home in self._tables.fits[kind] if home in self._kinds]

    def _places(self, kind: str) -> list[str]:
        """Where an object of this type may be asked to be put: wherever it fits, if it can be elsewhere at first."""
        homes = self._homes(kind)
        return homes if len(homes) > 1 else []

    def _targets(self) -> list[str]:
        kinds: Iterator[str] = iter(self._tables.rooms[self._layout.room].objects)
        if self._task in _STATE_OF:
            able = self._tables.properties[_STATE_OF[self._task][0]]
            kinds = (kind for kind in kinds if kind in able)
        return [kind for kind in kinds if self._places(kind)]

    def _set_lamp(self) -> str:
        """Put up a lamp of one kind; "" if there is nothing here to stand it on."""
        lamps = [lamp for lamp, homes in self._tables.lamps.items() if self._kinds.intersection(homes)]
        if not lamps:
            return ""
        lamp = lamps[int(self._rng.integers(len(lamps)))]
        self._put(lamp, [home for home in self._tables.lamps[lamp] if home in self._kinds])
        return lamp

    def _lay_out(self, target: str, place: str) -> bool:
        """Targets anywhere but where they shall go, then whatever else lies about; False if nothing fits."""
        elsewhere = [home for home in self._homes(target) if home != place]
        if not elsewhere:
            return False
        fewest = 2 if self._task == "pick_two_obj_and_place" else 1
        for _ in range(int(self._rng.integers(fewest, 4))):
            self._put(target, elsewhere)
        others = [
            kind for kind in self._tables.rooms[self._layout.room].objects if kind != target and self._homes(kind)
        ]
        while others and len(self._inside) < self._count:
            kind = others[int(self._rng.integers(len(others)))]
            self._put(kind, self._homes(kind))
        return True

    def _put(self, kind: str, homes: Sequence[str]) -> None:
        home = homes[int(self._rng.integers(len(homes)))]
        standing = [name for name, (found, _) in self._layout.receptacles.items() if found == home]
        name = f"{kind}_bar_{coordinates(self._rng)}"
        while name in self._inside:
            name = f"{kind}_bar_{coordinates(self._rng)}"
        self._inside[name] = standing[int(self._rng.integers(len(standing)))]
        self._types[name] = kind

    def _problem(self, goal: sexpr.Expr) -> Problem:
        layout = self._layout
        locations = [f"loc_bar_{place}_bar_{place % 4}_bar_{60 - place % 3 * 15}" for place in range(layout.places + 1)]
        types = {"agent1": "agent"} | dict.fromkeys(locations, "location")
        types |= {f"{kind}type": "otype" for kind in (*self._tables.fits, *self._tables.lamps)}
        types |= {f"{kind}type": "rtype" for room in self._tables.rooms.values() for kind in room.receptacles["full"]}
        types |= dict.fromkeys(layout.receptacles, "receptacle") | dict.fromkeys(self._inside, "object")
        facts = dict.fromkeys(self._facts(locations))
        low = {name.lower(): kind for name, kind in types.items()}
        return Problem(low, tuple(tuple(word.lower() for word in fact) for fact in facts), goal)

    def _facts(self, locations: Sequence[str]) -> Iterator[Fact]:
        tables, layout = self._tables, self._layout
        yield ("atlocation", "agent1", locations[-1])
        for name, (kind, place) in layout.receptacles.items():
            yield ("receptacletype", name, f"{kind}type")
            yield ("receptacleatlocation", name, locations[place])
            if kind in tables.openable:
                yield ("openable", name)
                if self._rng.random() < tables.open_at_start:
                    yield ("opened", name)
        for name, home in self._inside.items():
            kind = self._types[name]
            yield ("objecttype", name, f"{kind}type")
            yield ("inreceptacle", name, home)
            yield ("wasinreceptacle", name, home)
            yield ("objectatlocation", name, locations[layout.receptacles[home][1]])
            yield ("toggleable" if kind in tables.lamps else "pickupable", name)
            for predicate, kinds in tables.properties.items():
                if kind in kinds:
                    yield (predicate, name)
        for kind in sorted(set(self._types.values()) - tables.lamps.keys()):
            for home in self._homes(kind):
                yield ("cancontain", f"{home}type", f"{kind}type")


def _goal(task: str, target: str, place: str) -> sexpr.Expr:
    """The goal in the form the original's files have it."""
    thing, home = f"{target}type".lower(), f"{place}type".lower()
    if task == "look_at_obj_in_light":
        lit = (
            f"(exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and (objectType ?ot {home})"
            " (toggleable ?ot) (isToggled ?ot) (receptacleAtLocation ?r ?l) (atLocation ?a ?l) (inReceptacle ?ot ?r)))"
        )
        held = f"(exists (?o - object ?a - agent) (and (objectType ?o {thing}) (holds ?a ?o)))"
        return sexpr.parse(f"(and {lit} {held})", "goal")
    first = f"(objectType ?o {thing}) (receptacleType ?r {home}) (inReceptacle ?o ?r)"
    more = ""
    if task in _STATE_OF:
        more = "".join(f" ({predicate} ?o)" for predicate in _STATE_OF[task])
    elif task == "pick_two_obj_and_place":
        second = first.replace("?o ", "?o2 ")
        more = f" (exists (?o2 - object) (and (not (= ?o ?o2)) {second}))"
    return sexpr.parse(f"(and (exists (?r - receptacle) (exists (?o - object) (and {first}{more}))))", "goal")
