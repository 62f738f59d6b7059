"""The exact planner: a shortest way to the goal for whoever knows where everything is.

It searches errands (fetch an object, treat it, put it down, light a lamp) instead of commands. An errand takes one
command, one more to walk there if the place is another, and one more to open a door that is in the way: so a shortest
list of errands, counted in commands, is a shortest list of commands. Objects that the goal does not ask for matter
only in the agent's hand.

State: place; what is held; where each wanted object is; which of them are treated; which doors were opened.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Final, NamedTuple

import numpy as np

from palaestra.envs.alfworld.game import Game
from palaestra.envs.alfworld.goal import Pattern
from palaestra.envs.alfworld.world import NOBODY, STATE_BITS, World

_IN_HAND, _AWAY = -1, -2
_EMPTY, _OTHER = -1, -2
"""What the hand holds if it is none of the wanted objects."""

WANTED_STATE: Final = {
    "pick_clean_then_place_in_recep": STATE_BITS["isclean"],
    "pick_heat_then_place_in_recep": STATE_BITS["ishot"],
    "pick_cool_then_place_in_recep": STATE_BITS["iscool"],
}
_TREATMENT: Final = {
    "pick_clean_then_place_in_recep": "clean",
    "pick_heat_then_place_in_recep": "heat",
    "pick_cool_then_place_in_recep": "cool",
}


class _State(NamedTuple):
    place: int
    hand: int
    where: tuple[int, ...]
    treated: frozenset[int]
    opened: frozenset[int]
    lit: bool


_Errand = tuple[list[str], _State]


def distance(world: World) -> float | None:
    """Commands to the goal; inf if it is out of reach; None if the goal is none of the six tasks."""
    if world.won():
        return 0
    if world.game.goal.pattern is None:
        return None
    found = _Search(world, world.game.goal.pattern, None).run()
    return math.inf if found is None else len(found)


def plan(world: World, rng: np.random.Generator | None = None) -> list[str] | None:
    """The commands of a shortest way (one of several drawn with `rng`); None if there is none or it is not known.

    Cost: a search over a few hundred states; below a millisecond in a small room, a few in a large one.
    """
    if world.won():
        return []
    pattern = world.game.goal.pattern
    return None if pattern is None else _Search(world, pattern, rng).run()


class _Search:
    """One search from the world as it stands; the world is only read."""

    def __init__(self, world: World, pattern: Pattern, rng: np.random.Generator | None) -> None:
        game = world.game
        self._world, self._game, self._rng = world, game, rng
        self._task = pattern.task_type
        self._wanted = [game.number[o] for o in pattern.objects if o in game.number]
        self._places = frozenset(game.number[r] for r in pattern.places if r in game.number)
        self._state_bit = WANTED_STATE.get(self._task, 0)
        self._lamps = self._lamp_homes(pattern) if self._task == "look_at_obj_in_light" else {}

    def _lamp_homes(self, pattern: Pattern) -> dict[int, int]:
        """Receptacle -> lamp in it, of the lamps that will do."""
        lamps = {self._game.number[o] for o in pattern.places if o in self._game.number}
        return {r: o for r, things in enumerate(self._world.inside) for o in things if o in lamps}

    def run(self) -> list[str] | None:
        """Dijkstra's search; None if nothing leads to the goal."""
        start = self._start()
        came: dict[_State, tuple[_State | None, list[str]]] = {start: (None, [])}
        costs = {start: 0}
        heap: list[tuple[int, float, int, _State]] = [(0, 0.0, 0, start)]
        pushed = 0
        while heap:
            cost, _, _, state = heappop(heap)
            if cost > costs[state]:
                continue
            if self._is_goal(state):
                return self._way(came, state)
            for commands, following in self._errands(state):
                total = cost + len(commands)
                if total < costs.get(following, math.inf):
                    costs[following] = total
                    came[following] = state, commands
                    pushed += 1
                    tie = 0.0 if self._rng is None else float(self._rng.random())
                    heappush(heap, (total, tie, pushed, following))
        return None

    def _way(self, came: dict[_State, tuple[_State | None, list[str]]], end: _State) -> list[str]:
        parts: list[list[str]] = []
        state: _State | None = end
        while state is not None:
            state, commands = came[state]
            parts.append(commands)
        return [command for part in reversed(parts) for command in part]

    def _start(self) -> _State:
        world, wanted = self._world, self._wanted
        places = {o: r for r, things in enumerate(world.inside) for o in things}
        hand = _EMPTY if world.held == NOBODY else wanted.index(world.held) if world.held in wanted else _OTHER
        where = tuple(_IN_HAND if o == world.held else places.get(o, _AWAY) for o in wanted)
        treated = frozenset(i for i, o in enumerate(wanted) if world.states[o] & self._state_bit == self._state_bit)
        return _State(world.place, hand, where, treated, frozenset(), lit=False)

    def _is_goal(self, state: _State) -> bool:
        if self._task == "look_at_obj_in_light":
            return state.lit
        placed = [r for i, r in enumerate(state.where) if r in self._places and i in state.treated]
        if self._task == "pick_two_obj_and_place":
            return len(placed) > len(set(placed))
        return bool(placed)

    def _errands(self, state: _State) -> Iterator[_Errand]:
        if state.hand == _EMPTY:
            for i, r in enumerate(state.where):
                if r >= 0:
                    yield from self._fetch(state, i, r)
        elif state.hand == _OTHER:
            yield from self._drop(state, self._world.held, None)
        else:
            yield from self._use(state, state.hand)

    def _use(self, state: _State, i: int) -> Iterator[_Errand]:
        """What one does with a wanted object in hand."""
        if self._task == "look_at_obj_in_light":
            for r, lamp in self._lamps.items():
                yield from self._light(state, r, lamp)
            return
        if i not in state.treated:
            for r, local in enumerate(self._game.moves.at_receptacle):
                if self._wanted[i] not in local.treat:
                    continue
                command, move = local.treat[self._wanted[i]]
                if move[0] == _TREATMENT[self._task]:
                    walk, there = self._walk(state, r, open_door=False)
                    yield [*walk, command], there._replace(treated=state.treated | {i})
            # Another object, treated already, may be nearer to its goal than this one: only then is it worth a step
            # to get rid of this one. An untreated one never is, for this one could be carried to its place.
            if state.treated:
                yield from self._drop(state, self._wanted[i], None)
        else:
            yield from self._drop(state, self._wanted[i], i)

    def _fetch(self, state: _State, i: int, r: int) -> Iterator[_Errand]:
        take = self._game.moves.at_receptacle[r].take
        if self._wanted[i] in take and self._game.home[r] >= 0:
            walk, there = self._walk(state, r, open_door=True)
            where = (*state.where[:i], _IN_HAND, *state.where[i + 1 :])
            yield [*walk, take[self._wanted[i]][0]], there._replace(hand=i, where=where)

    def _drop(self, state: _State, o: int, i: int | None) -> Iterator[_Errand]:
        """Put an object down: a wanted one (its number is i) where it belongs, another one anywhere."""
        for r, local in enumerate(self._game.moves.at_receptacle):
            if o not in local.put or self._game.home[r] < 0 or (i is not None and r not in self._places):
                continue
            walk, there = self._walk(state, r, open_door=True)
            mine = state.hand if i is None else i
            where = state.where
            if mine >= 0:
                where = (*where[:mine], r if i is not None else _AWAY, *where[mine + 1 :])
            yield [*walk, local.put[o][0]], there._replace(hand=_EMPTY, where=where)

    def _light(self, state: _State, r: int, lamp: int) -> Iterator[_Errand]:
        use = self._game.moves.at_receptacle[r].use.get(lamp)
        if use is not None and self._game.home[r] >= 0:
            walk, there = self._walk(state, r, open_door=False)
            on = self._world.states[lamp] & STATE_BITS["istoggled"]
            yield walk if on else [*walk, use[0]], there._replace(lit=True)

    def _walk(self, state: _State, r: int, *, open_door: bool) -> tuple[list[str], _State]:
        """The commands that bring the agent before a receptacle, its door open if wanted."""
        game, commands = self._game, []
        if game.home[r] != state.place:
            commands.append(go_command(game, r))
            state = state._replace(place=game.home[r])
        if open_door and game.openable[r] and not self._world.opened[r] and r not in state.opened:
            commands.append(game.moves.at_receptacle[r].open[0])
            state = state._replace(opened=state.opened | {r})
        return commands, state


def go_command(game: Game, r: int) -> str:
    """The command that goes to a receptacle."""
    return game.grammar.commands["gotolocation"].format(r=game.receptacles[r])
