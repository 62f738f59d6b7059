"""The room generator of gym-sokoban 0.0.6: the same room for the same seed, from private random generators.

A random walk stamps floor, player and targets are dropped on it, and the boxes are pulled off their targets by a
depth-first reverse play that keeps the position with the best score. For comparison with numbers published on these
rooms; most of the small ones are trivial, so train on `generator.generate` instead.

Source: mpSchrader/gym-sokoban 0.0.6 (MIT), `room_utils.py`, reimplemented; identity is proven by replay.
Differs: its two global generators are private here; a hopeless seed is a TaskError instead of endless retries.
"""

from __future__ import annotations

import random  # noqa: TID251 - a private Mersenne Twister is part of the format that is reproduced
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np

from palaestra.envs.core.errors import ConfigError, TaskError
from palaestra.envs.sokoban.core import BOX, FLOOR, PLAYER, PLAYER_ON_TARGET, TARGET, Level
from palaestra.envs.sokoban.generator import Generated
from palaestra.envs.sokoban.levels import SPLITS, Split, split_of

DIRECTIONS: Final = ((1, 0), (0, 1), (-1, 0), (0, -1))
STAMPS: Final = (
    ((1, 0), (1, 1), (1, 2)),
    ((0, 1), (1, 1), (2, 1)),
    ((1, 0), (1, 1), (2, 1)),
    ((1, 0), (1, 1), (2, 0), (2, 1)),
    ((1, 1), (1, 2), (2, 1)),
)
"""Cells of the five 3x3 masks, relative to their upper left corner."""
TURN_CHANCE: Final = 0.35
TOPOLOGIES: Final = 4
MAX_STATES: Final = 300_000
MAX_ATTEMPTS: Final = 64
PULLED: Final = 3


@dataclass(frozen=True, slots=True)
class Reference:
    """The original's parameters: room size, boxes, and the depth of the reverse play (300 there)."""

    height: int = 10
    width: int = 10
    boxes: int = 4
    search_depth: int = 300

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 3 or self.boxes < 1 or self.search_depth < 1:
            raise ConfigError("bad_value", f"{self}: size at least 3x3, boxes and search_depth at least 1")


class _TooSmall(Exception):
    """The topology has no place for player and boxes."""


@lru_cache(maxsize=4096)
def generate_reference(spec: Reference, split: Split | Literal["all"], seed: int) -> Generated:
    """The room gym-sokoban makes at its first reset after both global generators were seeded with `seed`.

    For a split, the room of the first seed of `seed`, `seed` + 2^32 phi, ... (mod 2^32) that belongs to it.
    Cost: milliseconds for 6x6 with one box, seconds for 10x10 with four.

    Raises: TaskError "no_level" after `MAX_ATTEMPTS` failed rooms, "unknown_split", "bad_seed".
    """
    if split not in (*SPLITS, "all"):
        raise TaskError("unknown_split", f"split={split!r}: Sokoban levels have the splits {', '.join(SPLITS)} and all")
    if not 0 <= seed < 2**32:
        raise TaskError("bad_seed", f"seed={seed}: the reference generator takes seeds from 0 to 2^32 - 1")
    for attempt in range(16 * MAX_ATTEMPTS):
        level = reference_room(spec, (seed + attempt * 0x9E3779B9) % 2**32)
        if split in ("all", split_of(level)):
            return Generated(level, split_of(level), None)
    raise TaskError("no_level", f"{spec}: no room of split {split!r} from seed {seed}; use a larger room")


def reference_room(spec: Reference, seed: int) -> Level:
    """The room for a seed, whatever its split; failed rooms are drawn again from the same generators."""
    rng, places = random.Random(seed), np.random.RandomState(seed)
    for _ in range(MAX_ATTEMPTS):
        try:
            level = _room(spec, rng, places)
        except _TooSmall:
            continue
        if level is not None:
            return level
    raise TaskError(
        "no_level", f"{spec}: no room within {MAX_ATTEMPTS} attempts from seed {seed}; use a larger room or fewer boxes"
    )


