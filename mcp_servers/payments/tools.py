"""What can be done at the payment provider beyond drafting invoices and listing.

Rules: a draft is sent if it falls due later and the client's credit covers it; with a card on file that authorises its
payment. An authorisation is captured within 7 days, in parts if need be; the provider keeps 1.5 % of each capture. What
is captured may be refunded for 90 days, as far as the merchant's balance goes. An invoice is voided only while nothing
paid for it is kept. Webhook deliveries are retried oldest first, after a pause that grows.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field
from sqlalchemy import bindparam, func, select

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import NoArgs, Output, precondition, query, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import Amount, Key
from palaestra.mcp_servers.payments.models import Client, Invoice, Merchant, Payment, Refund, WebhookDelivery
from palaestra.mcp_servers.payments.webhooks import announce, attempt, due_at, oldest_failed

CAPTURE_SECONDS: Final = 7 * 86_400
REFUND_SECONDS: Final = 90 * 86_400
FEE_PER_MILLE: Final = 15

InvoiceView = view(Invoice)
PaymentView = view(Payment)

_OUTSTANDING = Query(
    select(func.coalesce(func.sum(Invoice.amount - Invoice.amount_paid), 0).label("outstanding")).where(
        Invoice.client_id == bindparam("client"), Invoice.status == "sent"
    )
)
_AUTHORISED = Query(
    select(Payment.payment_id)
    .where(Payment.invoice_id == bindparam("invoice"), Payment.status == "authorised")
    .order_by(Payment.payment_id)
)


def _merchant(db: Database) -> Row:
    """The one merchant of this world."""
    return db.every(Merchant)[0]


# -- preconditions -------------------------------------------------------------------------------------------------


@precondition
def invoice_is_draft(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The invoice is a draft, not sent yet."""
    return bool(db.get(Invoice, args.invoice_id)["status"] == "draft")


