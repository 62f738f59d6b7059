"""Scenes with the budget that use every tool and meet every rule, and tasks that go in one order only."""

from __future__ import annotations

from typing import Any

from palaestra.mcp_servers.framework.stories import Teller

FEBRUARY = "2026-02-27"
MARCH = "2026-03-01"
DAY = 86_400


def _open_month(tell: Teller) -> str:
    (month,) = tell.items("list_budget_months", status="open")
    return str(month["budget_month_id"])


def _envelope(tell: Teller, kind: str, least: int, most: int = 10**12) -> dict[str, Any]:
    """An envelope of a kind whose balance lies between two amounts; the income envelope is none of them."""
    found = tell.items("list_envelopes", kind=kind, receives_income=False)
    return next(envelope for envelope in found if least <= envelope["balance"] <= most)


def _income(tell: Teller) -> dict[str, Any]:
    (found,) = tell.items("list_envelopes", receives_income=True)
    return found


def _food(tell: Teller) -> dict[str, Any]:
    """The overdrawn envelope."""
    return _envelope(tell, "needs", -(10**9), -1)


def _mistaken(tell: Teller) -> dict[str, Any]:
    """The expense recorded last."""
    found = tell.items("list_expenses", budget_month_id=_open_month(tell))
    return max(found, key=lambda expense: int(expense["sequence"]))


def _move(source: dict[str, Any], target: dict[str, Any], amount: int) -> dict[str, Any]:
    return {
        "source_envelope_id": source["envelope_id"],
        "target_envelope_id": target["envelope_id"],
        "amount": amount,
    }


def spend_within_limits(tell: Teller) -> None:
    """Limits and empty envelopes are met; an empty one is filled first."""
    month = _open_month(tell)
    report = {row["envelope_id"]: row for row in tell.items("show_budget_month", budget_month_id=month)}
    nearly = next(row for row in report.values() if 0 < row["left_of_limit"] <= min(3_000, row["balance"]))
    dinner = {"payee": "Taverna Ηλιος", "spent_on": FEBRUARY}
    over = {"envelope_id": nearly["envelope_id"], "amount": nearly["left_of_limit"] + 1}
    tell.refused("monthly_limit_holds", "record_expense", **dinner, **over)
    tell.call("record_expense", **dinner, **{**over, "amount": nearly["left_of_limit"]}, note="to the last cent")
    empty = _envelope(tell, "wants", 0, 0)
    strings = {"envelope_id": empty["envelope_id"], "payee": "Guitar Shop", "amount": 1_200}
    tell.refused("envelope_can_pay", "record_expense", **strings, spent_on=FEBRUARY)
    tell.refused("month_of_day_is_open", "record_expense", **strings, spent_on=MARCH)
    tell.call("transfer_envelope_money", **_move(_income(tell), empty, 2_000))
    bought = tell.call("record_expense", **strings, spent_on=FEBRUARY)
    tell.call("update_expense", expense_id=bought["expense_id"], note="strings, nickel")
    tell.refused("invalid_arguments", "update_expense", expense_id=bought["expense_id"], amount=1)
    (found,) = tell.items("search_expenses", text="NICKEL")
    assert found["expense_id"] == bought["expense_id"]  # noqa: S101 - a story holds its server to its rules
    ranked = tell.items("rank_expense_payees", since=FEBRUARY, until=FEBRUARY)
    assert {"payee": "Guitar Shop", "expenses": 1, "total": 1_200} in ranked  # noqa: S101


def close_february(tell: Teller) -> None:
    """What is overdrawn is covered, February is closed, and March opens with its income."""
    food, savings, month = _food(tell), _envelope(tell, "savings", 200_000), {"budget_month_id": _open_month(tell)}
    tell.refused("no_envelope_is_overdrawn", "close_budget_month", **month)
    missing = -food["balance"]
    tell.refused("envelopes_differ", "transfer_envelope_money", **_move(savings, savings, 100))
    tell.refused("source_holds_amount", "transfer_envelope_money", **_move(food, savings, 100))
    tell.refused("savings_cover_overdraft_only", "transfer_envelope_money", **_move(savings, food, missing + 1))
    tell.refused("savings_cover_overdraft_only", "transfer_envelope_money", **_move(savings, _income(tell), 100))
    tell.call("transfer_envelope_money", **_move(savings, food, missing))
    before = _income(tell)["balance"]
    opened = tell.call("close_budget_month", **month)
    assert (opened["month"], _income(tell)["balance"] - before) == ("2026-03", opened["income"])  # noqa: S101
    tell.refused("budget_month_is_open", "close_budget_month", **month)
    march = {"budget_month_id": opened["budget_month_id"]}
    tell.refused("budget_month_is_over", "close_budget_month", **march)
    bread = {"envelope_id": food["envelope_id"], "amount": 900, "payee": "Bäckerei Öztürk"}
    tell.refused("month_of_day_is_open", "record_expense", **bread, spent_on=FEBRUARY)
    tell.refused("day_is_not_ahead", "record_expense", **bread, spent_on="2026-03-30")
    tell.call("record_expense", **bread, spent_on=MARCH)
    tell.call("transfer_envelope_money", **_move(_income(tell), food, 900))
    tell.wait(31 * DAY)
    assert tell.call("close_budget_month", **march)["month"] == "2026-04"  # noqa: S101


