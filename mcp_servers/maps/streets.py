"""Geography without a database: quickest ways, distances, opening hours; in whole metres, seconds, microdegrees."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from heapq import heappop, heappush
from math import isqrt
from typing import Final, NamedTuple

from palaestra.mcp_servers.framework.sql import Row
from palaestra.mcp_servers.maps.models import WEEKDAYS

KMH: Final = {"walk": 5, "bike": 15}


class Way(NamedTuple):
    """A way through the streets: the junctions from start to goal and the roads between them."""

    junctions: list[str]
    roads: list[Row]
    metres: int
    seconds: int


class Reached(NamedTuple):
    """When a junction is reached, from where and by which road."""

    seconds: int
    before: str
    road: Row


def crossing_seconds(road: Row, mode: str) -> int:
    """How long a road takes, rounded up.

    >>> crossing_seconds({"metres": 100, "kmh": 50}, "drive"), crossing_seconds({"metres": 100, "kmh": 50}, "walk")
    (8, 72)
    """
    kmh = road["kmh"] if mode == "drive" else KMH[mode]
    return int(-(-road["metres"] * 18 // (5 * kmh)))


class StreetMap:
    """The roads one can use in a mode, some of them shut.

    Args:
        roads: every road.
        shut: ids of closed roads.
        avoid: names of roads that are not to be used.
    """

    def __init__(self, roads: Iterable[Row], mode: str, shut: Collection[str], avoid: Collection[str] = ()) -> None:
        self.mode = mode
        self._exits: dict[str, list[tuple[str, Row]]] = {}
        for road in roads:
            if road[mode] and road["road_id"] not in shut and road["name"] not in avoid:
                self._exits.setdefault(road["from_id"], []).append((road["to_id"], road))
                if mode == "walk" or not road["one_way"]:
                    self._exits.setdefault(road["to_id"], []).append((road["from_id"], road))

    def reach(self, start: str, within_seconds: int | None = None, goal: str | None = None) -> dict[str, Reached]:
        """Every junction by the quickest way from the start (Dijkstra), up to a limit or until the goal is found.

        Equally quick ways are told apart by the ids of their junctions, so the answer is always the same. The start
        is not in it.
        """
        found: dict[str, Reached] = {}
        best = {start: 0}
        pending = [(0, start)]
        while pending:
            seconds, here = heappop(pending)
            if here == goal:
                break
            if seconds > best[here]:
                continue
            for there, road in self._exits.get(here, ()):
                arrival = seconds + crossing_seconds(road, self.mode)
                if arrival < best.get(there, arrival + 1) and (within_seconds is None or arrival <= within_seconds):
                    best[there] = arrival
                    found[there] = Reached(arrival, here, road)
                    heappush(pending, (arrival, there))
        return found

    def way(self, start: str, goal: str) -> Way | None:
        """The quickest way, or None if there is none."""
        if start == goal:
            return Way([start], [], 0, 0)
        reached = self.reach(start, goal=goal)
        if goal not in reached:
            return None
        junctions, roads = [goal], []
        while junctions[-1] != start:
            step = reached[junctions[-1]]
            junctions.append(step.before)
            roads.append(step.road)
        return Way(junctions[::-1], roads[::-1], sum(road["metres"] for road in roads), reached[goal].seconds)


def straight_metres(one: Row, other: Row) -> int:
    """Metres between two points of a town, as the crow flies; a degree is taken as 111 km north and 74 km east.

    >>> straight_metres({"latitude": 48_000_000, "longitude": 0}, {"latitude": 48_009_000, "longitude": 0})
    999
    """
    north = (one["latitude"] - other["latitude"]) * 111
    east = (one["longitude"] - other["longitude"]) * 74
    return isqrt(north * north + east * east) // 1000


def is_open(place: Row, at: int) -> bool:
    """Whether a place is open at a time, seconds since the epoch."""
    days, seconds = divmod(at, 86_400)
    weekday = WEEKDAYS[(days + 3) % 7]  # 1970 began on a Thursday
    return bool(place["closed_on"] != weekday and place["opens"] <= seconds // 60 < place["closes"])
