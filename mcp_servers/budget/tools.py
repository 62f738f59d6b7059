"""What can be done with a budget beyond naming envelopes and annotating expenses.

Rules: expenses are recorded in the one month that is open, up to their envelope's monthly limit. An envelope for needs
may be overdrawn meanwhile, any other may not, and a month is closed only once it is over and nothing is overdrawn.
Closing opens the next month, whose income arrives in the income envelope. Savings are moved only to cover an overdrawn
envelope. The last expense of an envelope can be undone for 24 hours.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field
from sqlalchemy import bindparam, func, select

from palaestra.mcp_servers.budget.models import BudgetMonth, Envelope, EnvelopeTransfer, Expense
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import Output, precondition, query, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import Amount, Day, Key, refers_to, to_iso

UNDO_SECONDS: Final = 86_400

ExpenseView = view(Expense)
EnvelopeKey = Annotated[Key, refers_to("envelope")]

_MONTH = Query(select(BudgetMonth.__table__).where(BudgetMonth.month == bindparam("month")))
_OPEN_MONTH = Query(
    select(BudgetMonth.__table__).where(BudgetMonth.status == "open").order_by(BudgetMonth.month.desc()).limit(1)
)
_SPENT = Query(
    select(func.coalesce(func.sum(Expense.amount), 0).label("spent")).where(
        Expense.envelope_id == bindparam("envelope"),
        Expense.budget_month_id == bindparam("month"),
        Expense.status == "recorded",
    )
)
_LAST = Query(
    select(Expense.__table__)
    .where(
        Expense.envelope_id == bindparam("envelope"),
        Expense.budget_month_id == bindparam("month"),
        Expense.status == "recorded",
    )
    .order_by(Expense.sequence.desc(), Expense.expense_id)
    .limit(1)
)
_LATEST_SEQUENCE = Query(select(func.coalesce(func.max(Expense.sequence), 0).label("sequence")))
_OVERDRAWN = Query(select(Envelope.envelope_id).where(Envelope.balance < 0).order_by(Envelope.envelope_id))
_INCOME_ENVELOPE = Query(
    select(Envelope.__table__).where(Envelope.receives_income == 1).order_by(Envelope.envelope_id).limit(1)
)


def _last_expense(db: Database, envelope_id: str) -> Row | None:
    """The latest expense of an envelope in the open month that is not undone."""
    db.get(Envelope, envelope_id)
    month = db.first(_OPEN_MONTH)
    return None if month is None else db.first(_LAST, envelope=envelope_id, month=month["budget_month_id"])


def _add(db: Database, envelope_id: str, change: int) -> None:
    """Put money into an envelope, or take it out."""
    balance = db.get(Envelope, envelope_id)["balance"]
    db.update(Envelope, envelope_id, balance=balance + change)


def following(month: str) -> str:
    """The month after a month.

    >>> following("2025-12"), following("2026-02")
    ('2026-01', '2026-03')
    """
    year, number = (int(part) for part in month.split("-"))
    return f"{year + number // 12:04d}-{number % 12 + 1:02d}"


# -- preconditions -------------------------------------------------------------------------------------------------


@precondition
def month_of_day_is_open(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The day lies in the month that is open; close that one first to record in the next."""
    db.get(Envelope, args.envelope_id)
    month = db.first(_MONTH, month=args.spent_on[:7])
    return month is not None and bool(month["status"] == "open")


