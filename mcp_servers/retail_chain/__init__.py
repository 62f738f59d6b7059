"""The retail chain server: stock in every store, shipments between stores, holds and reorders."""

from __future__ import annotations

from palaestra.mcp_servers.framework.crud import crud
from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.mcp_servers.retail_chain.models import MODELS, StockHold, Store, StoreItem, StoreShipment
from palaestra.mcp_servers.retail_chain.seed import seed
from palaestra.mcp_servers.retail_chain.stories import CHAINS, STORIES
from palaestra.mcp_servers.retail_chain.tools import QUERIES, VERBS

SERVER = ToolServer(
    "retail_chain",
    "The stockrooms of a chain of shops: what each store has, holds for customers, sends to other stores and reorders "
    "from suppliers. Only available pieces move, a shipment counts once it is received, and reorders are for stock "
    "below its reorder point. Costs are in minor units (cents).",
    models=MODELS,
    seed=seed,
    stories=STORIES,
    chains=CHAINS,
    tools=[
        *crud(Store, "list"),
        *crud(StoreItem, "search"),
        *crud(StoreShipment, "list"),
        *crud(StockHold, "list"),
        *QUERIES,
        *VERBS,
    ],
)
