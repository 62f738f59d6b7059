"""How far a navigation has come, as its tools show it."""

from __future__ import annotations

from itertools import groupby

from sqlalchemy import bindparam, select

from palaestra.mcp_servers.framework.spec import Output
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.values import InstantOut
from palaestra.mcp_servers.maps.models import Junction, LocationShare, MapContact, Place
from palaestra.mcp_servers.maps.routing import ahead, avoided, is_active, stops_of

_WATCHING = Query(
    select(MapContact.name)
    .join_from(LocationShare, MapContact, MapContact.map_contact_id == LocationShare.map_contact_id)
    .where(LocationShare.navigation_id == bindparam("navigation"))
    .order_by(LocationShare.location_share_id)
)


class Stop(Output):
    """A place passed on the way."""

    place_id: str
    name: str
    reached_at: InstantOut


class Progress(Output):
    """Where a navigation stands; an active one is on its way to `next_junction`."""

    navigation_id: str
    mode: str
    destination: str
    active: bool
    next_junction: str
    latitude_microdegrees: int
    longitude_microdegrees: int
    metres_ahead: int
    roads_ahead: list[str]
    stops: list[Stop]
    avoided_roads: list[str]
    seen_by: list[str]
    arrives_at: InstantOut


def progress(db: Database, navigation: Row, now: int) -> Row:
    """A navigation at a time; one that was ended stays where it was ended."""
    here = ahead(db, navigation, navigation["updated_at"] if navigation["ended"] else now)
    junction = db.get(Junction, here.junction_id)
    active = is_active(navigation, now)
    return {
        "navigation_id": navigation["navigation_id"],
        "mode": navigation["mode"],
        "destination": db.get(Place, navigation["destination_place_id"])["name"],
        "active": active,
        "next_junction": junction["name"],
        "latitude_microdegrees": junction["latitude"],
        "longitude_microdegrees": junction["longitude"],
        "metres_ahead": sum(road["metres"] for road in here.roads),
        "roads_ahead": [name for name, _ in groupby(road["name"] for road in here.roads)],
        "stops": [
            {name: stop[name] for name in ("place_id", "name", "reached_at")}
            for stop in stops_of(db, navigation["navigation_id"])
        ],
        "avoided_roads": avoided(navigation),
        "seen_by": [row["name"] for row in db.rows(_WATCHING, navigation=navigation["navigation_id"])]
        if active
        else [],
        "arrives_at": navigation["arrives_at"],
    }
