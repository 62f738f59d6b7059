"""Tables of the team chat: people, channels, who belongs to them, messages in threads, and pins."""

from __future__ import annotations

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped

from palaestra.mcp_servers.framework.columns import (
    STRICT,
    Entity,
    Role,
    choice,
    flag,
    identifier,
    instant,
    reference,
    text,
)


class Base(Entity, DeclarativeBase):
    """Tables of the team chat server."""


class ChatPerson(Base):
    """Someone in the workspace. Exactly one of them is the user; guests come from outside."""

    __tablename__ = "chat_person"
    chat_person_id: Mapped[str] = identifier("per")
    name: Mapped[str] = text(80, role=Role.GUARDED)
    handle: Mapped[str] = text(40, unique=True, role=Role.GUARDED)
    is_guest: Mapped[int] = flag("from outside the company", role=Role.GUARDED)
    is_user: Mapped[int] = flag("the one the agent works for", role=Role.GUARDED)


class Channel(Base):
    """Where a group talks. To a private one not everyone may invite; in an announcement one not everyone may post."""

    __tablename__ = "channel"
    channel_id: Mapped[str] = identifier("cha")
    name: Mapped[str] = text(60, unique=True, role=Role.GUARDED)
    topic: Mapped[str] = text(200, default="", role=Role.GUARDED)
    kind: Mapped[str] = choice("open", "private", "announcement", role=Role.GUARDED)
    archived: Mapped[int] = flag("nothing is said in it any more", role=Role.GUARDED)


class ChannelMembership(Base):
    """A person's part in a channel. Owners and moderators look after it."""

    __tablename__ = "channel_membership"
    channel_membership_id: Mapped[str] = identifier("mem")
    channel_id: Mapped[str] = reference("channel.channel_id", role=Role.GUARDED)
    chat_person_id: Mapped[str] = reference("chat_person.chat_person_id", role=Role.GUARDED)
    role: Mapped[str] = choice("owner", "moderator", "member", default="member", role=Role.GUARDED)
    __table_args__ = (UniqueConstraint("channel_id", "chat_person_id"), STRICT)


class Message(Base):
    """Something said in a channel: the start of a thread, or a reply in one. Notices are written by the chat itself."""

    __tablename__ = "message"
    message_id: Mapped[str] = identifier("msg")
    channel_id: Mapped[str] = reference("channel.channel_id", role=Role.GUARDED)
    author_id: Mapped[str] = reference("chat_person.chat_person_id", role=Role.GUARDED)
    thread_id: Mapped[str | None] = reference(
        "message.message_id", "the message it replies to", role=Role.GUARDED, optional=True
    )
    kind: Mapped[str] = choice("note", "question", "notice", default="note", role=Role.GUARDED)
    text: Mapped[str] = text(1000, role=Role.GUARDED)
    mentioned_id: Mapped[str | None] = reference("chat_person.chat_person_id", role=Role.GUARDED, optional=True)
    posted_at: Mapped[int] = instant(fill="create")
    __table_args__ = (Index("message_thread", "thread_id"), STRICT)


class MessagePin(Base):
    """A message kept in view in its channel."""

    __tablename__ = "message_pin"
    message_pin_id: Mapped[str] = identifier("pin")
    message_id: Mapped[str] = reference("message.message_id", role=Role.GUARDED)
    channel_id: Mapped[str] = reference("channel.channel_id", role=Role.GUARDED)
    pinned_by_id: Mapped[str] = reference("chat_person.chat_person_id", role=Role.GUARDED)
    __table_args__ = (UniqueConstraint("message_id"), STRICT)


MODELS = [ChatPerson, Channel, ChannelMembership, Message, MessagePin]
