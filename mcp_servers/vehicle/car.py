"""The one car, as verbs and queries find it, and the preconditions that several of them share."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import select

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.faults import not_found
from palaestra.mcp_servers.framework.spec import precondition, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.vehicle.models import Destination, Drive, Vehicle
from palaestra.mcp_servers.vehicle.motion import Point, distance_m

RANGE_SPEED: Final = 90
"""The speed, in km/h, at which ranges are told."""

VehicleView = view(Vehicle)

_CAR = Query(select(Vehicle.__table__).order_by(Vehicle.vehicle_id))
_UNDER_WAY = Query(select(Drive.__table__).where(Drive.status == "under_way").order_by(Drive.drive_id))


def the_car(db: Database) -> Row:
    """The car. Raises: Refusal "not_found" if the world has none."""
    car = db.first(_CAR)
    if car is None:
        raise not_found("vehicle", "car")
    return car


def change_car(db: Database, **values: Any) -> Row:
    """The car after setting the named columns."""
    return db.update(Vehicle, the_car(db)["vehicle_id"], **values)


def point(row: Row) -> Point:
    """Where a car or a destination is."""
    return Point(row["x_m"], row["y_m"])


def way_m(db: Database, destination_id: str) -> int:
    """Metres from the car to a destination. Raises: Refusal "not_found"."""
    return distance_m(point(the_car(db)), point(db.get(Destination, destination_id)))


def percent(car: Row) -> int:
    """Charge of the battery, rounded down."""
    return int(car["battery_wh"] * 100 // car["capacity_wh"])


def drive_under_way(db: Database) -> Row | None:
    """The drive that is not over, if there is one."""
    return db.first(_UNDER_WAY)


def break_off_drive(db: Database) -> None:
    """End the drive that is under way, if there is one, before its destination."""
    drive = drive_under_way(db)
    if drive is not None:
        db.update(Drive, drive["drive_id"], status="broken_off")


@precondition
def engine_is_off(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The engine is off."""
    return bool(the_car(db)["engine"] == "off")


@precondition
def engine_is_running(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The engine is running."""
    return bool(the_car(db)["engine"] == "running")


@precondition
def gear_is_park(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The car is in park."""
    return bool(the_car(db)["gear"] == "park")


@precondition
def brake_is_pressed(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The brake pedal is pressed."""
    return bool(the_car(db)["brake_pressed"])


@precondition
def brake_is_released(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The brake pedal is released."""
    return not the_car(db)["brake_pressed"]


@precondition
def trunk_is_shut(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The trunk is shut."""
    return not the_car(db)["trunk_open"]
