"""Scenes with the car that use every tool and meet every rule."""

from __future__ import annotations

from typing import Any

from palaestra.mcp_servers.framework.stories import Teller
from palaestra.mcp_servers.vehicle.models import Destination, DriverPin


def _driver(tell: Teller, index: int = 0) -> dict[str, str]:
    """A driver, with the PIN as the user knows it: two at home, one new, one guest whose permission has ended."""
    profile = tell.items("list_driver_profiles")[index]["driver_profile_id"]
    pin = next(row["digits"] for row in tell.known(DriverPin) if row["driver_profile_id"] == profile)
    return {"driver_profile_id": profile, "pin": pin}


def _place(tell: Teller, kind: str, index: int = 0) -> str:
    """A destination of a kind, as the user names it."""
    name = [row["name"] for row in tell.known(Destination) if row["kind"] == kind][index]
    return str(tell.items("search_vehicle_destinations", text=name)[0]["destination_id"])


def _charger(tell: Teller, **wanted: bool) -> str:
    found = tell.items("find_vehicle_chargers", within_km=20)
    return str(next(row["destination_id"] for row in found if wanted.items() <= row.items()))


def _dashboard(tell: Teller) -> dict[str, Any]:
    return tell.call("show_vehicle_dashboard")


def _start(tell: Teller, driver: int = 0) -> None:
    tell.call("press_brake")
    tell.call("start_engine", **_driver(tell, driver))


def _go(tell: Teller, destination: str) -> None:
    """From park with the engine off to park with the engine off somewhere else, slowly on a soft tyre."""
    _start(tell)
    tell.call("set_vehicle_destination", destination_id=destination)
    tell.call("shift_gear", gear="drive")
    assert tell.call("drive_vehicle", distance_m=1_000_000, speed_kmh=50)["arrived"]  # noqa: S101 - held to its rules
    tell.call("shift_gear", gear="park")
    tell.call("stop_engine")


def drive_to_the_office(tell: Teller) -> None:
    """The car is started, driven in stretches, held by cruise control, and parked at its destination."""
    driver, ended = _driver(tell), _driver(tell, 3)
    tell.refused("brake_is_pressed", "start_engine", **driver)
    tell.call("press_brake")
    tell.refused("brake_is_released", "press_brake")
    tell.refused("permission_lasts", "start_engine", **ended)
    wrong = f"{(int(driver['pin']) + 1) % 10_000:04d}"
    tell.refused("forbidden", "start_engine", **{**driver, "pin": wrong})
    tell.refused("engine_is_running", "shift_gear", gear="drive")
    tell.refused("engine_is_running", "stop_engine")
    tell.call("start_engine", **driver)
    tell.refused("engine_is_off", "start_engine", **driver)
    tell.refused("gear_is_another", "shift_gear", gear="park")
    tell.refused("gear_is_drive", "drive_vehicle", distance_m=500, speed_kmh=40)
    tell.call("shift_gear", gear="drive")
    tell.refused("car_is_rolling", "set_cruise_speed", speed_kmh=45)
    tell.refused("gear_is_park", "stop_engine")
    tell.refused("tyres_carry_speed", "drive_vehicle", distance_m=500, speed_kmh=70)
    tell.call("drive_vehicle", distance_m=2_000, speed_kmh=45)
    tell.refused("brake_is_pressed", "shift_gear", gear="park")
    tell.refused("tyres_carry_speed", "set_cruise_speed", speed_kmh=80)
    tell.call("set_cruise_speed", speed_kmh=48)
    held = tell.call("drive_vehicle", distance_m=1_000, speed_kmh=48)
    tell.call("press_brake")
    free = tell.call("drive_vehicle", distance_m=1_000, speed_kmh=48)
    assert held["energy_wh"] < free["energy_wh"]  # noqa: S101
    assert tell.call("drive_vehicle", distance_m=500_000, speed_kmh=50)["arrived"]  # noqa: S101
    tell.refused("destination_is_set", "drive_vehicle", distance_m=500, speed_kmh=30)
    tell.call("shift_gear", gear="park")
    tell.call("stop_engine")
    assert tell.items("list_recent_drives", limit=1)[0]["status"] == "arrived"  # noqa: S101


