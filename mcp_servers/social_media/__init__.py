"""The social media server: profiles that follow and block each other, posts, reposts and comments."""

from __future__ import annotations

from palaestra.mcp_servers.framework.crud import crud
from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.mcp_servers.social_media.models import MODELS, Comment, Follow, PostDraft, Profile
from palaestra.mcp_servers.social_media.seed import seed
from palaestra.mcp_servers.social_media.stories import CHAINS, STORIES
from palaestra.mcp_servers.social_media.tools import QUERIES, VERBS

SERVER = ToolServer(
    "social_media",
    "A social network; the agent acts for one profile. Private profiles accept their followers; who blocks another "
    "sees and is seen no more; a post's author says who may see it and comment; only public posts are reposted; posts "
    "are written as drafts, then published or planned.",
    models=MODELS,
    seed=seed,
    stories=STORIES,
    chains=CHAINS,
    tools=[
        *crud(Profile, "search"),
        *crud(Follow, "list"),
        *crud(PostDraft, "list create update"),
        *crud(Comment, "list"),
        *QUERIES,
        *VERBS,
    ],
)
