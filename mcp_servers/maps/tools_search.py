"""What can be looked up on the map: places, their hours, ways between them, and how far one gets."""

from __future__ import annotations

from itertools import groupby
from typing import Annotated, Final, get_args

from pydantic import Field
from sqlalchemy import bindparam, func, or_, select

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.faults import FaultCode, Refusal
from palaestra.mcp_servers.framework.spec import Output, query
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import Instant, InstantOut, Key, Line, refers_to
from palaestra.mcp_servers.maps.models import Category, Junction, Mode, Navigation, Place
from palaestra.mcp_servers.maps.progress import Progress, progress
from palaestra.mcp_servers.maps.routing import CLOSURES, street_map
from palaestra.mcp_servers.maps.streets import is_open, straight_metres

PlaceKey = Annotated[Key, refers_to("place")]
RoadName = Annotated[str, Field(min_length=1, max_length=60)]

MOST: Final = 25

_LOCATED = select(
    Place.place_id, Place.name, Place.category, Place.address, Place.junction_id, Junction.latitude, Junction.longitude
).join_from(Place, Junction, Junction.junction_id == Place.junction_id)
_TEXT = func.lower(bindparam("text"))
_MATCHING = Query(
    _LOCATED.where(or_(func.instr(func.lower(Place.name), _TEXT) > 0, func.instr(func.lower(Place.address), _TEXT) > 0))
    .order_by(func.lower(Place.name) != _TEXT, Place.place_id)
    .limit(MOST)
)
_EVERY_PLACE = Query(_LOCATED.order_by(Place.place_id))


class PlaceFound(Output):
    """A place and where it is."""

    place_id: str
    name: str
    category: str
    address: str
    latitude_microdegrees: int
    longitude_microdegrees: int


class PlacesFound(Output):
    """Places, the best match first."""

    items: list[PlaceFound]


def _shown(row: Row) -> Row:
    return {
        **{name: row[name] for name in ("place_id", "name", "category", "address")},
        "latitude_microdegrees": row["latitude"],
        "longitude_microdegrees": row["longitude"],
    }


class GeocodeArgs(Args):
    """Arguments of a search by name or address."""

    text: Annotated[Line, Field(description="part of a name or an address, ignoring ASCII case")]


@query(returns=PlacesFound)
def geocode_address(db: Database, sources: EpisodeSources, args: GeocodeArgs) -> Row:
    """The first 25 places whose name or address contains a text, with coordinates; names that equal it come first."""
    return {"items": [_shown(row) for row in db.rows(_MATCHING, text=args.text)]}


class FindNearbyArgs(Args):
    """Arguments of a search around a place."""

    place_id: Key
    within_metres: Annotated[int, Field(ge=1, le=20_000, description="as the crow flies")] = 1000
    category: Category | None = None


class NearbyPlace(PlaceFound):
    """A place at a distance."""

    metres: int


class NearbyPlaces(Output):
    """Places, nearest first."""

    items: list[NearbyPlace]


@query(returns=NearbyPlaces)
def find_nearby_places(db: Database, sources: EpisodeSources, args: FindNearbyArgs) -> Row:
    """The 25 places nearest to a place, of one category or of any, with the distance as the crow flies."""
    centre = db.get(Junction, db.get(Place, args.place_id)["junction_id"])
    found = [
        {**_shown(row), "metres": straight_metres(centre, row)}
        for row in db.rows(_EVERY_PLACE)
        if row["place_id"] != args.place_id and args.category in (None, row["category"])
    ]
    near = sorted((row["metres"], row["place_id"], row) for row in found if row["metres"] <= args.within_metres)
    return {"items": [row for _, _, row in near[:MOST]]}


class PlanRouteArgs(Args):
    """Arguments of a plan."""

    origin_place_id: PlaceKey
    destination_place_id: PlaceKey
    mode: Mode
    departs_at: Annotated[Instant, Field(description="now if left out; decides which roads are closed")] | None = None
    avoid_roads: list[RoadName] = Field(default_factory=list, max_length=10, description="names of roads not to use")


class RouteStep(Output):
    """A road followed for a while."""

    road: str
    metres: int


class ClosedRoad(Output):
    """A road that cannot be used at the time of departure."""

    road: str
    reason: str
    ends_at: InstantOut


class RoutePlan(Output):
    """The quickest way, road by road; no steps and no times if there is none."""

    reachable: bool
    metres: int | None
    seconds: int | None
    steps: list[RouteStep]
    closed_roads: list[ClosedRoad]


