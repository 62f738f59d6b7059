"""The household's state machine: which commands a state admits, what they change, and what is said.

>>> from palaestra.envs.alfworld.sources import EmbeddedGames
>>> world = World(EmbeddedGames().at("train", 0))
>>> world.act("open the pod bay doors")
'Nothing happens.'
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, Final, Self

from palaestra.envs.alfworld.game import Game
from palaestra.envs.alfworld.moves import Move
from palaestra.envs.alfworld.problem import Fact

NOTHING_HAPPENS: Final = "Nothing happens."

HOT, COOL, CLEAN, SLICED, TOGGLED = 1, 2, 4, 8, 16
STATE_BITS: Final = {"ishot": HOT, "iscool": COOL, "isclean": CLEAN, "issliced": SLICED, "istoggled": TOGGLED}
NOBODY: Final = -1
_UNKNOWN: Final = -2

# What is said of an object, by the order of the rule "examineObject.feedback"; tried from the top, after containers.
_LOOKS: Final = (
    (CLEAN | HOT | SLICED, 1), (CLEAN | COOL | SLICED, 2), (CLEAN | SLICED, 3), (HOT | SLICED, 4), (COOL | SLICED, 5),
    (CLEAN | HOT, 6), (CLEAN | COOL, 7), (HOT, 8), (CLEAN, 9), (COOL, 10),
)  # fmt: skip


class World:
    """One household while it is lived in. Receptacles, objects and locations are numbers in the order of their ids.

    Attributes:
        game: what never changes.
        place: the agent's location.
        held: the object in its hand, or NOBODY.
        opened: a byte per receptacle, 1 if it is open.
        states: a byte per object, the sum of its state bits.
        inside: per receptacle, the objects in it, in order.
        lying: per object, the set of locations it is said to be at, as bits; a start may say otherwise than `inside`.
        taken: (object, receptacle) once taken out and not put back: the original lists these in a strange place.
    """

    __slots__ = ("game", "held", "inside", "lying", "opened", "place", "states", "taken")

    def __init__(self, game: Game) -> None:
        self.game = game
        start = game.start
        self.place = start.place
        self.held = start.held
        self.opened = bytearray(start.opened)
        self.states = bytearray(start.states)
        self.inside = [list(things) for things in start.inside]
        self.lying = list(start.lying)
        self.taken: set[tuple[int, int]] = set()

    def copy(self) -> Self:
        """Another world in the same state."""
        twin = type(self)(self.game)
        twin.place, twin.held = self.place, self.held
        twin.opened, twin.states, twin.lying = self.opened[:], self.states[:], self.lying[:]
        twin.inside = [things[:] for things in self.inside]
        twin.taken = set(self.taken)
        return twin

    # -- what can be done ------------------------------------------------------------------------------------------

    def moves(self) -> dict[str, Move]:
        """The admissible commands and what each does; the order is not significant."""
        game, held = self.game, self.held
        legal = dict(game.moves.anywhere[self.place])
        for r in game.here[self.place]:
            local = game.moves.at_receptacle[r]
            legal[local.examine[0]] = local.examine[1]
            things = self.inside[r]
            if game.openable[r]:
                command, move = local.close if self.opened[r] else local.open
                legal[command] = move
            if not game.openable[r] or self.opened[r]:
                if held == NOBODY:
                    legal.update([local.take[o] for o in things if o in local.take])
                elif held in local.put:
                    command, move = local.put[held]
                    legal[command] = move
            if held in local.treat:
                command, move = local.treat[held]
                legal[command] = move
            if local.has_switches:
                legal.update([local.use[o] for o in things if o in local.use])
        if held != NOBODY:
            command, move = game.moves.examine[held]
            legal[command] = move
            if held in game.knives:
                legal.update([game.moves.slice(o, held) for o in game.sliceable if self.lying[o] >> self.place & 1])
        return legal

    def act(self, command: str) -> str:
        """Carry a command out if it is admissible (blanks around it aside), and say what happened."""
        move = self.moves().get(command.strip())
        return NOTHING_HAPPENS if move is None else self.apply(move)

    def apply(self, move: Move) -> str:
        """Carry an admissible move out."""
        verb, first, second = move
        return _VERBS[verb](self, first, second)

    def won(self) -> bool:
        """Whether the goal holds."""
        return self.game.goal.reached(self)

    # -- what is said ----------------------------------------------------------------------------------------------

    def intro(self) -> str:
        """The first observation."""
        grammar = self.game.grammar
        if self.game.here[self.place]:
            look = self._look_around()
        else:
            look = grammar.replies["look.feedback"][1].format(things=grammar.listing(list(self.game.room)))
        return grammar.replies["intro"][0].format(look=look, task=grammar.task)

    def look(self) -> str:
        """What one sees from here. Away from every receptacle the original lists nothing, and so do we."""
        if self.game.here[self.place]:
            return self._look_around()
        grammar = self.game.grammar
        return grammar.replies["look.feedback"][1].format(things=grammar.listing([]))

    def _look_around(self) -> str:
        grammar, game = self.game.grammar, self.game
        names = grammar.listing([game.receptacles[r] for r in game.here[self.place]])
        # Objects lying here count once for every other receptacle here that they were once taken from.
        floor = sorted((o, r) for o, r in self.taken if game.home[r] == self.place and self.lying[o] >> self.place & 1)
        things = grammar.listing([game.a_object[o] for o, _ in floor]) if floor else grammar.listing([])
        facing = grammar.replies["look-variations"][0].format(things=names)
        return grammar.replies["look.feedback"][0].format(facing=facing, things=things)

    def view(self, r: int) -> str:
        """What a receptacle looks like."""
        game = self.game
        form = 2 if not game.openable[r] else 0 if self.opened[r] else 1
        things = "" if form == 1 else game.grammar.listing([game.a_object[o] for o in self.inside[r]])
        return game.grammar.replies["examineReceptacle.feedback"][form].format(r=game.receptacles[r], things=things)

    def describe(self, o: int) -> str:
        """What an object looks like."""
        game, states = self.game, self.states[o]
        replies = game.grammar.replies["examineObject.feedback"]
        if o in game.contents:
            return replies[0].format(o=game.objects[o], things=game.grammar.listing(list(game.contents[o])))
        for bits, number in _LOOKS:
            if states & bits == bits:
                return replies[number].format(o=game.objects[o])
        if states & TOGGLED and o in game.toggleable:
            return replies[11].format(o=game.objects[o])
        return replies[13 if states & SLICED and o in game.sliceable else 14].format(o=game.objects[o])

    # -- the state as data -----------------------------------------------------------------------------------------

    def holds_fact(self, fact: Fact) -> bool:
        """Whether one of the facts that change holds now; none does of an entity that no fact of the start mentions."""
        name = fact[0]
        first, last = (self.game.number.get(word, _UNKNOWN) for word in (fact[1], fact[-1]))
        if name in ("holds", "holdsany"):
            return self.held == last if name == "holds" else self.held != NOBODY
        if name == "atlocation":
            return self.place == last
        if _UNKNOWN in (first, last):
            return False
        if name == "inreceptacle":
            return first in self.inside[last]
        if name == "objectatlocation":
            return bool(self.lying[first] >> last & 1)
        return bool(self.opened[first] if name == "opened" else self.states[first] & STATE_BITS[name])

    def key(self) -> str:
        """16 hex digits of the state."""
        state = (
            self.place, self.held, self.opened, self.states, self.inside, self.lying, sorted(self.taken)
        )  # fmt: skip
        return blake2b(repr(state).encode(), digest_size=8).hexdigest()

    def dump(self) -> dict[str, Any]:
        """The state as JSON-ready data."""
        return {
            "place": self.place, "held": self.held, "opened": self.opened.hex(), "states": self.states.hex(),
            "inside": [list(things) for things in self.inside], "lying": list(self.lying),
            "taken": sorted(map(list, self.taken)),
        }  # fmt: skip

    def load(self, state: Mapping[str, Any]) -> None:
        """Take on a dumped state of the same game. Raises: KeyError, TypeError, ValueError for anything else."""
        opened, states = bytearray.fromhex(state["opened"]), bytearray.fromhex(state["states"])
        inside = [[int(o) for o in things] for things in state["inside"]]
        lying = [int(bits) for bits in state["lying"]]
        sizes = len(opened), len(states), len(inside), len(lying)
        if sizes != (len(self.opened), len(self.states), len(self.inside), len(self.lying)):
            raise ValueError(f"a state of {sizes} receptacles and objects does not fit this game")
        self.place, self.held = int(state["place"]), int(state["held"])
        self.opened, self.states, self.inside, self.lying = opened, states, inside, lying
        self.taken = {(int(o), int(r)) for o, r in state["taken"]}

    # -- effects ---------------------------------------------------------------------------------------------------

    def _go(self, place: int, r: int) -> str:
        self.place = place
        return self._say("GotoLocation.feedback", r=r, view=True)

    def _open(self, r: int, _: int) -> str:
        self.opened[r] = 1
        return self._say("OpenObject.feedback", r=r, view=True)

    def _close(self, r: int, _: int) -> str:
        self.opened[r] = 0
        return self._say("CloseObject.feedback", r=r)

    def _take(self, o: int, r: int) -> str:
        self.inside[r].remove(o)
        self.held = o
        self.lying[o] &= ~(1 << self.place)
        self.taken.add((o, r))
        return self._say("PickupObject.feedback", o=o, r=r)

    def _put(self, o: int, r: int) -> str:
        if o not in self.inside[r]:
            insort(self.inside[r], o)
        self.held = NOBODY
        self.lying[o] |= 1 << self.place
        self.taken.discard((o, r))
        return self._say("PutObject.feedback", o=o, r=r)

    def _use(self, o: int, _: int) -> str:
        self.states[o] |= TOGGLED
        return self._say("toggleObject.feedback", o=o)

    def _heat(self, o: int, r: int) -> str:
        self.states[o] = self.states[o] & ~COOL | HOT
        return self._say("heatObject.feedback", o=o, r=r)

    def _cool(self, o: int, r: int) -> str:
        self.states[o] = self.states[o] & ~HOT | COOL
        return self._say("coolObject.feedback", o=o, r=r)

    def _clean(self, o: int, r: int) -> str:
        self.states[o] |= CLEAN
        return self._say("cleanObject.feedback", o=o, r=r)

    def _slice(self, o: int, knife: int) -> str:
        self.states[o] |= SLICED
        names = self.game.objects
        return self.game.grammar.replies["sliceObject.feedback"][0].format(co=names[o], ko=names[knife])

    def _examine_receptacle(self, r: int, _: int) -> str:
        return self.view(r)

    def _examine_object(self, o: int, _: int) -> str:
        return self.describe(o)

    def _look(self, _: int, __: int) -> str:
        return self.look()

    def _inventory(self, _: int, __: int) -> str:
        replies = self.game.grammar.replies["inventory.feedback"]
        return replies[1] if self.held == NOBODY else replies[0].format(things=self.game.a_object[self.held])

    def _help(self, _: int, __: int) -> str:
        return self.game.grammar.replies["help.feedback"][0]

    def _say(self, rule: str, *, o: int = NOBODY, r: int = NOBODY, view: bool = False) -> str:
        game = self.game
        return game.grammar.replies[rule][0].format(
            o=game.objects[o] if o != NOBODY else "",
            r=game.receptacles[r] if r != NOBODY else "",
            view=self.view(r) if view else "",
        )


_VERBS: Final[dict[str, Callable[[World, int, int], str]]] = {
    "go": World._go, "open": World._open, "close": World._close, "take": World._take, "put": World._put,
    "use": World._use, "heat": World._heat, "cool": World._cool, "clean": World._clean, "slice": World._slice,
    "examine_receptacle": World._examine_receptacle, "examine_object": World._examine_object,
    "look": World._look, "inventory": World._inventory, "help": World._help,
}  # fmt: skip
