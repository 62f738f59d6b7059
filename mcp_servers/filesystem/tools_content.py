"""Changing what files hold. Every change keeps what was there before, so that it can be taken back."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from palaestra.mcp_servers.filesystem.archives import Member
from palaestra.mcp_servers.filesystem.models import MAX_CONTENT, Node, Version
from palaestra.mcp_servers.filesystem.paths import Path
from palaestra.mcp_servers.filesystem.permissions import ENTER, READ, WRITE, current_user, demand
from palaestra.mcp_servers.filesystem.rules import (
    PathArgs,
    PlacingArgs,
    file_is_not_kept_by_another,
    path_is_file,
    place_is_within_limits,
)
from palaestra.mcp_servers.filesystem.storage import (
    KEPT_VERSIONS,
    add_node,
    has_room,
    put_content,
    save,
    size_of,
    versions_of,
)
from palaestra.mcp_servers.filesystem.tree import Place, existing, locate
from palaestra.mcp_servers.filesystem.views import PathView, show_node
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import precondition, verb
from palaestra.mcp_servers.framework.sql import Database, Row
from palaestra.mcp_servers.framework.values import Paragraph

Text = Annotated[str, Field(max_length=MAX_CONTENT)]
SomeText = Annotated[str, Field(min_length=1, max_length=MAX_CONTENT)]


class WriteFileArgs(PlacingArgs):
    """Arguments of writing a file."""

    path: Path
    content: Annotated[Text, Field(description="the whole text the file will hold")]

    def place(self, db: Database) -> Place:
        """The file, or where it will be; a link leads on."""
        return locate(db, self.path)


class AppendArgs(PathArgs):
    """Arguments of appending."""

    text: SomeText


class ReplaceArgs(PathArgs):
    """Arguments of replacing text."""

    old_text: Annotated[Paragraph, Field(description="the literal text to look for, case and all")]
    new_text: Annotated[str, Field(max_length=2000)]


class RevertArgs(PathArgs):
    """Arguments of going back to an earlier version."""

    steps_back: Annotated[int, Field(ge=1, le=KEPT_VERSIONS, description="1 = before the last change")] = 1


def _editable(db: Database, args: Any) -> Row:
    """The file the current user may change; to replace text one must be allowed to read it too.

    The rules ask this before they look into the file, so that no refusal tells what an unreadable file holds.
    """
    place = existing(db, args.path)
    demand(current_user(db), place.trail[-1], READ | WRITE if isinstance(args, ReplaceArgs) else WRITE, place.path)
    return place.trail[-1]


def _outcome(db: Database, args: Any) -> str:
    """What the file, which exists, will hold after the call."""
    node_id = _editable(db, args)["node_id"]
    match args:
        case AppendArgs():
            return str(db.get(Node, node_id)["content"]) + args.text
        case ReplaceArgs():
            return str(db.get(Node, node_id)["content"]).replace(args.old_text, args.new_text)
        case RevertArgs():
            return str(versions_of(db, node_id)[-args.steps_back]["content"])
        case _:
            return str(args.content)


# -- preconditions -------------------------------------------------------------------------------------------------


@precondition
def path_is_no_directory(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The path names a file, or nothing yet, but not a directory."""
    node = locate(db, args.path).node
    return node is None or node["kind"] == "file"


@precondition
def content_fits_the_quota(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """What the file will hold fits into the disk quota of its owner; of the current user if the file is new."""
    node = locate(db, args.path).node
    if node is None:
        return has_room(db, current_user(db)["user_id"], size_of(args.content))
    return has_room(db, node["owner_id"], size_of(_outcome(db, args)) - node["size"])


@precondition
def file_stays_small(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The file will hold at most 65,536 characters."""
    if not isinstance(args, ReplaceArgs):
        return len(_outcome(db, args)) <= MAX_CONTENT
    # Counted rather than made: a short text replaced everywhere by a long one would be huge.
    content = str(db.get(Node, _editable(db, args)["node_id"])["content"])
    growth = content.count(args.old_text) * (len(args.new_text) - len(args.old_text))
    return bool(len(content) + growth <= MAX_CONTENT)


@precondition
def text_occurs(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The text to be replaced occurs in the file."""
    return str(args.old_text) in str(db.get(Node, _editable(db, args)["node_id"])["content"])


@precondition
def version_is_kept(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """That many earlier versions of the file are kept."""
    return bool(len(versions_of(db, _editable(db, args)["node_id"])) >= args.steps_back)


# -- verbs ---------------------------------------------------------------------------------------------------------


@verb(
    requires=[path_is_no_directory, file_is_not_kept_by_another, place_is_within_limits, content_fits_the_quota],
    returns=PathView,
)
def write_file(db: Database, sources: EpisodeSources, args: WriteFileArgs) -> Row:
    """Write a text file: make it if it is not there, else replace everything it holds. Its directory must exist.

    A new file is readable by everyone and writable by its owner (mode 644). At most 65,536 characters.
    """
    place, user = locate(db, args.path), current_user(db)
    if place.node is not None:
        return _rewrite(db, sources, args)
    demand(user, place.directory, WRITE | ENTER, place.directory_path)
    made = add_node(db, user, place.directory["node_id"], place.names[-1], Member((), "file", "644", args.content))
    return show_node(db, place.path, made["node_id"])


@verb(requires=[path_is_file, file_is_not_kept_by_another, file_stays_small, content_fits_the_quota], returns=PathView)
def append_to_file(db: Database, sources: EpisodeSources, args: AppendArgs) -> Row:
    """Add text to the end of a file that exists. A line feed is not added by itself."""
    return _rewrite(db, sources, args)


@verb(
    requires=[path_is_file, file_is_not_kept_by_another, text_occurs, file_stays_small, content_fits_the_quota],
    returns=PathView,
)
def replace_in_file(db: Database, sources: EpisodeSources, args: ReplaceArgs) -> Row:
    """Replace a literal text wherever it occurs in a file."""
    return _rewrite(db, sources, args)


@verb(requires=[path_is_file, file_is_not_kept_by_another, version_is_kept, content_fits_the_quota], returns=PathView)
def revert_file(db: Database, sources: EpisodeSources, args: RevertArgs) -> Row:
    """Take back the last changes of a file's content. The last five versions are kept; those taken back are lost."""
    place = existing(db, args.path)
    node_id = _editable(db, args)["node_id"]
    undone = versions_of(db, node_id)[-args.steps_back :]
    put_content(db, sources, node_id, undone[0]["content"])
    for version in undone:
        db.delete(Version, version["version_id"])
    return show_node(db, place.path, node_id)


def _rewrite(db: Database, sources: EpisodeSources, args: Any) -> Row:
    place = existing(db, args.path)
    save(db, sources, place.trail[-1]["node_id"], _outcome(db, args))
    return show_node(db, place.path, place.trail[-1]["node_id"])


CONTENT_VERBS = [write_file, append_to_file, replace_in_file, revert_file]
