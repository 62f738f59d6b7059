"""Tables of the filesystem: users, nodes (what there is), entries (what it is called), and what belongs to them.

A node is a file, a directory or a symbolic link. An entry is a name in a directory that leads to a node: a file may
have several (hard links), a directory has exactly one. The root directory has none.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import CheckConstraint, Index, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped

from palaestra.mcp_servers.framework.columns import (
    STRICT,
    Entity,
    Role,
    choice,
    flag,
    identifier,
    instant,
    integer,
    reference,
    text,
)

GROUPS: Final = ("admins", "design", "finance", "research")
MAX_CONTENT: Final = 65_536
MAX_NAME: Final = 255
MAX_PATH: Final = 1024
MODE: Final = r"^[0-7]{3}$"


class Base(Entity, DeclarativeBase):
    """Tables of the filesystem server."""


class User(Base):
    """Someone with an account. An administrator may read and write everything; a suspended user cannot work."""

    __tablename__ = "user"
    user_id: Mapped[str] = identifier("usr")
    login: Mapped[str] = text(32, "short name; the home directory is /home/<login>", unique=True, role=Role.GUARDED)
    name: Mapped[str] = text(80, role=Role.GUARDED)
    group_name: Mapped[str] = choice(*GROUPS, role=Role.GUARDED)
    administrator: Mapped[int] = flag("is above all permissions", role=Role.GUARDED)
    status: Mapped[str] = choice("enabled", "suspended", default="enabled", role=Role.GUARDED)
    quota_bytes: Mapped[int] = integer(
        "how much all files the user owns may hold, those in the trash included", unit="bytes", role=Role.GUARDED
    )


class Password(Base):
    """A user's password, apart from the user so that no list of users shows it."""

    __tablename__ = "password"
    password_id: Mapped[str] = identifier("pwd")
    user_id: Mapped[str] = reference("user.user_id", role=Role.GUARDED)
    secret: Mapped[str] = text(40, role=Role.GUARDED, sensitive=True)
    __table_args__ = (UniqueConstraint("user_id"), STRICT)


class Node(Base):
    """A file, a directory or a symbolic link, whatever it is called and wherever it is."""

    __tablename__ = "node"
    node_id: Mapped[str] = identifier("nod")
    kind: Mapped[str] = choice("file", "directory", "symlink", role=Role.GUARDED)
    owner_id: Mapped[str] = reference("user.user_id", role=Role.GUARDED)
    group_name: Mapped[str] = choice(*GROUPS, role=Role.GUARDED)
    mode: Mapped[str] = text(3, "octal rights of owner, group and others", pattern=MODE, role=Role.GUARDED)
    size: Mapped[int] = integer("of the content in UTF-8", unit="bytes", default=0, role=Role.GUARDED)
    modified_at: Mapped[int] = instant(fill="create")
    created_at: Mapped[int] = instant(fill="create")
    # Last, so that reading the other columns does not read through a long text.
    content: Mapped[str] = text(MAX_CONTENT, "a file's text, or a link's target", default="", role=Role.GUARDED)
    __table_args__ = (
        Index("node_of_owner", "owner_id", "size"),
        CheckConstraint("kind <> 'directory' OR content = ''"),
        CheckConstraint(f"kind <> 'symlink' OR length(content) BETWEEN 1 AND {MAX_PATH}"),
        CheckConstraint("length(content) <= size AND size <= 4 * length(content)"),
        STRICT,
    )


class Entry(Base):
    """A name in a directory."""

    __tablename__ = "entry"
    entry_id: Mapped[str] = identifier("ent")
    directory_id: Mapped[str] = reference("node.node_id", role=Role.GUARDED)
    name: Mapped[str] = text(MAX_NAME, role=Role.GUARDED)
    node_id: Mapped[str] = reference("node.node_id", role=Role.GUARDED)
    __table_args__ = (
        UniqueConstraint("directory_id", "name"),
        CheckConstraint("name NOT IN ('', '.', '..') AND instr(name, '/') = 0"),
        Index("entry_of_node", "node_id"),
        STRICT,
    )


class Version(Base):
    """What a file held before a change; the highest number is the latest."""

    __tablename__ = "version"
    version_id: Mapped[str] = identifier("ver")
    node_id: Mapped[str] = reference("node.node_id", role=Role.GUARDED)
    number: Mapped[int] = integer(minimum=1, role=Role.GUARDED)
    content: Mapped[str] = text(MAX_CONTENT, default="", role=Role.GUARDED)
    __table_args__ = (UniqueConstraint("node_id", "number"), STRICT)


class FileLock(Base):
    """A file kept for its holder for a while; nobody else changes, moves or removes it until then."""

    __tablename__ = "file_lock"
    file_lock_id: Mapped[str] = identifier("lck")
    node_id: Mapped[str] = reference("node.node_id", role=Role.GUARDED)
    user_id: Mapped[str] = reference("user.user_id", "who holds it", role=Role.GUARDED)
    until: Mapped[int] = instant(role=Role.GUARDED)
    __table_args__ = (UniqueConstraint("node_id"), STRICT)


class TrashItem(Base):
    """Something that was put into the trash: it has no name in any directory until it is restored."""

    __tablename__ = "trash_item"
    trash_item_id: Mapped[str] = identifier("trs")
    node_id: Mapped[str] = reference("node.node_id", role=Role.GUARDED)
    user_id: Mapped[str] = reference("user.user_id", "who put it there", role=Role.GUARDED)
    name: Mapped[str] = text(MAX_NAME, role=Role.GUARDED)
    original_path: Mapped[str] = text(MAX_PATH, role=Role.GUARDED)
    trashed_at: Mapped[int] = instant(fill="create")
    __table_args__ = (Index("trash_of_node", "node_id"), STRICT)


class Bookmark(Base):
    """A path worth remembering; what it leads to may be gone."""

    __tablename__ = "bookmark"
    bookmark_id: Mapped[str] = identifier("bkm")
    label: Mapped[str] = text(60, unique=True)
    path: Mapped[str] = text(MAX_PATH, "an absolute path", pattern="^/")
    note: Mapped[str] = text(200, default="")


class Session(Base):
    """Who works here now, and in which directory. There is exactly one."""

    __tablename__ = "session"
    session_id: Mapped[str] = identifier("ses")
    user_id: Mapped[str] = reference("user.user_id", role=Role.GUARDED)
    directory_id: Mapped[str] = reference("node.node_id", "the current directory", role=Role.GUARDED)
    root_id: Mapped[str] = reference("node.node_id", role=Role.GUARDED)


MODELS = [User, Password, Node, Entry, Version, FileLock, TrashItem, Bookmark, Session]
