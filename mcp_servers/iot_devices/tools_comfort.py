"""Light, warmth, the sensors it goes by, and scenes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import bindparam, or_, select

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import Output, precondition, query, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import Key
from palaestra.mcp_servers.iot_devices.abilities import Obstacle, device_is_online, obstacles, of_kind
from palaestra.mcp_servers.iot_devices.automation import Action, Changes, act, scene_actions
from palaestra.mcp_servers.iot_devices.models import Device, Scene, SceneAction, Sensor

_BUSY = Query(
    select(Device.device_id)
    .where(
        or_(
            Device.cleaning_room_id == bindparam("room"),
            (Device.room_id == bindparam("room")) & (Device.kind == "thermostat") & (Device.state != "off"),
        )
    )
    .order_by(Device.device_id)
)
_SCENE = Query(
    select(SceneAction.scene_action_id, SceneAction.device_id, Device.name, SceneAction.becomes, SceneAction.level)
    .join_from(SceneAction, Device, Device.device_id == SceneAction.device_id)
    .where(SceneAction.scene_id == bindparam("scene"))
    .order_by(SceneAction.scene_action_id)
    .limit(100)
)

# -- preconditions -------------------------------------------------------------------------------------------------


def _warms(db: Database, sources: EpisodeSources, args: Any, *unwanted: Obstacle) -> bool:
    """Whether none of these keeps the thermostat from the mode and target."""
    device = of_kind(db, args.device_id, "thermostat")
    level = device["level"] if args.target is None else args.target
    return not any(found in unwanted for found in obstacles(db, sources, device, args.mode, level))


@precondition
def room_windows_are_shut(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """To heat or cool, the windows of the thermostat's room are shut."""
    return _warms(db, sources, args, Obstacle.WINDOW_OPEN)


