"""What can be done with a navigation; tools_search.py adds what can be looked up about places and routes.

Rules: one navigation at a time, over at most three stops, and only where there is a way for that mode past the closed
roads; the user moves along it as time goes by, so a new plan starts at the next junction; what was avoided stays
avoided; the location is shared with contacts the user agreed to, once each, and until the navigation is over.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field
from sqlalchemy import bindparam, func, select

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.faults import conflict
from palaestra.mcp_servers.framework.spec import precondition, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import Key
from palaestra.mcp_servers.maps.models import LocationShare, MapContact, Mode, Navigation, NavigationStop, Place
from palaestra.mcp_servers.maps.progress import Progress, progress
from palaestra.mcp_servers.maps.routing import Plan, ahead, avoided, follow, is_active, replan, stops_of, street_map
from palaestra.mcp_servers.maps.tools_search import QUERIES as QUERIES
from palaestra.mcp_servers.maps.tools_search import PlaceKey, RoadName

MAX_STOPS: Final = 3

_ACTIVE = Query(
    select(func.count()).select_from(Navigation).where(Navigation.ended == 0, Navigation.arrives_at > bindparam("now"))
)
_SHARED = Query(
    select(func.count())
    .select_from(LocationShare)
    .where(LocationShare.navigation_id == bindparam("navigation"), LocationShare.map_contact_id == bindparam("contact"))
)


def _way(db: Database, sources: EpisodeSources, args: Any) -> Plan | None:
    """The way a new navigation takes, or None."""
    origin, destination = (db.get(Place, key) for key in (args.origin_place_id, args.destination_place_id))
    way = street_map(db, sources.now, args.mode).way(origin["junction_id"], destination["junction_id"])
    return None if way is None else Plan(sources.now, [way])


def _plan(db: Database, sources: EpisodeSources, args: Any) -> Plan | None:
    """The navigation planned anew with what the call adds: a stop, or a road to avoid."""
    navigation = db.get(Navigation, args.navigation_id)
    extra = db.get(Place, args.place_id)["place_id"] if hasattr(args, "place_id") else None
    return replan(db, navigation, sources.now, extra_place_id=extra, avoid=_to_avoid(args))


def _to_avoid(args: Any) -> list[str]:
    name = getattr(args, "avoid_road", None)
    return [] if name is None else [name]


def _found(plan: Plan | None) -> Plan:
    if plan is None:
        raise conflict("there is no way")
    return plan


# -- preconditions ---------------------------------------------------------------------------------------------------


@precondition
def places_differ(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Origin and destination are two places at different junctions."""
    return bool(
        db.get(Place, args.origin_place_id)["junction_id"] != db.get(Place, args.destination_place_id)["junction_id"]
    )


