"""The smart home server: devices and sensors in rooms, scenes, and rules that follow from what happens."""

from __future__ import annotations

from palaestra.mcp_servers.framework.crud import crud
from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.mcp_servers.iot_devices.models import MODELS, Device, Room, Rule, Scene, SceneAction, Sensor
from palaestra.mcp_servers.iot_devices.seed import seed
from palaestra.mcp_servers.iot_devices.stories import CHAINS, STORIES
from palaestra.mcp_servers.iot_devices.tools import QUERIES, VERBS

SERVER = ToolServer(
    "iot_devices",
    "A house full of devices: alarm, doors, windows, blinds, lights, thermostats, cleaning robots and sensors. Scenes "
    "apply several actions at once; rules run a scene when a device gets into a state. The alarm is armed with doors "
    "shut; while it is armed nothing opens; heating wants shut windows and a calibrated sensor.",
    models=MODELS,
    seed=seed,
    stories=STORIES,
    chains=CHAINS,
    tools=[
        *crud(Room, "list", entity="home_room"),
        *crud(Device, "get list"),
        *crud(Sensor, "list"),
        *crud(Scene, "list create"),
        *crud(SceneAction, "create"),
        *crud(Rule, "list create update", entity="automation_rule"),
        *QUERIES,
        *VERBS,
    ],
)