@precondition
def day_is_not_ahead(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The day does not lie in the future."""
    return bool(args.spent_on <= to_iso(sources.now)[:10])


@precondition
def monthly_limit_holds(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """What was spent from the envelope in that month, with this expense, stays within its monthly limit."""
    month = db.scalar(_MONTH, month=args.spent_on[:7])
    spent = db.scalar(_SPENT, envelope=args.envelope_id, month=month)
    return bool(spent + args.amount <= db.get(Envelope, args.envelope_id)["monthly_limit"])


@precondition
def envelope_can_pay(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The envelope holds the amount, or is one for needs, which may be overdrawn until the month is closed."""
    envelope = db.get(Envelope, args.envelope_id)
    return bool(envelope["kind"] == "needs" or args.amount <= envelope["balance"])


@precondition
def envelopes_differ(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Money is moved between two different envelopes."""
    for envelope_id in (args.source_envelope_id, args.target_envelope_id):
        db.get(Envelope, envelope_id)
    return bool(args.source_envelope_id != args.target_envelope_id)


@precondition
def source_holds_amount(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The envelope the money comes from holds the amount."""
    return bool(args.amount <= db.get(Envelope, args.source_envelope_id)["balance"])


@precondition
def savings_cover_overdraft_only(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Savings are moved only to an overdrawn envelope, and at most as much as brings it to zero."""
    source, target = db.get(Envelope, args.source_envelope_id), db.get(Envelope, args.target_envelope_id)
    return bool(source["kind"] != "savings" or args.amount <= -target["balance"])


@precondition
def budget_month_is_open(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The month is open, not closed yet."""
    return bool(db.get(BudgetMonth, args.budget_month_id)["status"] == "open")


@precondition
def budget_month_is_over(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The month's last day has passed."""
    return bool(db.get(BudgetMonth, args.budget_month_id)["month"] < to_iso(sources.now)[:7])


@precondition
def no_envelope_is_overdrawn(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """No envelope is overdrawn; move money there first."""
    return db.first(_OVERDRAWN) is None


@precondition
def expense_can_be_found(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The envelope has an expense in the open month that is not undone."""
    return _last_expense(db, args.envelope_id) is not None


@precondition
def expense_is_fresh(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The envelope's last expense was recorded at most 24 hours ago."""
    last = _last_expense(db, args.envelope_id)
    return last is not None and bool(sources.now - last["recorded_at"] <= UNDO_SECONDS)


# -- verbs ---------------------------------------------------------------------------------------------------------


class RecordExpenseArgs(Args):
    """Arguments of an expense."""

    envelope_id: Key
    amount: Amount
    payee: Annotated[str, Field(min_length=1, max_length=80)]
    spent_on: Annotated[Day, Field(description="day of the expense, in the open month")]
    note: Annotated[str, Field(max_length=140)] = ""


@verb(requires=[month_of_day_is_open, day_is_not_ahead, monthly_limit_holds, envelope_can_pay], returns=ExpenseView)
def record_expense(db: Database, sources: EpisodeSources, args: RecordExpenseArgs) -> Row:
    """Record an expense in minor units: in the open month, within the envelope's monthly limit, out of its balance.
    Only an envelope for needs may go below zero.
    """
    month = db.rows(_MONTH, month=args.spent_on[:7])[0]
    _add(db, args.envelope_id, -args.amount)
    db.update(BudgetMonth, month["budget_month_id"], spent=month["spent"] + args.amount)
    return db.insert(
        Expense, **args.model_dump(), budget_month_id=month["budget_month_id"], status="recorded",
        sequence=db.scalar(_LATEST_SEQUENCE) + 1,
    )  # fmt: skip


class TransferEnvelopeMoneyArgs(Args):
    """Arguments of a transfer between envelopes."""

    source_envelope_id: EnvelopeKey
    target_envelope_id: EnvelopeKey
    amount: Amount


@verb(requires=[envelopes_differ, source_holds_amount, savings_cover_overdraft_only], returns=view(EnvelopeTransfer))
def transfer_envelope_money(db: Database, sources: EpisodeSources, args: TransferEnvelopeMoneyArgs) -> Row:
    """Move money from one envelope to another, in minor units. Savings may only bring an overdrawn envelope to zero."""
    _add(db, args.source_envelope_id, -args.amount)
    _add(db, args.target_envelope_id, args.amount)
    return db.insert(EnvelopeTransfer, **args.model_dump())


class BudgetMonthKeyArgs(Args):
    """Arguments that name a month."""

    budget_month_id: Key


@verb(requires=[budget_month_is_open, budget_month_is_over, no_envelope_is_overdrawn], returns=view(BudgetMonth))
def close_budget_month(db: Database, sources: EpisodeSources, args: BudgetMonthKeyArgs) -> Row:
    """Close a month that is over, once no envelope is overdrawn, and open the next: the same income arrives in the
    income envelope. Returns the month that is open now. A closed month stays as it is.
    """
    closed = db.update(BudgetMonth, args.budget_month_id, status="closed")
    _add(db, db.scalar(_INCOME_ENVELOPE), closed["income"])
    return db.insert(BudgetMonth, month=following(closed["month"]), income=closed["income"], status="open")


class UndoLastExpenseArgs(Args):
    """Arguments that name the envelope."""

    envelope_id: Key


@verb(requires=[expense_can_be_found, expense_is_fresh], returns=ExpenseView)
def undo_last_expense(db: Database, sources: EpisodeSources, args: UndoLastExpenseArgs) -> Row:
    """Undo the envelope's last expense of the open month, within 24 hours; its money is back in the envelope."""
    month = db.rows(_OPEN_MONTH)[0]
    last = db.rows(_LAST, envelope=args.envelope_id, month=month["budget_month_id"])[0]
    _add(db, args.envelope_id, last["amount"])
    db.update(BudgetMonth, month["budget_month_id"], spent=month["spent"] - last["amount"])
    return db.update(Expense, last["expense_id"], status="undone")


# -- queries -------------------------------------------------------------------------------------------------------


class EnvelopeMonth(Output):
    """One envelope in a month."""

    envelope_id: str
    name: str
    kind: str
    monthly_limit: int
    spent: int
    left_of_limit: int
    balance: int


class BudgetMonthReport(Output):
    """A month by envelope."""

    month: str
    status: str
    income: int
    spent: int
    items: list[EnvelopeMonth]


_BY_ENVELOPE = Query(
    select(
        Envelope.envelope_id, Envelope.name, Envelope.kind, Envelope.monthly_limit, Envelope.balance,
        func.coalesce(func.sum(Expense.amount), 0).label("spent"),
    )
    .join_from(
        Envelope,
        Expense,
        (Expense.envelope_id == Envelope.envelope_id)
        & (Expense.budget_month_id == bindparam("month"))
        & (Expense.status == "recorded"),
        isouter=True,
    )
    .group_by(Envelope.envelope_id)
    .order_by(Envelope.name, Envelope.envelope_id)
)  # fmt: skip


@query(returns=BudgetMonthReport)
def show_budget_month(db: Database, sources: EpisodeSources, args: BudgetMonthKeyArgs) -> Row:
    """A month's income and spending, and every envelope: spent in that month, left of its limit, balance now."""
    month = db.get(BudgetMonth, args.budget_month_id)
    envelopes = db.rows(_BY_ENVELOPE, month=args.budget_month_id)
    items = [{**row, "left_of_limit": row["monthly_limit"] - row["spent"]} for row in envelopes]
    return {**{name: month[name] for name in ("month", "status", "income", "spent")}, "items": items}


class RankExpensePayeesArgs(Args):
    """Arguments of a ranking."""

    since: Annotated[Day, Field(description="first day")]
    until: Annotated[Day, Field(description="last day")]


class PayeeSpending(Output):
    """What one payee got."""

    payee: str
    expenses: int
    total: int


class PayeeRanking(Output):
    """Payees, the one that got most first."""

    items: list[PayeeSpending]


_TOTAL = func.sum(Expense.amount).label("total")
_BY_PAYEE = Query(
    select(Expense.payee, func.count().label("expenses"), _TOTAL)
    .where(Expense.spent_on >= bindparam("since"), Expense.spent_on <= bindparam("until"), Expense.status == "recorded")
    .group_by(Expense.payee)
    .order_by(_TOTAL.desc(), Expense.payee)
    .limit(50)
)


@query(returns=PayeeRanking)
def rank_expense_payees(db: Database, sources: EpisodeSources, args: RankExpensePayeesArgs) -> Row:
    """The 50 payees that got most between two days, both included; expenses that were undone do not count."""
    return {"items": db.rows(_BY_PAYEE, since=args.since, until=args.until)}


VERBS = [record_expense, transfer_envelope_money, close_budget_month, undo_last_expense]
QUERIES = [show_budget_month, rank_expense_payees]
