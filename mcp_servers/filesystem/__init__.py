"""The filesystem server: directories, files, links, permissions, quotas, locks and a trash, all of it rows."""

from __future__ import annotations

from palaestra.mcp_servers.filesystem.models import MODELS, Bookmark, TrashItem, User
from palaestra.mcp_servers.filesystem.seed import seed
from palaestra.mcp_servers.filesystem.stories import CHAINS, STORIES
from palaestra.mcp_servers.filesystem.tools import QUERIES, VERBS
from palaestra.mcp_servers.framework.crud import crud
from palaestra.mcp_servers.framework.server import ToolServer

SERVER = ToolServer(
    "filesystem",
    "The shared disk of a small office; the agent works as one of its users. Paths are absolute or relative to the "
    "current directory; rights are owner, group and others as in Unix. Every user has a disk quota; files can be "
    "locked for a while; what is put into the trash can be restored. Administrators set quotas and owners.",
    models=MODELS,
    seed=seed,
    stories=STORIES,
    chains=CHAINS,
    tools=[
        *crud(User, "list", entity="file_user"),
        *crud(TrashItem, "list", entity="trashed_path"),
        *crud(Bookmark, "search create", entity="path_bookmark"),
        *QUERIES,
        *VERBS,
    ],
)
