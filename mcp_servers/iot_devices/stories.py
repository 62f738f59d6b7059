"""Scenes in the smart home that use every tool and meet every rule."""

from __future__ import annotations

from palaestra.mcp_servers.framework.stories import Teller
from palaestra.mcp_servers.iot_devices.models import AlarmCode, PairingLabel


def _device(tell: Teller, kind: str, name: str, **filters: str) -> str:
    found = tell.items("list_devices", kind=kind, **filters)
    return str(next(device["device_id"] for device in found if device["name"] == name))


def _room(tell: Teller, name: str) -> str:
    return str(next(room["room_id"] for room in tell.items("list_home_rooms") if room["name"] == name))


def _scene(tell: Teller, name: str) -> str:
    return str(next(scene["scene_id"] for scene in tell.items("list_scenes") if scene["name"] == name))


def _light(tell: Teller, room: str) -> str:
    return _device(tell, "light", "Ceiling light", room_id=_room(tell, room))


def _robot(tell: Teller, state: str) -> str:
    return str(tell.items("list_devices", kind="robot", state=state)[0]["device_id"])


def _code(tell: Teller) -> str:
    """The code of somebody who lives here, as the user knows it."""
    return str(tell.known(AlarmCode)[0]["digits"])


def _label(tell: Teller, device: str) -> str:
    """What is printed on a device, as the user reads it off."""
    return str(next(label["code"] for label in tell.known(PairingLabel) if label["device_id"] == device))


def _away(tell: Teller) -> str:
    """Arm the alarm for away, with all it takes."""
    alarm = _device(tell, "alarm", "Alarm panel")
    tell.refused("doors_are_shut", "arm_alarm", device_id=alarm, mode="away")
    tell.call("move_cover", device_id=_device(tell, "door", "Front door"), position=0)
    tell.refused("windows_are_shut_to_leave", "arm_alarm", device_id=alarm, mode="away")
    tell.call("move_cover", device_id=_device(tell, "window", "Skylight"), position=0)
    tell.refused("robots_are_docked_to_leave", "arm_alarm", device_id=alarm, mode="away")
    tell.call("dock_robot", device_id=_robot(tell, "cleaning"))
    tell.call("arm_alarm", device_id=alarm, mode="away")
    return alarm


def leave_and_come_home(tell: Teller) -> None:
    """The house is shut and armed for away; nothing opens until somebody's code disarms it."""
    open_at_first = {item["name"] for item in tell.items("check_home_security") if item["concern"] == "open"}
    assert open_at_first == {"Front door", "Skylight"}  # noqa: S101 - a story holds its server to its rules
    alarm = _away(tell)
    front, terrace = (_device(tell, "door", name) for name in ("Front door", "Terrace door"))
    assert tell.call("get_device", device_id=front)["state"] == "locked"  # noqa: S101 - a rule did it
    tell.refused("alarm_is_disarmed", "arm_alarm", device_id=alarm, mode="home")
    tell.refused("house_may_be_opened", "move_cover", device_id=terrace, position=100)
    robot = _robot(tell, "docked")
    tell.refused("nobody_is_away", "start_cleaning", device_id=robot, room_id=_room(tell, "Hall"))
    tell.refused("scene_opens_nothing_while_armed", "run_scene", scene_id=_scene(tell, "Fresh air"))
    _, _, ended, _ = tell.known(AlarmCode)
    tell.refused("forbidden", "disarm_alarm", device_id=alarm, code="000000")
    tell.refused("forbidden", "disarm_alarm", device_id=alarm, code=ended["digits"])
    tell.call("disarm_alarm", device_id=alarm, code=_code(tell))
    tell.refused("alarm_is_armed", "disarm_alarm", device_id=alarm, code=_code(tell))
    tell.call("run_scene", scene_id=_scene(tell, "Fresh air"))
    tell.call("move_cover", device_id=terrace, position=100)
    tell.call("start_cleaning", device_id=robot, room_id=_room(tell, "Hall"))


