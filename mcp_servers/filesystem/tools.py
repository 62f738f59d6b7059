"""What can be done with the filesystem.

Rules: rights are those of owner, group and others, and an administrator is above them; nothing is ever overwritten
but by writing a file; only an empty directory can be removed; what a user's files hold stays within the user's quota,
the trash included; a file locked by another user stays as it is and where it is; only what one put into the trash
oneself can be restored; a path is at most 32 names deep and leads through at most 16 links.
"""

from __future__ import annotations

from palaestra.mcp_servers.filesystem.queries_files import FILE_QUERIES
from palaestra.mcp_servers.filesystem.queries_tree import TREE_QUERIES
from palaestra.mcp_servers.filesystem.tools_access import ACCESS_VERBS
from palaestra.mcp_servers.filesystem.tools_content import CONTENT_VERBS
from palaestra.mcp_servers.filesystem.tools_entries import ENTRY_VERBS
from palaestra.mcp_servers.filesystem.tools_trash import TRASH_VERBS

VERBS = [*CONTENT_VERBS, *ENTRY_VERBS, *ACCESS_VERBS, *TRASH_VERBS]
QUERIES = [*FILE_QUERIES, *TREE_QUERIES]
