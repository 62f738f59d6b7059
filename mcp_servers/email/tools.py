"""What can be done with a mailbox beyond reading it, writing drafts and naming labels.

Rules: a draft is sent only with a recipient, a subject and a text; what is sent can be recalled until it is delivered,
30 seconds later or at the planned time; a thread with a confidential label goes to addresses of the own company only;
emails in Trash and Spam are neither answered, forwarded nor labelled; a thread is archived when nothing of it is on
its way.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints
from sqlalchemy import bindparam, func, select

from palaestra.mcp_servers.email.conditions import (
    INBOX_EMAILS,
    OWN_ADDRESS,
    confidential_stays_inside,
    draft_has_recipient,
    draft_has_text,
    email_is_delivered,
    email_is_elsewhere,
    email_is_kept,
    email_is_undelivered,
    email_was_received,
    email_was_sent,
    folder_suits_email,
    label_is_absent,
    other_addresses,
    send_time_lies_ahead,
    sender_takes_replies,
    thread_is_in_inbox,
    thread_is_settled,
)
from palaestra.mcp_servers.email.models import (
    ADDRESSES,
    Attachment,
    Draft,
    Email,
    EmailLabel,
    Folder,
    Label,
    Mailbox,
    MailThread,
)
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import NoArgs, Output, query, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import FlagOut, Instant, InstantOut, Key

DELIVERY_SECONDS: Final = 30
SHOWN_EMAILS: Final = 30

EmailView = view(Email)
DraftView = view(Draft)
Addresses = Annotated[
    str,
    StringConstraints(min_length=1, max_length=400, pattern=ADDRESSES),
    Field(description="addresses separated by a comma and a blank"),
]
Body = Annotated[str, Field(min_length=1, max_length=2000)]

_FOLDER = Query(select(Folder.folder_id).where(Folder.kind == bindparam("kind")).order_by(Folder.folder_id))
_ATTACHED = Query(
    select(Attachment.name, Attachment.size_kb)
    .where(Attachment.email_id == bindparam("email"))
    .order_by(Attachment.attachment_id)
)

# -- verbs ---------------------------------------------------------------------------------------------------------


class DraftKeyArgs(Args):
    """Arguments that name a draft."""

    draft_id: Key


@verb(requires=[draft_has_recipient, draft_has_text, confidential_stays_inside], returns=EmailView)
def send_draft(db: Database, sources: EpisodeSources, args: DraftKeyArgs) -> Row:
    """Send a draft that has a recipient, a subject and a body. It is delivered 30 seconds later; the draft is gone."""
    return _send_draft(db, args.draft_id, {"delivered_at": sources.now + DELIVERY_SECONDS})


class ScheduleDraftArgs(DraftKeyArgs):
    """Arguments of a planned sending."""

    send_at: Instant


@verb(
    requires=[draft_has_recipient, draft_has_text, send_time_lies_ahead, confidential_stays_inside], returns=EmailView
)
def schedule_draft(db: Database, sources: EpisodeSources, args: ScheduleDraftArgs) -> Row:
    """Plan a draft to be sent at a time in the future. Until then it can be recalled; the draft is gone."""
    return _send_draft(db, args.draft_id, {"scheduled_for": args.send_at, "delivered_at": args.send_at})


def _send_draft(db: Database, draft_id: str, times: dict[str, int]) -> Row:
    """Make an email of a draft; one that was recalled goes back to its thread with its attachments."""
    draft = db.delete(Draft, draft_id)
    names = ("to_addresses", "cc_addresses", "subject", "body")
    content = {**{name: draft[name] for name in names}, **times}
    if draft["recalled_email_id"] is None:
        thread = db.insert(MailThread, subject=draft["subject"])["mail_thread_id"]
        return _send(db, mail_thread_id=thread, kind="new", **content)
    recalled = db.get(Email, draft["recalled_email_id"])
    same = {name: recalled[name] for name in ("mail_thread_id", "kind", "about_email_id")}
    sent = _send(db, **same, **content)
    _attach(db, recalled["email_id"], sent["email_id"])
    return sent


def _send(db: Database, **values: Any) -> Row:
    """A new email from the user, in the Sent folder."""
    return db.insert(
        Email, sender=db.scalar(OWN_ADDRESS), folder_id=db.scalar(_FOLDER, kind="sent"), status="sent", **values
    )


def _attach(db: Database, source_id: str, target_id: str) -> None:
    """Put the attachments of one email on another, too."""
    for attachment in db.rows(_ATTACHED, email=source_id):
        db.insert(Attachment, email_id=target_id, **attachment)


class EmailKeyArgs(Args):
    """Arguments that name an email."""

    email_id: Key


@verb(requires=[email_was_sent, email_is_undelivered], returns=DraftView)
def recall_email(db: Database, sources: EpisodeSources, args: EmailKeyArgs) -> Row:
    """Call back an email that is not delivered yet. It goes to Trash, and its text comes back as a new draft."""
    email = db.update(Email, args.email_id, status="recalled", folder_id=db.scalar(_FOLDER, kind="trash"))
    return db.insert(
        Draft, to_addresses=email["to_addresses"], cc_addresses=email["cc_addresses"], subject=email["subject"],
        body=email["body"], recalled_email_id=args.email_id,
    )  # fmt: skip


class ReplyArgs(EmailKeyArgs):
    """Arguments of a reply."""

    body: Body
    reply_all: Annotated[bool, Field(description="also to everyone else who got the email, in copy")] = False


@verb(requires=[email_was_received, email_is_kept, sender_takes_replies, confidential_stays_inside], returns=EmailView)
def reply_to_email(db: Database, sources: EpisodeSources, args: ReplyArgs) -> Row:
    """Answer a received email to its sender, or to all. Delivered 30 seconds later; the answered one counts as read."""
    email = db.update(Email, args.email_id, unread=0)
    return _send(
        db, mail_thread_id=email["mail_thread_id"], kind="reply", about_email_id=args.email_id,
        to_addresses=email["sender"], cc_addresses=other_addresses(db, email) if args.reply_all else "",
        subject=_prefixed("Re: ", email["subject"]), body=args.body, delivered_at=sources.now + DELIVERY_SECONDS,
    )  # fmt: skip


def _prefixed(prefix: str, subject: str) -> str:
    return subject if subject.startswith(prefix) else f"{prefix}{subject}"[:200]


class ForwardArgs(EmailKeyArgs):
    """Arguments of passing an email on."""

    to_addresses: Addresses
    note: Annotated[str, Field(max_length=2000, description="text above the forwarded email")] = ""


@verb(requires=[email_is_kept, email_is_delivered, confidential_stays_inside], returns=EmailView)
def forward_email(db: Database, sources: EpisodeSources, args: ForwardArgs) -> Row:
    """Pass a delivered email on to other addresses, with its attachments. Delivered 30 seconds later."""
    email = db.update(Email, args.email_id, unread=0)
    sent = _send(
        db, mail_thread_id=email["mail_thread_id"], kind="forward", about_email_id=args.email_id,
        to_addresses=args.to_addresses, subject=_prefixed("Fwd: ", email["subject"]), body=args.note,
        delivered_at=sources.now + DELIVERY_SECONDS,
    )  # fmt: skip
    _attach(db, args.email_id, sent["email_id"])
    return sent


class MoveEmailArgs(EmailKeyArgs):
    """Arguments of a move."""

    folder_id: Key


@verb(requires=[email_is_delivered, email_is_elsewhere, folder_suits_email], returns=EmailView)
def move_email(db: Database, sources: EpisodeSources, args: MoveEmailArgs) -> Row:
    """Put a delivered email into another folder: Trash to discard it, Inbox to get it back."""
    return db.update(Email, args.email_id, folder_id=args.folder_id)


class ThreadKeyArgs(Args):
    """Arguments that name a thread."""

    mail_thread_id: Key


class ArchivedThread(Output):
    """What archiving a thread moved."""

    mail_thread_id: str
    archived_emails: int


@verb(requires=[thread_is_in_inbox, thread_is_settled], returns=ArchivedThread)
def archive_mail_thread(db: Database, sources: EpisodeSources, args: ThreadKeyArgs) -> Row:
    """Move a thread's emails from the Inbox to the Archive and count them as read. Nothing of it may be on its way."""
    archive = db.scalar(_FOLDER, kind="archive")
    moved = db.rows(INBOX_EMAILS, thread=args.mail_thread_id)
    for email in moved:
        db.update(Email, email["email_id"], folder_id=archive, unread=0)
    return {"mail_thread_id": args.mail_thread_id, "archived_emails": len(moved)}


