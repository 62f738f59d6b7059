"""Planning on the stored map, and following a navigation as time goes by."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import NamedTuple

from sqlalchemy import bindparam, select

from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.maps.models import Navigation, NavigationStop, Place, Road, RoadClosure
from palaestra.mcp_servers.maps.streets import StreetMap, Way, crossing_seconds

CLOSURES = Query(
    select(RoadClosure.__table__, Road.name.label("road"))
    .join_from(RoadClosure, Road, Road.road_id == RoadClosure.road_id)
    .where(RoadClosure.starts_at <= bindparam("at"), RoadClosure.ends_at > bindparam("at"))
    .order_by(RoadClosure.road_closure_id)
)
_STOPS = Query(
    select(NavigationStop.__table__, Place.name, Place.junction_id)
    .join_from(NavigationStop, Place, Place.place_id == NavigationStop.place_id)
    .where(NavigationStop.navigation_id == bindparam("navigation"))
    .order_by(NavigationStop.reached_at, NavigationStop.navigation_stop_id)
)


class Ahead(NamedTuple):
    """The next junction of a navigation, when it is reached, and the roads from there on."""

    junction_id: str
    at: int
    roads: list[Row]


class Plan(NamedTuple):
    """A way from a junction and time over stops to the destination."""

    departs_at: int
    legs: list[Way]

    @property
    def junctions(self) -> list[str]:
        """Every junction from start to destination."""
        return [self.legs[0].junctions[0], *(junction for leg in self.legs for junction in leg.junctions[1:])]

    def reached_at(self, stop: int) -> int:
        """When the end of a leg is reached."""
        return self.departs_at + sum(leg.seconds for leg in self.legs[: stop + 1])


def street_map(db: Database, at: int, mode: str, avoid: Collection[str] = ()) -> StreetMap:
    """The roads open at a time to a mode."""
    shut = {closure["road_id"] for closure in db.rows(CLOSURES, at=at)}
    return StreetMap(db.every(Road), mode, shut, avoid)


def stops_of(db: Database, navigation_id: str) -> list[Row]:
    """The stops of a navigation in order, with their places."""
    return db.rows(_STOPS, navigation=navigation_id)


def is_active(navigation: Row, now: int) -> bool:
    """Whether a navigation has neither arrived nor been ended."""
    return bool(not navigation["ended"] and now < navigation["arrives_at"])


def ahead(db: Database, navigation: Row, now: int) -> Ahead:
    """What lies ahead of the user now; the road the user is on is behind the next junction."""
    ends = {(road["from_id"], road["to_id"]): road for road in db.every(Road)}
    path, at = navigation["path"].split(), navigation["departs_at"]
    roads = [ends.get(pair) or ends[pair[::-1]] for pair in pairwise(path)]
    passed = 0
    while at < now and passed < len(roads):
        at += crossing_seconds(roads[passed], navigation["mode"])
        passed += 1
    return Ahead(path[passed], at, roads[passed:])


def replan(
    db: Database, navigation: Row, now: int, *, extra_place_id: str | None = None, avoid: Sequence[str] = ()
) -> Plan | None:
    """A navigation planned anew from its next junction over the stops not reached yet; None if there is no way."""
    here = ahead(db, navigation, now)
    pending = [
        stop["junction_id"] for stop in stops_of(db, navigation["navigation_id"]) if stop["reached_at"] > here.at
    ]
    wanted = [navigation["destination_place_id"]] if extra_place_id is None else [
        extra_place_id, navigation["destination_place_id"]]  # fmt: skip
    points = [here.junction_id, *pending, *(db.get(Place, place)["junction_id"] for place in wanted)]
    streets = street_map(db, now, navigation["mode"], [*avoided(navigation), *avoid])
    legs = []
    for start, goal in pairwise(points):
        leg = streets.way(start, goal)
        if leg is None:
            return None
        legs.append(leg)
    return Plan(here.at, legs)


def follow(db: Database, navigation: Row, plan: Plan, **changes: str) -> Row:
    """Store a new plan of a navigation: its path, its arrival, and when each stop is reached."""
    pending = [stop for stop in stops_of(db, navigation["navigation_id"]) if stop["reached_at"] > plan.departs_at]
    for index, stop in enumerate(pending):
        db.update(NavigationStop, stop["navigation_stop_id"], reached_at=plan.reached_at(index))
    return db.update(
        Navigation, navigation["navigation_id"], path=" ".join(plan.junctions), departs_at=plan.departs_at,
        arrives_at=plan.reached_at(len(plan.legs) - 1), **changes,
    )  # fmt: skip


def avoided(navigation: Row) -> list[str]:
    """Names of the roads a navigation was told to avoid."""
    names: list[str] = navigation["avoided"].split("\n")
    return [name for name in names if name]
