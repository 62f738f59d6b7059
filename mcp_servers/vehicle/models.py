"""Tables of the car: the car itself, its tyres and drivers, where it can go, and what it did."""

from __future__ import annotations

from typing import Final

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, literal_column
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
    money,
    reference,
    text,
)

FAR: Final = 2_000_000


class Base(Entity, DeclarativeBase):
    """Tables of the vehicle server."""


class Destination(Base):
    """A place to drive to, on a plane measured in metres; some have a charger."""

    __tablename__ = "destination"
    destination_id: Mapped[str] = identifier("dst")
    name: Mapped[str] = text(80, unique=True, role=Role.GUARDED)
    kind: Mapped[str] = choice("home", "office", "charger", "workshop", "sight", "city", role=Role.GUARDED)
    x_m: Mapped[int] = integer("east of home", minimum=-FAR, maximum=FAR, unit="metres", role=Role.GUARDED)
    y_m: Mapped[int] = integer("north of home", minimum=-FAR, maximum=FAR, unit="metres", role=Role.GUARDED)
    connector: Mapped[str] = choice("none", "type2", "ccs", "chademo", doc="of its charger", role=Role.GUARDED)
    power_kw: Mapped[int] = integer(maximum=400, unit="kilowatts", role=Role.GUARDED)
    price: Mapped[int] = money("per kilowatt-hour", role=Role.GUARDED)
    in_service: Mapped[int] = flag("its charger works", default=True, role=Role.GUARDED)
    __table_args__ = (CheckConstraint("(connector = 'none') = (power_kw = 0)"), STRICT)


class DriverProfile(Base):
    """Somebody who may drive the car, up to a speed, some until a day."""

    __tablename__ = "driver_profile"
    driver_profile_id: Mapped[str] = identifier("drv")
    name: Mapped[str] = text(80, unique=True, role=Role.GUARDED)
    max_speed_kmh: Mapped[int] = integer(minimum=20, maximum=180, unit="km/h", role=Role.GUARDED)
    ends_at: Mapped[int | None] = instant("when the permission ends", role=Role.GUARDED, optional=True)


class DriverPin(Base):
    """What a driver types in to start the car; no tool shows it."""

    __tablename__ = "driver_pin"
    driver_pin_id: Mapped[str] = identifier("pin")
    driver_profile_id: Mapped[str] = reference("driver_profile.driver_profile_id", role=Role.GUARDED)
    digits: Mapped[str] = text(4, role=Role.GUARDED, sensitive=True)
    __table_args__ = (UniqueConstraint("driver_profile_id"), STRICT)


class Vehicle(Base):
    """The car. What can never be true of it at once is refused by the table itself."""

    __tablename__ = "vehicle"
    vehicle_id: Mapped[str] = identifier("car")
    name: Mapped[str] = text(60, role=Role.GUARDED)
    plate: Mapped[str] = text(12, role=Role.GUARDED)
    engine: Mapped[str] = choice("off", "running", role=Role.GUARDED)
    gear: Mapped[str] = choice("park", "reverse", "neutral", "drive", role=Role.GUARDED)
    brake_pressed: Mapped[int] = flag("the brake pedal", role=Role.GUARDED)
    speed_kmh: Mapped[int] = integer(maximum=180, unit="km/h", role=Role.GUARDED)
    cruise_kmh: Mapped[int] = integer("what cruise control holds; 0 = off", maximum=180, role=Role.GUARDED)
    trunk_open: Mapped[int] = flag(role=Role.GUARDED)
    battery_wh: Mapped[int] = integer("charge", maximum=200_000, unit="watt-hours", role=Role.GUARDED)
    capacity_wh: Mapped[int] = integer("of the battery", minimum=1, maximum=200_000, role=Role.GUARDED)
    odometer_m: Mapped[int] = integer(unit="metres", maximum=10**10, role=Role.GUARDED)
    cabin_c: Mapped[int] = integer("cabin temperature", minimum=16, maximum=28, unit="°C", role=Role.GUARDED)
    fan_level: Mapped[int] = integer("0 = climate off", maximum=5, role=Role.GUARDED)
    x_m: Mapped[int] = integer("east of home", minimum=-FAR, maximum=FAR, unit="metres", role=Role.GUARDED)
    y_m: Mapped[int] = integer("north of home", minimum=-FAR, maximum=FAR, unit="metres", role=Role.GUARDED)
    place_id: Mapped[str | None] = reference(
        "destination.destination_id", "where it stands", role=Role.GUARDED, optional=True
    )
    destination_id: Mapped[str | None] = reference(
        "destination.destination_id", "where it is headed", role=Role.GUARDED, optional=True
    )
    driver_profile_id: Mapped[str | None] = reference(
        "driver_profile.driver_profile_id", "who drives", role=Role.GUARDED, optional=True
    )
    __table_args__ = (
        CheckConstraint("battery_wh <= capacity_wh"),
        CheckConstraint("(engine = 'running') = (driver_profile_id IS NOT NULL)"),
        CheckConstraint("engine = 'running' OR gear = 'park' AND fan_level = 0"),
        CheckConstraint("speed_kmh = 0 OR gear = 'drive' AND NOT brake_pressed AND place_id IS NULL"),
        CheckConstraint("cruise_kmh IN (0, speed_kmh)"),
        CheckConstraint("NOT trunk_open OR gear = 'park'"),
        STRICT,
    )


