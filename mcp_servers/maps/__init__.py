"""The maps server: a town's roads and places, routes through it, and the user's navigation."""

from __future__ import annotations

from palaestra.mcp_servers.framework.crud import crud
from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.mcp_servers.maps.models import MODELS, MapContact, SavedPlace
from palaestra.mcp_servers.maps.seed import seed
from palaestra.mcp_servers.maps.stories import CHAINS, STORIES
from palaestra.mcp_servers.maps.tools import QUERIES, VERBS

SERVER = ToolServer(
    "maps",
    "The map of one town: places with addresses and opening hours, roads with speeds, one-ways and closures, quickest "
    "ways on foot, by bike and by car, and the user's navigation, which moves with the clock. Distances are metres, "
    "durations seconds, coordinates microdegrees, times UTC.",
    models=MODELS,
    seed=seed,
    stories=STORIES,
    chains=CHAINS,
    tools=[
        *crud(SavedPlace, "list create delete"),
        *crud(MapContact, "list"),
        *QUERIES,
        *VERBS,
    ],
)
