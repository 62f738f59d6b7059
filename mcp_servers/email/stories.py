"""Scenes with the mailbox that use every tool and meet every rule, and tasks whose order matters."""

from __future__ import annotations

from typing import Any

from palaestra.mcp_servers.framework.stories import Teller

OUTSIDE = "kontakt@außen.example"
TOMORROW = "2026-03-03T08:00:00Z"
YESTERDAY = "2026-03-01T08:00:00Z"


def _email(tell: Teller, text: str, status: str = "received") -> dict[str, Any]:
    """The first email from or to the user that contains a text."""
    return next(found for found in tell.items("search_emails", text=text) if found["status"] == status)


def _draft(tell: Teller, subject: str) -> str:
    return str(next(d["draft_id"] for d in tell.items("list_drafts") if d["subject"] == subject))


def _label(tell: Teller, name: str) -> str:
    return str(next(label["label_id"] for label in tell.items("list_labels") if label["name"] == name))


def _folder(tell: Teller, name: str) -> str:
    folders = tell.items("summarize_mailbox")
    return str(next(folder["folder_id"] for folder in folders if folder["name"] == name))


def _colleague(tell: Teller) -> str:
    """The address of someone of the same company."""
    return str(_email(tell, "Salary review 2026")["sender"])


def finish_and_send_drafts(tell: Teller) -> None:
    """Drafts are sent when nothing is missing; the planned one is called back, mended and sent at once."""
    nobody, empty = _draft(tell, "Opening hours in spring"), _draft(tell, "Holiday plans")
    tell.refused("draft_has_recipient", "send_draft", draft_id=nobody)
    tell.refused("draft_has_recipient", "schedule_draft", draft_id=nobody, send_at=TOMORROW)
    tell.refused("draft_has_text", "send_draft", draft_id=empty)
    tell.refused("draft_has_text", "schedule_draft", draft_id=empty, send_at=TOMORROW)
    tell.refused("invalid_arguments", "update_draft", draft_id=nobody, to_addresses="everyone")
    tell.call("update_draft", draft_id=nobody, to_addresses=f"{_colleague(tell)}, {OUTSIDE}")
    tell.refused("send_time_lies_ahead", "schedule_draft", draft_id=nobody, send_at=YESTERDAY)
    planned = tell.call("schedule_draft", draft_id=nobody, send_at=TOMORROW)
    tell.refused("not_found", "send_draft", draft_id=nobody)
    back = tell.call("recall_email", email_id=planned["email_id"])
    tell.refused("email_was_sent", "recall_email", email_id=planned["email_id"])
    tell.call("update_draft", draft_id=back["draft_id"], body="From May on we open at 7:30.")
    sent = tell.call("send_draft", draft_id=back["draft_id"])
    assert sent["mail_thread_id"] == planned["mail_thread_id"]  # noqa: S101 - a story holds its server to its rules
    tell.wait(60)
    tell.refused("email_is_undelivered", "recall_email", email_id=sent["email_id"])
    tell.call("create_draft", to_addresses=OUTSIDE, subject="Thank you")


def answer_the_complaint(tell: Teller) -> None:
    """The complaint is answered to all, then filed; what cannot be answered is not."""
    complaint = _email(tell, "Any news?")
    thread = {"mail_thread_id": complaint["mail_thread_id"]}
    first = tell.items("show_mail_thread", **thread)[0]
    answer = tell.call("reply_to_email", email_id=first["email_id"], body="New ones leave today.", reply_all=True)
    assert len(answer["cc_addresses"].split(", ")) == 2  # noqa: S101
    tell.refused("email_was_received", "reply_to_email", email_id=answer["email_id"], body="Hello?")
    tell.refused("email_is_delivered", "forward_email", email_id=answer["email_id"], to_addresses=_colleague(tell))
    tell.refused("email_is_delivered", "move_email", email_id=answer["email_id"], folder_id=_folder(tell, "Customers"))
    tell.refused("thread_is_settled", "archive_mail_thread", **thread)
    tell.wait(60)
    tell.call("archive_mail_thread", **thread)
    tell.refused("thread_is_in_inbox", "archive_mail_thread", **thread)
    tell.refused("sender_takes_replies", "reply_to_email", email_id=_email(tell, "digest")["email_id"], body="Stop")
    tell.call("reply_to_email", email_id=_email(tell, "Settlement offer")["email_id"], body="We accept.")


def keep_a_secret(tell: Teller) -> None:
    """What is confidential is passed on inside the company only, by whatever way."""
    secret, inside = _email(tell, "Salary review 2026")["email_id"], _colleague(tell)
    tell.refused("confidential_stays_inside", "forward_email", email_id=secret, to_addresses=f"{inside}, {OUTSIDE}")
    passed = tell.call("forward_email", email_id=secret, to_addresses=inside, note="For your eyes only.")
    draft = tell.call("recall_email", email_id=passed["email_id"])["draft_id"]
    tell.call("update_draft", draft_id=draft, cc_addresses=OUTSIDE)
    tell.refused("confidential_stays_inside", "send_draft", draft_id=draft)
    tell.refused("confidential_stays_inside", "schedule_draft", draft_id=draft, send_at=TOMORROW)
    tell.call("update_draft", draft_id=draft, cc_addresses="")
    again = tell.call("send_draft", draft_id=draft)
    shown = tell.items("show_mail_thread", mail_thread_id=again["mail_thread_id"])
    assert [email["attachments"] for email in shown] == [["salaries.xlsx"]] * 3  # noqa: S101
    offer = _email(tell, "Settlement offer")["email_id"]
    tell.call("apply_label", email_id=offer, label_id=_label(tell, "Confidential"))
    tell.refused("confidential_stays_inside", "reply_to_email", email_id=offer, body="We accept.")
    tell.call("reply_to_email", email_id=secret, body="Thank you.")


