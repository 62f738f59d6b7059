"""The budget server: one household's envelopes, months and expenses."""

from __future__ import annotations

from palaestra.mcp_servers.budget.models import MODELS, BudgetMonth, Envelope, Expense
from palaestra.mcp_servers.budget.seed import seed
from palaestra.mcp_servers.budget.stories import CHAINS, STORIES
from palaestra.mcp_servers.budget.tools import QUERIES, VERBS
from palaestra.mcp_servers.framework.crud import crud
from palaestra.mcp_servers.framework.server import ToolServer

SERVER = ToolServer(
    "budget",
    "A household's envelope budget: money set aside in envelopes, expenses within monthly limits, and months that are "
    "closed one after the other. Amounts are in minor units (cents). Only envelopes for needs may be overdrawn, and "
    "no month is closed while one is.",
    models=MODELS,
    seed=seed,
    stories=STORIES,
    chains=CHAINS,
    tools=[
        *crud(Envelope, "list create"),
        *crud(BudgetMonth, "list"),
        *crud(Expense, "list search update"),
        *QUERIES,
        *VERBS,
    ],
)
