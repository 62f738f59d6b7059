"""Finding one's way: from a path to the place it names, and through everything inside a directory.

Paths are followed as in Unix: every directory passed through must let the user enter, ".." leads to where the
directory really is, and ".." of the root is the root, so that no path leads outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, select

from palaestra.mcp_servers.filesystem.models import Entry, Node
from palaestra.mcp_servers.filesystem.paths import MAX_HOPS, join_path, split_path
from palaestra.mcp_servers.filesystem.permissions import ENTER, current_user, demand
from palaestra.mcp_servers.framework.faults import FaultCode, Refusal, conflict, not_found
from palaestra.mcp_servers.framework.sql import Database, Query, Row

MAX_WALK: Final = 2000

Names = tuple[str, ...]

# Everything about a node but its content, which may be long.
_ABOUT: Final = (Node.node_id, Node.kind, Node.owner_id, Node.group_name, Node.mode, Node.size, Node.modified_at)
_NODE = Query(select(*_ABOUT).where(Node.node_id == bindparam("node")))
_NAMED = select(Entry.entry_id, Entry.name, Entry.directory_id, *_ABOUT).join_from(
    Entry, Node, Node.node_id == Entry.node_id
)
_CHILD = Query(_NAMED.where(Entry.directory_id == bindparam("directory"), Entry.name == bindparam("name")))
_CHILDREN = Query(_NAMED.where(Entry.directory_id == bindparam("directory")).order_by(Entry.name, Entry.entry_id))
_ENTRIES = Query(_NAMED.where(Entry.node_id == bindparam("node")).order_by(Entry.entry_id))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads.

    Attributes:
        trail: the nodes from the root to what the path names, or as far as they exist.
        missing: the names after the trail that do not exist.
    """

    trail: tuple[Row, ...]
    missing: Names = ()

    @property
    def names(self) -> Names:
        """From the root."""
        return (*(row["name"] for row in self.trail[1:]), *self.missing)

    @property
    def path(self) -> str:
        """Absolute, without links, "." and ".."."""
        return join_path(self.names)

    @property
    def node(self) -> Row | None:
        """What is there, if there is something."""
        return None if self.missing else self.trail[-1]

    @property
    def directory(self) -> Row:
        """The directory the last name is or would be in; the root is in itself."""
        return self.trail[-1] if self.missing else self.trail[max(0, len(self.trail) - 2)]

    @property
    def directory_path(self) -> str:
        """The path of that directory."""
        return join_path(self.names[: len(self.trail) - 1] if self.missing else self.names[:-1])


def locate(db: Database, path: str, *, follow: bool = True, grow: bool = False) -> Place:
    """The place a path names; its last name need not exist.

    Links on the way are followed; one at the end only with `follow`. With `grow`, more than the last name may be
    missing.

    Raises: Refusal "not_found" if a directory on the way is missing, "forbidden" if the user may not enter it,
        "conflict" if it is no directory or there are more than 16 links.
    """
    user = current_user(db)
    absolute, names = split_path(path)
    root = _root(db, user["root_id"])
    trail = [root] if absolute else _trail_to(db, root, user["directory_id"])
    pending = names[::-1]
    hops = 0
    while pending:
        name, here = pending.pop(), trail[-1]
        if here["kind"] != "directory":
            raise conflict(f"{here['name'][:200]!r} in {path[:200]!r} is not a directory")
        if name == "..":
            del trail[max(1, len(trail) - 1) :]
            continue
        demand(user, here, ENTER, here["name"] or "/")
        found = db.first(_CHILD, directory=here["node_id"], name=name)
        if found is None:
            missing = (name, *pending[::-1])
            if len(missing) > 1 and not (grow and ".." not in missing):
                raise not_found("directory", path)
            return Place(tuple(trail), missing)
        if found["kind"] == "symlink" and (pending or follow):
            hops += 1
            if hops > MAX_HOPS:
                raise conflict(f"{path[:200]!r} leads through more than {MAX_HOPS} symbolic links")
            absolute, names = split_path(db.get(Node, found["node_id"])["content"])
            if absolute:
                del trail[1:]
            pending.extend(names[::-1])
            continue
        trail.append(found)
    return Place(tuple(trail))


def existing(db: Database, path: str, *, follow: bool = True) -> Place:
    """The place a path names. Raises: Refusal "not_found" if nothing is there; and as `locate` does."""
    place = locate(db, path, follow=follow)
    if place.missing:
        raise not_found("path", path)
    return place


def node_at(db: Database, path: str, *, follow: bool = True) -> Row:
    """What a path names. Raises: as `existing` does."""
    return existing(db, path, follow=follow).trail[-1]


def child_of(db: Database, directory_id: str, name: str) -> Row | None:
    """What a directory has under this name."""
    return db.first(_CHILD, directory=directory_id, name=name)


def children(db: Database, directory_id: str) -> list[Row]:
    """What a directory has, by name."""
    return db.rows(_CHILDREN, directory=directory_id)


def entries_of(db: Database, node_id: str) -> list[Row]:
    """Every name a node has anywhere."""
    return db.rows(_ENTRIES, node=node_id)


def walk(db: Database, top: Row, enter: Callable[[Row], bool] = lambda row: True) -> Iterator[tuple[Names, Row]]:
    """A node and everything inside it, a directory before what it has, by name; links are not followed.

    Directories that `enter` does not let through are not looked into.

    Raises: Refusal "quota" beyond 2,000 nodes.
    """
    pending: list[tuple[Names, Row]] = [((), top)]
    count = 0
    while pending:
        names, row = pending.pop()
        count += 1
        if count > MAX_WALK:
            raise Refusal(FaultCode.QUOTA, f"there is more than {MAX_WALK} things inside; name a smaller directory")
        yield names, row
        if row["kind"] == "directory" and enter(row):
            pending += [((*names, child["name"]), child) for child in reversed(children(db, row["node_id"]))]


def current_place(db: Database) -> Place:
    """The current directory."""
    user = current_user(db)
    return Place(tuple(_trail_to(db, _root(db, user["root_id"]), user["directory_id"])))


def about(db: Database, node_id: str) -> Row:
    """A node without its content. Raises: Refusal "not_found"."""
    found = db.first(_NODE, node=node_id)
    if found is None:
        raise not_found("node", node_id)
    return found


def _root(db: Database, root_id: str) -> Row:
    return {**about(db, root_id), "entry_id": "", "name": "", "directory_id": root_id}


def _trail_to(db: Database, root: Row, directory_id: str) -> list[Row]:
    """The directories from the root to this one: a directory has one name, so the way up is plain."""
    upwards: list[Row] = []
    while directory_id != root["node_id"]:
        (named,) = entries_of(db, directory_id)
        upwards.append(named)
        directory_id = named["directory_id"]
    return [root, *reversed(upwards)]
