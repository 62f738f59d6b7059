"""The exploring expert: plays by what it has seen, as an agent has to.

It looks for the object of its errand in the likely places first (where such things fit), one after another in the
order in which the room lists them; then treats it, and takes it where it belongs. Not a shortest way, but one that
can be learned from: every step depends on what was seen before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from palaestra.envs.alfworld.goal import Pattern
from palaestra.envs.alfworld.moves import Move
from palaestra.envs.alfworld.planner import WANTED_STATE, go_command
from palaestra.envs.alfworld.world import NOBODY, STATE_BITS, World

LONGEST_WAY: Final = 200


def explore(world: World, seen: Iterable[int]) -> list[str] | None:
    """The commands of the expert from here until the goal is reached; None if it does not find a way.

    Args:
        world: left as it is.
        seen: numbers of the receptacles whose content the agent has seen.

    Cost: linear in the commands, each with a look at every receptacle.
    """
    if world.game.goal.pattern is None:
        return [] if world.won() else None
    expert = _Explorer(world.copy(), world.game.goal.pattern, set(seen))
    commands: list[str] = []
    while not expert.world.won():
        command = expert.choose()
        move = expert.world.moves().get(command or "")
        if command is None or move is None or len(commands) >= LONGEST_WAY:
            return None
        expert.world.apply(move)
        note_seen(expert.world, move, expert.seen)
        commands.append(command)
    return commands


def note_seen(world: World, move: Move, seen: set[int]) -> None:
    """Add the receptacle whose content the move, just carried out, has shown."""
    verb, first, second = move
    r = {"go": second, "open": first, "examine_receptacle": first}.get(verb, NOBODY)
    if r != NOBODY and (world.opened[r] or not world.game.openable[r]):
        seen.add(r)


class _Explorer:
    def __init__(self, world: World, pattern: Pattern, seen: set[int]) -> None:
        number = world.game.number
        self.world = world
        self.seen = seen
        self._game = world.game
        self._task = pattern.task_type
        self._wanted = [number[o] for o in pattern.objects if o in number]
        self._places = [number[entity] for entity in pattern.places if entity in number]

    def choose(self) -> str | None:
        """The next command; None if there is nothing left to try."""
        held = self.world.held
        if held == NOBODY:
            return self._fetch()
        if held not in self._wanted:
            return self._put(held, range(len(self._game.home)))
        bit = WANTED_STATE.get(self._task, 0)
        if self.world.states[held] & bit != bit:
            return self._treat(held)
        if self._task == "look_at_obj_in_light":
            return self._light()
        return self._put(held, self._destinations())

    def _fetch(self) -> str | None:
        """Take a wanted object whose whereabouts are known, or look for one."""
        done = self._placed()
        for r in sorted(self.seen):
            for o in self.world.inside[r]:
                take = self._game.moves.at_receptacle[r].take.get(o)
                if o in self._wanted and o not in done and take is not None:
                    return self._before(r) or take[0]
        return self._search(self._wanted)

    def _placed(self) -> set[int]:
        """Wanted objects that are where they belong, as far as has been seen."""
        if self._task == "pick_two_obj_and_place":
            return {o for o in self._wanted for r in self._places if r in self.seen and o in self.world.inside[r]}
        return set()

    def _destinations(self) -> list[int]:
        """Where to put what is held: where the first of two lies already, or anywhere that will do."""
        done = self._placed()
        begun = [r for r in self._places if r in self.seen and done.intersection(self.world.inside[r])]
        return begun or self._places

    def _put(self, o: int, places: Iterable[int]) -> str | None:
        """Put it down, here if possible."""
        at = self._game.moves.at_receptacle
        fitting = [r for r in places if o in at[r].put and self._game.home[r] >= 0]
        if not fitting:
            return None
        here = [r for r in fitting if self._game.home[r] == self.world.place]
        r = (here or fitting)[0]
        return self._before(r) or at[r].put[o][0]

    def _treat(self, o: int) -> str | None:
        for r, local in enumerate(self._game.moves.at_receptacle):
            if o in local.treat and self._treats(local.treat[o][1][0]) and self._game.home[r] >= 0:
                return self._before(r, open_door=False) or local.treat[o][0]
        return None

    def _treats(self, verb: str) -> bool:
        return f"pick_{verb}_then_place_in_recep" == self._task

    def _light(self) -> str | None:
        """Light the lamp, or look for it."""
        for r in sorted(self.seen):
            for o in self.world.inside[r]:
                if o in self._places:
                    on = self.world.states[o] & STATE_BITS["istoggled"]
                    walk = self._before(r, open_door=False)
                    return walk if on or walk else self._game.moves.at_receptacle[r].use[o][0]
        return self._search([])

    def _search(self, wanted: Iterable[int]) -> str | None:
        """See the content of the next receptacle: here, then where a wanted object would fit, then anywhere."""
        at, home = self._game.moves.at_receptacle, self._game.home
        unseen = [r for r in range(len(home)) if r not in self.seen and home[r] >= 0]
        kinds = {self._game.object_types[o] for o in wanted}
        likely = [r for r in unseen if any(self._game.object_types[o] in kinds for o in at[r].put)]
        here = [r for r in unseen if home[r] == self.world.place]
        for r in (*here, *likely, *unseen):
            return self._before(r) or at[r].examine[0]
        return None

    def _before(self, r: int, *, open_door: bool = True) -> str | None:
        """The command that brings the agent nearer to a receptacle with its door open; None if it stands there."""
        if self._game.home[r] != self.world.place:
            return go_command(self._game, r)
        if open_door and self._game.openable[r] and not self.world.opened[r]:
            return self._game.moves.at_receptacle[r].open[0]
        return None
