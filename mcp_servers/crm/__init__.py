"""The CRM: leads that become deals, and deals that are won or lost."""

from __future__ import annotations

from palaestra.mcp_servers.crm import tools, tools_contacts
from palaestra.mcp_servers.crm.models import MODELS, Activity, Contact, Deal, Lead, Rep
from palaestra.mcp_servers.crm.seed import seed
from palaestra.mcp_servers.crm.stories import CHAINS, STORIES
from palaestra.mcp_servers.framework.crud import crud
from palaestra.mcp_servers.framework.server import ToolServer

SERVER = ToolServer(
    "crm",
    "A sales team's leads, contacts and deals. Amounts are in minor units (cents). Qualified leads become deals; a "
    "deal goes to a rep of its territory who has room, and through stages that ask for more and more to be known, "
    "until it is won or lost.",
    models=MODELS,
    seed=seed,
    stories=STORIES,
    chains=CHAINS,
    tools=[
        *crud(Rep, "list", entity="sales_rep"),
        *crud(Lead, "list create update"),
        *crud(Contact, "search"),
        *crud(Deal, "list update"),
        *crud(Activity, "create", entity="sales_activity"),
        *tools.QUERIES,
        *tools.VERBS,
        *tools_contacts.VERBS,
    ],
)
