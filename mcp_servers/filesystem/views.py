"""How tools show what is at a path."""

from __future__ import annotations

from palaestra.mcp_servers.filesystem.models import User
from palaestra.mcp_servers.filesystem.tree import about, locate
from palaestra.mcp_servers.framework.spec import Output
from palaestra.mcp_servers.framework.sql import Database, Row
from palaestra.mcp_servers.framework.values import InstantOut


class PathView(Output):
    """Something in the filesystem; `mode` is octal: owner, group, others."""

    path: str
    kind: str
    owner: str
    group: str
    mode: str
    size_bytes: int
    modified_at: InstantOut


def show(db: Database, path: str) -> Row:
    """A `PathView` of what is at a path, a link itself rather than what it leads to."""
    place = locate(db, path, follow=False)
    return show_node(db, place.path, place.trail[-1]["node_id"])


def show_node(db: Database, path: str, node_id: str) -> Row:
    """A `PathView` of a node."""
    return shown(path, about(db, node_id), logins(db))


def shown(path: str, node: Row, names: dict[str, str]) -> Row:
    """A `PathView` of a row of a walk, given the users' names."""
    return {
        "path": path, "kind": node["kind"], "owner": names[node["owner_id"]], "group": node["group_name"],
        "mode": node["mode"], "size_bytes": node["size"], "modified_at": node["modified_at"],
    }  # fmt: skip


def logins(db: Database) -> dict[str, str]:
    """Every user's login by id."""
    return {user["user_id"]: user["login"] for user in db.every(User)}
