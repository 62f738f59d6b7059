"""Scenes at the payment provider that use every tool and meet every rule, and tasks that go in one order only."""

from __future__ import annotations

from typing import Any

from palaestra.mcp_servers.framework.stories import Teller

NOW = "2026-03-02T09:00:00Z"
APRIL = "2026-04-01T12:00:00Z"
AMPLE = 1_000_000
MINUTE = 60


def _clients(tell: Teller) -> dict[str, dict[str, Any]]:
    found = tell.call("summarize_receivables")["clients"]
    return {client["client_id"]: client for client in found}


def _draft(tell: Teller, *, card: bool, late: bool = False) -> dict[str, Any]:
    """A draft for a client with credit."""
    clients = _clients(tell)
    return next(
        draft
        for draft in tell.items("list_invoices", status="draft")
        if clients[draft["client_id"]]["credit_limit"] >= AMPLE
        and (clients[draft["client_id"]]["card_on_file"], draft["due_at"] < NOW) == (card, late)
    )


def _short_of_credit(tell: Teller, *, part_paid: bool) -> tuple[str, str]:
    """A sent invoice and a draft of a client whose credit does not cover both."""
    clients = _clients(tell)
    sent = next(
        invoice
        for invoice in tell.items("list_invoices", status="sent")
        if clients[invoice["client_id"]]["credit_limit"] < AMPLE and (invoice["amount_paid"] > 0) == part_paid
    )
    (draft,) = tell.items("list_invoices", status="draft", client_id=sent["client_id"])
    return sent["invoice_id"], draft["invoice_id"]


def _payment_of(tell: Teller, invoice_id: str) -> dict[str, Any]:
    return tell.items("list_payments", invoice_id=invoice_id)[0]


def _large(tell: Teller) -> dict[str, Any]:
    """The captured payment that is worth more than the merchant's balance."""
    paid = tell.items("list_payments", status="captured")
    recent = [payment for payment in paid if payment["authorised_at"] > "2026-01-01"]
    return max(recent, key=lambda payment: int(payment["amount"]))


def _authorised(tell: Teller, *, fresh: bool) -> dict[str, Any]:
    waiting = [payment for payment in tell.items("list_payments", status="authorised") if payment["captured"] == 0]
    return next(payment for payment in waiting if (payment["authorised_at"] > "2026-02-25") == fresh)


def _failed(tell: Teller, event: str) -> list[str]:
    """Failed deliveries of an event, oldest first."""
    failed = tell.items("list_webhook_deliveries", status="failed")
    found = sorted((row for row in failed if row["event"] == event), key=lambda row: int(row["sequence"]))
    return [row["webhook_delivery_id"] for row in found]


def send_and_collect(tell: Teller) -> None:
    """A draft is sent, paid by card in two captures, and final; a late draft is drafted anew."""
    draft = _draft(tell, card=True)
    invoice = {"invoice_id": draft["invoice_id"]}
    tell.call("send_invoice", **invoice)
    tell.refused("invoice_is_draft", "send_invoice", **invoice)
    payment = {"payment_id": _payment_of(tell, draft["invoice_id"])["payment_id"]}
    tell.refused("authorisation_covers_capture", "capture_payment", **payment, amount=draft["amount"] + 1)
    before = tell.call("summarize_receivables")["balance"]
    tell.call("capture_payment", **payment, amount=4_000)
    after = tell.call("summarize_receivables")["balance"]
    assert after - before == 4_000 - 60  # noqa: S101 - a story holds its server to its rules
    tell.refused("nothing_paid_is_kept", "void_invoice", **invoice)
    captured = tell.call("capture_payment", **payment)
    assert (captured["status"], captured["captured"]) == ("captured", draft["amount"])  # noqa: S101
    tell.refused("payment_is_authorised", "capture_payment", **payment)
    tell.refused("invoice_is_unsettled", "void_invoice", **invoice)
    late = _draft(tell, card=True, late=True)
    tell.refused("due_time_is_ahead", "send_invoice", invoice_id=late["invoice_id"])
    new = {"client_id": late["client_id"], "memo": late["memo"], "amount": late["amount"], "due_at": APRIL}
    tell.refused("invalid_arguments", "create_invoice", **new, status="paid")
    tell.call("send_invoice", invoice_id=tell.call("create_invoice", **new)["invoice_id"])


def make_room_for_an_invoice(tell: Teller) -> None:
    """Credit is used up until the older invoice is void; what was paid on one is refunded first."""
    unpaid, draft = _short_of_credit(tell, part_paid=False)
    tell.refused("credit_covers_invoice", "send_invoice", invoice_id=draft)
    tell.call("void_invoice", invoice_id=unpaid)
    tell.refused("invoice_is_unsettled", "void_invoice", invoice_id=unpaid)
    tell.call("send_invoice", invoice_id=draft)
    part_paid, _ = _short_of_credit(tell, part_paid=True)
    tell.refused("nothing_paid_is_kept", "void_invoice", invoice_id=part_paid)
    payment = _payment_of(tell, part_paid)
    tell.call("refund_payment", payment_id=payment["payment_id"], amount=payment["captured"], reason="not_delivered")
    tell.call("void_invoice", invoice_id=part_paid)
    tell.refused("payment_is_authorised", "capture_payment", payment_id=payment["payment_id"])


