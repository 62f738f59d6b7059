"""The true distance to the goal: the least number of moves that solves a level, and the moves themselves.

Small rooms (every room up to 8x8 with two boxes) get a table over all states, filled by one backward breadth-first
search; larger ones are searched forward with A*. Distances count moves, pushed or not, as the environment counts steps:
an int, `inf` if the level can no longer be solved, None if the node budget ran out first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from palaestra.envs.sokoban.astar import search
from palaestra.envs.sokoban.compiled import HAVE_NUMBA, compiled
from palaestra.envs.sokoban.core import TARGET, WALL, Level, step

TABLE_STATES: Final = 2**18
"""Rooms whose table would have more entries than this (free cells ** (boxes + 1)) are left to A*."""
NODE_BUDGET: Final = 2_000_000
NO_LIMIT: Final = 32_000

Distance = int | float | None


@compiled
def _contains(boxes: npt.NDArray[np.int32], cell: int) -> bool:
    for box in boxes:  # noqa: SIM110 - numba compiles no generator expressions
        if box == cell:
            return True
    return False


@compiled
def _replaced(boxes: npt.NDArray[np.int32], old: int, new: int, free: int, player: int) -> int:
    """The state with the player as given and one box moved: the digits stay in ascending order."""
    code, waiting = player, True
    for box in boxes:
        if waiting and box > new:
            code = code * free + new
            waiting = False
        if box != old:
            code = code * free + box
    return code * free + new if waiting else code


@compiled
def _backward(
    neighbours: npt.NDArray[np.int32],  # [4 * F]: free cell next to each free cell, up, down, left, right; -1 wall
    goal: npt.NDArray[np.int32],  # [K] ascending
    boxes: npt.NDArray[np.int32],  # [K] scratch
    free: int,
    max_depth: int,
    distance: npt.NDArray[np.int16],  # [F ** (K + 1)], filled with -1
    order: npt.NDArray[np.int32],  # [F ** (K + 1)]; receives the states reached, nearest first
) -> int:
    """Breadth-first search over un-moves and un-pushes from all solved states; returns the number of states reached.

    A state is the number with digits (player, boxes ascending) in base F.
    """
    count = len(goal)
    base = free**count
    tail = 0
    for player in range(free):
        if not _contains(goal, player):
            code = player
            for box in goal:
                code = code * free + box
            distance[code] = 0
            order[tail] = code
            tail += 1
    head = 0
    while head < tail and distance[order[head]] < max_depth:
        state = order[head]
        head += 1
        player = state // base
        rest = state % base
        for i in range(count):
            boxes[count - 1 - i] = rest % free
            rest //= free
        for heading in range(4):
            origin = neighbours[(heading ^ 1) * free + player]  # the player came from here
            if origin < 0 or _contains(boxes, origin):
                continue
            ahead = neighbours[heading * free + player]
            before = origin * base + state % base
            for pulled in range(2):  # without and with a box dragged along
                if pulled:
                    if not _contains(boxes, ahead):
                        break
                    before = _replaced(boxes, ahead, player, free, origin)
                if distance[before] < 0:
                    distance[before] = distance[state] + 1
                    order[tail] = before
                    tail += 1
    return tail


@dataclass(frozen=True, eq=False)
class Table:
    """Exact distances of the states of one room.

    Attributes:
        cells: the board cell of each free cell, ascending.
        box_count: boxes K.
        distance: int16 [F ** (K + 1)], moves to the goal, -1 where the goal cannot be reached within the depth limit.
        order: int32, the states reached, nearest first.
    """

    cells: tuple[int, ...]
    box_count: int
    distance: npt.NDArray[np.int16]
    order: npt.NDArray[np.int32]

    def of(self, player: int, boxes: tuple[int, ...]) -> int | float:
        """Moves to the goal from this state (board cells); inf if there is no way."""
        place = {cell: i for i, cell in enumerate(self.cells)}
        state = place[player]
        for box in boxes:
            state = state * len(self.cells) + place[box]
        moves = int(self.distance[state])
        return moves if moves >= 0 else math.inf

    def decode(self, state: int) -> tuple[int, tuple[int, ...]]:
        """(player, boxes) as board cells."""
        digits = []
        for _ in range(self.box_count + 1):
            state, digit = divmod(state, len(self.cells))
            digits.append(self.cells[digit])
        return digits[-1], tuple(digits[-2::-1])


def build_table(room: bytes, width: int, goal: tuple[int, ...], max_depth: int = NO_LIMIT) -> Table | None:
    """The table of a bare room, or None if it would have more than `TABLE_STATES` entries.

    Time and memory grow as F ** (K + 1) for F free cells and K boxes; `max_depth` stops the search early (moves).
    """
    cells = tuple(i for i, code in enumerate(room) if code != WALL)
    size = len(cells) ** (len(goal) + 1)
    if size > TABLE_STATES:
        return None
    place = {cell: i for i, cell in enumerate(cells)}
    neighbours = [place.get(cell + offset, -1) for offset in (-width, width, -1, 1) for cell in cells]
    start = [place[cell] for cell in goal]
    if HAVE_NUMBA:
        distance, order = np.full(size, -1, np.int16), np.empty(size, np.int32)
        scratch = np.empty(len(goal), np.int32)
        reached = _backward(
            np.array(neighbours, np.int32), np.array(start, np.int32), scratch,
            len(cells), max_depth, distance, order,
        )  # fmt: skip
        return Table(cells, len(goal), distance, order[:reached])
    return _build_in_python(cells, neighbours, start, max_depth, size)


def _build_in_python(
    cells: tuple[int, ...], neighbours: list[int], goal: list[int], max_depth: int, size: int
) -> Table:
    """The same kernel on lists, which plain Python indexes several times faster than arrays."""
    distance, order = [-1] * size, [0] * size
    scratch = [0] * len(goal)
    kernel: Any = _backward
    reached = kernel(neighbours, goal, scratch, len(cells), max_depth, distance, order)
    return Table(cells, len(goal), np.array(distance, np.int16), np.array(order[:reached], np.int32))


@lru_cache(maxsize=256)
def _table_of(room: bytes, width: int) -> Table | None:
    return build_table(room, width, tuple(i for i, code in enumerate(room) if code == TARGET))


def distance(level: Level, node_budget: int = NODE_BUDGET) -> Distance:
    r"""Least number of moves that solves the level from where it stands.

    Returns: int; inf if it cannot be solved any more; None if A* expanded `node_budget` nodes without an answer.

    >>> from palaestra.envs.sokoban.levels import read_levels
    >>> distance(read_levels("######\n#@$ .#\n######")[0])
    2
    """
    table = _table_of(level.room, level.width)
    if table is not None:
        return table.of(level.player, level.boxes)
    found = search(level, node_budget)
    return None if found is None else math.inf if found.actions is None else len(found.actions)


def plan(level: Level, node_budget: int = NODE_BUDGET, rng: np.random.Generator | None = None) -> list[int] | None:
    """A shortest list of push actions (1 up, 2 down, 3 left, 4 right) that solves the level.

    Ties go to the lower code; with `rng`, where a distance table decides, to each next move alike.

    Returns: [] if it is solved already; None if it cannot be solved or the node budget ran out.
    """
    table = _table_of(level.room, level.width)
    if table is None:
        found = search(level, node_budget)
        return None if found is None else found.actions
    left = table.of(level.player, level.boxes)
    if left == math.inf:
        return None
    state, player, actions = level, level.player, list[int]()
    while left > 0:
        for action in (1, 2, 3, 4) if rng is None else rng.permutation(4) + 1:
            cells = bytearray(state.cells)
            at, _, _ = step(cells, player, int(action), level.width)
            after = Level(level.height, level.width, bytes(cells))
            if table.of(at, after.boxes) == left - 1:
                state, player, left = after, at, left - 1
                actions.append(int(action))
                break
    return actions
