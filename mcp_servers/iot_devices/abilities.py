"""What a device can be told, and what stands in the way of it: the one judge for verbs, scenes and rules."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import bindparam, select

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.faults import not_found
from palaestra.mcp_servers.framework.spec import precondition
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.iot_devices.models import STATES, Device, Sensor

CALIBRATION_SECONDS: Final = 365 * 86_400
TARGETS: Final = {"heat": (12, 26), "cool": (20, 30)}
COMMANDS: Final = {kind: states for kind, states in STATES.items() if kind not in ("robot", "alarm")}
"""What a scene can tell each kind of device. The alarm and robots take no orders from scenes."""


class Obstacle(StrEnum):
    """Why a device cannot do something now."""

    MISFIT = "a device of this kind cannot do that"
    OFFLINE = "the device is not online"
    DOOR_OPEN = "the door stands open, so it cannot be locked"
    ARMED = "no door or window opens while the alarm is armed"
    WINDOW_OPEN = "a window of the room is open"
    SENSOR_OLD = "the room's temperature sensor was not calibrated within a year"
    TARGET = "the target does not suit the mode"


_ARMED = Query(
    select(Device.state).where(Device.kind == "alarm", Device.state != "disarmed").order_by(Device.device_id)
)
_OPEN_WINDOW = Query(
    select(Device.device_id)
    .where(Device.room_id == bindparam("room"), Device.kind == "window", Device.state == "open")
    .order_by(Device.device_id)
)
_CALIBRATED = Query(
    select(Sensor.calibrated_at).where(Sensor.room_id == bindparam("room"), Sensor.kind == "temperature")
)


def of_kind(db: Database, device_id: str, *kinds: str) -> Row:
    """The device, if it is of one of these kinds. Raises: Refusal "not_found" naming the kind."""
    device = db.get(Device, device_id)
    if device["kind"] not in kinds:
        raise not_found(" or ".join(kinds), device_id)
    return device


def alarm_mode(db: Database) -> str:
    """How the house is armed: disarmed, armed_home or armed_away."""
    return str(db.scalar(_ARMED) or "disarmed")


def obstacles(db: Database, sources: EpisodeSources, device: Row, becomes: str, level: int) -> Iterator[Obstacle]:
    """Everything that keeps a device from becoming this now."""
    if becomes not in COMMANDS.get(device["kind"], ()):
        yield Obstacle.MISFIT
        return
    if device["status"] != "online":
        yield Obstacle.OFFLINE
    if becomes == "locked" and device["state"] == "open":
        yield Obstacle.DOOR_OPEN
    if becomes == "open" and device["kind"] in ("door", "window") and alarm_mode(db) != "disarmed":
        yield Obstacle.ARMED
    if becomes in TARGETS:
        yield from _climate_obstacles(db, sources, device["room_id"], becomes, level)


def _climate_obstacles(
    db: Database, sources: EpisodeSources, room_id: str | None, mode: str, level: int
) -> Iterator[Obstacle]:
    if db.scalar(_OPEN_WINDOW, room=room_id):
        yield Obstacle.WINDOW_OPEN
    calibrated = db.scalar(_CALIBRATED, room=room_id)
    if calibrated is None or sources.now - calibrated > CALIBRATION_SECONDS:
        yield Obstacle.SENSOR_OLD
    low, high = TARGETS[mode]
    if not low <= level <= high:
        yield Obstacle.TARGET


@precondition
def device_is_online(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The device is online: paired, and not lost since."""
    return bool(db.get(Device, args.device_id)["status"] == "online")