@query(returns=RoutePlan)
def plan_route(db: Database, sources: EpisodeSources, args: PlanRouteArgs) -> Row:
    """The quickest way between two places for a mode, road by road, and which roads of the town are closed then."""
    at = sources.now if args.departs_at is None else args.departs_at
    origin, destination = (db.get(Place, key) for key in (args.origin_place_id, args.destination_place_id))
    way = street_map(db, at, args.mode, args.avoid_roads).way(origin["junction_id"], destination["junction_id"])
    steps = groupby(way.roads if way else [], key=lambda road: road["name"])
    return {
        "reachable": way is not None,
        "metres": way and way.metres,
        "seconds": way and way.seconds,
        "steps": [{"road": name, "metres": sum(road["metres"] for road in roads)} for name, roads in steps],
        "closed_roads": [
            {name: closure[name] for name in ("road", "reason", "ends_at")} for closure in db.rows(CLOSURES, at=at)
        ],
    }


class CompareModesArgs(Args):
    """Arguments of a comparison."""

    origin_place_id: PlaceKey
    destination_place_id: PlaceKey


class ModeTime(Output):
    """Distance and time of a mode; neither if it does not get there."""

    mode: str
    metres: int | None
    seconds: int | None


class ModeTimes(Output):
    """Every mode: walk, bike, drive."""

    items: list[ModeTime]


@query(returns=ModeTimes)
def compare_travel_modes(db: Database, sources: EpisodeSources, args: CompareModesArgs) -> Row:
    """How far and how long it is between two places on foot, by bike and by car, leaving now."""
    origin, destination = (db.get(Place, key) for key in (args.origin_place_id, args.destination_place_id))
    ways = [
        (mode, street_map(db, sources.now, mode).way(origin["junction_id"], destination["junction_id"]))
        for mode in get_args(Mode)
    ]
    return {
        "items": [{"mode": mode, "metres": way and way.metres, "seconds": way and way.seconds} for mode, way in ways]
    }


class OpeningHoursArgs(Args):
    """Arguments of a look at opening hours."""

    place_id: Key
    at: Annotated[Instant, Field(description="now if left out")] | None = None


class OpeningHours(Output):
    """When a place is open."""

    open: bool
    opens: str
    closes: str
    closed_on: str | None
    about: str


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


@query(returns=OpeningHours)
def check_opening_hours(db: Database, sources: EpisodeSources, args: OpeningHoursArgs) -> Row:
    """Whether a place is open at a time, its daily hours (UTC), and the weekday it stays closed."""
    place = db.get(Place, args.place_id)
    return {
        "open": is_open(place, sources.now if args.at is None else args.at),
        "opens": _clock(place["opens"]),
        "closes": _clock(place["closes"]),
        "closed_on": place["closed_on"],
        "about": place["about"],
    }


class ReachablePlacesArgs(Args):
    """Arguments of a search by travel time."""

    place_id: Annotated[Key, Field(description="where to start")]
    mode: Mode
    minutes: Annotated[int, Field(ge=1, le=120)]
    category: Category | None = None


class ReachablePlace(PlaceFound):
    """A place and how long it takes to get there."""

    seconds: int


class ReachablePlaces(Output):
    """Places, quickest first."""

    items: list[ReachablePlace]


@query(returns=ReachablePlaces)
def find_reachable_places(db: Database, sources: EpisodeSources, args: ReachablePlacesArgs) -> Row:
    """The 25 places reached soonest from a place within so many minutes, of one category or of any, leaving now."""
    start = db.get(Place, args.place_id)["junction_id"]
    reached = street_map(db, sources.now, args.mode).reach(start, within_seconds=args.minutes * 60)
    times = {start: 0, **{junction: found.seconds for junction, found in reached.items()}}
    soon = sorted(
        (times[row["junction_id"]], row["place_id"], row)
        for row in db.rows(_EVERY_PLACE)
        if row["junction_id"] in times and row["place_id"] != args.place_id and args.category in (None, row["category"])
    )
    return {"items": [{**_shown(row), "seconds": seconds} for seconds, _, row in soon[:MOST]]}


class ShowNavigationArgs(Args):
    """Arguments that name a navigation, or none for the latest."""

    navigation_id: Annotated[Key, Field(description="the latest if left out")] | None = None


_LATEST = Query(
    select(Navigation.navigation_id)
    .order_by(
        Navigation.departs_at.desc(), func.length(Navigation.navigation_id).desc(), Navigation.navigation_id.desc()
    )
    .limit(1)
)


@query(returns=Progress)
def show_navigation(db: Database, sources: EpisodeSources, args: ShowNavigationArgs) -> Row:
    """Where a navigation stands now: the next junction, the roads and stops ahead, when it arrives, who can see it."""
    navigation_id = args.navigation_id or db.scalar(_LATEST)
    if navigation_id is None:
        raise Refusal(FaultCode.NOT_FOUND, "there has been no navigation yet", entity="navigation")
    return progress(db, db.get(Navigation, navigation_id), sources.now)


QUERIES = [
    geocode_address, find_nearby_places, plan_route, compare_travel_modes, check_opening_hours, find_reachable_places,
    show_navigation,
]  # fmt: skip
