"""Who works where, and who may do what: users, the current directory, modes, owners, quotas and locks."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import bindparam, select

from palaestra.mcp_servers.filesystem.models import Node, Password, Session, User
from palaestra.mcp_servers.filesystem.permissions import ENTER, WRITE, current_user, demand
from palaestra.mcp_servers.filesystem.rules import PathArgs, path_is_file
from palaestra.mcp_servers.filesystem.storage import clear_lock, has_room, lock_on, set_lock, used_bytes
from palaestra.mcp_servers.filesystem.tools_entries import Mode
from palaestra.mcp_servers.filesystem.tree import child_of, current_place, existing, node_at
from palaestra.mcp_servers.filesystem.views import PathView, show_node
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.faults import forbidden
from palaestra.mcp_servers.framework.spec import Output, precondition, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import PRIVATE, InstantOut, Key

# -- the session ---------------------------------------------------------------------------------------------------


class SessionView(Output):
    """Who works here now, and where."""

    user_id: str
    login: str
    group: str
    administrator: bool
    directory: str


def _session(db: Database) -> Row:
    user = current_user(db)
    return {
        "user_id": user["user_id"], "login": user["login"], "group": user["group_name"],
        "administrator": bool(user["administrator"]), "directory": current_place(db).path,
    }  # fmt: skip


@precondition
def path_is_directory(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The path names a directory."""
    return bool(node_at(db, args.path)["kind"] == "directory")


@verb(requires=[path_is_directory], returns=SessionView)
def change_directory(db: Database, sources: EpisodeSources, args: PathArgs) -> Row:
    """Make a directory the current one, to which relative paths refer; you must have the right to enter it."""
    place, user = existing(db, args.path), current_user(db)
    demand(user, place.trail[-1], ENTER, place.path)
    db.update(Session, user["session_id"], directory_id=place.trail[-1]["node_id"])
    return _session(db)


class SwitchUserArgs(Args):
    """Arguments of a change of user."""

    user_id: Key
    password: (
        Annotated[
            str,
            Field(
                min_length=1, max_length=40, description="of that user; an administrator needs none",
                json_schema_extra={PRIVATE: {"sensitive": True}},
            ),
        ]
        | None
    ) = None  # fmt: skip