class Tyre(Base):
    """One of the four tyres."""

    __tablename__ = "tyre"
    tyre_id: Mapped[str] = identifier("tyr")
    position: Mapped[str] = choice("front_left", "front_right", "rear_left", "rear_right", role=Role.GUARDED)
    pressure_kpa: Mapped[int] = integer(minimum=0, maximum=350, unit="kilopascal", role=Role.GUARDED)
    __table_args__ = (UniqueConstraint("position"), STRICT)


class Drive(Base):
    """A drive to a destination, added up until it is over; at most one is under way."""

    __tablename__ = "drive"
    drive_id: Mapped[str] = identifier("trp")
    driver_profile_id: Mapped[str] = reference("driver_profile.driver_profile_id", role=Role.GUARDED)
    destination_id: Mapped[str] = reference("destination.destination_id", role=Role.GUARDED)
    status: Mapped[str] = choice("under_way", "arrived", "broken_off", role=Role.GUARDED)
    distance_m: Mapped[int] = integer(unit="metres", role=Role.GUARDED)
    energy_wh: Mapped[int] = integer(unit="watt-hours", role=Role.GUARDED)
    seconds: Mapped[int] = integer("time on the move", role=Role.GUARDED)
    started_at: Mapped[int] = instant(role=Role.VOLATILE)
    __table_args__ = (
        Index("one_drive_under_way", "status", unique=True, sqlite_where=literal_column("status = 'under_way'")),
        STRICT,
    )


class ChargeSession(Base):
    """Energy the car took in at a charger, and what it cost."""

    __tablename__ = "charge_session"
    charge_session_id: Mapped[str] = identifier("chg")
    destination_id: Mapped[str] = reference("destination.destination_id", role=Role.GUARDED)
    energy_wh: Mapped[int] = integer(minimum=1, unit="watt-hours", role=Role.GUARDED)
    cost: Mapped[int] = money(role=Role.GUARDED)
    seconds: Mapped[int] = integer(role=Role.GUARDED)
    started_at: Mapped[int] = instant(role=Role.VOLATILE)


class ServiceRecord(Base):
    """Something a workshop did to the car."""

    __tablename__ = "service_record"
    service_record_id: Mapped[str] = identifier("svc")
    kind: Mapped[str] = choice("inspection", "tyres", "brakes", "software", "repair", role=Role.GUARDED)
    odometer_m: Mapped[int] = integer(unit="metres", maximum=10**10, role=Role.GUARDED)
    done_at: Mapped[int] = instant(role=Role.GUARDED)
    notes: Mapped[str] = text(200, default="", role=Role.GUARDED)


MODELS = [Destination, DriverProfile, DriverPin, Vehicle, Tyre, Drive, ChargeSession, ServiceRecord]
