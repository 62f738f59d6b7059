"""Charging, tyres, trunk and cabin, and what the car tells about itself."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, create_model
from sqlalchemy import select

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import NoArgs, Output, page_of, precondition, query, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import Key
from palaestra.mcp_servers.vehicle.car import (
    RANGE_SPEED,
    VehicleView,
    brake_is_released,
    change_car,
    engine_is_off,
    engine_is_running,
    gear_is_park,
    percent,
    point,
    the_car,
    trunk_is_shut,
    way_m,
)
from palaestra.mcp_servers.vehicle.models import ChargeSession, Destination, ServiceRecord, Tyre
from palaestra.mcp_servers.vehicle.motion import charging_seconds, distance_m, effort
from palaestra.mcp_servers.vehicle.tools_driving import FIRM_KPA

CLIMATE_PERCENT: Final = 10
INFLATE_SECONDS: Final = 3
"""Per kilopascal."""
CONNECTORS: Final = ("type2", "ccs")
"""What the car's socket takes."""

_CHARGERS = Query(select(Destination.__table__).where(Destination.power_kw > 0).order_by(Destination.destination_id))
_TYRES = Query(select(Tyre.__table__).order_by(Tyre.tyre_id))
_SERVICES = Query(
    select(ServiceRecord.__table__).order_by(ServiceRecord.done_at.desc(), ServiceRecord.service_record_id).limit(50)
)

# -- preconditions -------------------------------------------------------------------------------------------------


def _charger(db: Database) -> Row | None:
    """The charger the car stands at."""
    place = the_car(db)["place_id"]
    found = None if place is None else db.get(Destination, place)
    return found if found is not None and found["power_kw"] else None


