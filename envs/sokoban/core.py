"""The rules of Sokoban: a level, its cell codes, and one step on a bytearray.

A board is one byte per cell, row by row, in seven codes; the board alone is the whole state:

    0 wall   1 floor   2 target   3 box on target   4 box   5 player   6 player on target

Rules and codes are those of gym-sokoban 0.0.6 (which keeps targets in a second array and shows 6 as 5). Boxes are
pushed, never pulled, one at a time; a push that cannot be made falls back to a move. Walls close every board, so no
index ever wraps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

WALL: Final = 0
FLOOR: Final = 1
TARGET: Final = 2
BOX_ON_TARGET: Final = 3
BOX: Final = 4
PLAYER: Final = 5
PLAYER_ON_TARGET: Final = 6

STILL: Final = 0
ACTION_NAMES: Final = (
    "no operation",
    "push up",
    "push down",
    "push left",
    "push right",
    "move up",
    "move down",
    "move left",
    "move right",
)
"""Names of the nine actions, by code. 1-4 push (or move, if there is nothing to push); 5-8 never push."""

WORDS: Final = ("up", "down", "left", "right")
"""The four directions in action order: word i is action i + 1."""

UNDER: Final = bytes((WALL, FLOOR, TARGET, TARGET, FLOOR, FLOOR, TARGET)) + bytes(249)
"""`cells.translate(UNDER)` is the bare room: what every cell is when nobody and nothing stands on it."""

STEP_REWARD: Final = -0.1
SOLVED_REWARD: Final = 10.0


@dataclass(frozen=True, slots=True)
class Level:
    """One immutable board.

    Attributes:
        height, width: in cells.
        cells: height * width codes, row by row.
        title: comment of the file it was read from; no part of its identity.

    >>> level = Level(3, 5, bytes([0, 0, 0, 0, 0, 0, 5, 4, 2, 0, 0, 0, 0, 0, 0]))
    >>> level.player, level.boxes, level.targets, level.boxes_on_target
    (6, (7,), (8,), 0)
    """

    height: int
    width: int
    cells: bytes
    title: str = field(default="", compare=False)

    @property
    def room(self) -> bytes:
        """The board without player and boxes: codes 0, 1, 2."""
        return self.cells.translate(UNDER)

    @property
    def player(self) -> int:
        """Cell of the player."""
        return find_player(self.cells)

    @property
    def boxes(self) -> tuple[int, ...]:
        """Cells of the boxes, ascending."""
        return tuple(i for i, code in enumerate(self.cells) if code in (BOX_ON_TARGET, BOX))

    @property
    def targets(self) -> tuple[int, ...]:
        """Cells of the targets, ascending."""
        return tuple(i for i, code in enumerate(self.cells) if UNDER[code] == TARGET)

    @property
    def boxes_on_target(self) -> int:
        """How many boxes stand on a target."""
        return self.cells.count(BOX_ON_TARGET)


def find_player(cells: bytes | bytearray) -> int:
    """Cell of the player, on whatever it stands."""
    player = cells.find(PLAYER)
    return player if player >= 0 else cells.index(PLAYER_ON_TARGET)


def compose(height: int, width: int, room: bytes, player: int, boxes: tuple[int, ...]) -> Level:
    """The level made of a bare room, a player and boxes."""
    cells = bytearray(room)
    for box in boxes:
        cells[box] = BOX_ON_TARGET if cells[box] == TARGET else BOX
    cells[player] = PLAYER_ON_TARGET if cells[player] == TARGET else PLAYER
    return Level(height, width, bytes(cells))


def step(cells: bytearray, player: int, action: int, width: int) -> tuple[int, bool, int]:
    """Apply one of the nine actions in place.

    Args:
        cells: the board, changed in place.
        player: cell of the player on it.
        action: 0-8.
        width: of the board.
    Returns: (the player's cell afterwards, whether a box moved, change of the number of boxes on targets: -1, 0, 1).
    Source: gym-sokoban 0.0.6, `_push` and `_move`.  Differs: no second array; constant time in the board's size.

    >>> board = bytearray([0, 0, 0, 0, 0, 0, 5, 4, 2, 0, 0, 0, 0, 0, 0])
    >>> step(board, 6, 4, 5), list(board[6:9])
    ((7, True, 1), [1, 5, 3])
    """
    if action == STILL:
        return player, False, 0
    heading = (action - 1) & 3
    offset = (-width, width, -1, 1)[heading]
    ahead = player + offset
    code = cells[ahead]
    if code in (FLOOR, TARGET):
        cells[ahead] = code + 4  # floor -> player, target -> player on target
        cells[player] -= 4
        return ahead, False, 0
    if action > 4 or code not in (BOX_ON_TARGET, BOX):
        return player, False, 0
    beyond = ahead + offset
    landing = cells[beyond]
    if landing not in (FLOOR, TARGET):
        return player, False, 0
    cells[beyond] = 5 - landing  # floor -> box, target -> box on target
    cells[ahead] = PLAYER_ON_TARGET if code == BOX_ON_TARGET else PLAYER
    cells[player] -= 4
    return ahead, True, (landing == TARGET) - (code == BOX_ON_TARGET)


def is_effective(cells: bytes | bytearray, player: int, action: int, width: int) -> bool:
    """True if the action would change the board."""
    if action == STILL:
        return False
    offset = (-width, width, -1, 1)[(action - 1) & 3]
    code = cells[player + offset]
    if code in (FLOOR, TARGET):
        return True
    return action <= 4 and code in (BOX_ON_TARGET, BOX) and cells[player + 2 * offset] in (FLOOR, TARGET)