@precondition
def room_sensor_is_calibrated(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """To heat or cool, the room has a temperature sensor that was calibrated within the last 365 days."""
    return _warms(db, sources, args, Obstacle.SENSOR_OLD)


@precondition
def target_suits_mode(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The target is from 12 to 26 degrees for heating and from 20 to 30 degrees for cooling."""
    return _warms(db, sources, args, Obstacle.TARGET)


@precondition
def sensor_is_idle(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Nothing disturbs the sensor: no robot cleans in its room, and the room's thermostat is off."""
    return db.scalar(_BUSY, room=db.get(Sensor, args.sensor_id)["room_id"]) is None


@precondition
def reference_is_plausible(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The reference differs from the sensor's reading by at most a quarter of it; else the sensor is broken."""
    reading = db.get(Sensor, args.sensor_id)["reading"]
    return bool(4 * abs(args.reference - reading) <= reading)


def _scene_meets_none(db: Database, sources: EpisodeSources, args: Any, *unwanted: Obstacle) -> bool:
    """Whether none of these stands in the way of any action of the scene."""
    db.get(Scene, args.scene_id)
    return not any(
        found in unwanted
        for action in scene_actions(db, args.scene_id)
        for found in obstacles(db, sources, db.get(Device, action.device_id), action.becomes, action.level)
    )


@precondition
def scene_has_actions(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The scene has at least one action."""
    db.get(Scene, args.scene_id)
    return bool(scene_actions(db, args.scene_id))


@precondition
def scene_actions_fit(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Every action of the scene is one that its kind of device can do."""
    return _scene_meets_none(db, sources, args, Obstacle.MISFIT)


@precondition
def scene_devices_are_online(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Every device of the scene is online."""
    return _scene_meets_none(db, sources, args, Obstacle.OFFLINE)


@precondition
def scene_locks_shut_doors_only(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Every door that the scene locks is shut already."""
    return _scene_meets_none(db, sources, args, Obstacle.DOOR_OPEN)


@precondition
def scene_opens_nothing_while_armed(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """A scene that opens doors or windows is run only while the alarm is disarmed."""
    return _scene_meets_none(db, sources, args, Obstacle.ARMED)


@precondition
def scene_rooms_can_be_heated(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Rooms the scene heats or cools have shut windows, a sensor calibrated within a year, and a fitting target."""
    return _scene_meets_none(db, sources, args, Obstacle.WINDOW_OPEN, Obstacle.SENSOR_OLD, Obstacle.TARGET)


# -- verbs ---------------------------------------------------------------------------------------------------------


class DimArgs(Args):
    """Arguments of dimming."""

    device_id: Key
    level: Annotated[int, Field(ge=0, le=100, description="percent; 0 switches the light off")]


@verb(requires=[device_is_online], returns=Changes)
def dim_light(db: Database, sources: EpisodeSources, args: DimArgs) -> Row:
    """Set the brightness of a light that is online, in percent; 0 switches it off."""
    of_kind(db, args.device_id, "light")
    return act(db, sources, [Action(args.device_id, "on" if args.level else "off", args.level)])


class ThermostatArgs(Args):
    """Arguments of a thermostat."""

    device_id: Key
    mode: Literal["off", "heat", "cool"]
    target: Annotated[int, Field(ge=5, le=35, description="degrees Celsius; left out, it stays")] | None = None


@verb(requires=[device_is_online, room_windows_are_shut, room_sensor_is_calibrated, target_suits_mode], returns=Changes)
def set_thermostat(db: Database, sources: EpisodeSources, args: ThermostatArgs) -> Row:
    """Let a thermostat heat (12 to 26 °C) or cool (20 to 30 °C) its room, or switch it off.

    It goes by the room's temperature sensor, calibrated within a year, and wants the room's windows shut.
    """
    device = of_kind(db, args.device_id, "thermostat")
    level = device["level"] if args.target is None else args.target
    return act(db, sources, [Action(args.device_id, args.mode, level)])


class CalibrateArgs(Args):
    """Arguments of a calibration."""

    sensor_id: Key
    reference: Annotated[int, Field(ge=0, le=10_000, description="the true value, in the sensor's unit")]


@verb(requires=[sensor_is_idle, reference_is_plausible], returns=view(Sensor))
def calibrate_sensor(db: Database, sources: EpisodeSources, args: CalibrateArgs) -> Row:
    """Set a sensor right by a value measured elsewhere; 2 minutes, in a room at rest: no cleaning, no heating."""
    sources.advance(120)
    return db.update(Sensor, args.sensor_id, reading=args.reference, calibrated_at=sources.now)


class SceneArgs(Args):
    """Arguments that name a scene."""

    scene_id: Key


@verb(
    requires=[
        scene_has_actions, scene_actions_fit, scene_devices_are_online, scene_locks_shut_doors_only,
        scene_opens_nothing_while_armed, scene_rooms_can_be_heated,
    ],
    returns=Changes,
)  # fmt: skip
def run_scene(db: Database, sources: EpisodeSources, args: SceneArgs) -> Row:
    """Apply all actions of a scene at once, if every one of them can be done; rules may follow from them."""
    return act(db, sources, scene_actions(db, args.scene_id))


# -- queries -------------------------------------------------------------------------------------------------------


class SceneStep(Output):
    """One action of a scene, and the first thing that stands in its way now, if any does."""

    scene_action_id: str
    device_id: str
    name: str
    becomes: str
    level: int
    obstacle: str | None


class SceneSteps(Output):
    """A scene and its actions, in order."""

    scene_id: str
    name: str
    notes: str
    items: list[SceneStep]


@query(returns=SceneSteps)
def show_scene(db: Database, sources: EpisodeSources, args: SceneArgs) -> Row:
    """A scene with its first 100 actions, and for each what keeps it from being done now."""
    items = []
    for row in db.rows(_SCENE, scene=args.scene_id):
        found = obstacles(db, sources, db.get(Device, row["device_id"]), row["becomes"], row["level"])
        items.append({**row, "obstacle": next((obstacle.value for obstacle in found), None)})
    return {**db.get(Scene, args.scene_id), "items": items}