@precondition
def no_navigation_is_active(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """No navigation is under way; end it first."""
    return not db.scalar(_ACTIVE, now=sources.now)


@precondition
def destination_is_reachable(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """There is a way to the destination for this mode past the closed roads."""
    return _way(db, sources, args) is not None


@precondition
def navigation_is_active(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The navigation is under way: neither arrived nor ended."""
    return is_active(db.get(Navigation, args.navigation_id), sources.now)


@precondition
def stop_is_new(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The place is not the destination and not a stop already."""
    known = {stop["place_id"] for stop in stops_of(db, args.navigation_id)}
    return args.place_id not in {*known, db.get(Navigation, args.navigation_id)["destination_place_id"]}


@precondition
def stops_are_few(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The navigation has fewer than three stops."""
    return len(stops_of(db, args.navigation_id)) < MAX_STOPS


@precondition
def stop_is_reachable(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """There is a way over that stop to the destination for this mode."""
    return _plan(db, sources, args) is not None


@precondition
def road_lies_ahead(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """A road of that name lies ahead; the one the user is on cannot be avoided any more."""
    navigation = db.get(Navigation, args.navigation_id)
    names = {road["name"] for road in ahead(db, navigation, sources.now).roads}
    return args.avoid_road is None or args.avoid_road in names


@precondition
def detour_exists(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """There is another way to the stops and the destination for this mode."""
    return _plan(db, sources, args) is not None


@precondition
def contact_may_see_location(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The user agreed that this contact may see the location; only the user can."""
    return bool(db.get(MapContact, args.map_contact_id)["may_see_location"])


@precondition
def location_is_not_shared_yet(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The contact does not see the location of this navigation yet."""
    return not db.scalar(_SHARED, navigation=args.navigation_id, contact=args.map_contact_id)


# -- verbs -----------------------------------------------------------------------------------------------------------


class StartNavigationArgs(Args):
    """Arguments of a start."""

    origin_place_id: PlaceKey
    destination_place_id: PlaceKey
    mode: Mode


@verb(requires=[places_differ, no_navigation_is_active, destination_is_reachable], returns=Progress)
def start_navigation(db: Database, sources: EpisodeSources, args: StartNavigationArgs) -> Row:
    """Start now from one place to another by the quickest way for a mode, past closed roads. One at a time."""
    plan = _found(_way(db, sources, args))
    started = db.insert(
        Navigation, mode=args.mode, origin_place_id=args.origin_place_id,
        destination_place_id=args.destination_place_id, path=" ".join(plan.junctions), departs_at=plan.departs_at,
        arrives_at=plan.reached_at(0),
    )  # fmt: skip
    return progress(db, started, sources.now)


class AddStopArgs(Args):
    """Arguments of a stop."""

    navigation_id: Key
    place_id: Key


@verb(requires=[navigation_is_active, stop_is_new, stops_are_few, stop_is_reachable], returns=Progress)
def add_navigation_stop(db: Database, sources: EpisodeSources, args: AddStopArgs) -> Row:
    """Pass a place on the way, after the stops there are and before the destination; three stops at most."""
    plan = _found(_plan(db, sources, args))
    navigation = follow(db, db.get(Navigation, args.navigation_id), plan)
    at = plan.reached_at(len(plan.legs) - 2)
    db.insert(NavigationStop, navigation_id=args.navigation_id, place_id=args.place_id, reached_at=at)
    return progress(db, navigation, sources.now)


class RerouteArgs(Args):
    """Arguments of a new route."""

    navigation_id: Key
    avoid_road: Annotated[RoadName, Field(description="a name out of roads_ahead, as written")] | None = None


@verb(requires=[navigation_is_active, road_lies_ahead, detour_exists], returns=Progress)
def reroute_navigation(db: Database, sources: EpisodeSources, args: RerouteArgs) -> Row:
    """Find the way anew from the next junction, past a road that is to be avoided or past roads closed since."""
    navigation = db.get(Navigation, args.navigation_id)
    names = [*avoided(navigation), *_to_avoid(args)]
    changed = follow(db, navigation, _found(_plan(db, sources, args)), avoided="\n".join(names))
    return progress(db, changed, sources.now)


class ShareLocationArgs(Args):
    """Arguments of sharing."""

    navigation_id: Key
    map_contact_id: Key


@verb(
    requires=[navigation_is_active, contact_may_see_location, location_is_not_shared_yet], returns=view(LocationShare)
)
def share_location(db: Database, sources: EpisodeSources, args: ShareLocationArgs) -> Row:
    """Let a contact see where the user is until this navigation is over. Only contacts the user agreed to."""
    return db.insert(LocationShare, navigation_id=args.navigation_id, map_contact_id=args.map_contact_id)


class NavigationKeyArgs(Args):
    """Arguments that name a navigation."""

    navigation_id: Key


@verb(requires=[navigation_is_active], returns=Progress)
def end_navigation(db: Database, sources: EpisodeSources, args: NavigationKeyArgs) -> Row:
    """End a navigation before it arrives; nobody sees the location any more."""
    return progress(db, db.update(Navigation, args.navigation_id, ended=1), sources.now)


VERBS = [start_navigation, add_navigation_stop, reroute_navigation, share_location, end_navigation]
