"""Starting, shifting, driving and stopping, and where the drive leads."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field
from sqlalchemy import bindparam, func, select

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.faults import forbidden
from palaestra.mcp_servers.framework.spec import NoArgs, Output, page_of, precondition, query, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import PRIVATE, Key
from palaestra.mcp_servers.vehicle.car import (
    RANGE_SPEED,
    VehicleView,
    brake_is_pressed,
    brake_is_released,
    break_off_drive,
    change_car,
    drive_under_way,
    engine_is_off,
    engine_is_running,
    gear_is_park,
    percent,
    point,
    the_car,
    trunk_is_shut,
    way_m,
)
from palaestra.mcp_servers.vehicle.models import Destination, Drive, DriverPin, DriverProfile, Tyre
from palaestra.mcp_servers.vehicle.motion import Effort, effort, towards

SOFT_TYRE_SPEED: Final = 50
FIRM_KPA: Final = 220
CRUISE_FROM: Final = 30

Speed = Annotated[int, Field(ge=5, le=180, description="km/h")]

_PIN = Query(
    select(DriverPin.digits).where(DriverPin.driver_profile_id == bindparam("driver")).order_by(DriverPin.driver_pin_id)
)
_SOFTEST = Query(select(func.min(Tyre.pressure_kpa)))
_RECENT = Query(select(Drive.__table__).order_by(Drive.started_at.desc(), Drive.drive_id).limit(bindparam("limit")))

# -- preconditions -------------------------------------------------------------------------------------------------


@precondition
def permission_lasts(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The driver's permission to drive the car has not ended."""
    ends_at = db.get(DriverProfile, args.driver_profile_id)["ends_at"]
    return ends_at is None or bool(ends_at > sources.now)


