"""The food_delivery server: restaurants and their dishes, the diner's basket, and orders that move with the clock."""

from __future__ import annotations

from palaestra.mcp_servers.food_delivery.models import MODELS, BasketItem, DeliveryAddress, FoodOrder
from palaestra.mcp_servers.food_delivery.seed import seed
from palaestra.mcp_servers.food_delivery.stories import CHAINS, STORIES
from palaestra.mcp_servers.food_delivery.tools import QUERIES, VERBS
from palaestra.mcp_servers.framework.crud import crud
from palaestra.mcp_servers.framework.server import ToolServer

SERVER = ToolServer(
    "food_delivery",
    "Food delivery for one diner: restaurants with hours, zones and a minimum order, dishes with portions left, a "
    "basket, and orders paid from a prepaid balance. Amounts are in minor units (cents), times UTC. An order can be "
    "changed until the courier picks it up, and is delivered as time goes by.",
    models=MODELS,
    seed=seed,
    stories=STORIES,
    chains=CHAINS,
    tools=[
        *crud(BasketItem, "create update delete"),
        *crud(DeliveryAddress, "list", plural="delivery_addresses"),
        *crud(FoodOrder, "list"),
        *QUERIES,
        *VERBS,
    ],
)
