"""What nodes are made of: making, changing, copying and erasing them, and what their owners' quotas say to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from sqlalchemy import bindparam, func, select

from palaestra.mcp_servers.filesystem.archives import Member
from palaestra.mcp_servers.filesystem.models import Entry, FileLock, Node, TrashItem, User, Version
from palaestra.mcp_servers.filesystem.paths import join_path
from palaestra.mcp_servers.filesystem.permissions import ENTER, READ, demand
from palaestra.mcp_servers.filesystem.tree import Names, Place, entries_of, walk
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.sql import Database, Query, Row

KEPT_VERSIONS: Final = 5

_USED = Query(select(func.total(Node.size).label("used")).where(Node.owner_id == bindparam("owner")))
_VERSIONS = Query(
    select(Version.__table__).where(Version.node_id == bindparam("node")).order_by(Version.number, Version.version_id)
)
_LOCK = Query(select(FileLock.__table__).where(FileLock.node_id == bindparam("node")).order_by(FileLock.file_lock_id))
_FOREIGN_LOCKS = Query(
    select(FileLock.node_id)
    .where(FileLock.user_id != bindparam("user"), FileLock.until > bindparam("now"))
    .order_by(FileLock.file_lock_id)
)
_TRASHED = Query(
    select(TrashItem.trash_item_id)
    .where(TrashItem.node_id == bindparam("node"))
    .order_by(TrashItem.trash_item_id)
    .limit(1)
)


def size_of(content: str) -> int:
    """Bytes of a text in UTF-8."""
    return len(content.encode())


def used_bytes(db: Database, user_id: str) -> int:
    """What all files and links of a user hold, those in the trash included."""
    return int(db.scalar(_USED, owner=user_id))


def has_room(db: Database, user_id: str, more: int) -> bool:
    """Whether a user's quota lets the user's files grow by so many bytes; they may always shrink."""
    return more <= 0 or used_bytes(db, user_id) + more <= db.get(User, user_id)["quota_bytes"]


def lock_on(db: Database, sources: EpisodeSources, node_id: str) -> Row | None:
    """The lock on a file that has not run out, or None."""
    found = db.first(_LOCK, node=node_id)
    return found if found is not None and found["until"] > sources.now else None


def foreign_locks(db: Database, sources: EpisodeSources, user_id: str) -> frozenset[str]:
    """The nodes that others keep locked."""
    return frozenset(row["node_id"] for row in db.rows(_FOREIGN_LOCKS, user=user_id, now=sources.now))


def set_lock(db: Database, node_id: str, user_id: str, until: int) -> None:
    """Lock a file on which no valid lock is."""
    clear_lock(db, node_id)
    db.insert(FileLock, node_id=node_id, user_id=user_id, until=until)


def clear_lock(db: Database, node_id: str) -> None:
    """Take any lock off a file, one that has run out too."""
    for old in db.rows(_LOCK, node=node_id):
        db.delete(FileLock, old["file_lock_id"])


def versions_of(db: Database, node_id: str) -> list[Row]:
    """What a file held before its last changes, oldest first."""
    return db.rows(_VERSIONS, node=node_id)


def add_node(db: Database, user: Row, directory_id: str, name: str, made: Member) -> Row:
    """A new node of this user under a name that is free."""
    node = db.insert(
        Node, kind=made.kind, owner_id=user["user_id"], group_name=user["group_name"], mode=made.mode,
        content=made.content, size=size_of(made.content),
    )  # fmt: skip
    db.insert(Entry, directory_id=directory_id, name=name, node_id=node["node_id"])
    return node


def save(db: Database, sources: EpisodeSources, node_id: str, content: str) -> None:
    """Change what a file holds; what it held is kept as its latest version, five at most."""
    versions = versions_of(db, node_id)
    number = versions[-1]["number"] + 1 if versions else 1
    db.insert(Version, node_id=node_id, number=number, content=db.get(Node, node_id)["content"])
    for old in versions[: max(0, len(versions) + 1 - KEPT_VERSIONS)]:
        db.delete(Version, old["version_id"])
    put_content(db, sources, node_id, content)


def put_content(db: Database, sources: EpisodeSources, node_id: str, content: str) -> None:
    """Change what a file holds and keep nothing."""
    db.update(Node, node_id, content=content, size=size_of(content), modified_at=sources.now)


def collect(db: Database, user: Row, place: Place) -> Iterator[Member]:
    """A node and everything inside it, itself first and without a name; one content at a time is in memory.

    Raises: Refusal "forbidden" if the user may not read something of it.
    """
    for names, row in walk(db, place.trail[-1]):
        if row["kind"] != "symlink":
            needed = READ | ENTER if row["kind"] == "directory" else READ
            demand(user, row, needed, join_path((*place.names, *names)))
        yield Member(names, row["kind"], row["mode"], db.get(Node, row["node_id"])["content"])


def plant(db: Database, user: Row, place: Place, members: Iterable[Member]) -> None:
    """Put members, the first of them without a name, at a place that is free; they are the user's."""
    planted: dict[Names, str] = {}
    for member in members:
        at = planted[member.names[:-1]] if member.names else place.directory["node_id"]
        name = member.names[-1] if member.names else place.names[-1]
        planted[member.names] = add_node(db, user, at, name, member)["node_id"]


def erase(db: Database, top: Row) -> None:
    """Remove everything inside a node and the node itself, unless a name or the trash still holds it."""
    for _, row in reversed(list(walk(db, top))):
        if row is not top:
            db.delete(Entry, row["entry_id"])
        release(db, row["node_id"])


def release(db: Database, node_id: str) -> None:
    """Remove a node that has lost a name, with its versions and lock, unless something still holds it."""
    if entries_of(db, node_id) or db.first(_TRASHED, node=node_id) is not None:
        return
    for version in versions_of(db, node_id):
        db.delete(Version, version["version_id"])
    clear_lock(db, node_id)
    db.delete(Node, node_id)
