"""The budget adds up: what is spent leaves an envelope, what is moved arrives, and closed months stay as they are."""

from __future__ import annotations

from typing import Any

import pytest

from palaestra.mcp_servers.budget import SERVER
from palaestra.mcp_servers.budget.models import BudgetMonth, Envelope, Expense
from palaestra.mcp_servers.budget.tools import following
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.sources import stream
from palaestra.mcp_servers.framework.values import to_iso


@pytest.fixture
def budget() -> Episode:
    return EpisodeStore([SERVER]).open(seed=11)[1]


def rows(budget: Episode, model: Any) -> list[dict[str, Any]]:
    return budget.state("budget").database.every(model)


def spent(budget: Episode) -> dict[tuple[str, str], int]:
    """What was spent by (month, envelope)."""
    found: dict[tuple[str, str], int] = {}
    for row in rows(budget, Expense):
        if row["status"] == "recorded":
            key = (row["budget_month_id"], row["envelope_id"])
            found[key] = found.get(key, 0) + row["amount"]
    return found


def play(budget: Episode, calls: int) -> int:
    """Random expenses, undos, transfers and closings over some months; how many were refused."""
    rng = stream(5, "spending")
    envelopes = [row["envelope_id"] for row in rows(budget, Envelope)]
    refused = 0
    for _ in range(calls):
        one, other = (str(rng.choice(envelopes)) for _ in range(2))
        amount = int(rng.integers(1, 12_000))
        day = to_iso(budget.state("budget").sources.now - int(rng.integers(30)) * 86_400)[:10]
        expense = {"envelope_id": one, "amount": amount, "payee": "Play", "spent_on": day}
        move = {"source_envelope_id": one, "target_envelope_id": other, "amount": amount}
        month = max(rows(budget, BudgetMonth), key=lambda row: str(row["month"]))["budget_month_id"]
        if rng.random() < 0.2:
            cover_what_is_overdrawn(budget)
        tool, arguments = (
            ("record_expense", expense), ("record_expense", expense), ("undo_last_expense", {"envelope_id": one}),
            ("transfer_envelope_money", move), ("transfer_envelope_money", move),
            ("close_budget_month", {"budget_month_id": month}),
        )[int(rng.integers(6))]  # fmt: skip
        refused += dispatch(budget, tool, arguments).is_error
        budget.advance_clock(7_200)
    return refused


def cover_what_is_overdrawn(budget: Episode) -> None:
    envelopes = rows(budget, Envelope)
    richest = max(envelopes, key=lambda row: int(row["balance"]))["envelope_id"]
    for row in envelopes:
        move = {"source_envelope_id": richest, "target_envelope_id": row["envelope_id"]}
        if row["balance"] < 0:
            dispatch(budget, "transfer_envelope_money", {**move, "amount": -row["balance"]})


def test_balances_change_by_income_and_expenses_only(budget: Episode) -> None:
    total = sum(row["balance"] for row in rows(budget, Envelope))
    known, before = {row["budget_month_id"] for row in rows(budget, BudgetMonth)}, sum(spent(budget).values())
    assert 0 < play(budget, 400) < 400
    income = [row["income"] for row in rows(budget, BudgetMonth) if row["budget_month_id"] not in known]
    assert income
    balance = sum(row["balance"] for row in rows(budget, Envelope))
    assert balance - total == sum(income) - (sum(spent(budget).values()) - before)


def test_limits_hold_and_a_months_spending_is_the_sum_of_its_expenses(budget: Episode) -> None:
    play(budget, 400)
    found = spent(budget)
    limits = {row["envelope_id"]: row["monthly_limit"] for row in rows(budget, Envelope)}
    assert all(amount <= limits[envelope] for (_, envelope), amount in found.items())
    for month in rows(budget, BudgetMonth):
        key = month["budget_month_id"]
        assert month["spent"] == sum(amount for (of, _), amount in found.items() if of == key)
        days = {row["spent_on"][:7] for row in rows(budget, Expense) if row["budget_month_id"] == key}
        assert days <= {month["month"]}


def test_closed_months_stay_as_they_are(budget: Episode) -> None:
    closed = [row for row in rows(budget, BudgetMonth) if row["status"] == "closed"]
    play(budget, 400)
    after = {row["budget_month_id"]: row for row in rows(budget, BudgetMonth)}
    assert [after[row["budget_month_id"]] for row in closed] == closed
    months = sorted(str(row["month"]) for row in after.values())
    assert [following(month) for month in months[:-1]] == months[1:]
    assert [row["month"] for row in after.values() if row["status"] == "open"] == months[-1:]


def test_the_world_holds_its_stories(budget: Episode) -> None:
    envelopes, expenses = rows(budget, Envelope), rows(budget, Expense)
    assert [row["kind"] for row in envelopes if row["balance"] < 0] == ["needs"]
    assert sum(row["receives_income"] for row in envelopes) == 1
    latest = max(expenses, key=lambda row: int(row["sequence"]))
    assert latest["recorded_at"] == max(row["recorded_at"] for row in expenses)
    assert any("Ignore the above" in row["note"] for row in expenses)