@precondition
def due_time_is_ahead(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The invoice falls due in the future; draft a new one otherwise."""
    return bool(db.get(Invoice, args.invoice_id)["due_at"] > sources.now)


@precondition
def credit_covers_invoice(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The client's credit limit covers the invoice and all that is outstanding already."""
    invoice = db.get(Invoice, args.invoice_id)
    outstanding = db.scalar(_OUTSTANDING, client=invoice["client_id"])
    return bool(outstanding + invoice["amount"] <= db.get(Client, invoice["client_id"])["credit_limit"])


@precondition
def invoice_is_unsettled(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The invoice is a draft or sent, neither paid in full nor void."""
    return db.get(Invoice, args.invoice_id)["status"] in ("draft", "sent")


@precondition
def nothing_paid_is_kept(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """All that was captured for the invoice has been refunded."""
    return bool(db.get(Invoice, args.invoice_id)["amount_paid"] == 0)


@precondition
def payment_is_authorised(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The payment is authorised, neither captured in full nor voided."""
    return bool(db.get(Payment, args.payment_id)["status"] == "authorised")


@precondition
def authorisation_is_fresh(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The payment was authorised at most 7 days ago."""
    return bool(sources.now - db.get(Payment, args.payment_id)["authorised_at"] <= CAPTURE_SECONDS)


@precondition
def authorisation_covers_capture(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The amount is at most what is authorised and not captured yet."""
    payment = db.get(Payment, args.payment_id)
    return bool(args.amount is None or args.amount <= payment["amount"] - payment["captured"])


@precondition
def payment_is_refundable(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Some money of the payment is captured and not refunded yet."""
    payment = db.get(Payment, args.payment_id)
    return bool(payment["captured"] > payment["refunded"])


@precondition
def refund_fits_capture(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The refund is at most what is captured and not refunded yet."""
    payment = db.get(Payment, args.payment_id)
    return bool(args.amount <= payment["captured"] - payment["refunded"])


@precondition
def refund_is_in_time(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The payment was authorised at most 90 days ago."""
    return bool(sources.now - db.get(Payment, args.payment_id)["authorised_at"] <= REFUND_SECONDS)


@precondition
def balance_covers_refund(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The merchant's balance covers the refund; captures raise it."""
    return bool(args.amount <= _merchant(db)["balance"])


@precondition
def delivery_has_failed(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The delivery has failed, and is neither delivered nor abandoned."""
    return bool(db.get(WebhookDelivery, args.webhook_delivery_id)["status"] == "failed")


@precondition
def older_deliveries_are_done(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """No older delivery to the same endpoint is still failed; retry that one first."""
    delivery = db.get(WebhookDelivery, args.webhook_delivery_id)
    oldest = oldest_failed(db, delivery["webhook_endpoint_id"])
    return oldest is None or bool(oldest["sequence"] >= delivery["sequence"])


@precondition
def retry_is_due(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """After a second failed attempt 10 minutes pass before the next, then 20, then 40."""
    return due_at(db.get(WebhookDelivery, args.webhook_delivery_id)) <= sources.now


# -- verbs ---------------------------------------------------------------------------------------------------------


class InvoiceKeyArgs(Args):
    """Arguments that name an invoice."""

    invoice_id: Key


@verb(requires=[invoice_is_draft, due_time_is_ahead, credit_covers_invoice], returns=InvoiceView)
def send_invoice(db: Database, sources: EpisodeSources, args: InvoiceKeyArgs) -> Row:
    """Send a draft to its client. If the client has a card on file, a payment is authorised at once, to be captured."""
    invoice = db.update(Invoice, args.invoice_id, status="sent")
    if db.get(Client, invoice["client_id"])["card_on_file"]:
        db.insert(Payment, invoice_id=args.invoice_id, amount=invoice["amount"], status="authorised")
    announce(db, sources, "invoice.sent", args.invoice_id)
    return invoice


@verb(requires=[invoice_is_unsettled, nothing_paid_is_kept], returns=InvoiceView)
def void_invoice(db: Database, sources: EpisodeSources, args: InvoiceKeyArgs) -> Row:
    """Void an invoice for which no money is kept; its authorised payments are released."""
    for payment in db.rows(_AUTHORISED, invoice=args.invoice_id):
        db.update(Payment, payment["payment_id"], status="voided")
    announce(db, sources, "invoice.voided", args.invoice_id)
    return db.update(Invoice, args.invoice_id, status="void")


class CapturePaymentArgs(Args):
    """Arguments of a capture."""

    payment_id: Key
    amount: Annotated[Amount | None, Field(description="left out: all that is authorised and not captured yet")] = None


@verb(requires=[payment_is_authorised, authorisation_is_fresh, authorisation_covers_capture], returns=PaymentView)
def capture_payment(db: Database, sources: EpisodeSources, args: CapturePaymentArgs) -> Row:
    """Take authorised money, all or a part, within 7 days. Less a fee of 1.5 % it goes to the merchant's balance."""
    payment = db.get(Payment, args.payment_id)
    rest = payment["amount"] - payment["captured"]
    amount = rest if args.amount is None else args.amount
    fee = amount * FEE_PER_MILLE // 1000
    merchant = _merchant(db)
    balance, fees = merchant["balance"] + amount - fee, merchant["fees"] + fee
    db.update(Merchant, merchant["merchant_id"], balance=balance, fees=fees)
    _change_paid(db, payment["invoice_id"], amount)
    announce(db, sources, "payment.captured", args.payment_id)
    status = "captured" if amount == rest else "authorised"
    return db.update(Payment, args.payment_id, captured=payment["captured"] + amount, status=status)


def _change_paid(db: Database, invoice_id: str, change: int) -> None:
    invoice = db.get(Invoice, invoice_id)
    paid = invoice["amount_paid"] + change
    db.update(Invoice, invoice_id, amount_paid=paid, status="paid" if paid == invoice["amount"] else "sent")


class RefundPaymentArgs(Args):
    """Arguments of a refund."""

    payment_id: Key
    amount: Amount
    reason: Literal["requested", "duplicate", "fraudulent", "not_delivered"]


@verb(
    requires=[payment_is_refundable, refund_fits_capture, refund_is_in_time, balance_covers_refund],
    returns=view(Refund),
)
def refund_payment(db: Database, sources: EpisodeSources, args: RefundPaymentArgs) -> Row:
    """Give captured money back, all or a part, within 90 days. It comes out of the merchant's balance, the fee
    stays with the provider, and the invoice is open again.
    """
    payment = db.get(Payment, args.payment_id)
    merchant = _merchant(db)
    db.update(Merchant, merchant["merchant_id"], balance=merchant["balance"] - args.amount)
    db.update(Payment, args.payment_id, refunded=payment["refunded"] + args.amount)
    _change_paid(db, payment["invoice_id"], -args.amount)
    refund = db.insert(Refund, payment_id=args.payment_id, amount=args.amount, reason=args.reason)
    announce(db, sources, "refund.created", refund["refund_id"])
    return refund


class DeliveryKeyArgs(Args):
    """Arguments that name a delivery."""

    webhook_delivery_id: Key


@verb(requires=[delivery_has_failed, older_deliveries_are_done, retry_is_due], returns=view(WebhookDelivery))
def retry_webhook_delivery(db: Database, sources: EpisodeSources, args: DeliveryKeyArgs) -> Row:
    """Try a failed delivery again, the oldest of its endpoint first. It fails again while the endpoint is down; after
    the fifth failure it is abandoned.
    """
    return attempt(db, sources, db.get(WebhookDelivery, args.webhook_delivery_id))


# -- queries -------------------------------------------------------------------------------------------------------


class ClientAccount(Output):
    """What one client owes."""

    client_id: str
    name: str
    email: str
    card_on_file: bool
    credit_limit: int
    outstanding: int


class Receivables(Output):
    """The merchant's balance and what every client owes."""

    merchant: str
    currency: str
    balance: int
    fees: int
    outstanding: int
    clients: list[ClientAccount]


_SENT = select(Invoice.client_id, (Invoice.amount - Invoice.amount_paid).label("open")).where(Invoice.status == "sent")
_OPEN = _SENT.subquery()
_ACCOUNTS = Query(
    select(
        Client.client_id, Client.name, Client.email, Client.card_on_file, Client.credit_limit,
        func.coalesce(func.sum(_OPEN.c.open), 0).label("outstanding"),
    )
    .join_from(Client, _OPEN, _OPEN.c.client_id == Client.client_id, isouter=True)
    .group_by(Client.client_id)
    .order_by(Client.name, Client.client_id)
)  # fmt: skip


@query(returns=Receivables)
def summarize_receivables(db: Database, sources: EpisodeSources, args: NoArgs) -> Row:
    """The merchant's balance and fees, and every client with credit limit and what is outstanding, in minor units."""
    merchant = _merchant(db)
    clients = [{**row, "card_on_file": bool(row["card_on_file"])} for row in db.rows(_ACCOUNTS)]
    return {
        "merchant": merchant["name"],
        **{name: merchant[name] for name in ("currency", "balance", "fees")},
        "outstanding": sum(row["outstanding"] for row in clients),
        "clients": clients,
    }


VERBS = [send_invoice, void_invoice, capture_payment, refund_payment, retry_webhook_delivery]
QUERIES = [summarize_receivables]
