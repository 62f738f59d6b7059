"""What can be done in the smart home beyond reading it and writing scenes and rules.

Rules: the alarm is armed with every door shut, and for away with every window shut and every robot in its dock; while
it is armed no door or window opens, whoever asks; only shut doors lock; rooms are heated or cooled with windows shut
and by a sensor calibrated within a year; sensors are calibrated in rooms at rest; robots leave from their docks with
enough charge; a scene is applied whole or not at all. What changes may set off rules, each once per call, which do
what they can; see automation.py.
"""

from __future__ import annotations

from palaestra.mcp_servers.iot_devices.tools_comfort import (
    calibrate_sensor,
    dim_light,
    run_scene,
    set_thermostat,
    show_scene,
)
from palaestra.mcp_servers.iot_devices.tools_security import (
    arm_alarm,
    check_home_security,
    disarm_alarm,
    lock_door,
    move_cover,
)
from palaestra.mcp_servers.iot_devices.tools_upkeep import (
    dock_robot,
    find_firmware_updates,
    pair_device,
    start_cleaning,
    update_firmware,
)

VERBS = [
    arm_alarm, disarm_alarm, lock_door, move_cover, dim_light, set_thermostat, run_scene, calibrate_sensor,
    start_cleaning, dock_robot, update_firmware, pair_device,
]  # fmt: skip
QUERIES = [show_scene, check_home_security, find_firmware_updates]
