"""The trading server: one customer's portfolios at a broker, and the market's order book."""

from __future__ import annotations

from palaestra.mcp_servers.framework.crud import crud
from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.mcp_servers.trading.models import MODELS, Portfolio, Position, Stock, StockOrder
from palaestra.mcp_servers.trading.seed import seed
from palaestra.mcp_servers.trading.stories import CHAINS, STORIES
from palaestra.mcp_servers.trading.tools import QUERIES, VERBS

SERVER = ToolServer(
    "trading",
    "One customer's broker: portfolios of cash, shares and options, and a stock market with an order book. Prices and "
    "amounts are in minor units (cents). Open orders reserve cash or shares; halted stocks and restricted portfolios "
    "do not trade; fresh deposits cannot be withdrawn for 24 hours.",
    models=MODELS,
    seed=seed,
    stories=STORIES,
    chains=CHAINS,
    tools=[
        *crud(Portfolio, "list"),
        *crud(Stock, "search"),
        *crud(StockOrder, "list"),
        *crud(Position, "update", entity="stock_position"),
        *QUERIES,
        *VERBS,
    ],
)
