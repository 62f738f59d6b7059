"""Tables of the mailbox: folders, threads of emails with attachments, labels, and drafts not sent yet."""

from __future__ import annotations

from typing import Final

from sqlalchemy import UniqueConstraint
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

_ADDRESS: Final = r"[^\s@,]+@[^\s@,]+\.[^\s@,]+"
ADDRESSES: Final = rf"^({_ADDRESS}(, {_ADDRESS})*)?$"
"""No address, one, or several separated by a comma and a blank."""


class Base(Entity, DeclarativeBase):
    """Tables of the email server."""


class Mailbox(Base):
    """Whose mailbox it is. There is one; addresses of its domain are inside the company."""

    __tablename__ = "mailbox"
    mailbox_id: Mapped[str] = identifier("box")
    owner: Mapped[str] = text(80, role=Role.GUARDED)
    address: Mapped[str] = text(120, role=Role.GUARDED)
    domain: Mapped[str] = text(80, role=Role.GUARDED)


class Folder(Base):
    """A place for emails; every email lies in exactly one."""

    __tablename__ = "folder"
    folder_id: Mapped[str] = identifier("fol")
    name: Mapped[str] = text(60, unique=True, role=Role.GUARDED)
    kind: Mapped[str] = choice("inbox", "sent", "archive", "spam", "trash", "own", role=Role.GUARDED)


class MailThread(Base):
    """Emails that answer or forward each other."""

    __tablename__ = "mail_thread"
    mail_thread_id: Mapped[str] = identifier("thr")
    subject: Mapped[str] = text(200, role=Role.GUARDED)


class Email(Base):
    """An email received or sent. One that was sent is on its way until `delivered_at`."""

    __tablename__ = "email"
    email_id: Mapped[str] = identifier("eml")
    mail_thread_id: Mapped[str] = reference("mail_thread.mail_thread_id", role=Role.GUARDED)
    folder_id: Mapped[str] = reference("folder.folder_id", role=Role.GUARDED)
    status: Mapped[str] = choice("received", "sent", "recalled", role=Role.GUARDED)
    kind: Mapped[str] = choice("new", "reply", "forward", default="new", role=Role.GUARDED)
    about_email_id: Mapped[str | None] = reference(
        "email.email_id", "the email it answers or forwards", role=Role.GUARDED, optional=True
    )
    sender: Mapped[str] = text(120, role=Role.GUARDED)
    to_addresses: Mapped[str] = text(400, role=Role.GUARDED)
    cc_addresses: Mapped[str] = text(1000, default="", role=Role.GUARDED)
    subject: Mapped[str] = text(200, role=Role.GUARDED)
    body: Mapped[str] = text(2000, default="", role=Role.GUARDED)
    unread: Mapped[int] = flag(role=Role.GUARDED)
    scheduled_for: Mapped[int | None] = instant(
        "when it is to be delivered, if planned", role=Role.GUARDED, optional=True
    )
    delivered_at: Mapped[int] = instant("when it arrived or will arrive", role=Role.VOLATILE)


class Attachment(Base):
    """A file that came or goes with an email."""

    __tablename__ = "attachment"
    attachment_id: Mapped[str] = identifier("att")
    email_id: Mapped[str] = reference("email.email_id", role=Role.GUARDED)
    name: Mapped[str] = text(120, role=Role.GUARDED)
    size_kb: Mapped[int] = integer("size", minimum=1, maximum=25_000, unit="kB", role=Role.GUARDED)


class Label(Base):
    """A mark for emails. A thread with a confidential one does not leave the company."""

    __tablename__ = "label"
    label_id: Mapped[str] = identifier("lab")
    name: Mapped[str] = text(40, unique=True)
    color: Mapped[str] = choice("red", "orange", "green", "blue", "grey", default="grey")
    confidential: Mapped[int] = flag("keeps threads inside the company", role=Role.GUARDED)


class EmailLabel(Base):
    """A label on an email."""

    __tablename__ = "email_label"
    email_label_id: Mapped[str] = identifier("tag")
    email_id: Mapped[str] = reference("email.email_id", role=Role.GUARDED)
    label_id: Mapped[str] = reference("label.label_id", role=Role.GUARDED)
    __table_args__ = (UniqueConstraint("email_id", "label_id"), STRICT)


class Draft(Base):
    """An email being written; it is gone once sent. A recalled email comes back as one."""

    __tablename__ = "draft"
    draft_id: Mapped[str] = identifier("drf")
    to_addresses: Mapped[str] = text(400, "addresses separated by a comma and a blank", pattern=ADDRESSES, default="")
    cc_addresses: Mapped[str] = text(1000, "addresses separated by a comma and a blank", pattern=ADDRESSES, default="")
    subject: Mapped[str] = text(200, default="")
    body: Mapped[str] = text(2000, default="")
    recalled_email_id: Mapped[str | None] = reference(
        "email.email_id", "the recalled email whose thread and attachments it keeps", role=Role.GUARDED, optional=True
    )
    created_at: Mapped[int] = instant(fill="create")
    updated_at: Mapped[int] = instant(fill="update")


MODELS = [Mailbox, Folder, MailThread, Email, Attachment, Label, EmailLabel, Draft]
