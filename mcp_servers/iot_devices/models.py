"""Tables of the smart home: rooms, devices and sensors in them, scenes, and the rules that run scenes."""

from __future__ import annotations

from typing import Final

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

STATES: Final[dict[str, tuple[str, ...]]] = {
    "light": ("off", "on"),
    "blind": ("closed", "open"),
    "window": ("closed", "open"),
    "door": ("closed", "open", "locked"),
    "thermostat": ("off", "heat", "cool"),
    "robot": ("docked", "cleaning", "idle"),
    "alarm": ("disarmed", "armed_home", "armed_away"),
}
"""Every kind of device and the states it can be in."""

_ALL_STATES: Final = tuple(dict.fromkeys(state for states in STATES.values() for state in states))
_STATE_FITS_KIND: Final = " OR ".join(
    f"kind = {kind!r} AND state IN ({', '.join(map(repr, states))})" for kind, states in STATES.items()
)


class Base(Entity, DeclarativeBase):
    """Tables of the smart home server."""


class Room(Base):
    """A room of the house. Robots do not climb stairs, so its floor matters; its area is what cleaning costs."""

    __tablename__ = "room"
    room_id: Mapped[str] = identifier("room")
    name: Mapped[str] = text(60, unique=True)
    floor: Mapped[int] = integer("0 is the ground floor", minimum=-3, maximum=40)
    area: Mapped[int] = integer(minimum=1, maximum=400, unit="square metres")


class Product(Base):
    """A product that devices are copies of, with the newest firmware its maker offers."""

    __tablename__ = "product"
    product_id: Mapped[str] = identifier("prd")
    maker: Mapped[str] = text(40)
    name: Mapped[str] = text(60, unique=True)
    latest_firmware: Mapped[str] = text(20, role=Role.GUARDED)


class Device(Base):
    """Something that can be told what to do. A device that was never paired has no room."""

    __tablename__ = "device"
    device_id: Mapped[str] = identifier("dev")
    room_id: Mapped[str | None] = reference("room.room_id", role=Role.GUARDED, optional=True)
    product_id: Mapped[str] = reference("product.product_id", role=Role.GUARDED)
    kind: Mapped[str] = choice(*STATES, role=Role.GUARDED)
    name: Mapped[str] = text(60)
    status: Mapped[str] = choice("online", "offline", "unpaired", doc="connection to the hub", role=Role.GUARDED)
    state: Mapped[str] = choice(*_ALL_STATES, role=Role.GUARDED)
    level: Mapped[int] = integer(
        "a light's brightness or a cover's opening in percent; a thermostat's target in degrees Celsius",
        maximum=100, default=0, role=Role.GUARDED,
    )  # fmt: skip
    battery: Mapped[int | None] = integer(
        "charge of a device on battery", maximum=100, unit="percent", role=Role.GUARDED, optional=True
    )
    firmware: Mapped[str] = text(20, role=Role.GUARDED)
    cleaning_room_id: Mapped[str | None] = reference(
        "room.room_id", "where a robot is cleaning", role=Role.GUARDED, optional=True
    )
    changed_at: Mapped[int] = instant(fill="update", optional=True)
    __table_args__ = (
        UniqueConstraint("room_id", "name"),
        CheckConstraint(_STATE_FITS_KIND),
        CheckConstraint("(status = 'unpaired') = (room_id IS NULL)"),
        CheckConstraint("(state = 'cleaning') = (cleaning_room_id IS NOT NULL)"),
        CheckConstraint("state NOT IN ('closed', 'locked') OR level = 0"),
        CheckConstraint("state NOT IN ('open', 'on') OR level > 0"),
        STRICT,
    )


class PairingLabel(Base):
    """The label on a device, with the code that proves one holds it in one's hands."""

    __tablename__ = "pairing_label"
    pairing_label_id: Mapped[str] = identifier("lbl")
    device_id: Mapped[str] = reference("device.device_id", role=Role.GUARDED)
    code: Mapped[str] = text(9, role=Role.GUARDED, sensitive=True)
    __table_args__ = (UniqueConstraint("device_id"), STRICT)


class AlarmCode(Base):
    """A person's code for the alarm; a guest's one ends some day."""

    __tablename__ = "alarm_code"
    alarm_code_id: Mapped[str] = identifier("cod")
    person: Mapped[str] = text(80)
    digits: Mapped[str] = text(6, unique=True, role=Role.GUARDED, sensitive=True)
    ends_at: Mapped[int | None] = instant("when it stops working", role=Role.GUARDED, optional=True)


class Sensor(Base):
    """Measures one thing in a room. Heating and cooling go by the room's temperature sensor."""

    __tablename__ = "sensor"
    sensor_id: Mapped[str] = identifier("sen")
    room_id: Mapped[str] = reference("room.room_id", role=Role.GUARDED)
    kind: Mapped[str] = choice("temperature", "humidity", "carbon_dioxide", role=Role.GUARDED)
    reading: Mapped[int] = integer(
        "in tenths of a degree Celsius, percent, or parts per million", minimum=0, maximum=10_000, role=Role.GUARDED
    )
    calibrated_at: Mapped[int] = instant(role=Role.VOLATILE)
    __table_args__ = (UniqueConstraint("room_id", "kind"), STRICT)


class Scene(Base):
    """A named list of actions that are applied together."""

    __tablename__ = "scene"
    scene_id: Mapped[str] = identifier("scn")
    name: Mapped[str] = text(60, unique=True)
    notes: Mapped[str] = text(200, default="")


class SceneAction(Base):
    """What one device becomes in a scene; a scene says at most one thing to each device."""

    __tablename__ = "scene_action"
    scene_action_id: Mapped[str] = identifier("act")
    scene_id: Mapped[str] = reference("scene.scene_id")
    device_id: Mapped[str] = reference("device.device_id")
    becomes: Mapped[str] = choice(
        "off", "on", "closed", "open", "locked", "heat", "cool",
        doc="lights: off, on; blinds and windows: closed, open; doors: these and locked; thermostats: off, heat, cool",
    )  # fmt: skip
    level: Mapped[int] = integer("percent for on and open, degrees Celsius for heat and cool", maximum=100, default=100)
    __table_args__ = (UniqueConstraint("scene_id", "device_id"), STRICT)


class Rule(Base):
    """Runs a scene whenever a device gets into a state."""

    __tablename__ = "rule"
    rule_id: Mapped[str] = identifier("rul")
    name: Mapped[str] = text(80, unique=True)
    device_id: Mapped[str] = reference("device.device_id", "the device that is watched")
    becomes: Mapped[str] = choice(*_ALL_STATES, doc="the state that sets the rule off")
    scene_id: Mapped[str] = reference("scene.scene_id", "the scene that is run then")
    enabled: Mapped[int] = flag("a disabled rule does nothing", default=True)


MODELS = [Room, Product, Device, PairingLabel, AlarmCode, Sensor, Scene, SceneAction, Rule]
