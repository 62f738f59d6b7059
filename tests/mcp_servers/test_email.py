"""The mailbox loses no letter, keeps what is confidential inside, and calls back only what is on its way."""

from __future__ import annotations

from typing import Any

import pytest

from palaestra.mcp_servers.email import SERVER
from palaestra.mcp_servers.email.models import Attachment, Draft, Email, EmailLabel, Folder, Label, Mailbox
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.sources import stream

Rows = list[dict[str, Any]]


@pytest.fixture
def office() -> Episode:
    return EpisodeStore([SERVER]).open(seed=11)[1]


def rows(office: Episode, model: Any) -> Rows:
    return office.state("email").database.every(model)


def call(office: Episode, tool: str, **arguments: Any) -> dict[str, Any]:
    result = dispatch(office, tool, arguments)
    assert result.value is not None, result.text
    return result.value


def leaks(office: Episode) -> Rows:
    """Emails sent after the start in a confidential thread to anyone outside the company."""
    secret = {row["label_id"] for row in rows(office, Label) if row["confidential"]}
    marked = {row["email_id"] for row in rows(office, EmailLabel) if row["label_id"] in secret}
    threads = {row["mail_thread_id"] for row in rows(office, Email) if row["email_id"] in marked}
    domain = "@" + rows(office, Mailbox)[0]["domain"]
    return [
        row
        for row in rows(office, Email)
        if row["mail_thread_id"] in threads and row["status"] == "sent"
        for address in f"{row['to_addresses']}, {row['cc_addresses']}".split(", ")
        if address and not address.endswith(domain)
    ]


def test_whatever_is_called_no_email_is_lost_and_nothing_confidential_leaves(office: Episode) -> None:
    rng = stream(3, "letters")
    inside = rows(office, Mailbox)[0]["address"]
    before = {row["email_id"]: row for row in rows(office, Email)}
    folders = [row["folder_id"] for row in rows(office, Folder)]
    faults = 0
    for _ in range(150):
        emails, drafts = rows(office, Email), rows(office, Draft)
        email = {"email_id": emails[int(rng.integers(len(emails)))]["email_id"]}
        draft = {"draft_id": drafts[int(rng.integers(len(drafts)))]["draft_id"]} if drafts else {"draft_id": "drf_1"}
        to = {"to_addresses": inside if rng.random() < 0.5 else "spy@außen.example"}
        tool, arguments = (
            ("forward_email", email | to), ("reply_to_email", email | {"body": "Yes.", "reply_all": True}),
            ("recall_email", email), ("move_email", email | {"folder_id": str(rng.choice(folders))}),
            ("update_draft", draft | to | {"body": "Now."}), ("send_draft", draft),
        )[int(rng.integers(6))]  # fmt: skip
        faults += dispatch(office, tool, arguments).is_error
    after = {row["email_id"]: row for row in rows(office, Email)}
    assert before.keys() < after.keys()
    text = ("sender", "to_addresses", "cc_addresses", "subject", "body", "mail_thread_id")
    assert all(after[key][name] == row[name] for key, row in before.items() for name in text)
    assert leaks(office) == []
    assert 0 < faults < 150


def test_a_forward_takes_the_attachments_along_even_after_a_recall(office: Episode) -> None:
    files: dict[str, list[str]] = {}
    for row in rows(office, Attachment):
        files.setdefault(row["email_id"], []).append(row["name"])
    complaint = next(key for key, names in files.items() if "box-left.jpg" in names)
    passed = call(office, "forward_email", email_id=complaint, to_addresses="a@b.example, c@d.example", note="See")
    draft = call(office, "recall_email", email_id=passed["email_id"])
    again = call(office, "send_draft", draft_id=draft["draft_id"])
    sent = [row["name"] for row in rows(office, Attachment) if row["email_id"] == again["email_id"]]
    assert sorted(sent) == sorted(files[complaint])
    assert (again["kind"], again["about_email_id"]) == ("forward", complaint)


def test_an_email_is_on_its_way_for_thirty_seconds(office: Episode) -> None:
    ready = next(row for row in rows(office, Draft) if row["to_addresses"] and row["body"])
    sent = call(office, "send_draft", draft_id=ready["draft_id"])
    office.advance_clock(28)  # the sending itself took a second
    early = office.snapshot()
    assert not dispatch(office, "recall_email", {"email_id": sent["email_id"]}).is_error
    office.restore(early)
    office.advance_clock(1)
    fault = dispatch(office, "recall_email", {"email_id": sent["email_id"]}).fault
    assert fault is not None
    assert fault.details["precondition"] == "email_is_undelivered"


@pytest.mark.parametrize("seed", range(4))
def test_the_world_holds_its_stories(seed: int) -> None:
    office = EpisodeStore([SERVER]).open(seed=seed, profile="small")[1]
    now = office.state("email").sources.now
    emails, drafts = rows(office, Email), rows(office, Draft)
    assert [row["to_addresses"] == "" for row in drafts].count(True) == 1
    assert [row["body"] == "" for row in drafts].count(True) == 1
    assert [row["subject"] for row in emails if row["delivered_at"] > now] == ["Reminder: offsite"]
    assert any("im_start" in row["body"] for row in emails)
    kinds = {row["folder_id"]: row["kind"] for row in rows(office, Folder)}
    assert {"inbox", "sent", "spam", "trash"} <= {kinds[row["folder_id"]] for row in emails}
    assert leaks(office) == []
