"""The house keeps its promises whatever is called, written into scenes, or set off by rules."""

from __future__ import annotations

from typing import Any

import pytest

from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.faults import FaultCode
from palaestra.mcp_servers.framework.sources import stream
from palaestra.mcp_servers.framework.sql import Database
from palaestra.mcp_servers.iot_devices import SERVER
from palaestra.mcp_servers.iot_devices.models import AlarmCode, Device, PairingLabel, Scene, SceneAction, Sensor


@pytest.fixture
def house() -> Episode:
    return EpisodeStore([SERVER]).open(seed=11)[1]


def rows(house: Episode, model: Any) -> list[dict[str, Any]]:
    database: Database = house.state("iot_devices").database
    return database.every(model)


def named(house: Episode, name: str) -> str:
    return str(next(device["device_id"] for device in rows(house, Device) if device["name"] == name))


def broken_promises(before: dict[str, str], devices: list[dict[str, Any]]) -> list[str]:
    """What must not be: something that opens under an armed alarm, a robot about in an empty house."""
    now = {device["device_id"]: device for device in devices}
    armed = next(device["state"] for device in devices if device["kind"] == "alarm")
    was_armed = before["alarm"] != "disarmed"
    found = [f"{device['name']} opened" for key, device in now.items()
             if was_armed and armed != "disarmed" and device["state"] == "open" != before[key]
             and device["kind"] in ("door", "window")]  # fmt: skip
    if armed != "disarmed":
        found += [device["name"] for device in devices if (device["kind"], device["state"]) == ("door", "open")]
    if armed == "armed_away":
        found += [device["name"] for device in devices if device["status"] == "online" and device["kind"] == "robot"
                  and device["state"] != "docked"]  # fmt: skip
        found += [device["name"] for device in devices if (device["kind"], device["state"]) == ("window", "open")]
    return found


def test_nothing_opens_under_an_armed_alarm_whatever_scenes_and_rules_say(house: Episode) -> None:
    rng = stream(3, "play")
    alarm, code = named(house, "Alarm panel"), rows(house, AlarmCode)[0]["digits"]
    for name in ("Front door", "Skylight"):
        assert not dispatch(house, "move_cover", {"device_id": named(house, name), "position": 0}).is_error
    for robot in rows(house, Device):
        if robot["state"] == "cleaning":
            assert not dispatch(house, "dock_robot", {"device_id": robot["device_id"]}).is_error
    scenes = [scene["scene_id"] for scene in rows(house, Scene)]
    devices = [device["device_id"] for device in rows(house, Device)]
    states = ("open", "closed", "locked", "on", "off", "armed_home", "armed_away", "disarmed")
    for number in range(40):
        rule = {"name": f"rule {number}", "device_id": str(rng.choice([alarm, *devices])),
                "becomes": str(rng.choice(states)), "scene_id": str(rng.choice(scenes))}  # fmt: skip
        assert not dispatch(house, "create_automation_rule", rule).is_error
    seen, faults = set(), 0
    for _ in range(400):
        before = {device["device_id"]: device["state"] for device in rows(house, Device)}
        device, scene = str(rng.choice(devices)), str(rng.choice(scenes))
        tool, arguments = (
            ("arm_alarm", {"device_id": alarm, "mode": str(rng.choice(["home", "away"]))}),
            ("disarm_alarm", {"device_id": alarm, "code": code}),
            ("run_scene", {"scene_id": scene}),
            ("move_cover", {"device_id": device, "position": int(rng.choice([0, 0, 0, 60]))}),
            ("lock_door", {"device_id": device}),
            ("dim_light", {"device_id": device, "level": int(rng.integers(0, 101))}),
        )[int(rng.integers(6))]  # fmt: skip
        fault = dispatch(house, tool, arguments).fault
        assert fault is None or fault.code is not FaultCode.INTERNAL
        faults += fault is not None
        now = rows(house, Device)
        assert broken_promises({**before, "alarm": before[alarm]}, now) == []
        seen.add(next(device["state"] for device in now if device["kind"] == "alarm"))
    assert seen == {"disarmed", "armed_home", "armed_away"}
    assert 0 < faults < 400


def test_rules_that_follow_from_each_other_end(house: Episode) -> None:
    lamp = next(device["device_id"] for device in rows(house, Device) if device["kind"] == "light")
    for state, opposite in (("on", "off"), ("off", "on")):
        scene = dispatch(house, "create_scene", {"name": f"turn {opposite}"}).content["scene_id"]
        action = {"scene_id": scene, "device_id": lamp, "becomes": opposite}
        assert not dispatch(house, "create_scene_action", action).is_error
        for copy in range(3):
            rule = {"name": f"{state} {copy}", "device_id": lamp, "becomes": state, "scene_id": scene}
            assert not dispatch(house, "create_automation_rule", rule).is_error
    changes = dispatch(house, "dim_light", {"device_id": lamp, "level": 0}).content["changes"]
    rules = [change["rule_id"] for change in changes if change["device_id"] == lamp and change["rule_id"]]
    assert len(rules) == len(set(rules)) == 2  # on by a rule that "off" set off, and off by one that "on" did


def test_a_rule_skips_what_cannot_be_done_and_says_why(house: Episode) -> None:
    lamp = next(device["device_id"] for device in rows(house, Device) if device["kind"] == "light")
    laundry = next(scene["scene_id"] for scene in rows(house, Scene) if scene["name"] == "Laundry")
    rule = {"name": "washing", "device_id": lamp, "becomes": "on", "scene_id": laundry}
    for level in (0, 50):
        changed = dispatch(house, "dim_light", {"device_id": lamp, "level": level}).content
        if not level:
            dispatch(house, "create_automation_rule", rule)
    assert [skipped["why"] for skipped in changed["skipped"]] == ["the device is not online"]


def test_no_tool_shows_a_code(house: Episode) -> None:
    secrets = {row["digits"] for row in rows(house, AlarmCode)} | {row["code"] for row in rows(house, PairingLabel)}
    device, scene = rows(house, Device)[0]["device_id"], rows(house, Scene)[0]["scene_id"]
    for name, tool in house.tools.items():
        known = {"device_id": device, "scene_id": scene, "limit": 100}
        properties = tool.input_schema()["properties"]
        text = dispatch(house, name, {key: value for key, value in known.items() if key in properties}).text
        assert not [secret for secret in secrets if f'"{secret}"' in text]


@pytest.mark.parametrize("seed", range(5))
def test_the_world_holds_its_stories(seed: int) -> None:
    house = EpisodeStore([SERVER]).open(seed=seed)[1]
    devices, now = rows(house, Device), house.state("iot_devices").sources.now
    assert {device["kind"] for device in devices if device["status"] == "offline"} == {
        "door", "light", "blind", "thermostat",
    }  # fmt: skip
    assert {device["state"] for device in devices if device["kind"] == "robot"} == {"docked", "cleaning", "idle"}
    assert [code["ends_at"] is not None and code["ends_at"] < now for code in rows(house, AlarmCode)].count(True) == 1
    assert sum(now - sensor["calibrated_at"] > 365 * 86_400 for sensor in rows(house, Sensor)) >= 2
    assert {scene["scene_id"] for scene in rows(house, Scene)} > {act["scene_id"] for act in rows(house, SceneAction)}
    assert any("SYSTEM" in scene["notes"] for scene in rows(house, Scene))
