"""Making, copying, moving, linking and removing what is in directories, and packing them into archives.

Putting a name into a directory, or taking one out, needs the right to write and enter that directory.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from palaestra.mcp_servers.filesystem.archives import Member, read_archive, write_archive
from palaestra.mcp_servers.filesystem.models import MAX_CONTENT, MODE, Entry, Node
from palaestra.mcp_servers.filesystem.paths import Path
from palaestra.mcp_servers.filesystem.permissions import ENTER, READ, WRITE, current_user, demand
from palaestra.mcp_servers.filesystem.rules import (
    NAMELESS,
    NewPathArgs,
    PathArgs,
    PlacingArgs,
    SourceArgs,
    additions_fit_the_quota,
    current_directory_stays,
    destination_lies_outside,
    nothing_inside_is_locked,
    path_is_file,
    place_is_free,
    place_is_within_limits,
)
from palaestra.mcp_servers.filesystem.storage import add_node, collect, plant, release, size_of
from palaestra.mcp_servers.filesystem.tree import Names, Place, children, existing, locate, node_at, walk
from palaestra.mcp_servers.filesystem.views import PathView, show, show_node
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import precondition, verb
from palaestra.mcp_servers.framework.sql import Database, Row

Mode = Annotated[
    str, Field(pattern=MODE, description="octal rights of owner, group and others: 4 read, 2 write, 1 enter or run")
]


def _demand_change(db: Database, place: Place) -> None:
    """Raises: Refusal "forbidden" unless the current user may change what the place's directory has."""
    demand(current_user(db), place.directory, WRITE | ENTER, place.directory_path)


# -- making and removing -------------------------------------------------------------------------------------------


class MakeDirectoryArgs(NewPathArgs):
    """Arguments of a new directory."""

    mode: Mode = "755"
    parents: Annotated[bool, Field(description="make missing directories on the way too")] = False

    def place(self, db: Database) -> Place:
        """The path itself; directories on the way may be missing if they will be made."""
        return locate(db, self.path, follow=False, grow=self.parents)


@verb(requires=[place_is_free, place_is_within_limits], returns=PathView)
def make_directory(db: Database, sources: EpisodeSources, args: MakeDirectoryArgs) -> Row:
    """Make a new, empty directory."""
    place, user = args.place(db), current_user(db)
    _demand_change(db, place)
    node_id = place.directory["node_id"]
    for name in place.missing:
        node_id = add_node(db, user, node_id, name, Member(NAMELESS, "directory", args.mode, ""))["node_id"]
    return show_node(db, place.path, node_id)


class SymlinkArgs(NewPathArgs):
    """Arguments of a symbolic link."""

    target: Annotated[Path, Field(description="where the link leads; relative to the link's directory; need not exist")]

    def arriving(self, db: Database) -> list[tuple[Names, int]]:
        """The link."""
        return [(NAMELESS, size_of(self.target))]


@verb(requires=[place_is_free, place_is_within_limits, additions_fit_the_quota], returns=PathView)
def create_symlink(db: Database, sources: EpisodeSources, args: SymlinkArgs) -> Row:
    """Make a symbolic link at `path` that leads to the path `target`. A path may lead through 16 links at most."""
    place = args.place(db)
    _demand_change(db, place)
    made = add_node(
        db, current_user(db), place.directory["node_id"], place.names[-1],
        Member(NAMELESS, "symlink", "777", args.target),
    )  # fmt: skip
    return show_node(db, place.path, made["node_id"])


