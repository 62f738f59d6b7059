"""Rules that several verbs share, as preconditions, and the arguments they are stated on."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any

from pydantic import Field

from palaestra.mcp_servers.filesystem.paths import Path, fits
from palaestra.mcp_servers.filesystem.permissions import current_user
from palaestra.mcp_servers.filesystem.storage import foreign_locks, has_room
from palaestra.mcp_servers.filesystem.tree import (
    Names,
    Place,
    child_of,
    current_place,
    existing,
    locate,
    node_at,
    walk,
)
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import precondition
from palaestra.mcp_servers.framework.sql import Database
from palaestra.mcp_servers.framework.validation import Args

NAMELESS: Names = ()


class PathArgs(Args):
    """Arguments that name something there is."""

    path: Path


class PlacingArgs(Args):
    """Arguments of a call that puts something at a place: how the rules below ask where, and what."""

    @abstractmethod
    def place(self, db: Database) -> Place:
        """Where it goes."""

    def arriving(self, db: Database) -> list[tuple[Names, int]]:
        """What goes there: names relative to the place, and bytes that are new in the filesystem."""
        return [(NAMELESS, 0)]


class NewPathArgs(PlacingArgs):
    """Arguments of a call that makes something new."""

    path: Path

    def place(self, db: Database) -> Place:
        """The path itself."""
        return locate(db, self.path, follow=False)


class SourceArgs(PlacingArgs):
    """Arguments of a call that gives something that is there another place."""

    source: Path
    destination: Annotated[
        Path, Field(description="the new path; if a directory is there, a place inside it under the source's name")
    ]

    def place(self, db: Database) -> Place:
        """The destination, or inside it if it is a directory."""
        source = existing(db, self.source, follow=False)
        target = locate(db, self.destination)
        if target.missing or target.trail[-1]["kind"] != "directory" or not source.names:
            return locate(db, self.destination, follow=False)
        found = child_of(db, target.trail[-1]["node_id"], source.names[-1])
        return Place(target.trail, (source.names[-1],)) if found is None else Place((*target.trail, found))

    def arriving(self, db: Database) -> list[tuple[Names, int]]:
        """The source and everything inside it."""
        return [(names, row["size"]) for names, row in walk(db, node_at(db, self.source, follow=False))]


@precondition
def place_is_free(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Nothing of that name is at the new place yet; this tool never overwrites."""
    return args.place(db).node is None


@precondition
def place_is_within_limits(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The new path, and every path below it, is at most 32 names deep and 1024 characters long."""
    names = args.place(db).names
    return all(fits((*names, *below)) for below, _ in args.arriving(db))


@precondition
def additions_fit_the_quota(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """What is added fits into the rest of the current user's disk quota."""
    return has_room(db, current_user(db)["user_id"], sum(size for _, size in args.arriving(db)))


@precondition
def destination_lies_outside(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The destination does not lie inside the directory that is copied or moved."""
    top = node_at(db, args.source, follow=False)["node_id"]
    return all(row["node_id"] != top for row in args.place(db).trail)


@precondition
def path_is_file(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The path names a file, not a directory."""
    return bool(node_at(db, args.path)["kind"] == "file")


@precondition
def file_is_not_kept_by_another(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The file is not locked by another user."""
    node = locate(db, args.path).node
    return node is None or node["node_id"] not in foreign_locks(db, sources, current_user(db)["user_id"])


@precondition
def nothing_inside_is_locked(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Neither it nor a file inside it is locked by another user."""
    locked = foreign_locks(db, sources, current_user(db)["user_id"])
    return not locked or all(row["node_id"] not in locked for _, row in walk(db, _subject(db, args).trail[-1]))


@precondition
def current_directory_stays(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """It is neither the current directory nor a directory that one is in."""
    goes = _subject(db, args).trail[-1]["node_id"]
    return all(row["node_id"] != goes for row in current_place(db).trail)


def _subject(db: Database, args: Any) -> Place:
    """What is moved or removed: a link itself, not what it leads to."""
    return existing(db, args.source if hasattr(args, "source") else args.path, follow=False)
