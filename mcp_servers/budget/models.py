"""Tables of the budget: envelopes that hold a household's money, its months, and its expenses."""

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

DAY_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"


class Base(Entity, DeclarativeBase):
    """Tables of the budget server."""


class Envelope(Base):
    """Money set aside for one purpose. Income arrives in the income envelope and is moved on from there."""

    __tablename__ = "envelope"
    envelope_id: Mapped[str] = identifier("env")
    name: Mapped[str] = text(60, unique=True)
    kind: Mapped[str] = choice(
        "needs", "wants", "savings", default="wants", doc="needs may be overdrawn until the month is closed"
    )
    monthly_limit: Mapped[int] = money("most that may be spent from it in a month")
    balance: Mapped[int] = integer(minimum=-(10**12), maximum=10**12, unit="minor units", default=0, role=Role.GUARDED)
    receives_income: Mapped[int] = flag("income arrives here when a month opens", role=Role.GUARDED)
    __table_args__ = (CheckConstraint("kind = 'needs' OR balance >= 0"), STRICT)


class BudgetMonth(Base):
    """A month of the budget. One month is open at a time; closing it opens the next."""

    __tablename__ = "budget_month"
    budget_month_id: Mapped[str] = identifier("mon")
    month: Mapped[str] = text(7, "like 2026-02", pattern=r"^[0-9]{4}-[0-9]{2}$", unique=True, role=Role.GUARDED)
    income: Mapped[int] = money("paid into the income envelope when the month opened", role=Role.GUARDED)
    spent: Mapped[int] = money("so far, or in all once it is closed", default=0, role=Role.GUARDED)
    status: Mapped[str] = choice("open", "closed", role=Role.GUARDED)


class Expense(Base):
    """Money spent from an envelope. The sequence tells in which order expenses were recorded."""

    __tablename__ = "expense"
    expense_id: Mapped[str] = identifier("exp")
    envelope_id: Mapped[str] = reference("envelope.envelope_id", role=Role.GUARDED)
    budget_month_id: Mapped[str] = reference("budget_month.budget_month_id", role=Role.GUARDED)
    sequence: Mapped[int] = integer("place in the order of recording", minimum=1, role=Role.GUARDED)
    spent_on: Mapped[str] = text(10, "day, like 2026-02-17", pattern=DAY_PATTERN, role=Role.GUARDED)
    amount: Mapped[int] = money(minimum=1, role=Role.GUARDED)
    payee: Mapped[str] = text(80)
    note: Mapped[str] = text(140, default="")
    status: Mapped[str] = choice("recorded", "undone", role=Role.GUARDED)
    recorded_at: Mapped[int] = instant(fill="create")
    __table_args__ = (UniqueConstraint("sequence"), STRICT)


class EnvelopeTransfer(Base):
    """Money moved from one envelope to another."""

    __tablename__ = "envelope_transfer"
    envelope_transfer_id: Mapped[str] = identifier("etr")
    source_envelope_id: Mapped[str] = reference("envelope.envelope_id", role=Role.GUARDED)
    target_envelope_id: Mapped[str] = reference("envelope.envelope_id", role=Role.GUARDED)
    amount: Mapped[int] = money(minimum=1, role=Role.GUARDED)
    moved_at: Mapped[int] = instant(fill="create")
    __table_args__ = (CheckConstraint("source_envelope_id <> target_envelope_id"), STRICT)


MODELS = [Envelope, BudgetMonth, Expense, EnvelopeTransfer]