def lock_the_doors(tell: Teller) -> None:
    """A door is shut before it is locked; the one that lost its connection is paired again."""
    front, cellar = (_device(tell, "door", name) for name in ("Front door", "Cellar door"))
    tell.refused("door_is_shut", "lock_door", device_id=front)
    tell.refused("scene_locks_shut_doors_only", "run_scene", scene_id=_scene(tell, "Lock up"))
    tell.call("move_cover", device_id=front, position=0)
    followed = tell.call("lock_door", device_id=front)["changes"]
    assert [change["name"] for change in followed] == ["Front door", "Ceiling light"]  # noqa: S101
    tell.refused("door_is_unlocked", "lock_door", device_id=front)
    tell.call("run_scene", scene_id=_scene(tell, "Lock up"))
    tell.refused("device_is_online", "lock_door", device_id=cellar)
    tell.refused("device_is_online", "move_cover", device_id=cellar, position=50)
    tell.refused("not_found", "lock_door", device_id=_light(tell, "Hall"))
    room = _room(tell, "Cellar")
    tell.refused("forbidden", "pair_device", device_id=cellar, room_id=room, pairing_code="0000-000x")
    tell.call("pair_device", device_id=cellar, room_id=room, pairing_code=_label(tell, cellar))
    label = {"device_id": cellar, "pairing_code": _label(tell, cellar)}
    tell.refused("device_is_not_connected", "pair_device", room_id=room, **label)
    tell.call("move_cover", device_id=cellar, position=50)


def pair_again_what_was_lost(tell: Teller) -> None:
    """A light or a thermostat that is offline does nothing until it is paired again."""
    for kind, tool, more in (
        ("light", "dim_light", {"level": 40}),
        ("thermostat", "set_thermostat", {"mode": "heat", "target": 20}),
    ):
        device = tell.items("list_devices", kind=kind, status="offline")[0]
        tell.refused("device_is_online", tool, device_id=device["device_id"], **more)
        label = {"device_id": device["device_id"], "pairing_code": _label(tell, device["device_id"])}
        tell.call("pair_device", room_id=device["room_id"], **label)
        tell.call(tool, device_id=device["device_id"], **more)


def warm_the_house(tell: Teller) -> None:
    """Heating waits for shut windows and for a sensor that is calibrated while the room is at rest."""
    bedroom, study = (_device(tell, "thermostat", f"{name} thermostat") for name in ("Bedroom", "Study"))
    warm = {"mode": "heat", "target": 21}
    tell.refused("room_windows_are_shut", "set_thermostat", device_id=bedroom, **warm)
    tell.refused("scene_rooms_can_be_heated", "run_scene", scene_id=_scene(tell, "Cosy bedroom"))
    tell.call("move_cover", device_id=_device(tell, "window", "Skylight"), position=0)
    tell.refused("target_suits_mode", "set_thermostat", device_id=bedroom, mode="heat", target=30)
    tell.refused("target_suits_mode", "set_thermostat", device_id=bedroom, mode="cool", target=18)
    tell.call("set_thermostat", device_id=bedroom, **warm)
    tell.call("run_scene", scene_id=_scene(tell, "Cosy bedroom"))
    tell.refused("room_sensor_is_calibrated", "set_thermostat", device_id=study, **warm)
    sensor = tell.items("list_sensors", room_id=_room(tell, "Study"), kind="temperature")[0]
    right = {"sensor_id": sensor["sensor_id"], "reference": sensor["reading"] - 8}
    tell.refused("sensor_is_idle", "calibrate_sensor", **right)
    tell.call("dock_robot", device_id=_robot(tell, "cleaning"))
    tell.refused("reference_is_plausible", "calibrate_sensor", **{**right, "reference": 3 * sensor["reading"]})
    tell.call("calibrate_sensor", **right)
    tell.call("set_thermostat", device_id=study, **warm)
    tell.refused("sensor_is_idle", "calibrate_sensor", **right)
    tell.call("set_thermostat", device_id=study, mode="off")