def _target_wh(db: Database, args: Any) -> int:
    target: int = -(-the_car(db)["capacity_wh"] * args.target_percent // 100)
    return target


@precondition
def car_is_at_charger(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The car stands at a destination with a charger."""
    return _charger(db) is not None


@precondition
def charger_works(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The charger is in service."""
    charger = _charger(db)
    return charger is not None and bool(charger["in_service"])


@precondition
def connector_fits(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The charger has a type2 or ccs connector; the car takes no other."""
    charger = _charger(db)
    return charger is not None and charger["connector"] in CONNECTORS


@precondition
def target_is_above_charge(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The target lies above the present charge."""
    return bool(_target_wh(db, args) > the_car(db)["battery_wh"])


@precondition
def trunk_is_open(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The trunk is open."""
    return bool(the_car(db)["trunk_open"])


@precondition
def battery_spares_climate(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The fan runs only on a charge of 10 percent or more."""
    return bool(args.fan_level == 0 or percent(the_car(db)) >= CLIMATE_PERCENT)


@precondition
def pressure_rises(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The pressure asked for is higher than the tyre's; the compressor only adds air."""
    return bool(args.pressure_kpa > db.get(Tyre, args.tyre_id)["pressure_kpa"])


# -- verbs ---------------------------------------------------------------------------------------------------------


class ChargeArgs(Args):
    """Arguments of charging."""

    target_percent: Annotated[int, Field(ge=10, le=100)]


@verb(
    requires=[
        car_is_at_charger, charger_works, connector_fits, engine_is_off, brake_is_released, target_is_above_charge,
    ],
    returns=view(ChargeSession),
)  # fmt: skip
def charge_vehicle(db: Database, sources: EpisodeSources, args: ChargeArgs) -> Row:
    """Charge the battery to a percentage where the car stands, with the engine off and nobody on the brake.

    It takes as long as the charger's power allows, half as fast above 80 percent, and costs its price.
    """
    car = the_car(db)
    charger = db.get(Destination, car["place_id"])
    target = _target_wh(db, args)
    added = target - car["battery_wh"]
    power = {"connector": charger["connector"], "power_kw": charger["power_kw"]}
    seconds = charging_seconds(car["battery_wh"], target, car["capacity_wh"], **power)
    session = db.insert(
        ChargeSession, destination_id=charger["destination_id"], energy_wh=added,
        cost=-(-added * charger["price"] // 1000), seconds=seconds, started_at=sources.now,
    )  # fmt: skip
    sources.advance(seconds)
    change_car(db, battery_wh=target)
    return session


@verb(requires=[gear_is_park, trunk_is_shut], returns=VehicleView)
def open_trunk(db: Database, sources: EpisodeSources, args: NoArgs) -> Row:
    """Open the trunk of the car in park."""
    return change_car(db, trunk_open=1)


@verb(requires=[trunk_is_open], returns=VehicleView)
def shut_trunk(db: Database, sources: EpisodeSources, args: NoArgs) -> Row:
    """Shut the open trunk."""
    return change_car(db, trunk_open=0)


class ClimateArgs(Args):
    """Arguments of the climate."""

    temperature_c: Annotated[int, Field(ge=16, le=28, description="degrees Celsius")]
    fan_level: Annotated[int, Field(ge=0, le=5, description="0 switches the climate off")]


@verb(requires=[engine_is_running, battery_spares_climate], returns=VehicleView)
def set_cabin_climate(db: Database, sources: EpisodeSources, args: ClimateArgs) -> Row:
    """Set temperature and fan of the cabin while the engine runs. Driving takes 300 W more per level of the fan."""
    return change_car(db, cabin_c=args.temperature_c, fan_level=args.fan_level)


class InflateArgs(Args):
    """Arguments of inflating."""

    tyre_id: Key
    pressure_kpa: Annotated[int, Field(ge=180, le=320, description="kilopascal; 250 is usual")]


@verb(requires=[engine_is_running, gear_is_park, pressure_rises], returns=view(Tyre))
def inflate_tyre(db: Database, sources: EpisodeSources, args: InflateArgs) -> Row:
    """Inflate a tyre with the car's compressor, in park with the engine running: 3 seconds per kilopascal."""
    sources.advance((args.pressure_kpa - db.get(Tyre, args.tyre_id)["pressure_kpa"]) * INFLATE_SECONDS)
    return db.update(Tyre, args.tyre_id, pressure_kpa=args.pressure_kpa)


# -- queries -------------------------------------------------------------------------------------------------------


Dashboard = create_model(
    "Dashboard",
    __base__=VehicleView,
    battery_percent=(int, ...),
    range_m=(int, ...),
    place=(str | None, ...),
    destination=(str | None, ...),
    remaining_m=(int | None, ...),
)


@query(returns=Dashboard)
def show_vehicle_dashboard(db: Database, sources: EpisodeSources, args: NoArgs) -> Row:
    """Everything about the car now: engine, gear, pedal, speed, trunk, charge, range at 90 km/h, where it is headed."""
    car = the_car(db)
    place, goal = (
        None if car[name] is None else db.get(Destination, car[name])["name"] for name in ("place_id", "destination_id")
    )
    reach = car["battery_wh"] * 1_000_000 // effort(1_000_000, RANGE_SPEED).energy_wh
    remaining = None if goal is None else way_m(db, car["destination_id"])
    shown = {"place": place, "destination": goal, "remaining_m": remaining}
    return {**car, "battery_percent": percent(car), "range_m": reach, **shown}


class ChargersArgs(Args):
    """Arguments of a search for chargers."""

    within_km: Annotated[int, Field(ge=1, le=1000)] = 25


class Charger(Output):
    """A charger, and how far away it is."""

    destination_id: str
    name: str
    distance_m: int
    connector: str
    power_kw: int
    price: Annotated[int, Field(description="per kilowatt-hour, in minor units")]
    fits: bool
    in_service: bool


class Chargers(Output):
    """Chargers, nearest first."""

    items: list[Charger]


@query(returns=Chargers)
def find_vehicle_chargers(db: Database, sources: EpisodeSources, args: ChargersArgs) -> Row:
    """The nearest 50 chargers around the car, nearest first; whether they work and their connector fits."""
    here = point(the_car(db))
    items = [
        {
            **{name: row[name] for name in ("destination_id", "name", "connector", "power_kw", "price")},
            "distance_m": distance_m(here, point(row)),
            "fits": row["connector"] in CONNECTORS,
            "in_service": bool(row["in_service"]),
        }
        for row in db.rows(_CHARGERS)
    ]
    near = [item for item in items if item["distance_m"] <= args.within_km * 1000]
    return {"items": sorted(near, key=lambda item: (item["distance_m"], item["destination_id"]))[:50]}


class TyrePressure(Output):
    """A tyre's pressure, and whether it is too low for more than 50 km/h."""

    tyre_id: str
    position: str
    pressure_kpa: int
    low: bool


class TyrePressures(Output):
    """The four tyres."""

    items: list[TyrePressure]


@query(returns=TyrePressures)
def check_tyre_pressures(db: Database, sources: EpisodeSources, args: NoArgs) -> Row:
    """The pressure of each tyre in kilopascal, and whether it is too low for more than 50 km/h."""
    return {"items": [{**row, "low": row["pressure_kpa"] < FIRM_KPA} for row in db.rows(_TYRES)]}


@query(returns=page_of(view(ServiceRecord), "ServiceLog"))
def read_service_log(db: Database, sources: EpisodeSources, args: NoArgs) -> Row:
    """The latest 50 entries of the service log, newest first."""
    return {"items": db.rows(_SERVICES)}