def undo_a_mistake(tell: Teller) -> None:
    """The last expense was a mistake and is undone in time; older ones, and those of closed months, stay."""
    mistaken = _mistaken(tell)
    envelope = {"envelope_id": mistaken["envelope_id"]}
    undone = tell.call("undo_last_expense", **envelope)
    assert (undone["expense_id"], undone["status"]) == (mistaken["expense_id"], "undone")  # noqa: S101
    tell.refused("expense_can_be_found", "undo_last_expense", **envelope)
    right = {"amount": mistaken["amount"] // 10, "payee": mistaken["payee"], "spent_on": mistaken["spent_on"]}
    tell.call("record_expense", **envelope, **right)
    tell.wait(DAY + 60)
    tell.refused("expense_is_fresh", "undo_last_expense", **envelope)
    new = tell.call("create_envelope", name="Piñatas & 花火", kind="wants", monthly_limit=5_000)
    tell.refused("conflict", "create_envelope", name="Piñatas & 花火", kind="needs", monthly_limit=1)
    tell.refused("invalid_arguments", "create_envelope", name="Rich", monthly_limit=1, balance=10**6)
    tell.refused("expense_can_be_found", "undo_last_expense", envelope_id=new["envelope_id"])


STORIES = [spend_within_limits, close_february, undo_a_mistake]


# -- chains --------------------------------------------------------------------------------------------------------


def close_the_month_and_go_on(tell: Teller) -> None:
    """Cover the overdrawn envelope, close February, record the first expense of March, and undo it."""
    food, home = _food(tell), _envelope(tell, "needs", 80_000)
    tell.call("transfer_envelope_money", **_move(_income(tell), food, -food["balance"]))
    tell.call("close_budget_month", budget_month_id=_open_month(tell))
    rent = {"envelope_id": home["envelope_id"], "amount": 60_000, "payee": "Nordlicht Property", "spent_on": MARCH}
    tell.call("record_expense", **rent)
    tell.call("undo_last_expense", envelope_id=home["envelope_id"])


def try_a_new_envelope(tell: Teller) -> None:
    """Create an envelope, fill it, spend from it, think better of it, and give the money to the overdrawn one."""
    income, food = _income(tell), _food(tell)
    new = tell.call("create_envelope", name="Garden", kind="wants", monthly_limit=20_000)
    tell.call("transfer_envelope_money", **_move(income, new, 15_000))
    roses = {"envelope_id": new["envelope_id"], "amount": 12_000, "payee": "Rosenhof", "spent_on": FEBRUARY}
    tell.call("record_expense", **roses)
    tell.call("undo_last_expense", envelope_id=new["envelope_id"])
    tell.call("transfer_envelope_money", **_move(new, food, 15_000))


def correct_a_mistake(tell: Teller) -> None:
    """Undo the expense that was ten times too high, record it rightly, and note what happened."""
    mistaken = _mistaken(tell)
    tell.call("undo_last_expense", envelope_id=mistaken["envelope_id"])
    right = {"amount": 7_500, "payee": mistaken["payee"], "spent_on": mistaken["spent_on"]}
    recorded = tell.call("record_expense", envelope_id=mistaken["envelope_id"], **right)
    tell.call("update_expense", expense_id=recorded["expense_id"], note="corrected, receipt attached")


def undo_to_cover(tell: Teller) -> None:
    """Undo the mistaken expense, cover the overdrawn envelope with its money, and close February."""
    mistaken, food = _mistaken(tell), _food(tell)
    tell.call("undo_last_expense", envelope_id=mistaken["envelope_id"])
    tell.call("transfer_envelope_money", **_move(mistaken, food, -food["balance"]))
    tell.call("close_budget_month", budget_month_id=_open_month(tell))


def spend_the_new_income(tell: Teller) -> None:
    """Let savings cover what is overdrawn, close February, and share out more than there was before March's income."""
    food, savings, income = _food(tell), _envelope(tell, "savings", 200_000), _income(tell)
    tell.call("transfer_envelope_money", **_move(savings, food, -food["balance"]))
    tell.call("close_budget_month", budget_month_id=_open_month(tell))
    tell.call("transfer_envelope_money", **_move(income, savings, income["balance"] + 10_000))


def record_late_and_close(tell: Teller) -> None:
    """Record a forgotten expense, let savings cover all that is overdrawn then, and close February."""
    food, savings = _food(tell), _envelope(tell, "savings", 200_000)
    forgotten = {"envelope_id": food["envelope_id"], "amount": 2_300, "payee": "Greenmarket", "spent_on": FEBRUARY}
    tell.call("record_expense", **forgotten)
    tell.call("transfer_envelope_money", **_move(savings, food, 2_300 - food["balance"]))
    tell.call("close_budget_month", budget_month_id=_open_month(tell))


CHAINS = [
    close_the_month_and_go_on, try_a_new_envelope, correct_a_mistake, undo_to_cover, spend_the_new_income,
    record_late_and_close,
]  # fmt: skip