def go_to_the_lake(tell: Teller) -> None:
    """The tyre is inflated, the drive is fast, and at the lake the battery is too low for the climate."""
    office, lake, city = (_place(tell, kind) for kind in ("office", "sight", "city"))
    soft = next(tyre for tyre in tell.items("check_tyre_pressures") if tyre["low"])
    air = {"tyre_id": soft["tyre_id"], "pressure_kpa": 250}
    tell.refused("engine_is_running", "inflate_tyre", **air)
    tell.refused("engine_is_running", "set_vehicle_destination", destination_id=lake)
    tell.refused("engine_is_running", "set_cabin_climate", temperature_c=21, fan_level=2)
    _start(tell)
    tell.refused("pressure_rises", "inflate_tyre", **{**air, "pressure_kpa": 180})
    tell.call("inflate_tyre", **air)
    tell.refused("pressure_rises", "inflate_tyre", **air)
    tell.call("set_cabin_climate", temperature_c=22, fan_level=1)
    tell.refused("destination_is_elsewhere", "set_vehicle_destination", destination_id=_place(tell, "home"))
    tell.refused("charge_reaches_destination", "set_vehicle_destination", destination_id=city)
    assert not tell.call("estimate_drive", destination_id=city)["within_charge"]  # noqa: S101
    tell.call("set_vehicle_destination", destination_id=lake)
    tell.call("set_cabin_climate", temperature_c=22, fan_level=0)
    tell.call("shift_gear", gear="drive")
    tell.refused("gear_is_park", "set_vehicle_destination", destination_id=office)
    tell.refused("gear_is_park", "inflate_tyre", **{**air, "pressure_kpa": 260})
    tell.refused("gear_is_park", "open_trunk")
    assert tell.call("drive_vehicle", distance_m=1_000_000, speed_kmh=120)["battery_percent"] < 10  # noqa: S101
    tell.refused("battery_spares_climate", "set_cabin_climate", temperature_c=24, fan_level=3)
    tell.call("shift_gear", gear="park")
    tell.refused("charge_reaches_destination", "set_vehicle_destination", destination_id=city)
    tell.call("stop_engine")
    tell.refused("car_is_at_charger", "charge_vehicle", target_percent=80)


def load_the_trunk(tell: Teller) -> None:
    """The trunk opens in park, and the car does not leave park before it is shut."""
    tell.refused("trunk_is_open", "shut_trunk")
    tell.call("open_trunk")
    tell.refused("trunk_is_shut", "open_trunk")
    _start(tell, driver=1)
    tell.refused("trunk_is_shut", "shift_gear", gear="drive")
    tell.call("shut_trunk")
    tell.call("shift_gear", gear="drive")


def charge_on_the_way(tell: Teller) -> None:
    """One charger is broken, one does not fit; at home it works, with the engine off and nobody on the brake."""
    _go(tell, _charger(tell, in_service=False))
    tell.refused("charger_works", "charge_vehicle", target_percent=60)
    _go(tell, _charger(tell, fits=False))
    tell.refused("connector_fits", "charge_vehicle", target_percent=60)
    _go(tell, _place(tell, "home"))
    _start(tell)
    tell.refused("engine_is_off", "charge_vehicle", target_percent=60)
    tell.call("stop_engine")
    tell.call("press_brake")
    tell.refused("brake_is_released", "charge_vehicle", target_percent=60)
    tell.call("start_engine", **_driver(tell))
    tell.call("stop_engine")
    charge = {"target_percent": 60}
    paid = tell.call("charge_vehicle", **charge)
    assert paid["cost"] > 0 < paid["seconds"]  # noqa: S101
    tell.refused("target_is_above_charge", "charge_vehicle", **charge)
    assert _dashboard(tell)["battery_percent"] == 60  # noqa: S101
    tell.call("read_service_log")


def teach_a_new_driver(tell: Teller) -> None:
    """A new driver keeps to the profile's speed limit, and gives up half-way."""
    soft = next(tyre for tyre in tell.items("check_tyre_pressures") if tyre["low"])
    _start(tell, driver=2)
    tell.call("inflate_tyre", tyre_id=soft["tyre_id"], pressure_kpa=240)
    tell.call("set_vehicle_destination", destination_id=_place(tell, "sight"))
    tell.call("shift_gear", gear="drive")
    tell.refused("speed_suits_driver", "drive_vehicle", distance_m=1_000, speed_kmh=120)
    tell.call("drive_vehicle", distance_m=1_000, speed_kmh=80)
    tell.refused("speed_suits_driver", "set_cruise_speed", speed_kmh=110)
    tell.call("set_cruise_speed", speed_kmh=85)
    tell.call("press_brake")
    tell.call("shift_gear", gear="park")
    tell.call("stop_engine")
    assert tell.items("list_recent_drives", limit=1)[0]["status"] == "broken_off"  # noqa: S101


