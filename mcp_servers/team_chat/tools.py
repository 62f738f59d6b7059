"""What can be done in the chat beyond reading it; always as the user.

Rules: only members speak in a channel, and nobody in an archived one; in an announcement channel only owners and
moderators start threads, but every member replies; only members are mentioned; owners and moderators pin, at most
five messages per channel; to a private channel only they invite; a guest belongs to one channel at most; an owner
archives a channel once every question in it has a reply.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field
from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import aliased

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import Output, precondition, query, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import FlagOut, Instant, InstantOut, Key, refers_to
from palaestra.mcp_servers.team_chat.models import Channel, ChannelMembership, ChatPerson, Message, MessagePin

MAX_PINS: Final = 5
SHOWN_MESSAGES: Final = 50

MessageView = view(Message)
MessageText = Annotated[str, Field(min_length=1, max_length=1000)]
Mentioned = Annotated[Key, refers_to("chat_person", "a member to mention")]

_USER = Query(select(ChatPerson.chat_person_id).where(ChatPerson.is_user == 1))
_ROLE = Query(
    select(ChannelMembership.role).where(
        ChannelMembership.channel_id == bindparam("channel"), ChannelMembership.chat_person_id == bindparam("person")
    )
)
_MEMBERSHIPS = Query(
    select(func.count().label("count"))
    .select_from(ChannelMembership)
    .where(ChannelMembership.chat_person_id == bindparam("person"))
)
_PINS = Query(
    select(func.count().label("count")).select_from(MessagePin).where(MessagePin.channel_id == bindparam("channel"))
)
_PIN = Query(select(MessagePin.message_pin_id).where(MessagePin.message_id == bindparam("message")))
_Reply = aliased(Message)
_UNANSWERED = Query(
    select(Message.message_id)
    .join_from(Message, _Reply, _Reply.thread_id == Message.message_id, isouter=True)
    .where(
        Message.channel_id == bindparam("channel"), Message.kind == "question", _Reply.message_id.is_(None)
    )
    .order_by(Message.message_id)
)  # fmt: skip

# -- preconditions -------------------------------------------------------------------------------------------------


@precondition
def channel_is_open(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The channel is not archived."""
    return not db.get(Channel, _channel(db, args))["archived"]


