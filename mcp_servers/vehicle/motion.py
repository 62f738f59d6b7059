"""How far, how long, how much energy: whole metres, seconds and watt-hours.

energy = distance * (115 + speed^2 / 90) Wh/km, 5 % less at a held speed, plus 300 W per level of the fan
"""

from __future__ import annotations

from math import isqrt
from typing import Final, NamedTuple

ONBOARD_KW: Final = 11
SLOW_PERCENT: Final = 80


class Effort(NamedTuple):
    """What a stretch of road takes."""

    seconds: int
    energy_wh: int


class Point(NamedTuple):
    """A place on the plane, in metres."""

    x: int
    y: int


def distance_m(start: Point, end: Point) -> int:
    """Straight, rounded down.

    >>> distance_m(Point(0, 0), Point(3000, 4000))
    5000
    """
    return isqrt((end.x - start.x) ** 2 + (end.y - start.y) ** 2)


def towards(start: Point, end: Point, metres: int) -> Point:
    """The point so many metres from start on the way to end; end if that is not farther.

    >>> towards(Point(0, 0), Point(3000, 4000), 2500)
    Point(x=1500, y=2000)
    """
    whole = distance_m(start, end)
    if metres >= whole:
        return end
    return Point(start.x + (end.x - start.x) * metres // whole, start.y + (end.y - start.y) * metres // whole)


def effort(metres: int, speed_kmh: int, *, fan_level: int = 0, held: bool = False) -> Effort:
    """Time and energy of a stretch, both rounded up; `held` = by cruise control.

    >>> effort(10_000, 90)
    Effort(seconds=400, energy_wh=2050)
    """
    seconds = -(-metres * 18 // (5 * speed_kmh))
    per_km = (115 + speed_kmh**2 // 90) * (95 if held else 100)
    return Effort(seconds, -(-metres * per_km // 100_000) + fan_level * 300 * seconds // 3600)


def charging_seconds(start_wh: int, end_wh: int, capacity_wh: int, connector: str, power_kw: int) -> int:
    """How long charging takes: alternating current at 11 kW at most, and at half power above 80 percent.

    >>> charging_seconds(10_000, 21_000, 50_000, "type2", 22)
    3600
    """
    watts = 1000 * (min(power_kw, ONBOARD_KW) if connector == "type2" else power_kw)
    knee = capacity_wh * SLOW_PERCENT // 100
    slow = max(0, end_wh - max(start_wh, knee))
    return -(-(end_wh - start_wh + slow) * 3600 // watts)