@precondition
def gear_is_another(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The gear differs from the one that is in."""
    return bool(the_car(db)["gear"] != args.gear)


@precondition
def gear_is_drive(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The car is in drive."""
    return bool(the_car(db)["gear"] == "drive")


@precondition
def destination_is_set(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """A destination is set; arriving there clears it."""
    return the_car(db)["destination_id"] is not None


@precondition
def speed_suits_driver(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The speed is at most what the driver's profile allows."""
    return bool(args.speed_kmh <= db.get(DriverProfile, the_car(db)["driver_profile_id"])["max_speed_kmh"])


@precondition
def tyres_carry_speed(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Above 50 km/h every tyre needs at least 220 kPa."""
    return bool(args.speed_kmh <= SOFT_TYRE_SPEED or db.scalar(_SOFTEST) >= FIRM_KPA)


@precondition
def charge_covers_stretch(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The battery holds the energy of the stretch at that speed."""
    return bool(_stretch(db, args)[1].energy_wh <= the_car(db)["battery_wh"])


@precondition
def car_is_rolling(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The car is driving at 30 km/h or more."""
    return bool(the_car(db)["speed_kmh"] >= CRUISE_FROM)


@precondition
def destination_is_elsewhere(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The car is not at the destination already."""
    db.get(Destination, args.destination_id)
    return bool(the_car(db)["place_id"] != args.destination_id)


@precondition
def charge_reaches_destination(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The battery holds the energy of the whole way at 90 km/h."""
    needed = effort(way_m(db, args.destination_id), RANGE_SPEED).energy_wh
    return bool(needed <= the_car(db)["battery_wh"])


def _stretch(db: Database, args: Any) -> tuple[int, Effort]:
    """How far a drive really goes, ending at the destination at the latest, and what that takes."""
    car = the_car(db)
    metres = min(args.distance_m, way_m(db, car["destination_id"]))
    held = car["cruise_kmh"] == args.speed_kmh
    return metres, effort(metres, args.speed_kmh, fan_level=car["fan_level"], held=held)


# -- verbs ---------------------------------------------------------------------------------------------------------


class StartArgs(Args):
    """Arguments of starting the engine."""

    driver_profile_id: Key
    pin: Annotated[
        str,
        Field(pattern=r"^[0-9]{4}$", description="the driver's own", json_schema_extra={PRIVATE: {"sensitive": True}}),
    ]


@verb(requires=[engine_is_off, brake_is_pressed, permission_lasts], returns=VehicleView)
def start_engine(db: Database, sources: EpisodeSources, args: StartArgs) -> Row:
    """Start the engine for a driver, with the brake pedal pressed. The PIN is known to the driver only."""
    if db.scalar(_PIN, driver=args.driver_profile_id) != args.pin:
        raise forbidden("that is not the driver's PIN; ask the user for it")
    return change_car(db, engine="running", driver_profile_id=args.driver_profile_id)


@verb(requires=[engine_is_running, gear_is_park], returns=VehicleView)
def stop_engine(db: Database, sources: EpisodeSources, args: NoArgs) -> Row:
    """Stop the engine of the car in park. The climate goes off, the pedal is released, an unfinished drive ends."""
    break_off_drive(db)
    return change_car(db, engine="off", driver_profile_id=None, brake_pressed=0, fan_level=0)


class ShiftArgs(Args):
    """Arguments of shifting."""

    gear: Literal["park", "reverse", "neutral", "drive"]


@verb(requires=[engine_is_running, brake_is_pressed, trunk_is_shut, gear_is_another], returns=VehicleView)
def shift_gear(db: Database, sources: EpisodeSources, args: ShiftArgs) -> Row:
    """Shift to another gear, with the engine running, the brake pedal pressed and the trunk shut."""
    return change_car(db, gear=args.gear)


@verb(requires=[brake_is_released], returns=VehicleView)
def press_brake(db: Database, sources: EpisodeSources, args: NoArgs) -> Row:
    """Press the brake pedal and hold it: the car stops, cruise control ends. Driving off or stopping releases it."""
    return change_car(db, brake_pressed=1, speed_kmh=0, cruise_kmh=0)


class DriveArgs(Args):
    """Arguments of driving."""

    distance_m: Annotated[int, Field(ge=10, le=1_000_000, description="metres")]
    speed_kmh: Speed


class Driven(Output):
    """What a stretch of driving brought."""

    drive_id: str
    distance_m: int
    seconds: int
    energy_wh: int
    battery_percent: int
    arrived: bool
    remaining_m: int


@verb(
    requires=[gear_is_drive, destination_is_set, speed_suits_driver, tyres_carry_speed, charge_covers_stretch],
    returns=Driven,
)
def drive_vehicle(db: Database, sources: EpisodeSources, args: DriveArgs) -> Row:
    """Drive on towards the destination, so many metres at a speed in km/h. Takes time and energy.

    It ends at the destination at the latest, standing with the brake pressed; before that the car rolls on.
    """
    car = the_car(db)
    metres, used = _stretch(db, args)
    drive = drive_under_way(db) or db.insert(
        Drive, driver_profile_id=car["driver_profile_id"], destination_id=car["destination_id"], status="under_way",
        distance_m=0, energy_wh=0, seconds=0, started_at=sources.now,
    )  # fmt: skip
    goal = db.get(Destination, car["destination_id"])
    remaining = way_m(db, goal["destination_id"]) - metres
    here = towards(point(car), point(goal), metres)
    sources.advance(used.seconds)
    battery, odometer = car["battery_wh"] - used.energy_wh, car["odometer_m"] + metres
    moved = {"battery_wh": battery, "odometer_m": odometer, "x_m": here.x, "y_m": here.y}
    if remaining:
        cruise = args.speed_kmh if car["cruise_kmh"] == args.speed_kmh else 0
        moved |= {"speed_kmh": args.speed_kmh, "cruise_kmh": cruise, "brake_pressed": 0, "place_id": None}
    else:
        place = {"place_id": goal["destination_id"], "destination_id": None}
        moved |= {"speed_kmh": 0, "cruise_kmh": 0, "brake_pressed": 1, **place}
    car = change_car(db, **moved)
    db.update(
        Drive, drive["drive_id"], status="under_way" if remaining else "arrived",
        distance_m=drive["distance_m"] + metres, energy_wh=drive["energy_wh"] + used.energy_wh,
        seconds=drive["seconds"] + used.seconds,
    )  # fmt: skip
    return {
        "drive_id": drive["drive_id"], "distance_m": metres, "seconds": used.seconds, "energy_wh": used.energy_wh,
        "battery_percent": percent(car), "arrived": not remaining, "remaining_m": remaining,
    }  # fmt: skip


class CruiseArgs(Args):
    """Arguments of cruise control."""

    speed_kmh: Annotated[int, Field(ge=CRUISE_FROM, le=180, description="km/h")]


@verb(requires=[car_is_rolling, speed_suits_driver, tyres_carry_speed], returns=VehicleView)
def set_cruise_speed(db: Database, sources: EpisodeSources, args: CruiseArgs) -> Row:
    """Let cruise control hold a speed, while driving at 30 km/h or more. Driving on at that speed takes 5 % less."""
    return change_car(db, speed_kmh=args.speed_kmh, cruise_kmh=args.speed_kmh)


class DestinationArgs(Args):
    """Arguments that name a destination."""

    destination_id: Key


@verb(
    requires=[engine_is_running, gear_is_park, destination_is_elsewhere, charge_reaches_destination],
    returns=VehicleView,
)
def set_vehicle_destination(db: Database, sources: EpisodeSources, args: DestinationArgs) -> Row:
    """Set where the car is headed, in park with the engine running; the charge must reach there at 90 km/h."""
    if the_car(db)["destination_id"] != args.destination_id:
        break_off_drive(db)
    return change_car(db, destination_id=args.destination_id)


# -- queries -------------------------------------------------------------------------------------------------------


class EstimateArgs(DestinationArgs):
    """Arguments of an estimate."""

    speed_kmh: Speed = RANGE_SPEED


class Estimate(Output):
    """What driving to a destination would take."""

    destination_id: str
    distance_m: int
    seconds: int
    energy_wh: int
    within_charge: bool


@query(returns=Estimate)
def estimate_drive(db: Database, sources: EpisodeSources, args: EstimateArgs) -> Row:
    """Distance, time and energy from here to a destination at a speed in km/h, and whether the charge is enough."""
    car, metres = the_car(db), way_m(db, args.destination_id)
    needed = effort(metres, args.speed_kmh, fan_level=car["fan_level"])
    found = {"destination_id": args.destination_id, "distance_m": metres, **needed._asdict()}
    return {**found, "within_charge": needed.energy_wh <= car["battery_wh"]}


class RecentArgs(Args):
    """Arguments of a look back."""

    limit: Annotated[int, Field(ge=1, le=50)] = 10


@query(returns=page_of(view(Drive), "RecentDrives"))
def list_recent_drives(db: Database, sources: EpisodeSources, args: RecentArgs) -> Row:
    """The latest drives with driver, destination, distance, time and energy, newest first."""
    return {"items": db.rows(_RECENT, limit=args.limit)}
