"""What must hold before something is done with mail, and the few statements and views of it the tools share."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, select

from palaestra.mcp_servers.email.models import Draft, Email, EmailLabel, Folder, Label, Mailbox, MailThread
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import precondition
from palaestra.mcp_servers.framework.sql import Database, Query, Row

OWN_ADDRESS = Query(select(Mailbox.address))
_DOMAIN = Query(select(Mailbox.domain))
INBOX_EMAILS = Query(
    select(Email.email_id)
    .join_from(Email, Folder, Folder.folder_id == Email.folder_id)
    .where(Email.mail_thread_id == bindparam("thread"), Folder.kind == "inbox")
    .order_by(Email.email_id)
)
_CONFIDENTIAL = Query(
    select(Email.email_id)
    .join_from(Email, EmailLabel, EmailLabel.email_id == Email.email_id)
    .join(Label, Label.label_id == EmailLabel.label_id)
    .where(Email.mail_thread_id == bindparam("thread"), Label.confidential == 1)
    .order_by(Email.email_id)
)
_ON_ITS_WAY = Query(
    select(Email.email_id)
    .where(Email.mail_thread_id == bindparam("thread"), Email.status == "sent", Email.delivered_at > bindparam("now"))
    .order_by(Email.email_id)
)
_ON_EMAIL = Query(
    select(EmailLabel.email_label_id).where(
        EmailLabel.email_id == bindparam("email"), EmailLabel.label_id == bindparam("label")
    )
)


@precondition
def draft_has_recipient(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The draft names at least one address to send it to."""
    return bool(db.get(Draft, args.draft_id)["to_addresses"])


@precondition
def draft_has_text(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The draft has both a subject and a body."""
    draft = db.get(Draft, args.draft_id)
    return bool(draft["subject"] and draft["body"])


@precondition
def send_time_lies_ahead(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The time to send at lies in the future."""
    return bool(args.send_at > sources.now)


@precondition
def confidential_stays_inside(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """A thread in which an email carries a confidential label goes to addresses of the own company only."""
    thread, addresses = _destination(db, args)
    if thread is None or db.first(_CONFIDENTIAL, thread=thread) is None:
        return True
    domain = db.scalar(_DOMAIN)
    return all(address.rpartition("@")[2].lower() == domain for address in addresses.split(", "))


@precondition
def email_was_sent(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The email was sent from this mailbox, and is not recalled yet."""
    return bool(db.get(Email, args.email_id)["status"] == "sent")


@precondition
def email_is_undelivered(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The email has not been delivered yet."""
    return bool(db.get(Email, args.email_id)["delivered_at"] > sources.now)


@precondition
def email_is_delivered(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The email has been delivered; it is neither on its way nor recalled."""
    email = db.get(Email, args.email_id)
    return bool(email["status"] != "recalled" and email["delivered_at"] <= sources.now)


@precondition
def email_was_received(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The email was received from someone else."""
    return bool(db.get(Email, args.email_id)["status"] == "received")


@precondition
def email_is_kept(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The email lies neither in Trash nor in Spam; move it out first."""
    return db.get(Folder, db.get(Email, args.email_id)["folder_id"])["kind"] not in ("trash", "spam")


@precondition
def sender_takes_replies(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The sender's address takes replies, unlike a no-reply address."""
    return not db.get(Email, args.email_id)["sender"].startswith(("noreply@", "no-reply@"))


@precondition
def email_is_elsewhere(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The email does not lie in that folder already."""
    return bool(db.get(Email, args.email_id)["folder_id"] != args.folder_id)


@precondition
def folder_suits_email(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Sent takes only emails the user sent, Inbox and Spam only those received; other folders take any."""
    kind = db.get(Folder, args.folder_id)["kind"]
    status = db.get(Email, args.email_id)["status"]
    return status in {"sent": ("sent",), "inbox": ("received",), "spam": ("received",)}.get(kind, (status,))


@precondition
def thread_is_in_inbox(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """At least one email of the thread lies in the Inbox."""
    db.get(MailThread, args.mail_thread_id)
    return db.first(INBOX_EMAILS, thread=args.mail_thread_id) is not None


@precondition
def thread_is_settled(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """No email of the thread is on its way; wait for its delivery or recall it."""
    return db.first(_ON_ITS_WAY, thread=args.mail_thread_id, now=sources.now) is None


@precondition
def label_is_absent(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The email does not carry the label yet."""
    db.get(Label, args.label_id)
    return db.first(_ON_EMAIL, email=args.email_id, label=args.label_id) is None


def _destination(db: Database, args: Any) -> tuple[str | None, str]:
    """The existing thread a call would send something of, and the addresses it would go to."""
    if hasattr(args, "draft_id"):
        draft = db.get(Draft, args.draft_id)
        recalled = draft["recalled_email_id"]
        thread = None if recalled is None else db.get(Email, recalled)["mail_thread_id"]
        return thread, _joined(draft["to_addresses"], draft["cc_addresses"])
    email = db.get(Email, args.email_id)
    if hasattr(args, "to_addresses"):
        return email["mail_thread_id"], args.to_addresses
    return email["mail_thread_id"], _joined(email["sender"], other_addresses(db, email) if args.reply_all else "")


def _joined(*addresses: str) -> str:
    return ", ".join(filter(None, addresses))


def other_addresses(db: Database, email: Row) -> str:
    """Everyone but the user and the sender who got an email."""
    known = (db.scalar(OWN_ADDRESS), email["sender"], "")
    found = _joined(email["to_addresses"], email["cc_addresses"]).split(", ")
    return _joined(*(address for address in found if address not in known))
