"""Tables of the map: junctions, roads and their closures, places, and the user's navigations."""

from __future__ import annotations

from typing import Literal, get_args

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped

from palaestra.mcp_servers.framework.columns import (
    STRICT,
    Entity,
    Role,
    choice,
    flag,
    identifier,
    instant,
    integer,
    reference,
    text,
)

Mode = Literal["walk", "bike", "drive"]
Category = Literal[
    "bakery", "cafe", "restaurant", "pharmacy", "supermarket", "museum", "library", "hospital", "station", "park",
    "office", "residence",
]  # fmt: skip
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class Base(Entity, DeclarativeBase):
    """Tables of the maps server."""


class Junction(Base):
    """Where roads meet."""

    __tablename__ = "junction"
    junction_id: Mapped[str] = identifier("jun")
    name: Mapped[str] = text(90, role=Role.GUARDED)
    latitude: Mapped[int] = integer(minimum=-90_000_000, maximum=90_000_000, unit="microdegrees", role=Role.GUARDED)
    longitude: Mapped[int] = integer(minimum=-180_000_000, maximum=180_000_000, unit="microdegrees", role=Role.GUARDED)


class Road(Base):
    """A stretch between two junctions. One-way binds those who drive or cycle, not those who walk."""

    __tablename__ = "road"
    road_id: Mapped[str] = identifier("rod")
    name: Mapped[str] = text(60, role=Role.GUARDED)
    from_id: Mapped[str] = reference("junction.junction_id", role=Role.GUARDED)
    to_id: Mapped[str] = reference("junction.junction_id", role=Role.GUARDED)
    metres: Mapped[int] = integer(minimum=1, maximum=100_000, unit="metres", role=Role.GUARDED)
    kmh: Mapped[int] = integer("speed of those who drive", minimum=5, maximum=130, role=Role.GUARDED)
    walk: Mapped[int] = flag(default=True, role=Role.GUARDED)
    bike: Mapped[int] = flag(default=True, role=Role.GUARDED)
    drive: Mapped[int] = flag(default=True, role=Role.GUARDED)
    one_way: Mapped[int] = flag(role=Role.GUARDED)
    __table_args__ = (UniqueConstraint("from_id", "to_id"), CheckConstraint("from_id <> to_id"), STRICT)


class RoadClosure(Base):
    """Nobody gets through a road from one time to another."""

    __tablename__ = "road_closure"
    road_closure_id: Mapped[str] = identifier("rcl")
    road_id: Mapped[str] = reference("road.road_id", role=Role.GUARDED)
    reason: Mapped[str] = text(160, role=Role.GUARDED)
    starts_at: Mapped[int] = instant(role=Role.GUARDED)
    ends_at: Mapped[int] = instant(role=Role.GUARDED)
    __table_args__ = (CheckConstraint("starts_at < ends_at"), STRICT)


class Place(Base):
    """Something at a junction, with the same hours on every day but the one it is closed on."""

    __tablename__ = "place"
    place_id: Mapped[str] = identifier("plc")
    name: Mapped[str] = text(80, role=Role.GUARDED)
    category: Mapped[str] = choice(*get_args(Category), role=Role.GUARDED)
    address: Mapped[str] = text(80, role=Role.GUARDED)
    junction_id: Mapped[str] = reference("junction.junction_id", role=Role.GUARDED)
    opens: Mapped[int] = integer("minutes after midnight", maximum=1440, role=Role.GUARDED)
    closes: Mapped[int] = integer("minutes after midnight", maximum=1440, role=Role.GUARDED)
    closed_on: Mapped[str | None] = choice(*WEEKDAYS, role=Role.GUARDED, optional=True)
    about: Mapped[str] = text(200, default="", role=Role.GUARDED)
    __table_args__ = (CheckConstraint("opens < closes"), STRICT)


class SavedPlace(Base):
    """A place the user gave a label of their own."""

    __tablename__ = "saved_place"
    saved_place_id: Mapped[str] = identifier("svp")
    label: Mapped[str] = text(40, "such as Home", unique=True)
    place_id: Mapped[str] = reference("place.place_id")
    note: Mapped[str] = text(140, default="")


class MapContact(Base):
    """Someone the user knows, and whether the user agreed that they may see where the user is."""

    __tablename__ = "map_contact"
    map_contact_id: Mapped[str] = identifier("mct")
    name: Mapped[str] = text(80, role=Role.GUARDED)
    may_see_location: Mapped[int] = flag("the user agreed to share the location with them", role=Role.GUARDED)


class Navigation(Base):
    """A way somewhere, from `departs_at` on. Where the user is follows from the path and the clock.

    `path` holds the junctions still to be passed when it was last planned, separated by blanks. Its times are volatile:
    a goal is where one goes, and by which way, not when.
    """

    __tablename__ = "navigation"
    navigation_id: Mapped[str] = identifier("nav")
    mode: Mapped[str] = choice(*get_args(Mode), role=Role.GUARDED)
    origin_place_id: Mapped[str] = reference("place.place_id", role=Role.GUARDED)
    destination_place_id: Mapped[str] = reference("place.place_id", role=Role.GUARDED)
    path: Mapped[str] = text(8000, role=Role.GUARDED)
    avoided: Mapped[str] = text(400, "names of roads, one per line", default="", role=Role.GUARDED)
    ended: Mapped[int] = flag("ended before arrival", role=Role.GUARDED)
    departs_at: Mapped[int] = instant("at the first junction of the path", fill="create")
    arrives_at: Mapped[int] = instant(fill="create")
    updated_at: Mapped[int] = instant("of one that was ended: when", fill="update")


class NavigationStop(Base):
    """A place passed on the way."""

    __tablename__ = "navigation_stop"
    navigation_stop_id: Mapped[str] = identifier("nst")
    navigation_id: Mapped[str] = reference("navigation.navigation_id", role=Role.GUARDED)
    place_id: Mapped[str] = reference("place.place_id", role=Role.GUARDED)
    reached_at: Mapped[int] = instant(fill="create")
    __table_args__ = (UniqueConstraint("navigation_id", "place_id"), STRICT)


class LocationShare(Base):
    """A contact sees the user's position until the navigation is over."""

    __tablename__ = "location_share"
    location_share_id: Mapped[str] = identifier("lsh")
    navigation_id: Mapped[str] = reference("navigation.navigation_id", role=Role.GUARDED)
    map_contact_id: Mapped[str] = reference("map_contact.map_contact_id", role=Role.GUARDED)
    __table_args__ = (UniqueConstraint("navigation_id", "map_contact_id"), STRICT)


MODELS = [
    Junction, Road, RoadClosure, Place, SavedPlace, MapContact, Navigation, NavigationStop, LocationShare,
]  # fmt: skip