def write_a_scene(tell: Teller) -> None:
    """Scenes that cannot be applied say why; a new one is, and a rule runs it."""
    for name, expected in (
        ("Party 🎉", "scene_has_actions"), ("Old routine", "scene_actions_fit"), ("Laundry", "scene_devices_are_online")
    ):  # fmt: skip
        tell.refused(expected, "run_scene", scene_id=_scene(tell, name))
    assert tell.items("show_scene", scene_id=_scene(tell, "Laundry"))[0]["obstacle"]  # noqa: S101
    hall, kitchen = _light(tell, "Hall"), _light(tell, "Kitchen")
    scene = tell.call("create_scene", name="Supper", notes="low light, please")["scene_id"]
    tell.refused("conflict", "create_scene", name="Supper")
    step = {"scene_id": scene, "device_id": kitchen, "becomes": "on", "level": 33}
    tell.call("create_scene_action", **step)
    tell.refused("conflict", "create_scene_action", **step)
    tell.refused("not_found", "create_scene_action", **{**step, "device_id": "dev_1"})
    tell.refused("invalid_arguments", "create_scene_action", **{**step, "becomes": "dancing"})
    tell.call("run_scene", scene_id=scene)
    rule = {"name": "Supper by hall light", "device_id": hall, "becomes": "off", "scene_id": scene}
    new = tell.call("create_automation_rule", **rule)["rule_id"]
    assert new in {rule["rule_id"] for rule in tell.items("list_automation_rules", device_id=hall)}  # noqa: S101
    tell.refused("not_found", "update_automation_rule", rule_id=new, scene_id="scn_1")
    tell.call("update_automation_rule", rule_id=new, name="Supper when the hall goes dark")
    tell.call("dim_light", device_id=kitchen, level=0)
    followed = tell.call("dim_light", device_id=hall, level=0)["changes"]
    assert [(c["device_id"], c["level"]) for c in followed] == [(hall, 0), (kitchen, 33)]  # noqa: S101


def keep_the_robots(tell: Teller) -> None:
    """Robots clean on their floor with enough charge, and are brought up to date in their docks."""
    busy, flat, boxed = _robot(tell, "cleaning"), _robot(tell, "docked"), _robot(tell, "idle")
    study, bathroom, hall = (_room(tell, name) for name in ("Study", "Bathroom", "Hall"))
    tell.refused("robot_is_docked", "start_cleaning", device_id=busy, room_id=study)
    tell.refused("robot_reaches_room", "start_cleaning", device_id=flat, room_id=study)
    tell.refused("battery_carries_cleaning", "start_cleaning", device_id=flat, room_id=bathroom)
    tell.refused("battery_carries_update", "update_firmware", device_id=flat)
    tell.call("dock_robot", device_id=flat)
    tell.refused("robot_needs_its_dock", "dock_robot", device_id=flat)
    tell.call("start_cleaning", device_id=flat, room_id=bathroom)
    tell.refused("robot_is_docked", "update_firmware", device_id=busy)
    tell.call("dock_robot", device_id=busy)
    assert busy in {item["device_id"] for item in tell.items("find_firmware_updates")}  # noqa: S101
    tell.call("update_firmware", device_id=busy)
    tell.refused("update_is_available", "update_firmware", device_id=busy)
    tell.refused("device_is_online", "start_cleaning", device_id=boxed, room_id=hall)
    tell.refused("device_is_online", "dock_robot", device_id=boxed)
    tell.refused("device_is_online", "update_firmware", device_id=boxed)
    tell.call("pair_device", device_id=boxed, room_id=hall, pairing_code=_label(tell, boxed))
    tell.call("dock_robot", device_id=boxed)
    tell.call("update_firmware", device_id=boxed)


STORIES = [
    leave_and_come_home,
    lock_the_doors,
    pair_again_what_was_lost,
    warm_the_house,
    write_a_scene,
    keep_the_robots,
]


def arm_for_the_night(tell: Teller) -> None:
    """Shut the front door, lock it, and arm the alarm for home."""
    front = _device(tell, "door", "Front door")
    tell.call("move_cover", device_id=front, position=0)
    tell.call("lock_door", device_id=front)
    tell.call("arm_alarm", device_id=_device(tell, "alarm", "Alarm panel"), mode="home")