def tidy_up(tell: Teller) -> None:
    """Emails are labelled and filed; from Trash and Spam they must come back first."""
    invoice = _email(tell, "please find attached our invoice")["email_id"]
    trashed = _email(tell, "Old seating plan")["email_id"]
    receipts, inbox, sent = (_folder(tell, name) for name in ("Receipts", "Inbox", "Sent"))
    tax = tell.call("create_label", name="Tax 2026", color="green")["label_id"]
    tell.refused("conflict", "create_label", name="Tax 2026")
    tell.refused("email_is_kept", "apply_label", email_id=trashed, label_id=tax)
    tell.refused("email_is_kept", "reply_to_email", email_id=trashed, body="Thanks")
    tell.refused("email_is_kept", "forward_email", email_id=trashed, to_addresses=_colleague(tell))
    tell.call("apply_label", email_id=invoice, label_id=tax)
    tell.refused("label_is_absent", "apply_label", email_id=invoice, label_id=tax)
    tell.refused("email_is_elsewhere", "move_email", email_id=invoice, folder_id=inbox)
    tell.refused("folder_suits_email", "move_email", email_id=invoice, folder_id=sent)
    tell.call("move_email", email_id=invoice, folder_id=receipts)
    tell.call("move_email", email_id=trashed, folder_id=inbox)
    tell.call("apply_label", email_id=trashed, label_id=_label(tell, "Follow up"))
    tell.call("list_emails", folder_id=receipts, unread=True)


STORIES = [finish_and_send_drafts, answer_the_complaint, keep_a_secret, tidy_up]


# -- chains --------------------------------------------------------------------------------------------------------


def write_and_send(tell: Teller) -> None:
    """Write a draft, complete it and send it."""
    draft = tell.call("create_draft", subject="Spring fair", body="We have a stand this year.")["draft_id"]
    tell.call("update_draft", draft_id=draft, to_addresses=_colleague(tell))
    tell.call("send_draft", draft_id=draft)


def plan_recall_and_resend(tell: Teller) -> None:
    """Plan an email for tomorrow, call it back, correct it and send it now."""
    draft = tell.call("create_draft", to_addresses=_colleague(tell), subject="Keys", body="They are in room 4.")
    planned = tell.call("schedule_draft", draft_id=draft["draft_id"], send_at=TOMORROW)
    back = tell.call("recall_email", email_id=planned["email_id"])
    tell.call("update_draft", draft_id=back["draft_id"], body="They are in room 5.")
    tell.call("send_draft", draft_id=back["draft_id"])


def mark_with_a_new_label(tell: Teller) -> None:
    """Make a label and put it on the invoice."""
    invoice = _email(tell, "please find attached our invoice")["email_id"]
    label = tell.call("create_label", name="To be paid", color="red")["label_id"]
    tell.call("apply_label", email_id=invoice, label_id=label)


def consult_then_seal(tell: Teller) -> None:
    """Pass the offer on to an outside adviser, then make the thread confidential."""
    offer = _email(tell, "Settlement offer")["email_id"]
    label = _label(tell, "Confidential")
    tell.call("forward_email", email_id=offer, to_addresses=OUTSIDE, note="What do you think?")
    tell.call("apply_label", email_id=offer, label_id=label)


def look_once_more_and_discard(tell: Teller) -> None:
    """Take an email out of Trash, pass it on inside, and throw it away again."""
    inside, trash, inbox = _colleague(tell), _folder(tell, "Trash"), _folder(tell, "Inbox")
    plan = _email(tell, "Old seating plan")["email_id"]
    tell.call("move_email", email_id=plan, folder_id=inbox)
    tell.call("forward_email", email_id=plan, to_addresses=inside)
    tell.call("move_email", email_id=plan, folder_id=trash)


def think_better_of_a_reply(tell: Teller) -> None:
    """Answer the settlement offer, take the answer back, soften it and send it."""
    offer = _email(tell, "Settlement offer")["email_id"]
    answer = tell.call("reply_to_email", email_id=offer, body="Never.")["email_id"]
    draft = tell.call("recall_email", email_id=answer)["draft_id"]
    tell.call("update_draft", draft_id=draft, body="We need some days to think about it.")
    tell.call("send_draft", draft_id=draft)


def rescue_from_trash_and_file(tell: Teller) -> None:
    """Bring an email back from Trash and archive its thread."""
    plan = _email(tell, "Old seating plan")
    inbox = _folder(tell, "Inbox")
    tell.call("move_email", email_id=plan["email_id"], folder_id=inbox)
    tell.call("archive_mail_thread", mail_thread_id=plan["mail_thread_id"])


CHAINS = [
    write_and_send, plan_recall_and_resend, mark_with_a_new_label, consult_then_seal, look_once_more_and_discard,
    think_better_of_a_reply, rescue_from_trash_and_file,
]  # fmt: skip