class ApplyLabelArgs(EmailKeyArgs):
    """Arguments of labelling."""

    label_id: Key


@verb(requires=[email_is_kept, label_is_absent], returns=view(EmailLabel))
def apply_label(db: Database, sources: EpisodeSources, args: ApplyLabelArgs) -> Row:
    """Put a label on an email. A confidential one keeps the whole thread inside the company from now on."""
    return db.insert(EmailLabel, email_id=args.email_id, label_id=args.label_id)


# -- queries -------------------------------------------------------------------------------------------------------


class ThreadEmail(Output):
    """One email of a thread."""

    email_id: str
    folder: str
    status: str
    kind: str
    sender: str
    to_addresses: str
    cc_addresses: str
    body: str
    unread: FlagOut
    delivered_at: InstantOut
    attachments: list[str]
    labels: list[str]


class ShownThread(Output):
    """A thread, its latest emails in order."""

    mail_thread_id: str
    subject: str
    items: list[ThreadEmail]


_THREAD = Query(
    select(
        Email.email_id, Folder.name.label("folder"), Email.status, Email.kind, Email.sender, Email.to_addresses,
        Email.cc_addresses, Email.body, Email.unread, Email.delivered_at,
    )
    .join_from(Email, Folder, Folder.folder_id == Email.folder_id)
    .where(Email.mail_thread_id == bindparam("thread"))
    .order_by(Email.delivered_at.desc(), Email.email_id.desc())
    .limit(SHOWN_EMAILS)
)  # fmt: skip
_LABELS = Query(
    select(Label.name)
    .join_from(EmailLabel, Label, Label.label_id == EmailLabel.label_id)
    .where(EmailLabel.email_id == bindparam("email"))
    .order_by(Label.name, Label.label_id)
)


