"""Random levels whose exact solution length lies in a wanted band.

A room is drawn (floor, inner walls, targets) and a distance from the band; backward search ranks the states of the
room by their exact distance to the goal, and the start is drawn uniformly among those at the wanted one (a room
without any is drawn again), so that lengths are spread almost evenly over the band. Nothing is played at random and
nothing is estimated: the distance returned with a level is the least number of moves that solves it.

Splits are disjoint by construction: the canonical form of a level alone decides its split (`levels.split_of`), and
the generator draws on until the level belongs to the split it was asked for. Seed ranges per split (train below 2^16,
test above, as common wrappers have it) are therefore not needed: in tiny rooms they would not keep levels apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np

from palaestra.envs.core.errors import ConfigError, TaskError
from palaestra.envs.core.seeding import stream
from palaestra.envs.sokoban.core import FLOOR, TARGET, Level, compose
from palaestra.envs.sokoban.levels import SPLITS, Split, split_of
from palaestra.envs.sokoban.solver import build_table

MAX_ATTEMPTS: Final = 1024
"""Rooms drawn before giving up; each is a fresh chance of at least a few per cent in any sensible band and split."""
ROOMS_PER_DISTANCE: Final = 64
"""Rooms tried for one wanted distance before another is drawn: enough that long levels are not crowded out by short
ones (of which every room has more), few enough that a distance no room can have costs little."""


@dataclass(frozen=True, slots=True)
class Banded:
    """What levels are wanted.

    Attributes:
        height, width: in cells, walls included; at least 3.
        boxes: at least 1.
        min_len, max_len: band of the exact distance, in moves.
        inner_walls: each room draws its share of inner walls uniformly from [0, inner_walls].
        node_budget: states the backward search of a large room may visit; small rooms are searched completely.
    """

    height: int = 6
    width: int = 6
    boxes: int = 1
    min_len: int = 3
    max_len: int = 12
    inner_walls: float = 0.3
    node_budget: int = 200_000

    def __post_init__(self) -> None:
        problems = {
            "size": (min(self.height, self.width) < 3, (self.height, self.width), "at least 3x3"),
            "boxes": (self.boxes < 1, self.boxes, "at least 1"),
            "min_len": (not 0 <= self.min_len <= self.max_len, self.min_len, f"0 to max_len = {self.max_len}"),
            "inner_walls": (not 0 <= self.inner_walls <= 1, self.inner_walls, "0 to 1"),
            "node_budget": (self.node_budget < 1, self.node_budget, "at least 1"),
        }
        for key, (wrong, value, need) in problems.items():
            if wrong:
                raise ConfigError("bad_value", f"{key}={value!r} cannot be used for Sokoban levels; give {need}")


@dataclass(frozen=True, slots=True)
class Generated:
    """A level, the split it belongs to, and its exact distance in moves (None: not computed by this generator)."""

    level: Level
    split: Split
    distance: int | None


@lru_cache(maxsize=16384)
def generate(spec: Banded, split: Split | Literal["all"], seed: int) -> Generated:
    """The level number `seed` of a split: a pure function of its arguments, in any process.

    Cost: a few rooms per level for "train", about ten times as many for "valid" and "test"; per room one backward
    search (`solver.build_table`; beyond its size limit at most `node_budget` states). Results are cached.

    Raises: TaskError "no_level" if `MAX_ATTEMPTS` rooms gave none, naming the settings to relax.

    >>> made = generate(Banded(), "test", 7)
    >>> made.split, 3 <= made.distance <= 12, made == generate(Banded(), "test", 7)
    ('test', True, True)
    """
    if split not in (*SPLITS, "all"):
        raise TaskError("unknown_split", f"split={split!r}: Sokoban levels have the splits {', '.join(SPLITS)} and all")
    rng = stream(seed, "sokoban", "banded")
    wanted = spec.min_len
    for attempt in range(MAX_ATTEMPTS):
        if attempt % ROOMS_PER_DISTANCE == 0:
            wanted = int(rng.integers(spec.min_len, spec.max_len + 1))
        room = _draw_room(spec, rng)
        found = room and _draw_start(spec, room, wanted, rng)
        if found and split in ("all", found.split):
            return found
    raise TaskError(
        "no_level",
        f"no {spec.height}x{spec.width} level with {spec.boxes} boxes and a distance of {spec.min_len} to "
        f"{spec.max_len} moves in split {split!r} within {MAX_ATTEMPTS} rooms (seed {seed}); "
        "widen min_len..max_len, enlarge the room or use fewer boxes",
    )


def _draw_room(spec: Banded, rng: np.random.Generator) -> bytes | None:
    """A bare room: the largest connected piece of floor that the inner walls leave, with the targets on it."""
    inner = (spec.height - 2) * (spec.width - 2)
    is_floor = (rng.random(inner) >= rng.random() * spec.inner_walls).tolist()
    cells = bytearray(spec.height * spec.width)
    for i in range(inner):
        if is_floor[i]:
            row, column = divmod(i, spec.width - 2)
            cells[(row + 1) * spec.width + column + 1] = FLOOR
    floor = _largest_piece(cells, spec.width)
    if len(floor) < spec.boxes + 2:  # room for the boxes, the player, and one move
        return None
    room = bytearray(len(cells))
    for cell in floor:
        room[cell] = FLOOR
    for i in np.argsort(rng.random(len(floor)), kind="stable")[: spec.boxes].tolist():
        room[floor[i]] = TARGET
    return bytes(room)


def _largest_piece(cells: bytearray, width: int) -> list[int]:
    """The cells of the largest connected piece of floor, ascending; the first of equals. Eats the board."""
    largest: list[int] = []
    for start in range(len(cells)):
        if cells[start] != FLOOR:
            continue
        cells[start] = 0
        piece = [start]
        for cell in piece:
            for near in (cell - width, cell + width, cell - 1, cell + 1):
                if cells[near] == FLOOR:
                    cells[near] = 0
                    piece.append(near)
        if len(piece) > len(largest):
            largest = piece
    return sorted(largest)


def _draw_start(spec: Banded, room: bytes, wanted: int, rng: np.random.Generator) -> Generated | None:
    """A start drawn uniformly among the states `wanted` moves from the goal; None if the room has none.

    In a room searched within the node budget only, `wanted` is lowered to what the search reached.
    """
    goal = tuple(i for i, code in enumerate(room) if code == TARGET)
    table = build_table(room, spec.width, goal, wanted)
    if table is not None:
        nearer = int(np.searchsorted(table.distance[table.order], wanted, "left"))
        if nearer == len(table.order):
            return None
        player, boxes = table.decode(int(table.order[int(rng.integers(nearer, len(table.order)))]))
    else:
        layers = backward_layers(room, spec.width, goal, wanted, spec.node_budget)
        wanted = max(moves for moves, states in enumerate(layers) if states)
        if wanted < spec.min_len:
            return None
        player, boxes = layers[wanted][int(rng.integers(len(layers[wanted])))]
    level = compose(spec.height, spec.width, room, player, boxes)
    return Generated(level, split_of(level), wanted)


def backward_layers(
    room: bytes, width: int, goal: tuple[int, ...], max_depth: int, node_budget: int
) -> list[list[tuple[int, tuple[int, ...]]]]:
    """States by exact distance, for rooms too large for a table: layer d holds those d moves from the goal.

    Stops at `max_depth` moves or before the first layer that would take the states beyond `node_budget`, so that every
    layer returned is complete and every distance exact.
    """
    first = [(cell, goal) for cell, code in enumerate(room) if code == FLOOR]
    seen, layers = set(first), [first]
    while layers[-1] and len(layers) <= max_depth:
        layer = []
        for player, boxes in layers[-1]:
            for offset in (-width, width, -1, 1):
                origin, ahead = player - offset, player + offset
                if not room[origin] or origin in boxes:
                    continue
                before = [(origin, boxes)]
                if ahead in boxes:
                    before.append((origin, tuple(sorted(player if box == ahead else box for box in boxes))))
                for state in before:
                    if state not in seen:
                        seen.add(state)
                        layer.append(state)
            if len(seen) > node_budget:
                return layers
        layers.append(layer)
    return layers