def _room(spec: Reference, rng: random.Random, places: np.random.RandomState) -> Level | None:
    for _ in range(TOPOLOGIES):
        room, player = _furnish(_topology(spec, rng), spec.boxes, places)
        play = _ReversePlay(room, spec)
        play.run(player)
        if play.best_score > 0:
            cells = bytearray(play.best)
            at = cells.index(PLAYER)
            if room[at] == TARGET:
                cells[at] = PLAYER_ON_TARGET
            return Level(spec.height, spec.width, bytes(cells).replace(bytes([PULLED]), bytes([BOX])))
    return None


def _topology(spec: Reference, rng: random.Random) -> bytearray:
    """Floor stamped along a random walk, closed by a wall."""
    height, width = spec.height, spec.width
    direction = rng.sample(DIRECTIONS, 1)[0]
    row, column = rng.randint(1, height - 1), rng.randint(1, width - 1)
    cells = bytearray(height * width)
    for _ in range(int(1.7 * (height + width))):
        if rng.random() < TURN_CHANCE:
            direction = rng.sample(DIRECTIONS, 1)[0]
        row = max(min(row + direction[0], height - 2), 1)
        column = max(min(column + direction[1], width - 2), 1)
        for down, right in rng.sample(STAMPS, 1)[0]:
            cells[(row + down - 1) * width + column + right - 1] = FLOOR
    cells[:width] = cells[-width:] = bytes(width)
    cells[::width] = cells[width - 1 :: width] = bytes(height)
    return cells


def _furnish(cells: bytearray, boxes: int, places: np.random.RandomState) -> tuple[bytes, int]:
    """(the bare room with its targets, the player's cell)."""
    floor = [i for i, code in enumerate(cells) if code == FLOOR]
    if len(floor) <= boxes + 1:
        raise _TooSmall
    player = floor.pop(int(places.randint(len(floor))))
    for _ in range(boxes):
        cells[floor.pop(int(places.randint(len(floor))))] = TARGET
    return bytes(cells), player


class _ReversePlay:
    """Depth-first reverse play over single moves, with and without pulling; remembers the best position.

    score = pulls * sum of Manhattan displacements, 0 unless every target is empty. (The original means to count box
    swaps; it never passes the last pulled box down, so what it counts is pulls. Kept: rooms depend on it.)
    """

    def __init__(self, room: bytes, spec: Reference) -> None:
        self.room = room
        self.width = spec.width
        self.depth = spec.search_depth
        self.offsets = (-spec.width, spec.width, -1, 1)
        self.targets = [i for i, code in enumerate(room) if code == TARGET]
        self.seen: set[bytes] = set()
        self.best, self.best_score = b"", -1

    def run(self, player: int) -> None:
        """Search from the solved position."""
        cells = bytearray(self.room.replace(bytes([TARGET]), bytes([BOX])))
        cells[player] = PLAYER
        # (position, player, box of each target, pulls, depth left), explored in the order of the original's recursion
        stack = [(bytes(cells), player, tuple(self.targets), 0, self.depth)]
        while stack:
            position, player, homes, pulls, left = stack.pop()
            left -= 1
            if left <= 0 or len(self.seen) >= MAX_STATES or position in self.seen:
                continue
            score = pulls * self._displacement(homes) if position.count(TARGET) == len(self.targets) else 0
            if score > self.best_score:
                self.best, self.best_score = position, score
            self.seen.add(position)
            moves = [self._move(position, player, homes, pulls, action) for action in range(8)]
            stack += [(*move, left) for move in reversed(moves) if move is not None]

    def _displacement(self, homes: tuple[int, ...]) -> int:
        return sum(
            abs(box // self.width - target // self.width) + abs(box % self.width - target % self.width)
            for target, box in zip(self.targets, homes, strict=True)
        )

    def _move(
        self, position: bytes, player: int, homes: tuple[int, ...], pulls: int, action: int
    ) -> tuple[bytes, int, tuple[int, ...], int] | None:
        """The position after one reverse move; None if the player cannot go there (the position would be seen)."""
        offset = self.offsets[action % 4]
        ahead, behind = player + offset, player - offset
        if position[ahead] not in (FLOOR, TARGET):
            return None
        cells = bytearray(position)
        cells[player] = self.room[player]
        cells[ahead] = PLAYER
        if action < 4 and position[behind] in (PULLED, BOX):
            cells[player] = PULLED
            cells[behind] = self.room[behind]
            homes = tuple(player if box == behind else box for box in homes)
            pulls += 1
        return bytes(cells), ahead, homes, pulls