@query(returns=ShownThread)
def show_mail_thread(db: Database, sources: EpisodeSources, args: ThreadKeyArgs) -> Row:
    """The latest 30 emails of a thread, oldest first, with the names of their folders, attachments and labels."""
    thread = db.get(MailThread, args.mail_thread_id)
    items = [
        {
            **email,
            "attachments": [found["name"] for found in db.rows(_ATTACHED, email=email["email_id"])],
            "labels": [found["name"] for found in db.rows(_LABELS, email=email["email_id"])],
        }
        for email in reversed(db.rows(_THREAD, thread=args.mail_thread_id))
    ]
    return {**thread, "items": items}


class FolderSummary(Output):
    """A folder and what lies in it."""

    folder_id: str
    name: str
    kind: str
    emails: int
    unread: int


class MailboxSummary(Output):
    """Whose mailbox it is, and its folders by name."""

    owner: str
    address: str
    items: list[FolderSummary]


_SUMMARY = Query(
    select(
        Folder.folder_id, Folder.name, Folder.kind, func.count(Email.email_id).label("emails"),
        func.coalesce(func.sum(Email.unread), 0).label("unread"),
    )
    .join_from(Folder, Email, Email.folder_id == Folder.folder_id, isouter=True)
    .group_by(Folder.folder_id, Folder.name, Folder.kind)
    .order_by(Folder.name, Folder.folder_id)
)  # fmt: skip


@query(returns=MailboxSummary)
def summarize_mailbox(db: Database, sources: EpisodeSources, args: NoArgs) -> Row:
    """Whose mailbox this is, and every folder with its id and how many emails, and unread ones, lie in it."""
    (mailbox,) = db.every(Mailbox)
    return {"owner": mailbox["owner"], "address": mailbox["address"], "items": db.rows(_SUMMARY)}


VERBS = [
    send_draft, schedule_draft, recall_email, reply_to_email, forward_email, move_email, archive_mail_thread,
    apply_label,
]  # fmt: skip
QUERIES = [show_mail_thread, summarize_mailbox]
