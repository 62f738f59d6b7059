"""The banking server: accounts, payees, transfers, cards and bills of one customer."""

from __future__ import annotations

from palaestra.mcp_servers.banking.models import MODELS, Account, Bill, Card, Payee, Transfer
from palaestra.mcp_servers.banking.seed import seed
from palaestra.mcp_servers.banking.stories import CHAINS, STORIES
from palaestra.mcp_servers.banking.tools import QUERIES, VERBS
from palaestra.mcp_servers.framework.crud import crud
from palaestra.mcp_servers.framework.server import ToolServer

SERVER = ToolServer(
    "banking",
    "One customer's bank: accounts, cards, payees, transfers and bills. Amounts are in minor units (cents). Money "
    "goes to confirmed payees only; payments above 1,000.00 need the customer's identity to be verified.",
    models=MODELS,
    seed=seed,
    stories=STORIES,
    chains=CHAINS,
    tools=[
        *crud(Account, "get list", entity="bank_account"),
        *crud(Payee, "search create"),
        *crud(Transfer, "list"),
        *crud(Card, "list", entity="bank_card"),
        *crud(Bill, "list"),
        *QUERIES,
        *VERBS,
    ],
)