def creep_in_the_warm(tell: Teller) -> None:
    """Creeping along with the climate at full takes more than the battery holds; at 90 km/h it arrives."""
    soft = next(tyre for tyre in tell.items("check_tyre_pressures") if tyre["low"])
    _start(tell)
    tell.call("inflate_tyre", tyre_id=soft["tyre_id"], pressure_kpa=240)
    tell.call("set_vehicle_destination", destination_id=_place(tell, "sight"))
    tell.call("set_cabin_climate", temperature_c=28, fan_level=5)
    tell.call("shift_gear", gear="drive")
    tell.refused("charge_covers_stretch", "drive_vehicle", distance_m=1_000_000, speed_kmh=5)
    assert tell.call("drive_vehicle", distance_m=1_000_000, speed_kmh=90)["arrived"]  # noqa: S101


STORIES = [
    drive_to_the_office, go_to_the_lake, load_the_trunk, charge_on_the_way, teach_a_new_driver,
    creep_in_the_warm,
]  # fmt: skip


def pull_away_and_cruise(tell: Teller) -> None:
    """Press the brake, start, shift to drive, drive a stretch, and let cruise control hold the speed."""
    driver = _driver(tell)
    tell.call("press_brake")
    tell.call("start_engine", **driver)
    tell.call("shift_gear", gear="drive")
    tell.call("drive_vehicle", distance_m=1_500, speed_kmh=45)
    tell.call("set_cruise_speed", speed_kmh=50)


def drive_there_and_park(tell: Teller) -> None:
    """Drive all the way to the destination that is set, and shift to park there."""
    driver = _driver(tell, 1)
    tell.call("press_brake")
    tell.call("start_engine", **driver)
    tell.call("shift_gear", gear="drive")
    tell.call("drive_vehicle", distance_m=20_000, speed_kmh=50)
    tell.call("shift_gear", gear="park")


def warm_the_cabin(tell: Teller) -> None:
    """Start the car, warm it for those who will get in, and stop it again."""
    driver = _driver(tell)
    tell.call("press_brake")
    tell.call("start_engine", **driver)
    tell.call("set_cabin_climate", temperature_c=23, fan_level=3)
    tell.call("stop_engine")


def inflate_and_leave(tell: Teller) -> None:
    """Start the car, inflate the soft tyre, and only then shift to drive."""
    driver = _driver(tell)
    soft = next(tyre for tyre in tell.items("check_tyre_pressures") if tyre["low"])
    tell.call("press_brake")
    tell.call("start_engine", **driver)
    tell.call("inflate_tyre", tyre_id=soft["tyre_id"], pressure_kpa=245)
    tell.call("shift_gear", gear="drive")


def charge_for_the_city(tell: Teller) -> None:
    """Charge first, for the city is too far; then start the car, head there, and shift to drive."""
    driver, city = _driver(tell), _place(tell, "city")
    tell.call("charge_vehicle", target_percent=95)
    tell.call("press_brake")
    tell.call("start_engine", **driver)
    tell.call("set_vehicle_destination", destination_id=city)
    tell.call("shift_gear", gear="drive")


def change_the_plan(tell: Teller) -> None:
    """Start the car, head for the lake in place of the office, and leave park."""
    driver, lake = _driver(tell, 2), _place(tell, "sight")
    tell.call("press_brake")
    tell.call("start_engine", **driver)
    tell.call("set_vehicle_destination", destination_id=lake)
    tell.call("shift_gear", gear="reverse")


def charge_in_two_steps(tell: Teller) -> None:
    """Charge enough for the day, then the rest."""
    tell.call("charge_vehicle", target_percent=55)
    tell.call("charge_vehicle", target_percent=90)


def fetch_from_the_trunk(tell: Teller) -> None:
    """Open the trunk and shut it again."""
    tell.call("open_trunk")
    tell.call("shut_trunk")


def try_the_engine(tell: Teller) -> None:
    """Start the engine once and stop it."""
    driver = _driver(tell, 2)
    tell.call("press_brake")
    tell.call("start_engine", **driver)
    tell.call("stop_engine")


CHAINS = [
    pull_away_and_cruise, drive_there_and_park, warm_the_cabin, inflate_and_leave, charge_for_the_city,
    change_the_plan, charge_in_two_steps, fetch_from_the_trunk, try_the_engine,
]  # fmt: skip
