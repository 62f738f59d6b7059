"""Metres, seconds and watt-hours add up, and the car never is what a car cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.faults import FaultCode
from palaestra.mcp_servers.framework.sources import stream
from palaestra.mcp_servers.framework.sql import Database
from palaestra.mcp_servers.vehicle import SERVER
from palaestra.mcp_servers.vehicle.models import (
    ChargeSession,
    Destination,
    Drive,
    DriverPin,
    DriverProfile,
    ServiceRecord,
    Tyre,
    Vehicle,
)
from palaestra.mcp_servers.vehicle.motion import Point, charging_seconds, distance_m, effort, towards

coordinates = st.integers(-500_000, 500_000)
points = st.builds(Point, coordinates, coordinates)


def rows(car: Episode, model: Any) -> list[dict[str, Any]]:
    database: Database = car.state("vehicle").database
    return database.every(model)


def totals(car: Episode) -> tuple[int, int, int]:
    """Energy taken in less energy used, metres driven, and seconds spent charging, driving and inflating."""
    drives, charges = rows(car, Drive), rows(car, ChargeSession)
    energy = sum(row["energy_wh"] for row in charges) - sum(row["energy_wh"] for row in drives)
    seconds = sum(row["seconds"] for row in (*drives, *charges)) + 3 * sum(r["pressure_kpa"] for r in rows(car, Tyre))
    return energy, sum(row["distance_m"] for row in drives), seconds


def play(car: Episode, rng: np.random.Generator) -> set[str]:
    """Call verbs at random, and look after each at the books; the verbs that succeeded."""
    (before,), (energy, metres, seconds) = rows(car, Vehicle), totals(car)
    started = car.state("vehicle").sources.now
    places = {row["destination_id"]: row for row in rows(car, Destination)}
    pins, tyres = rows(car, DriverPin), [row["tyre_id"] for row in rows(car, Tyre)]
    writes, succeeded = 0, set()
    for _ in range(500):
        pin = pins[int(rng.integers(4))]
        tool, arguments = (
            ("press_brake", {}),
            ("start_engine", {"driver_profile_id": pin["driver_profile_id"], "pin": pin["digits"]}),
            ("shift_gear", {"gear": str(rng.choice(["park", "drive", "drive", "neutral"]))}),
            ("set_vehicle_destination", {"destination_id": str(rng.choice(sorted(places)))}),
            ("drive_vehicle", {"distance_m": int(rng.integers(500, 40_000)), "speed_kmh": int(rng.integers(20, 150))}),
            ("set_cruise_speed", {"speed_kmh": int(rng.integers(30, 120))}),
            ("stop_engine", {}),
            ("charge_vehicle", {"target_percent": int(rng.integers(20, 101))}),
            ("open_trunk", {}),
            ("shut_trunk", {}),
            ("set_cabin_climate", {"temperature_c": 21, "fan_level": int(rng.integers(0, 6))}),
            ("inflate_tyre", {"tyre_id": str(rng.choice(tyres)), "pressure_kpa": int(rng.integers(200, 321))}),
        )[int(rng.integers(12))]  # fmt: skip
        result = dispatch(car, tool, arguments)
        assert result.fault is None or result.fault.code is FaultCode.PRECONDITION
        if result.fault is None:
            succeeded.add(tool)
            writes += 1
        (now,), (energy_now, metres_now, seconds_now) = rows(car, Vehicle), totals(car)
        assert now["battery_wh"] - before["battery_wh"] == energy_now - energy
        assert now["odometer_m"] - before["odometer_m"] == metres_now - metres
        assert car.state("vehicle").sources.now - started == seconds_now - seconds + writes
        if now["place_id"] is not None:
            place = places[now["place_id"]]
            assert (now["x_m"], now["y_m"]) == (place["x_m"], place["y_m"])
    return succeeded


def test_metres_seconds_and_watt_hours_add_up() -> None:
    rng = stream(3, "play")
    succeeded = [play(EpisodeStore([SERVER]).open(seed=seed)[1], rng) for seed in range(6)]
    assert set().union(*succeeded) == {name for name, tool in SERVER.tools.items() if tool.kind == "verb"}


@given(points, points, st.integers(0, 2_000_000))
def test_a_stretch_leads_that_far_and_not_past_the_end(start: Point, end: Point, metres: int) -> None:
    here = towards(start, end, metres)
    whole = distance_m(start, end)
    assert abs(distance_m(start, here) - min(metres, whole)) <= 2
    assert abs(distance_m(here, end) - max(0, whole - metres)) <= 2


@given(st.integers(10, 500_000), st.integers(5, 179), st.integers(0, 5))
def test_faster_is_sooner_and_cruise_control_saves(metres: int, speed: int, fan: int) -> None:
    slow, fast = effort(metres, speed, fan_level=fan), effort(metres, speed + 1, fan_level=fan)
    assert fast.seconds <= slow.seconds
    assert effort(metres, speed, fan_level=fan, held=True).energy_wh <= slow.energy_wh
    assert effort(metres, speed).energy_wh <= slow.energy_wh


def test_the_last_fifth_charges_at_half_power() -> None:
    assert charging_seconds(40_000, 50_000, 50_000, "ccs", 50) == 2 * charging_seconds(0, 10_000, 50_000, "ccs", 50)
    assert charging_seconds(0, 11_000, 50_000, "type2", 22) == 3600


@pytest.mark.parametrize("seed", range(5))
def test_the_world_holds_its_stories(seed: int) -> None:
    car = EpisodeStore([SERVER]).open(seed=seed)[1]
    now = car.state("vehicle").sources.now
    assert [row["pressure_kpa"] < 220 for row in rows(car, Tyre)].count(True) == 1
    assert [row["ends_at"] is not None and row["ends_at"] < now for row in rows(car, DriverProfile)].count(True) == 1
    assert {"chademo", "ccs", "type2", "none"} == {row["connector"] for row in rows(car, Destination)}
    assert [row["in_service"] for row in rows(car, Destination)].count(0) == 1
    assert any("system" in row["notes"] for row in rows(car, ServiceRecord))
    secrets = {row["digits"] for row in rows(car, DriverPin)}
    shown = "".join(dispatch(car, tool, {}).text for tool in ("list_driver_profiles", "show_vehicle_dashboard"))
    assert not [pin for pin in secrets if f'"{pin}"' in shown]
