"""The alarm, the doors, and everything that opens."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import bindparam, or_, select

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.faults import forbidden
from palaestra.mcp_servers.framework.spec import NoArgs, Output, precondition, query, verb
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import PRIVATE, Key
from palaestra.mcp_servers.iot_devices.abilities import alarm_mode, device_is_online, of_kind
from palaestra.mcp_servers.iot_devices.automation import Action, Changes, act
from palaestra.mcp_servers.iot_devices.models import AlarmCode, Device

Percent = Annotated[int, Field(ge=0, le=100)]

_OPENINGS = Query(
    select(Device.kind)
    .where(or_(Device.kind == "door", Device.kind == "window"), Device.state == "open")
    .order_by(Device.device_id)
)
_ROAMING = Query(
    select(Device.device_id)
    .where(Device.kind == "robot", Device.status == "online", Device.state != "docked")
    .order_by(Device.device_id)
)
_CODE = Query(
    select(AlarmCode.person, AlarmCode.ends_at)
    .where(AlarmCode.digits == bindparam("digits"))
    .order_by(AlarmCode.alarm_code_id)
)
_CONCERNS = Query(
    select(Device.device_id, Device.name, Device.kind, Device.status, Device.state)
    .where(
        or_(
            Device.kind == "door",
            (Device.kind == "window") & (Device.state == "open"),
            (Device.kind == "robot") & (Device.state != "docked"),
            Device.status == "offline",
        ),
        Device.status != "unpaired",
    )
    .order_by(Device.device_id)
    .limit(100)
)


@precondition
def alarm_is_disarmed(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The alarm is disarmed."""
    return bool(of_kind(db, args.device_id, "alarm")["state"] == "disarmed")


@precondition
def alarm_is_armed(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The alarm is armed."""
    return bool(of_kind(db, args.device_id, "alarm")["state"] != "disarmed")


@precondition
def doors_are_shut(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Every door of the house is shut."""
    return all(row["kind"] != "door" for row in db.rows(_OPENINGS))


@precondition
def windows_are_shut_to_leave(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """To arm for away, every window of the house is shut too."""
    return args.mode == "home" or all(row["kind"] != "window" for row in db.rows(_OPENINGS))


@precondition
def robots_are_docked_to_leave(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """To arm for away, every robot is in its dock, or it would set the alarm off."""
    return bool(args.mode == "home" or db.scalar(_ROAMING) is None)


@precondition
def door_is_shut(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The door is shut."""
    return bool(of_kind(db, args.device_id, "door")["state"] != "open")


@precondition
def door_is_unlocked(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The door is not locked yet."""
    return bool(of_kind(db, args.device_id, "door")["state"] != "locked")


@precondition
def house_may_be_opened(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Doors and windows open only while the alarm is disarmed; blinds move, and everything shuts, at any time."""
    kind = of_kind(db, args.device_id, "blind", "window", "door")["kind"]
    return args.position == 0 or kind == "blind" or alarm_mode(db) == "disarmed"


class ArmArgs(Args):
    """Arguments of arming."""

    device_id: Key
    mode: Literal["home", "away"]


@verb(
    requires=[
        alarm_is_disarmed, doors_are_shut, windows_are_shut_to_leave, robots_are_docked_to_leave,
    ],
    returns=Changes,
)  # fmt: skip
def arm_alarm(db: Database, sources: EpisodeSources, args: ArmArgs) -> Row:
    """Arm the alarm: for home with every door shut; for away also with windows shut and robots in their docks."""
    return act(db, sources, [Action(args.device_id, f"armed_{args.mode}")])


class DisarmArgs(Args):
    """Arguments of disarming."""

    device_id: Key
    code: Annotated[
        str, Field(min_length=4, max_length=6, pattern=r"^[0-9]+$", json_schema_extra={PRIVATE: {"sensitive": True}})
    ]


@verb(requires=[alarm_is_armed], returns=Changes)
def disarm_alarm(db: Database, sources: EpisodeSources, args: DisarmArgs) -> Row:
    """Disarm the alarm with the code of somebody who lives here, or of a guest whose stay has not ended."""
    found = db.first(_CODE, digits=args.code)
    if found is None:
        raise forbidden("nobody has this code; ask the user for it")
    if found["ends_at"] is not None and found["ends_at"] <= sources.now:
        raise forbidden("this code has ended; ask the user for another")
    return act(db, sources, [Action(args.device_id, "disarmed")])


class DoorArgs(Args):
    """Arguments that name a door."""

    device_id: Key


@verb(requires=[device_is_online, door_is_shut, door_is_unlocked], returns=Changes)
def lock_door(db: Database, sources: EpisodeSources, args: DoorArgs) -> Row:
    """Lock a door that is shut. It is unlocked by opening it."""
    return act(db, sources, [Action(args.device_id, "locked")])


class MoveCoverArgs(Args):
    """Arguments of moving a cover."""

    device_id: Key
    position: Percent = Field(description="0 is shut, 100 fully open")


@verb(requires=[device_is_online, house_may_be_opened], returns=Changes)
def move_cover(db: Database, sources: EpisodeSources, args: MoveCoverArgs) -> Row:
    """Move a blind, a window or a door to a position in percent. Doors and windows open only with the alarm off."""
    sources.advance(15)
    return act(db, sources, [Action(args.device_id, "open" if args.position else "closed", args.position)])


class Concern(Output):
    """Something to look after before one leaves."""

    device_id: str
    name: str
    kind: str
    concern: Literal["open", "unlocked", "out_of_dock", "offline"]


class HomeSecurity(Output):
    """How the house is armed, and what is open, unlocked, about or unreachable."""

    alarm: str
    items: list[Concern]


@query(returns=HomeSecurity)
def check_home_security(db: Database, sources: EpisodeSources, args: NoArgs) -> Row:
    """How the alarm is armed, and the first 100 doors, windows, robots and offline devices that need a look."""
    items = [
        {**{name: row[name] for name in ("device_id", "name", "kind")}, "concern": concern}
        for row in db.rows(_CONCERNS)
        if (concern := _concern(row)) is not None
    ]
    return {"alarm": alarm_mode(db), "items": items}


def _concern(device: Row) -> str | None:
    if device["status"] == "offline":
        return "offline"
    return {"open": "open", "closed": "unlocked", "cleaning": "out_of_dock", "idle": "out_of_dock"}.get(device["state"])
