"""Tables of the bank: one customer's accounts, cards, payees, transfers and bills."""

from __future__ import annotations

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
    money,
    reference,
    text,
)


class Base(Entity, DeclarativeBase):
    """Tables of the banking server."""


class Customer(Base):
    """The holder of accounts. The passphrase proves identity and is known to the customer only."""

    __tablename__ = "customer"
    customer_id: Mapped[str] = identifier("cus")
    name: Mapped[str] = text(80)
    passphrase: Mapped[str] = text(40, role=Role.GUARDED, sensitive=True)
    verified: Mapped[int] = flag("identity verified in this session", role=Role.GUARDED)


class Account(Base):
    """A checking or savings account. The balance may go below zero down to the overdraft."""

    __tablename__ = "account"
    account_id: Mapped[str] = identifier("acc")
    customer_id: Mapped[str] = reference("customer.customer_id", role=Role.GUARDED)
    label: Mapped[str] = text(60)
    kind: Mapped[str] = choice("checking", "savings")
    currency: Mapped[str] = choice("EUR", "USD", "GBP", role=Role.GUARDED)
    balance: Mapped[int] = integer("balance", minimum=-(10**12), maximum=10**12, unit="minor units", role=Role.GUARDED)
    overdraft: Mapped[int] = money("how far the balance may go below zero", role=Role.GUARDED)
    status: Mapped[str] = choice("active", "locked", "closed", role=Role.GUARDED)


class Payee(Base):
    """Someone money can be sent to. A new one is unconfirmed until the customer's identity is verified."""

    __tablename__ = "payee"
    payee_id: Mapped[str] = identifier("pay")
    name: Mapped[str] = text(80)
    iban: Mapped[str] = text(
        34, "account number", pattern=r"^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$", unique=True, sensitive=True
    )
    category: Mapped[str] = choice(
        "person", "housing", "utilities", "groceries", "insurance", "leisure", default="person"
    )
    status: Mapped[str] = choice("active", "unconfirmed", "blocked", default="unconfirmed", role=Role.GUARDED)


class Transfer(Base):
    """Money sent, or to be sent, from an account to a payee."""

    __tablename__ = "transfer"
    transfer_id: Mapped[str] = identifier("tra")
    account_id: Mapped[str] = reference("account.account_id")
    payee_id: Mapped[str] = reference("payee.payee_id")
    amount: Mapped[int] = money(minimum=1)
    purpose: Mapped[str] = text(140, default="")
    status: Mapped[str] = choice("completed", "scheduled", "cancelled", "disputed", role=Role.GUARDED)
    due_at: Mapped[int] = instant("when it will be carried out; the day it was booked on once it is")
    created_at: Mapped[int] = instant(fill="create")


class Card(Base):
    """A debit card of an account."""

    __tablename__ = "card"
    card_id: Mapped[str] = identifier("crd")
    account_id: Mapped[str] = reference("account.account_id", role=Role.GUARDED)
    holder: Mapped[str] = text(80)
    number: Mapped[str] = text(19, role=Role.GUARDED, sensitive=True, unique=True)
    status: Mapped[str] = choice("active", "frozen", "expired", role=Role.GUARDED)
    frozen_reason: Mapped[str] = text(140, default="", role=Role.GUARDED)


class Bill(Base):
    """What a payee asks for; paid at most once."""

    __tablename__ = "bill"
    bill_id: Mapped[str] = identifier("bil")
    payee_id: Mapped[str] = reference("payee.payee_id", role=Role.GUARDED)
    number: Mapped[str] = text(30, "the biller's own number", role=Role.GUARDED)
    amount: Mapped[int] = money(minimum=1, role=Role.GUARDED)
    due_at: Mapped[int] = instant(role=Role.GUARDED)
    status: Mapped[str] = choice("open", "paid", role=Role.GUARDED)
    transfer_id: Mapped[str | None] = reference("transfer.transfer_id", role=Role.GUARDED, optional=True)
    __table_args__ = (UniqueConstraint("payee_id", "number"), STRICT)


MODELS = [Customer, Account, Payee, Transfer, Card, Bill]
