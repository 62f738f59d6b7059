"""The team chat server: channels of a workspace, their members, messages in threads, and pins."""

from __future__ import annotations

from palaestra.mcp_servers.framework.crud import crud
from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.mcp_servers.team_chat.models import MODELS, Channel, ChannelMembership, ChatPerson, Message
from palaestra.mcp_servers.team_chat.seed import seed
from palaestra.mcp_servers.team_chat.stories import CHAINS, STORIES
from palaestra.mcp_servers.team_chat.tools import QUERIES, VERBS

SERVER = ToolServer(
    "team_chat",
    "A company's chat; the agent speaks for one person. Only members speak in a channel, in announcement channels only "
    "owners and moderators do; those pin, at most five messages each; an owner archives a channel once every question "
    "in it is answered; guests belong to one channel.",
    models=MODELS,
    seed=seed,
    stories=STORIES,
    chains=CHAINS,
    tools=[
        *crud(ChatPerson, "list", plural="chat_people"),
        *crud(Channel, "list"),
        *crud(ChannelMembership, "list"),
        *crud(Message, "search"),
        *QUERIES,
        *VERBS,
    ],
)