@precondition
def account_is_enabled(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The user's account is enabled, not suspended."""
    return bool(db.get(User, args.user_id)["status"] == "enabled")


@precondition
def user_is_another(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The user is not the current one already."""
    return bool(args.user_id != current_user(db)["user_id"])


_SECRET = Query(select(Password.secret).where(Password.user_id == bindparam("user")).order_by(Password.password_id))


@verb(requires=[account_is_enabled, user_is_another], returns=SessionView)
def switch_file_user(db: Database, sources: EpisodeSources, args: SwitchUserArgs) -> Row:
    """Work as another user from now on, in that user's home directory. Takes the user's password.

    An administrator may work as anyone without a password.
    """
    user = current_user(db)
    if not user["administrator"] and args.password != db.scalar(_SECRET, user=args.user_id):
        raise forbidden("the password is missing or wrong; ask the user for it")
    homes = child_of(db, user["root_id"], "home")
    home = homes and child_of(db, homes["node_id"], db.get(User, args.user_id)["login"])
    directory = home["node_id"] if home and home["kind"] == "directory" else user["root_id"]
    db.update(Session, user["session_id"], user_id=args.user_id, directory_id=directory)
    return _session(db)


# -- modes, owners and quotas --------------------------------------------------------------------------------------


class ChangeModeArgs(PathArgs):
    """Arguments of a change of mode."""

    mode: Mode


@precondition
def user_owns_it(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The current user owns it, or is an administrator."""
    user = current_user(db)
    return bool(user["administrator"] or node_at(db, args.path)["owner_id"] == user["user_id"])


@verb(requires=[user_owns_it], returns=PathView)
def change_path_mode(db: Database, sources: EpisodeSources, args: ChangeModeArgs) -> Row:
    """Set who may read, write and enter a file or directory of yours; what is inside keeps its own mode."""
    place = existing(db, args.path)
    db.update(Node, place.trail[-1]["node_id"], mode=args.mode)
    return show_node(db, place.path, place.trail[-1]["node_id"])


class ChangeOwnerArgs(PathArgs):
    """Arguments of a change of owner."""

    user_id: Annotated[Key, Field(description="the new owner")]


@precondition
def user_is_administrator(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The current user is an administrator."""
    return bool(current_user(db)["administrator"])


@precondition
def new_owner_has_room(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """It fits into the disk quota of the new owner."""
    node = node_at(db, args.path)
    return bool(args.user_id == node["owner_id"] or has_room(db, args.user_id, node["size"]))


@verb(requires=[user_is_administrator, new_owner_has_room], returns=PathView)
def change_path_owner(db: Database, sources: EpisodeSources, args: ChangeOwnerArgs) -> Row:
    """Give a file or directory to another user and that user's group. For administrators only.

    What is inside a directory keeps its owner.
    """
    place, owner = existing(db, args.path), db.get(User, args.user_id)
    node_id = place.trail[-1]["node_id"]
    db.update(Node, node_id, owner_id=args.user_id, group_name=owner["group_name"])
    return show_node(db, place.path, node_id)


class SetQuotaArgs(Args):
    """Arguments of a quota."""

    user_id: Key
    quota_bytes: Annotated[int, Field(ge=0, le=10**9, description="how much all files the user owns may hold")]


@precondition
def quota_covers_what_is_used(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The quota is at least what the user's files hold already."""
    return bool(used_bytes(db, args.user_id) <= args.quota_bytes)


@verb(requires=[user_is_administrator, quota_covers_what_is_used], returns=view(User))
def set_disk_quota(db: Database, sources: EpisodeSources, args: SetQuotaArgs) -> Row:
    """Set how many bytes the files of a user may hold in all. For administrators only."""
    return db.update(User, args.user_id, quota_bytes=args.quota_bytes)


# -- locks ---------------------------------------------------------------------------------------------------------


class LockFileArgs(PathArgs):
    """Arguments of a lock."""

    minutes: Annotated[int, Field(ge=1, le=1440)] = 60


class LockView(Output):
    """A file and who keeps it locked."""

    path: str
    locked_by: str | None
    locked_until: InstantOut | None


@precondition
def file_is_unlocked(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Nobody keeps the file locked."""
    return lock_on(db, sources, node_at(db, args.path)["node_id"]) is None


@precondition
def file_is_locked(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The file is locked, and the lock has not run out."""
    return lock_on(db, sources, node_at(db, args.path)["node_id"]) is not None


@precondition
def lock_is_own(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The current user holds the lock, or is an administrator."""
    user, lock = current_user(db), lock_on(db, sources, node_at(db, args.path)["node_id"])
    return bool(user["administrator"] or (lock is not None and lock["user_id"] == user["user_id"]))


@verb(requires=[path_is_file, file_is_unlocked], returns=LockView)
def lock_file(db: Database, sources: EpisodeSources, args: LockFileArgs) -> Row:
    """Keep a file that you may write for yourself: nobody else changes, moves or removes it until the lock runs out."""
    place, user = existing(db, args.path), current_user(db)
    demand(user, place.trail[-1], WRITE, place.path)
    until = sources.now // 60 * 60 + args.minutes * 60
    set_lock(db, place.trail[-1]["node_id"], user["user_id"], until)
    return {"path": place.path, "locked_by": user["login"], "locked_until": until}


@verb(requires=[file_is_locked, lock_is_own], returns=LockView)
def unlock_file(db: Database, sources: EpisodeSources, args: PathArgs) -> Row:
    """Give a file free again before your lock runs out. An administrator may break anyone's lock."""
    place = existing(db, args.path)
    clear_lock(db, place.trail[-1]["node_id"])
    return {"path": place.path, "locked_by": None, "locked_until": None}


ACCESS_VERBS = [
    change_directory, switch_file_user, change_path_mode, change_path_owner, set_disk_quota, lock_file, unlock_file,
]  # fmt: skip
