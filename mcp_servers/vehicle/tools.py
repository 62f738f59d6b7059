"""What can be done with the car beyond reading about drivers and destinations.

Rules: the engine starts with the brake pressed, for a driver whose permission lasts; gears change with the engine
running, the brake pressed and the trunk shut; the car drives in drive only, towards a destination within its charge,
no faster than its driver may and its tyres carry; what belongs to standing (trunk, tyres, a new destination) is done in
park; it charges with the engine off, at a charger that works and fits. Metres, seconds and watt-hours add up.
"""

from __future__ import annotations

from palaestra.mcp_servers.vehicle.tools_care import (
    charge_vehicle,
    check_tyre_pressures,
    find_vehicle_chargers,
    inflate_tyre,
    open_trunk,
    read_service_log,
    set_cabin_climate,
    show_vehicle_dashboard,
    shut_trunk,
)
from palaestra.mcp_servers.vehicle.tools_driving import (
    drive_vehicle,
    estimate_drive,
    list_recent_drives,
    press_brake,
    set_cruise_speed,
    set_vehicle_destination,
    shift_gear,
    start_engine,
    stop_engine,
)

VERBS = [
    start_engine, stop_engine, shift_gear, press_brake, drive_vehicle, set_cruise_speed, set_vehicle_destination,
    charge_vehicle, open_trunk, shut_trunk, set_cabin_climate, inflate_tyre,
]  # fmt: skip
QUERIES = [
    show_vehicle_dashboard, estimate_drive, find_vehicle_chargers, list_recent_drives, check_tyre_pressures,
    read_service_log,
]  # fmt: skip
