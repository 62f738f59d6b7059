"""The payments server: a merchant's invoices, payments, refunds and webhook deliveries."""

from __future__ import annotations

from palaestra.mcp_servers.framework.crud import crud
from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.mcp_servers.payments.models import MODELS, Invoice, Payment, WebhookDelivery
from palaestra.mcp_servers.payments.seed import seed
from palaestra.mcp_servers.payments.stories import CHAINS, STORIES
from palaestra.mcp_servers.payments.tools import QUERIES, VERBS

SERVER = ToolServer(
    "payments",
    "A merchant's payment provider: invoices to clients, payments that are authorised, captured and refunded, and "
    "webhook deliveries. Amounts are in minor units (cents). Clients have a credit limit; refunds come out of the "
    "merchant's balance; webhooks of one endpoint are delivered in order.",
    models=MODELS,
    seed=seed,
    stories=STORIES,
    chains=CHAINS,
    tools=[
        *crud(Invoice, "list create"),
        *crud(Payment, "list"),
        *crud(WebhookDelivery, "list", plural="webhook_deliveries"),
        *QUERIES,
        *VERBS,
    ],
)
