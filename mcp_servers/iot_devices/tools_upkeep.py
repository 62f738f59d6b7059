"""Robots, firmware and pairing: what keeps the house clean and its devices reachable."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field
from sqlalchemy import bindparam, select

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.faults import forbidden
from palaestra.mcp_servers.framework.spec import NoArgs, Output, precondition, query, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import PRIVATE, Key
from palaestra.mcp_servers.iot_devices.abilities import alarm_mode, device_is_online, of_kind
from palaestra.mcp_servers.iot_devices.automation import Action, Changes, act
from palaestra.mcp_servers.iot_devices.models import Device, PairingLabel, Product, Room

UPDATE_PERCENT: Final = 50
UPDATE_SECONDS: Final = 300
CHARGE_SECONDS: Final = 60
"""Per percent of a robot's battery."""

DeviceView = view(Device)

_LABEL = Query(
    select(PairingLabel.code)
    .where(PairingLabel.device_id == bindparam("device"))
    .order_by(PairingLabel.pairing_label_id)
)
_BEHIND = Query(
    select(Device.device_id, Device.name, Device.kind, Device.status, Device.firmware, Product.latest_firmware)
    .join_from(Device, Product, Product.product_id == Device.product_id)
    .where(Device.firmware != Product.latest_firmware)
    .order_by(Device.device_id)
    .limit(100)
)

# -- preconditions -------------------------------------------------------------------------------------------------


def _cost(room: Row) -> int:
    """Percent of battery that cleaning a room takes."""
    return 5 + int(room["area"]) // 4


@precondition
def robot_is_docked(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """A robot must be in its dock; other devices have none."""
    device = db.get(Device, args.device_id)
    return bool(device["kind"] != "robot" or device["state"] == "docked")


@precondition
def robot_needs_its_dock(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The robot is out of its dock, or in it and not fully charged."""
    robot = of_kind(db, args.device_id, "robot")
    return bool(robot["state"] != "docked" or robot["battery"] < 100)


@precondition
def robot_reaches_room(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The room is on the floor of the robot's dock."""
    dock = db.get(Room, of_kind(db, args.device_id, "robot")["room_id"])
    return bool(dock["floor"] == db.get(Room, args.room_id)["floor"])


@precondition
def battery_carries_cleaning(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The robot's battery holds 5 percent and 1 percent more for every 4 square metres of the room."""
    return bool(of_kind(db, args.device_id, "robot")["battery"] >= _cost(db.get(Room, args.room_id)))


@precondition
def nobody_is_away(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The alarm is not armed for away, or a robot about would set it off."""
    return alarm_mode(db) != "armed_away"


@precondition
def update_is_available(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The maker offers other firmware than the device has."""
    device = db.get(Device, args.device_id)
    return bool(device["firmware"] != db.get(Product, device["product_id"])["latest_firmware"])


@precondition
def battery_carries_update(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """A device on battery holds at least 50 percent."""
    battery = db.get(Device, args.device_id)["battery"]
    return battery is None or bool(battery >= UPDATE_PERCENT)


@precondition
def device_is_not_connected(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The device is offline, or was never paired."""
    return bool(db.get(Device, args.device_id)["status"] != "online")


# -- verbs ---------------------------------------------------------------------------------------------------------


class CleaningArgs(Args):
    """Arguments of a cleaning."""

    device_id: Key
    room_id: Key


@verb(
    requires=[device_is_online, robot_is_docked, robot_reaches_room, battery_carries_cleaning, nobody_is_away],
    returns=Changes,
)
def start_cleaning(db: Database, sources: EpisodeSources, args: CleaningArgs) -> Row:
    """Send a robot from its dock to clean a room on its floor. Costs battery: 5 percent, and 1 per 4 square metres."""
    robot = of_kind(db, args.device_id, "robot")
    charge = robot["battery"] - _cost(db.get(Room, args.room_id))
    columns = {"cleaning_room_id": args.room_id, "battery": charge}
    return act(db, sources, [Action(args.device_id, "cleaning", columns=columns)])


class RobotArgs(Args):
    """Arguments that name a robot."""

    device_id: Key


@verb(requires=[device_is_online, robot_needs_its_dock], returns=Changes)
def dock_robot(db: Database, sources: EpisodeSources, args: RobotArgs) -> Row:
    """Send a robot to its dock and wait until it is fully charged: a minute per missing percent."""
    robot = of_kind(db, args.device_id, "robot")
    sources.advance((100 - robot["battery"]) * CHARGE_SECONDS)
    columns = {"cleaning_room_id": None, "battery": 100}
    return act(db, sources, [Action(args.device_id, "docked", columns=columns)])


class DeviceArgs(Args):
    """Arguments that name a device."""

    device_id: Key


@verb(requires=[device_is_online, update_is_available, robot_is_docked, battery_carries_update], returns=DeviceView)
def update_firmware(db: Database, sources: EpisodeSources, args: DeviceArgs) -> Row:
    """Bring a device's firmware up to date: 5 minutes, a robot in its dock, a battery at 50 percent or more."""
    product = db.get(Product, db.get(Device, args.device_id)["product_id"])
    sources.advance(UPDATE_SECONDS)
    return db.update(Device, args.device_id, firmware=product["latest_firmware"])


class PairArgs(Args):
    """Arguments of a pairing."""

    device_id: Key
    room_id: Key
    pairing_code: Annotated[
        str,
        Field(
            min_length=9,
            max_length=9,
            description="printed on the device",
            json_schema_extra={PRIVATE: {"sensitive": True}},
        ),
    ]


@verb(requires=[device_is_not_connected], returns=DeviceView)
def pair_device(db: Database, sources: EpisodeSources, args: PairArgs) -> Row:
    """Connect a new device, or again one that is offline, and say which room it is in. Takes the code on its label.

    A small device on battery gets a fresh one; a robot keeps its charge.
    """
    device, room = db.get(Device, args.device_id), db.get(Room, args.room_id)
    if db.scalar(_LABEL, device=args.device_id) != args.pairing_code:
        raise forbidden("that is not the code on the device's label; ask the user for it")
    sources.advance(30)
    battery = 100 if device["battery"] is not None and device["kind"] != "robot" else device["battery"]
    return db.update(Device, args.device_id, status="online", room_id=room["room_id"], battery=battery)


# -- queries -------------------------------------------------------------------------------------------------------


class FirmwareUpdate(Output):
    """A device whose firmware is behind."""

    device_id: str
    name: str
    kind: str
    status: str
    firmware: str
    latest_firmware: str


class FirmwareUpdates(Output):
    """Devices whose firmware is behind."""

    items: list[FirmwareUpdate]


@query(returns=FirmwareUpdates)
def find_firmware_updates(db: Database, sources: EpisodeSources, args: NoArgs) -> Row:
    """The first 100 devices whose maker offers newer firmware than they have."""
    return {"items": db.rows(_BEHIND)}
