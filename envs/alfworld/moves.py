"""The commands of one game, each written out once: when it is first asked for, or beforehand where they are few."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Move = tuple[str, int, int]
"""A verb of the state machine and the numbers it applies to."""

Command = tuple[str, Move]
"""What the agent writes, and the move it stands for."""


class About(Mapping[int, Command]):
    """Commands about objects at one receptacle, by object number. A game has thousands and few are ever given."""

    __slots__ = ("_made", "_objects", "_write")

    def __init__(self, objects: frozenset[int], write: Callable[[int], Command]) -> None:
        self._objects = objects
        self._write = write
        self._made: dict[int, Command] = {}

    def __getitem__(self, o: int) -> Command:
        made = self._made.get(o)
        if made is None:
            if o not in self._objects:
                raise KeyError(o)
            made = self._made[o] = self._write(o)
        return made

    def __contains__(self, o: object) -> bool:
        return o in self._objects

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._objects))

    def __len__(self) -> int:
        return len(self._objects)


@dataclass(frozen=True, slots=True)
class AtReceptacle:
    """The commands one can give in front of a receptacle; those about objects by object number."""

    examine: Command
    open: Command
    close: Command
    take: About
    put: About
    treat: About
    use: About

    @property
    def has_switches(self) -> bool:
        """Whether any object of the game can be switched on."""
        return bool(self.use)


class Moves(NamedTuple):
    """All commands of a game.

    Attributes:
        anywhere: per location, the commands admissible there whatever the state: go elsewhere, look, inventory, help.
        at_receptacle: per receptacle.
        examine: per object, of the object in hand.
        slice: the command for (object, knife).
    """

    anywhere: Sequence[Mapping[str, Move]]
    at_receptacle: Sequence[AtReceptacle]
    examine: Sequence[Command]
    slice: Callable[[int, int], Command]