@precondition
def user_is_member(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The user is a member of the channel."""
    return _user_role(db, args) is not None


@precondition
def user_may_post(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """In an announcement channel only its owners and moderators start threads."""
    return db.get(Channel, args.channel_id)["kind"] != "announcement" or _user_looks_after(db, args)


@precondition
def user_may_pin(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The user is an owner or a moderator of the channel."""
    return _user_looks_after(db, args)


@precondition
def user_may_invite(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """To a private channel only its owners and moderators invite."""
    return db.get(Channel, args.channel_id)["kind"] != "private" or _user_looks_after(db, args)


@precondition
def user_owns_channel(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The user is an owner of the channel."""
    return _user_role(db, args) == "owner"


@precondition
def mentioned_person_is_member(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The person mentioned, if any, is a member of the channel; invite them first."""
    if args.mentioned_id is None:
        return True
    db.get(ChatPerson, args.mentioned_id)
    return _role(db, _channel(db, args), args.mentioned_id) is not None


@precondition
def message_starts_thread(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The message starts a thread; answer a reply by replying to the thread's first message."""
    return db.get(Message, args.message_id)["thread_id"] is None


@precondition
def message_is_unpinned(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The message is not pinned yet."""
    return db.first(_PIN, message=args.message_id) is None


@precondition
def pins_are_left(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The channel has fewer than five pinned messages."""
    return bool(db.scalar(_PINS, channel=_channel(db, args)) < MAX_PINS)


@precondition
def questions_are_answered(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Every question in the channel has at least one reply."""
    return db.first(_UNANSWERED, channel=args.channel_id) is None


@precondition
def person_is_no_member(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The person is not a member of the channel yet."""
    db.get(ChatPerson, args.chat_person_id)
    return _role(db, args.channel_id, args.chat_person_id) is None


@precondition
def guest_is_in_no_channel(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """A guest is invited to one channel only; colleagues to any number."""
    guest = db.get(ChatPerson, args.chat_person_id)["is_guest"]
    return not guest or db.scalar(_MEMBERSHIPS, person=args.chat_person_id) == 0


def _channel(db: Database, args: Any) -> str:
    """The channel a call is about: the one it names, or that of its message."""
    found = args.channel_id if hasattr(args, "channel_id") else db.get(Message, args.message_id)["channel_id"]
    return str(found)


def _role(db: Database, channel_id: str, person_id: str) -> str | None:
    found: str | None = db.scalar(_ROLE, channel=channel_id, person=person_id)
    return found


def _user_role(db: Database, args: Any) -> str | None:
    return _role(db, _channel(db, args), db.scalar(_USER))


def _user_looks_after(db: Database, args: Any) -> bool:
    return _user_role(db, args) in ("owner", "moderator")


# -- verbs ---------------------------------------------------------------------------------------------------------


class PostArgs(Args):
    """Arguments of a message."""

    channel_id: Key
    text: MessageText
    kind: Annotated[
        Literal["note", "question"],
        Field(description="a question keeps its channel from being archived until answered"),
    ] = "note"
    mentioned_id: Mentioned | None = None


@verb(requires=[channel_is_open, user_is_member, user_may_post, mentioned_person_is_member], returns=MessageView)
def post_message(db: Database, sources: EpisodeSources, args: PostArgs) -> Row:
    """Start a thread in a channel the user is a member of. Only members of the channel can be mentioned."""
    return db.insert(
        Message, channel_id=args.channel_id, author_id=db.scalar(_USER), kind=args.kind, text=args.text,
        mentioned_id=args.mentioned_id,
    )  # fmt: skip


class MessageKeyArgs(Args):
    """Arguments that name a message."""

    message_id: Key


class ThreadReplyArgs(MessageKeyArgs):
    """Arguments of a reply."""

    text: MessageText
    mentioned_id: Mentioned | None = None


@verb(
    requires=[message_starts_thread, channel_is_open, user_is_member, mentioned_person_is_member], returns=MessageView
)
def reply_in_thread(db: Database, sources: EpisodeSources, args: ThreadReplyArgs) -> Row:
    """Reply to the message that starts a thread. It answers a question, whoever asked it."""
    thread = db.get(Message, args.message_id)
    return db.insert(
        Message, channel_id=thread["channel_id"], author_id=db.scalar(_USER), thread_id=args.message_id,
        text=args.text, mentioned_id=args.mentioned_id,
    )  # fmt: skip


@verb(requires=[channel_is_open, user_may_pin, message_is_unpinned, pins_are_left], returns=view(MessagePin))
def pin_message(db: Database, sources: EpisodeSources, args: MessageKeyArgs) -> Row:
    """Keep a message in view in a channel the user owns or moderates; at most five per channel, and for good."""
    channel = db.get(Message, args.message_id)["channel_id"]
    return db.insert(MessagePin, message_id=args.message_id, channel_id=channel, pinned_by_id=db.scalar(_USER))


class ChannelKeyArgs(Args):
    """Arguments that name a channel."""

    channel_id: Key


@verb(requires=[channel_is_open, user_owns_channel, questions_are_answered], returns=view(Channel))
def archive_channel(db: Database, sources: EpisodeSources, args: ChannelKeyArgs) -> Row:
    """End a channel the user owns, once every question in it has a reply. It stays readable; a notice says so."""
    _notice(db, args.channel_id, "archived the channel")
    return db.update(Channel, args.channel_id, archived=1)


class InviteToChannelArgs(ChannelKeyArgs):
    """Arguments of an invitation."""

    chat_person_id: Key


@verb(
    requires=[channel_is_open, user_is_member, user_may_invite, person_is_no_member, guest_is_in_no_channel],
    returns=view(ChannelMembership),
)
def invite_to_channel(db: Database, sources: EpisodeSources, args: InviteToChannelArgs) -> Row:
    """Make a person a member of a channel the user is in; a notice says so. Guests belong to one channel only."""
    person = db.get(ChatPerson, args.chat_person_id)
    _notice(db, args.channel_id, f"invited {person['name']}", args.chat_person_id)
    return db.insert(ChannelMembership, channel_id=args.channel_id, chat_person_id=args.chat_person_id)


def _notice(db: Database, channel_id: str, text: str, mentioned_id: str | None = None) -> None:
    """What the chat itself writes about something the user did."""
    db.insert(
        Message, channel_id=channel_id, author_id=db.scalar(_USER), kind="notice", text=text, mentioned_id=mentioned_id
    )


# -- queries -------------------------------------------------------------------------------------------------------


class ShownMessage(Output):
    """A message as it appears on the screen."""

    message_id: str
    author: str
    kind: str
    text: str
    posted_at: InstantOut
    replies: int
    pinned: FlagOut


class ShownMessages(Output):
    """Messages, oldest first."""

    items: list[ShownMessage]


_REPLIES = select(func.count()).where(_Reply.thread_id == Message.message_id).correlate(Message).scalar_subquery()
_IS_PINNED = (
    select(func.count()).where(MessagePin.message_id == Message.message_id).correlate(Message).scalar_subquery()
)
_SHOWN = select(
    Message.message_id, ChatPerson.name.label("author"), Message.kind, Message.text, Message.posted_at,
    _REPLIES.label("replies"), _IS_PINNED.label("pinned"),
).join_from(Message, ChatPerson, ChatPerson.chat_person_id == Message.author_id)  # fmt: skip
_SINCE = Query(
    _SHOWN.where(
        Message.channel_id == bindparam("channel"), Message.thread_id.is_(None), Message.posted_at >= bindparam("since")
    )
    .order_by(Message.posted_at, Message.message_id)
    .limit(SHOWN_MESSAGES)
)
_THREAD = Query(
    _SHOWN.where((Message.message_id == bindparam("thread")) | (Message.thread_id == bindparam("thread")))
    .order_by(Message.posted_at, Message.message_id)
    .limit(SHOWN_MESSAGES)
)


class CatchUpArgs(ChannelKeyArgs):
    """Arguments of catching up."""

    since: Instant


@query(returns=ShownMessages)
def catch_up_on_channel(db: Database, sources: EpisodeSources, args: CatchUpArgs) -> Row:
    """The first 50 messages that started threads in a channel since a time, with how many replies each has."""
    db.get(Channel, args.channel_id)
    return {"items": db.rows(_SINCE, channel=args.channel_id, since=args.since)}


@query(returns=ShownMessages)
def show_message_thread(db: Database, sources: EpisodeSources, args: MessageKeyArgs) -> Row:
    """The first 50 messages of the thread a message is in, the one that started it first."""
    message = db.get(Message, args.message_id)
    return {"items": db.rows(_THREAD, thread=message["thread_id"] or message["message_id"])}


VERBS = [post_message, reply_in_thread, pin_message, archive_channel, invite_to_channel]
QUERIES = [catch_up_on_channel, show_message_thread]
