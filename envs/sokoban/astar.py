"""A* on single moves, for rooms too large for a table.

The estimate is admissible and consistent: the cheapest assignment of boxes to targets by push distance, plus the way
of the player to the nearest box. States with a dead box (no way to any target, no assignment, or frozen off target)
are never entered, so that a level without a solution usually exhausts the search early.

Source: Hart, Nilsson, Raphael 1968; deadlock terms as in Junghanns and Schaeffer 2001.
Differs: counts moves, not pushes.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from palaestra.envs.sokoban.core import TARGET, WALL, Level

MATCHED_BOXES: Final = 8
"""Up to this many boxes are assigned exactly; with more, each counts its own nearest target (still a lower bound)."""

State = tuple[int, tuple[int, ...]]
"""Cell of the player, cells of the boxes ascending."""
Visits = dict[State, tuple[int, State | None, int]]
"""Per state: fewest moves from the start, the state before, the action between."""


@dataclass(frozen=True, slots=True)
class Found:
    """The outcome of a finished search: a shortest plan, or `actions=None` if there is none; nodes expanded."""

    actions: list[int] | None
    nodes: int


def search(level: Level, node_budget: int) -> Found | None:
    """A shortest plan by A*; None if `node_budget` nodes were expanded before the question was settled.

    Time and memory are proportional to the nodes expanded, which in the worst case grow exponentially with the boxes.
    """
    room = Room(level.room, level.width)
    start: State = (level.player, level.boxes)
    best: Visits = {start: (0, None, 0)}
    estimate = room.estimate(*start)
    frontier = [] if math.isinf(estimate) else [(estimate, 0, start)]
    closed: set[State] = set()
    while frontier:
        _, negative_cost, state = heapq.heappop(frontier)
        if state in closed:
            continue
        if state[1] == room.goal:
            return Found(_trace(best, state), len(closed))
        if len(closed) >= node_budget:
            return None
        closed.add(state)
        spent = 1 - negative_cost
        for action, after in room.successors(state):
            known = best.get(after)
            if known is not None and known[0] <= spent:
                continue
            estimate = room.estimate(*after)
            if not math.isinf(estimate):
                best[after] = spent, state, action
                heapq.heappush(frontier, (spent + estimate, -spent, after))
    return Found(None, len(closed))


def _trace(best: Visits, state: State) -> list[int]:
    actions = []
    _, before, action = best[state]
    while before is not None:
        actions.append(action)
        _, before, action = best[before]
    return actions[::-1]


class Room:
    """A bare room with what the search needs to know of it."""

    def __init__(self, room: bytes, width: int) -> None:
        self.goal = tuple(i for i, code in enumerate(room) if code == TARGET)
        self.walls = bytes(code == WALL for code in room)
        self.offsets = (-width, width, -1, 1)
        self.width = width
        self.push_distances = [self._push_distance(target) for target in self.goal]
        self._bound = lru_cache(maxsize=None)(self._lower_bound)

    def _push_distance(self, target: int) -> list[float]:
        """Pushes one box alone needs from each cell to the target, the player being anywhere; inf from dead cells."""
        reach = [math.inf] * len(self.walls)
        reach[target] = 0
        frontier = [target]
        for cell in frontier:
            for offset in self.offsets:
                box, player = cell - offset, cell - 2 * offset
                if not self.walls[box] and not self.walls[player] and math.isinf(reach[box]):
                    reach[box] = reach[cell] + 1
                    frontier.append(box)
        return reach

    def successors(self, state: State) -> list[tuple[int, State]]:
        """(action, state) for every move that changes something and leaves no box on a dead cell."""
        player, boxes = state
        after: list[tuple[int, State]] = []
        for action, offset in enumerate(self.offsets, start=1):
            ahead = player + offset
            if self.walls[ahead]:
                continue
            if ahead not in boxes:
                after.append((action, (ahead, boxes)))
                continue
            beyond = ahead + offset
            if not self.walls[beyond] and beyond not in boxes:
                moved = tuple(sorted(beyond if box == ahead else box for box in boxes))
                after.append((action, (ahead, moved)))
        return after

    def estimate(self, player: int, boxes: tuple[int, ...]) -> float:
        """A lower bound on the moves left; inf if the boxes can never all be brought home."""
        if boxes == self.goal:
            return 0
        row, column = divmod(player, self.width)
        nearest = min(abs(row - box // self.width) + abs(column - box % self.width) for box in boxes)
        return self._bound(boxes) + nearest - 1

    def _lower_bound(self, boxes: tuple[int, ...]) -> float:
        """Pushes needed at least: the cheapest assignment of boxes to targets; inf if deadlocked."""
        if any(box not in self.goal and self.is_frozen(box, boxes) for box in boxes):
            return math.inf
        if len(boxes) > MATCHED_BOXES:
            return sum(min(reach[box] for reach in self.push_distances) for box in boxes)
        cheapest = {0: 0.0}  # targets taken by the boxes so far (bit set) -> pushes
        for box in boxes:
            following: dict[int, float] = {}
            for taken, pushes in cheapest.items():
                for i, reach in enumerate(self.push_distances):
                    if not taken >> i & 1 and reach[box] + pushes < following.get(taken | 1 << i, math.inf):
                        following[taken | 1 << i] = reach[box] + pushes
            cheapest = following
        return min(cheapest.values(), default=math.inf)

    def is_frozen(self, box: int, boxes: tuple[int, ...], held: frozenset[int] = frozenset()) -> bool:
        """True if the box can never move again: on both axes a wall or a frozen box stands next to it.

        `held` are boxes taken as walls while their own neighbours are asked (so the question always ends).
        """
        held = held | {box}
        return all(self._is_blocked(box, step, boxes, held) for step in (1, self.width))

    def _is_blocked(self, box: int, step: int, boxes: tuple[int, ...], held: frozenset[int]) -> bool:
        for near in (box - step, box + step):
            if self.walls[near] or near in held:
                return True
            if near in boxes and self.is_frozen(near, boxes, held):
                return True
        # Both sides dead: pushing the box either way loses it, so it may as well be fixed.
        return all(math.isinf(min(reach[side] for reach in self.push_distances)) for side in (box - step, box + step))