@precondition
def directory_is_empty(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """If it is a directory, it is empty."""
    node = node_at(db, args.path, follow=False)
    return node["kind"] != "directory" or not children(db, node["node_id"])


@verb(requires=[directory_is_empty, nothing_inside_is_locked, current_directory_stays], returns=PathView)
def remove_path(db: Database, sources: EpisodeSources, args: PathArgs) -> Row:
    """Remove a file, a symbolic link or an empty directory for good, and show what it was.

    A file that has further hard links lives on under those.
    """
    place = existing(db, args.path, follow=False)
    _demand_change(db, place)
    removed = show_node(db, place.path, place.trail[-1]["node_id"])
    db.delete(Entry, place.trail[-1]["entry_id"])
    release(db, place.trail[-1]["node_id"])
    return removed


# -- another place -------------------------------------------------------------------------------------------------


@verb(
    requires=[place_is_free, destination_lies_outside, place_is_within_limits, additions_fit_the_quota],
    returns=PathView,
)
def copy_path(db: Database, sources: EpisodeSources, args: SourceArgs) -> Row:
    """Copy a file, or a directory with everything inside it. All of it must be readable; the copies are yours.

    Never overwrites. Symbolic links are copied as links.
    """
    user, place = current_user(db), args.place(db)
    _demand_change(db, place)
    plant(db, user, place, collect(db, user, existing(db, args.source, follow=False)))
    return show(db, place.path)


@verb(
    requires=[place_is_free, destination_lies_outside, place_is_within_limits, nothing_inside_is_locked],
    returns=PathView,
)
def move_path(db: Database, sources: EpisodeSources, args: SourceArgs) -> Row:
    """Move or rename a file or a directory. Never overwrites; owner, mode and hard links stay as they are."""
    source, place = existing(db, args.source, follow=False), args.place(db)
    _demand_change(db, source)
    _demand_change(db, place)
    moved = source.trail[-1]
    db.update(Entry, moved["entry_id"], directory_id=place.directory["node_id"], name=place.names[-1])
    return show_node(db, place.path, moved["node_id"])


@precondition
def source_is_file(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The source is a file, neither a directory nor a symbolic link."""
    return bool(node_at(db, args.source, follow=False)["kind"] == "file")


@verb(requires=[source_is_file, place_is_free, place_is_within_limits], returns=PathView)
def link_file(db: Database, sources: EpisodeSources, args: SourceArgs) -> Row:
    """Give a file that you may read a further name (a hard link): both names are the same file."""
    source, place = existing(db, args.source, follow=False), args.place(db)
    demand(current_user(db), source.trail[-1], READ, source.path)
    _demand_change(db, place)
    node_id = source.trail[-1]["node_id"]
    db.insert(Entry, directory_id=place.directory["node_id"], name=place.names[-1], node_id=node_id)
    return show_node(db, place.path, node_id)


# -- archives ------------------------------------------------------------------------------------------------------


class PackArgs(PlacingArgs):
    """Arguments of packing."""

    source: Path
    destination: Annotated[Path, Field(description="path of the archive file to be made, e.g. backup.arc")]

    def place(self, db: Database) -> Place:
        """Where the archive will be."""
        return locate(db, self.destination, follow=False)

    def arriving(self, db: Database) -> list[tuple[Names, int]]:
        """The archive."""
        return [(NAMELESS, size_of(self.packed(db)))]

    def packed(self, db: Database) -> str:
        """The text of the archive."""
        found = collect(db, current_user(db), existing(db, self.source))
        return write_archive(member for member in found if member.names)


@precondition
def source_is_directory(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The source is a directory."""
    return bool(node_at(db, args.source)["kind"] == "directory")


@precondition
def archive_stays_small(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The archive has at most 65,536 characters."""
    # Bytes first, at most four to a character: a directory far too large is not read at all.
    size = sum(row["size"] for _, row in walk(db, node_at(db, args.source)))
    return size <= 4 * MAX_CONTENT and len(args.packed(db)) <= MAX_CONTENT


@verb(
    requires=[
        source_is_directory, place_is_free, archive_stays_small, place_is_within_limits, additions_fit_the_quota,
    ],
    returns=PathView,
)  # fmt: skip
def pack_directory(db: Database, sources: EpisodeSources, args: PackArgs) -> Row:
    """Pack everything inside a directory into one new archive file; the directory stays. All of it must be readable."""
    place = args.place(db)
    _demand_change(db, place)
    plant(db, current_user(db), place, [Member(NAMELESS, "file", "644", args.packed(db))])
    return show(db, place.path)


class UnpackArgs(PlacingArgs):
    """Arguments of unpacking."""

    path: Annotated[Path, Field(description="the archive file")]
    destination: Annotated[Path, Field(description="the directory to be made for what is in the archive")]

    def place(self, db: Database) -> Place:
        """Where the directory will be."""
        return locate(db, self.destination, follow=False)

    def arriving(self, db: Database) -> list[tuple[Names, int]]:
        """The members of the archive."""
        return [(NAMELESS, 0), *((member.names, size_of(member.content)) for member in self.members(db) or ())]

    def members(self, db: Database) -> list[Member] | None:
        """What is in the archive; None if it is broken."""
        node = existing(db, self.path)
        demand(current_user(db), node.trail[-1], READ, node.path)
        return read_archive(db.get(Node, node.trail[-1]["node_id"])["content"])


@precondition
def archive_is_intact(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The file is an intact archive, as packing a directory makes it."""
    return args.members(db) is not None


@verb(
    requires=[path_is_file, archive_is_intact, place_is_free, place_is_within_limits, additions_fit_the_quota],
    returns=PathView,
)
def unpack_archive(db: Database, sources: EpisodeSources, args: UnpackArgs) -> Row:
    """Unpack an archive into a new directory; everything in it is yours. The archive stays."""
    place = args.place(db)
    _demand_change(db, place)
    plant(db, current_user(db), place, [Member(NAMELESS, "directory", "755", ""), *(args.members(db) or ())])
    return show(db, place.path)


ENTRY_VERBS = [
    make_directory, create_symlink, remove_path, copy_path, move_path, link_file, pack_directory, unpack_archive,
]  # fmt: skip
