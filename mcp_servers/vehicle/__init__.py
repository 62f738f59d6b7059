"""The vehicle server: one electric car with its drivers, destinations, chargers and tyres."""

from __future__ import annotations

from palaestra.mcp_servers.framework.crud import crud
from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.mcp_servers.vehicle.models import MODELS, Destination, DriverProfile
from palaestra.mcp_servers.vehicle.seed import seed
from palaestra.mcp_servers.vehicle.stories import CHAINS, STORIES
from palaestra.mcp_servers.vehicle.tools import QUERIES, VERBS

SERVER = ToolServer(
    "vehicle",
    "One electric car. Starting and shifting need the brake, driving needs a destination within the charge, a speed "
    "the driver may drive and firm tyres; trunk, tyres and destination wait for park; charging for a charger that "
    "fits. Driving and charging take time and energy that add up.",
    models=MODELS,
    seed=seed,
    stories=STORIES,
    chains=CHAINS,
    tools=[
        *crud(Destination, "search", entity="vehicle_destination"),
        *crud(DriverProfile, "list"),
        *QUERIES,
        *VERBS,
    ],
)