def air_after_an_armed_night(tell: Teller) -> None:
    """Shut the house, arm and disarm it, and only then open the terrace door."""
    front, terrace = (_device(tell, "door", name) for name in ("Front door", "Terrace door"))
    alarm = _device(tell, "alarm", "Alarm panel")
    tell.call("move_cover", device_id=front, position=0)
    tell.call("arm_alarm", device_id=alarm, mode="home")
    tell.call("disarm_alarm", device_id=alarm, code=_code(tell))
    tell.call("move_cover", device_id=terrace, position=100)


def update_a_robot_and_send_it_out(tell: Teller) -> None:
    """Call the robot home, bring its firmware up to date, and let it clean the hall."""
    robot, hall = _robot(tell, "cleaning"), _room(tell, "Hall")
    tell.call("dock_robot", device_id=robot)
    tell.call("update_firmware", device_id=robot)
    tell.call("start_cleaning", device_id=robot, room_id=hall)


def unbox_a_robot(tell: Teller) -> None:
    """Pair the new robot, charge it, update it, and let it clean the kitchen."""
    robot, hall, kitchen = _robot(tell, "idle"), _room(tell, "Hall"), _room(tell, "Kitchen")
    tell.call("pair_device", device_id=robot, room_id=hall, pairing_code=_label(tell, robot))
    tell.call("dock_robot", device_id=robot)
    tell.call("update_firmware", device_id=robot)
    tell.call("start_cleaning", device_id=robot, room_id=kitchen)


def heat_the_study(tell: Teller) -> None:
    """Call the robot out of the study, calibrate the sensor there, and heat."""
    sensor = tell.items("list_sensors", room_id=_room(tell, "Study"), kind="temperature")[0]
    tell.call("dock_robot", device_id=_robot(tell, "cleaning"))
    tell.call("calibrate_sensor", sensor_id=sensor["sensor_id"], reference=sensor["reading"] + 5)
    tell.call("set_thermostat", device_id=_device(tell, "thermostat", "Study thermostat"), mode="heat", target=22)


def heat_the_kitchen_rightly(tell: Teller) -> None:
    """Stop heating the kitchen by a sensor nobody checked, calibrate it, and heat again."""
    kitchen = _device(tell, "thermostat", "Kitchen thermostat")
    sensor = tell.items("list_sensors", room_id=_room(tell, "Kitchen"), kind="temperature")[0]
    tell.call("set_thermostat", device_id=kitchen, mode="off")
    tell.call("calibrate_sensor", sensor_id=sensor["sensor_id"], reference=sensor["reading"] - 12)
    tell.call("set_thermostat", device_id=kitchen, mode="heat", target=20)


def shut_the_door_by_rule(tell: Teller) -> None:
    """Enable the rule that shuts the front door at lights out, put the light out, and lock the door."""
    rules = tell.items("list_automation_rules", enabled=False)
    tell.call("update_automation_rule", rule_id=rules[0]["rule_id"], enabled=True)
    tell.call("dim_light", device_id=_light(tell, "Hall"), level=0)
    tell.call("lock_door", device_id=_device(tell, "door", "Front door"))


def shut_the_door_by_scene(tell: Teller) -> None:
    """Write a scene that shuts the front door, run it, lock the door, and arm the alarm."""
    front = _device(tell, "door", "Front door")
    alarm = _device(tell, "alarm", "Alarm panel")
    scene = tell.call("create_scene", name="Evening")["scene_id"]
    tell.call("create_scene_action", scene_id=scene, device_id=front, becomes="closed")
    tell.call("run_scene", scene_id=scene)
    tell.call("lock_door", device_id=front)
    tell.call("arm_alarm", device_id=alarm, mode="home")


def light_a_new_lamp(tell: Teller) -> None:
    """Pair the new lamp and switch it on."""
    lamp = _device(tell, "light", "New lamp", status="unpaired")
    tell.call("pair_device", device_id=lamp, room_id=_room(tell, "Study"), pairing_code=_label(tell, lamp))
    tell.call("dim_light", device_id=lamp, level=60)


CHAINS = [
    arm_for_the_night, air_after_an_armed_night, update_a_robot_and_send_it_out, unbox_a_robot, heat_the_study,
    heat_the_kitchen_rightly, shut_the_door_by_rule, shut_the_door_by_scene, light_a_new_lamp,
]  # fmt: skip