def give_money_back(tell: Teller) -> None:
    """A large refund waits for a capture that raises the balance; expired and old payments stay as they are."""
    large, fresh, expired = _large(tell), _authorised(tell, fresh=True), _authorised(tell, fresh=False)
    refund = {"payment_id": large["payment_id"], "amount": large["amount"], "reason": "requested"}
    tell.refused("balance_covers_refund", "refund_payment", **refund)
    tell.refused("payment_is_refundable", "refund_payment", **{**refund, "payment_id": fresh["payment_id"]})
    tell.refused("authorisation_is_fresh", "capture_payment", payment_id=expired["payment_id"])
    tell.call("capture_payment", payment_id=fresh["payment_id"])
    tell.refused("refund_fits_capture", "refund_payment", **{**refund, "amount": large["amount"] + 1})
    tell.call("refund_payment", **refund)
    assert _payment_of(tell, large["invoice_id"])["refunded"] == large["amount"]  # noqa: S101
    tell.refused("payment_is_refundable", "refund_payment", **{**refund, "amount": 1})
    old = next(
        payment for payment in tell.items("list_payments", status="captured") if payment["authorised_at"] < "2025-12-01"
    )
    tell.refused("refund_is_in_time", "refund_payment", payment_id=old["payment_id"], amount=1, reason="duplicate")


def deliver_what_failed(tell: Teller) -> None:
    """Deliveries are retried in order; one is abandoned because its endpoint stays down."""
    first, second, _ = _failed(tell, "invoice.sent")
    tell.refused("older_deliveries_are_done", "retry_webhook_delivery", webhook_delivery_id=second)
    delivered = tell.call("retry_webhook_delivery", webhook_delivery_id=first)
    assert delivered["status"] == "delivered"  # noqa: S101
    tell.refused("delivery_has_failed", "retry_webhook_delivery", webhook_delivery_id=first)
    tell.call("retry_webhook_delivery", webhook_delivery_id=second)
    (unreached,) = _failed(tell, "payment.captured")
    again = {"webhook_delivery_id": unreached}
    for minutes, status in ((10, "failed"), (20, "failed"), (40, "abandoned")):
        tell.refused("retry_is_due", "retry_webhook_delivery", **again)
        tell.wait(minutes * MINUTE)
        assert tell.call("retry_webhook_delivery", **again)["status"] == status  # noqa: S101
    tell.refused("delivery_has_failed", "retry_webhook_delivery", **again)


STORIES = [send_and_collect, make_room_for_an_invoice, give_money_back, deliver_what_failed]


# -- chains --------------------------------------------------------------------------------------------------------


def bill_and_take_it_all_back(tell: Teller) -> None:
    """Draft an invoice, send it, capture its payment, refund that in full, and void the invoice."""
    client = _draft(tell, card=True)["client_id"]
    new = {"client_id": client, "memo": "poster, A2", "amount": 9_500, "due_at": APRIL}
    invoice = tell.call("create_invoice", **new)["invoice_id"]
    tell.call("send_invoice", invoice_id=invoice)
    payment = _payment_of(tell, invoice)["payment_id"]
    tell.call("capture_payment", payment_id=payment)
    tell.call("refund_payment", payment_id=payment, amount=9_500, reason="duplicate")
    tell.call("void_invoice", invoice_id=invoice)


def replace_an_unpaid_invoice(tell: Teller) -> None:
    """Void the invoice that uses up a client's credit, send the next one, and capture its payment."""
    unpaid, draft = _short_of_credit(tell, part_paid=False)
    tell.call("void_invoice", invoice_id=unpaid)
    tell.call("send_invoice", invoice_id=draft)
    tell.call("capture_payment", payment_id=_payment_of(tell, draft)["payment_id"])


def replace_an_invoice_paid_in_part(tell: Teller) -> None:
    """Refund the part that was paid, void the invoice, and send the next one."""
    part_paid, draft = _short_of_credit(tell, part_paid=True)
    payment = _payment_of(tell, part_paid)
    refund = {"payment_id": payment["payment_id"], "amount": payment["captured"], "reason": "requested"}
    tell.call("refund_payment", **refund)
    tell.call("void_invoice", invoice_id=part_paid)
    tell.call("send_invoice", invoice_id=draft)


def pay_back_more_than_the_balance(tell: Teller) -> None:
    """Capture a large payment to afford a large refund, then deliver the refund endpoint's events in order."""
    large = _large(tell)
    tell.call("capture_payment", payment_id=_authorised(tell, fresh=True)["payment_id"])
    refund = {"payment_id": large["payment_id"], "amount": large["amount"], "reason": "requested"}
    tell.call("refund_payment", **refund)
    older, newer = _failed(tell, "refund.created")
    tell.call("retry_webhook_delivery", webhook_delivery_id=older)
    tell.call("retry_webhook_delivery", webhook_delivery_id=newer)


def clear_the_backlog(tell: Teller) -> None:
    """Retry the invoice endpoint's failed deliveries, oldest first."""
    for delivery in _failed(tell, "invoice.sent"):
        tell.call("retry_webhook_delivery", webhook_delivery_id=delivery)


def send_and_withdraw(tell: Teller) -> None:
    """Send a draft to a client without a card, and void it before anything is paid."""
    invoice = _draft(tell, card=False)["invoice_id"]
    tell.call("send_invoice", invoice_id=invoice)
    tell.call("void_invoice", invoice_id=invoice)


CHAINS = [
    bill_and_take_it_all_back, replace_an_unpaid_invoice, replace_an_invoice_paid_in_part,
    pay_back_more_than_the_balance, clear_the_backlog, send_and_withdraw,
]  # fmt: skip
