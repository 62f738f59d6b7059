"""Who works here and what they may do: rights as in Unix, three octal digits for owner, group and others.

Reading a directory lists it; writing it adds, renames and removes names in it; executing it lets one pass through. An
administrator may do everything.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from sqlalchemy import select

from palaestra.mcp_servers.filesystem.models import Session, User
from palaestra.mcp_servers.framework.faults import forbidden
from palaestra.mcp_servers.framework.sql import Database, Query, Row

READ: Final = 4
WRITE: Final = 2
ENTER: Final = 1
_DOING: Final = ((READ, "read"), (WRITE, "write"), (ENTER, "enter"))

_CURRENT = Query(
    select(
        User.user_id, User.login, User.group_name, User.administrator, User.quota_bytes, Session.session_id,
        Session.directory_id, Session.root_id,
    )
    .join_from(Session, User, User.user_id == Session.user_id)
    .order_by(Session.session_id)
)  # fmt: skip


def current_user(db: Database) -> Row:
    """The user who works here now, with the session's directory and root."""
    found = db.first(_CURRENT)
    if found is None:
        raise LookupError("the filesystem has no session; the seed makes one")
    return found


def rights(user: Row, node: Row) -> int:
    """READ, WRITE and ENTER bits of a user on a node."""
    if user["administrator"]:
        return READ | WRITE | ENTER
    if node["owner_id"] == user["user_id"]:
        return int(node["mode"][0])
    return int(node["mode"][1 if node["group_name"] == user["group_name"] else 2])


def may(user: Row, node: Row, needed: int) -> bool:
    """Whether a user has every needed right on a node."""
    return rights(user, node) & needed == needed


def may_look_into(user: Row) -> Callable[[Row], bool]:
    """Whether this user may list and enter a directory."""
    return partial(may, user, needed=READ | ENTER)


def demand(user: Row, node: Row, needed: int, path: str) -> None:
    """Raises: Refusal "forbidden" unless the user has every needed right on the node at this path."""
    if not may(user, node, needed):
        doing = " and ".join(word for bit, word in _DOING if needed & bit)
        raise forbidden(f"{user['login']} may not {doing} {path[:200]!r}; its mode is {node['mode']}")


def shown_rights(bits: int) -> str:
    """Rights as letters.

    >>> shown_rights(READ | ENTER)
    'r-x'
    """
    return "".join(letter if bits & bit else "-" for letter, bit in (("r", READ), ("w", WRITE), ("x", ENTER)))
