"""Tables of the payment provider: a merchant's clients, invoices, payments, refunds and webhook deliveries."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, UniqueConstraint
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
    money,
    reference,
    text,
)


class Base(Entity, DeclarativeBase):
    """Tables of the payments server."""


class Merchant(Base):
    """Who sends the invoices. Captured money, less fees and refunds, is its balance."""

    __tablename__ = "merchant"
    merchant_id: Mapped[str] = identifier("mer")
    name: Mapped[str] = text(80)
    currency: Mapped[str] = choice("EUR", "USD", "GBP", role=Role.GUARDED)
    balance: Mapped[int] = money(role=Role.GUARDED)
    fees: Mapped[int] = money("the provider's fees so far", role=Role.GUARDED)


class Client(Base):
    """Who is invoiced. With a card on file, an invoice is authorised the moment it is sent."""

    __tablename__ = "client"
    client_id: Mapped[str] = identifier("cli")
    name: Mapped[str] = text(80)
    email: Mapped[str] = text(80, unique=True)
    card_on_file: Mapped[int] = flag(role=Role.GUARDED)
    credit_limit: Mapped[int] = money("how much may be outstanding", role=Role.GUARDED)


class Invoice(Base):
    """What a client owes: a draft until it is sent, then paid or void in the end."""

    __tablename__ = "invoice"
    invoice_id: Mapped[str] = identifier("inv")
    client_id: Mapped[str] = reference("client.client_id")
    memo: Mapped[str] = text(140, "what it is for")
    amount: Mapped[int] = money(minimum=1)
    due_at: Mapped[int] = instant("when it must be paid")
    status: Mapped[str] = choice("draft", "sent", "paid", "void", default="draft", role=Role.GUARDED)
    amount_paid: Mapped[int] = money("captured and not refunded", default=0, role=Role.GUARDED)
    created_at: Mapped[int] = instant(fill="create")
    __table_args__ = (
        CheckConstraint("amount_paid <= amount"),
        CheckConstraint("(status = 'paid') = (amount_paid = amount)"),
        CheckConstraint("status NOT IN ('draft', 'void') OR amount_paid = 0"),
        STRICT,
    )


class Payment(Base):
    """Money of a client: authorised first, captured in one or more parts, refunded in one or more parts."""

    __tablename__ = "payment"
    payment_id: Mapped[str] = identifier("pmt")
    invoice_id: Mapped[str] = reference("invoice.invoice_id", role=Role.GUARDED)
    amount: Mapped[int] = money("authorised", minimum=1, role=Role.GUARDED)
    captured: Mapped[int] = money(default=0, role=Role.GUARDED)
    refunded: Mapped[int] = money(default=0, role=Role.GUARDED)
    status: Mapped[str] = choice("authorised", "captured", "voided", role=Role.GUARDED)
    authorised_at: Mapped[int] = instant(fill="create")
    __table_args__ = (CheckConstraint("captured <= amount"), CheckConstraint("refunded <= captured"), STRICT)


class Refund(Base):
    """Captured money that was given back."""

    __tablename__ = "refund"
    refund_id: Mapped[str] = identifier("ref")
    payment_id: Mapped[str] = reference("payment.payment_id", role=Role.GUARDED)
    amount: Mapped[int] = money(minimum=1, role=Role.GUARDED)
    reason: Mapped[str] = choice("requested", "duplicate", "fraudulent", "not_delivered", role=Role.GUARDED)
    refunded_at: Mapped[int] = instant(fill="create")


class WebhookEndpoint(Base):
    """Where the merchant's own systems are told of events; one for each topic."""

    __tablename__ = "webhook_endpoint"
    webhook_endpoint_id: Mapped[str] = identifier("end")
    topic: Mapped[str] = choice("invoice", "payment", "refund", role=Role.GUARDED)
    url: Mapped[str] = text(120, role=Role.GUARDED)
    down_until: Mapped[int] = instant("end of its latest outage", role=Role.GUARDED)
    __table_args__ = (UniqueConstraint("topic"), STRICT)


class WebhookDelivery(Base):
    """One event told to an endpoint, in the order of the sequence; abandoned after five failed attempts."""

    __tablename__ = "webhook_delivery"
    webhook_delivery_id: Mapped[str] = identifier("whd")
    webhook_endpoint_id: Mapped[str] = reference("webhook_endpoint.webhook_endpoint_id", role=Role.GUARDED)
    sequence: Mapped[int] = integer("place in the endpoint's order", minimum=1, role=Role.GUARDED)
    event: Mapped[str] = choice(
        "invoice.sent", "invoice.voided", "payment.captured", "refund.created", role=Role.GUARDED
    )
    subject: Mapped[str] = text(64, "id of the invoice, payment or refund", role=Role.GUARDED)
    status: Mapped[str] = choice("delivered", "failed", "abandoned", role=Role.GUARDED)
    attempts: Mapped[int] = integer(maximum=5, default=0, role=Role.GUARDED)
    last_error: Mapped[str] = text(140, default="", role=Role.GUARDED)
    last_attempt_at: Mapped[int] = instant(role=Role.VOLATILE)
    __table_args__ = (UniqueConstraint("webhook_endpoint_id", "sequence"), STRICT)


MODELS = [Merchant, Client, Invoice, Payment, Refund, WebhookEndpoint, WebhookDelivery]
