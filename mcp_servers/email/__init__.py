"""The email server: one person's mailbox at work, with threads, drafts, folders and labels."""

from __future__ import annotations

from palaestra.mcp_servers.email.models import MODELS, Draft, Email, Label
from palaestra.mcp_servers.email.seed import seed
from palaestra.mcp_servers.email.stories import CHAINS, STORIES
from palaestra.mcp_servers.email.tools import QUERIES, VERBS
from palaestra.mcp_servers.framework.crud import crud
from palaestra.mcp_servers.framework.server import ToolServer

SERVER = ToolServer(
    "email",
    "One person's mailbox at work. What is sent is on its way for 30 seconds, or until its planned time, and can be "
    "recalled until then; threads with a confidential label stay inside the company; Trash and Spam are not answered.",
    models=MODELS,
    seed=seed,
    stories=STORIES,
    chains=CHAINS,
    tools=[
        *crud(Email, "list search"),
        *crud(Draft, "list create update"),
        *crud(Label, "list create"),
        *QUERIES,
        *VERBS,
    ],
)
