"""The trash: things are put there, restored, or given up for good. They keep counting for their owners' quotas."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import bindparam, select

from palaestra.mcp_servers.filesystem.models import Entry, TrashItem
from palaestra.mcp_servers.filesystem.paths import Path
from palaestra.mcp_servers.filesystem.permissions import ENTER, WRITE, current_user, demand
from palaestra.mcp_servers.filesystem.rules import (
    PathArgs,
    PlacingArgs,
    current_directory_stays,
    nothing_inside_is_locked,
    place_is_free,
    place_is_within_limits,
)
from palaestra.mcp_servers.filesystem.storage import erase, used_bytes
from palaestra.mcp_servers.filesystem.tree import Names, Place, about, existing, locate, walk
from palaestra.mcp_servers.filesystem.views import PathView, show_node
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import NoArgs, Output, precondition, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.values import Key


@verb(requires=[nothing_inside_is_locked, current_directory_stays], returns=view(TrashItem))
def trash_path(db: Database, sources: EpisodeSources, args: PathArgs) -> Row:
    """Put a file, or a directory with everything inside it, into the trash, from where you can restore it."""
    place, user = existing(db, args.path, follow=False), current_user(db)
    demand(user, place.directory, WRITE | ENTER, place.directory_path)
    trashed = place.trail[-1]
    db.delete(Entry, trashed["entry_id"])
    return db.insert(
        TrashItem, node_id=trashed["node_id"], user_id=user["user_id"], name=trashed["name"], original_path=place.path
    )


class RestoreArgs(PlacingArgs):
    """Arguments of a restoration."""

    trash_item_id: Key
    destination: Annotated[Path, Field(description="the path to restore to; where it was if left out")] | None = None

    def place(self, db: Database) -> Place:
        """The destination, or where it was."""
        return locate(db, self.destination or db.get(TrashItem, self.trash_item_id)["original_path"], follow=False)

    def arriving(self, db: Database) -> list[tuple[Names, int]]:
        """What was put into the trash and everything inside it; it never stopped counting for the quota."""
        top = about(db, db.get(TrashItem, self.trash_item_id)["node_id"])
        return [(names, 0) for names, _ in walk(db, top)]


@precondition
def trash_item_is_own(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The current user put it into the trash."""
    return bool(db.get(TrashItem, args.trash_item_id)["user_id"] == current_user(db)["user_id"])


@verb(requires=[trash_item_is_own, place_is_free, place_is_within_limits], returns=PathView)
def restore_trashed_path(db: Database, sources: EpisodeSources, args: RestoreArgs) -> Row:
    """Take something you put into the trash back to where it was, or to another free path."""
    place, item = args.place(db), db.get(TrashItem, args.trash_item_id)
    demand(current_user(db), place.directory, WRITE | ENTER, place.directory_path)
    db.insert(Entry, directory_id=place.directory["node_id"], name=place.names[-1], node_id=item["node_id"])
    db.delete(TrashItem, args.trash_item_id)
    return show_node(db, place.path, item["node_id"])


class Emptied(Output):
    """What emptying the trash brought."""

    items: int
    freed_bytes: int


_OWN_ITEMS = Query(
    select(TrashItem.trash_item_id, TrashItem.node_id)
    .where(TrashItem.user_id == bindparam("user"))
    .order_by(TrashItem.trash_item_id)
)


@precondition
def trash_holds_something(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The trash holds something that the current user put there."""
    return db.first(_OWN_ITEMS, user=current_user(db)["user_id"]) is not None


@verb(requires=[trash_holds_something], returns=Emptied)
def empty_file_trash(db: Database, sources: EpisodeSources, args: NoArgs) -> Row:
    """Give up for good everything you put into the trash; tells how much of your disk quota that frees."""
    user_id = current_user(db)["user_id"]
    before, items = used_bytes(db, user_id), db.rows(_OWN_ITEMS, user=user_id)
    for item in items:
        db.delete(TrashItem, item["trash_item_id"])
        erase(db, about(db, item["node_id"]))
    return {"items": len(items), "freed_bytes": before - used_bytes(db, user_id)}


TRASH_VERBS = [trash_path, restore_trashed_path, empty_file_trash]
