"""The marketplace server: auctions among private sellers, of whom the user is one."""

from __future__ import annotations

from palaestra.mcp_servers.framework.crud import crud
from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.mcp_servers.marketplace.models import MODELS, Bid, Listing, Sale, Seller, Watch
from palaestra.mcp_servers.marketplace.seed import seed
from palaestra.mcp_servers.marketplace.stories import CHAINS, STORIES
from palaestra.mcp_servers.marketplace.tools import QUERIES, VERBS

SERVER = ToolServer(
    "marketplace",
    "Auctions among private sellers; the user sells and bids there. Amounts are in minor units (cents). A standing bid "
    "holds its money until it is beaten, retracted or wins; an auction is decided when somebody concludes it; feedback "
    "is left once the item has arrived.",
    models=MODELS,
    seed=seed,
    stories=STORIES,
    chains=CHAINS,
    tools=[
        *crud(Seller, "list"),
        *crud(Listing, "list"),
        *crud(Bid, "list"),
        *crud(Sale, "list"),
        *crud(Watch, "create", entity="listing_watch"),
        *QUERIES,
        *VERBS,
    ],
)
