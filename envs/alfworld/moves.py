"""The commands of one game, written out once: every entity's name is put into the grammar's templates beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Move = tuple[str, int, int]
"""A verb of the state machine and the numbers it applies to."""

Command = tuple[str, Move]
"""What the agent writes, and the move it stands for."""


@dataclass(frozen=True, slots=True)
class AtReceptacle:
    """The commands one can give in front of a receptacle; those about objects by object number."""

    examine: Command
    open: Command
    close: Command
    take: Mapping[int, Command]
    put: Mapping[int, Command]
    treat: Mapping[int, Command]
    use: Mapping[int, Command]

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
