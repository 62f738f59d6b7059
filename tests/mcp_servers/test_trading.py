"""The broker keeps its books: cash and shares are exchanged with the market, never made, whatever is called."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.sources import stream
from palaestra.mcp_servers.trading import SERVER
from palaestra.mcp_servers.trading.exchange import sweep, value_of
from palaestra.mcp_servers.trading.models import (
    BookLevel,
    CashMovement,
    Portfolio,
    Position,
    Stock,
    StockOption,
    StockOrder,
)


@pytest.fixture
def broker() -> Episode:
    return EpisodeStore([SERVER]).open(seed=11)[1]


def rows(broker: Episode, model: Any) -> list[dict[str, Any]]:
    return broker.state("trading").database.every(model)


def shares(broker: Episode) -> dict[str, int]:
    """Of every stock: what portfolios hold and asks offer, less what bids want. Trading with the book keeps it."""
    found = dict.fromkeys((row["stock_id"] for row in rows(broker, Stock)), 0)
    for row in [*rows(broker, Position), *rows(broker, BookLevel)]:
        found[row["stock_id"]] += -row["quantity"] if row.get("side") == "bid" else row["quantity"]
    return found


def cash_by_its_sources(broker: Episode) -> dict[str, int]:
    """Of every portfolio: movements, orders and exercised options, whose sum explains every change of its cash."""
    found = dict.fromkeys((row["portfolio_id"] for row in rows(broker, Portfolio)), 0)
    for row in rows(broker, CashMovement):
        found[row["portfolio_id"]] += row["amount"] if row["direction"] == "deposit" else -row["amount"]
    for row in rows(broker, StockOrder):
        found[row["portfolio_id"]] += row["traded_value"] if row["side"] == "sell" else -row["traded_value"]
    for row in rows(broker, StockOption):
        sign = (1 if row["kind"] == "put" else -1) if row["status"] == "exercised" else 0
        found[row["portfolio_id"]] += sign * row["strike"] * row["shares"]
    return found


def play(broker: Episode, calls: int) -> int:
    """Random orders, amendments, cancellations, cash movements and rebalancings; how many were refused."""
    rng = stream(7, "orders")
    portfolios, stocks = ([row[key] for row in rows(broker, model)]
                          for model, key in ((Portfolio, "portfolio_id"), (Stock, "stock_id")))  # fmt: skip
    prices = {row["stock_id"]: row["last_price"] for row in rows(broker, Stock)}
    refused = 0
    for _ in range(calls):
        stock, portfolio = str(rng.choice(stocks)), str(rng.choice(portfolios))
        orders = sorted(rows(broker, StockOrder), key=lambda row: (row["status"] != "open", row["stock_order_id"]))
        order = str(rng.choice([row["stock_order_id"] for row in orders[:12]]))
        limit, quantity = int(prices[stock] * rng.uniform(0.9, 1.1)), int(rng.integers(1, 90))
        side = str(rng.choice(["buy", "sell"]))
        new: dict[str, Any] = {"portfolio_id": portfolio, "stock_id": stock, "side": side, "quantity": quantity}
        cash = {"portfolio_id": portfolio, "amount": limit * 10}
        tool, arguments = (
            ("place_stock_order", new), ("place_stock_order", {**new, "limit_price": limit}),
            ("place_stock_order", {**new, "limit_price": limit}), ("cancel_stock_order", {"stock_order_id": order}),
            ("amend_stock_order", {"stock_order_id": order, "quantity": quantity, "limit_price": limit}),
            ("deposit_portfolio_cash", cash), ("withdraw_portfolio_cash", cash),
            ("rebalance_portfolio", {"portfolio_id": portfolio}),
        )[int(rng.integers(8))]  # fmt: skip
        refused += dispatch(broker, tool, arguments).is_error
    return refused


def test_cash_and_shares_are_exchanged_and_never_made(broker: Episode) -> None:
    market, sources = shares(broker), cash_by_its_sources(broker)
    cash = {row["portfolio_id"]: row["cash"] for row in rows(broker, Portfolio)}
    assert 0 < play(broker, 300) < 300
    assert shares(broker) == market
    explained = cash_by_its_sources(broker)
    for row in rows(broker, Portfolio):
        key = row["portfolio_id"]
        assert row["cash"] - cash[key] == explained[key] - sources[key]


def test_reservations_are_exactly_those_of_the_open_orders(broker: Episode) -> None:
    play(broker, 200)
    expected: dict[tuple[str, str], int] = {}
    for order in rows(broker, StockOrder):
        if order["status"] == "open":
            key = (order["portfolio_id"], order["stock_id"] if order["side"] == "sell" else "cash")
            price = 1 if order["side"] == "sell" else order["limit_price"]
            expected[key] = expected.get(key, 0) + (order["quantity"] - order["filled"]) * price
    held = {(row["portfolio_id"], row["stock_id"]): row["reserved"] for row in rows(broker, Position)}
    held |= {(row["portfolio_id"], "cash"): row["reserved_cash"] for row in rows(broker, Portfolio)}
    assert {key: reserved for key, reserved in held.items() if reserved} == expected


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), unique_by=lambda level: level[0], max_size=6),
    st.integers(1, 200), st.none() | st.integers(1, 60), st.none() | st.integers(0, 3_000),
)  # fmt: skip
def test_a_sweep_takes_the_cheapest_shares_one_by_one(
    asks: list[tuple[int, int]], quantity: int, limit: int | None, budget: int | None
) -> None:
    book = [{"price": price, "quantity": offered} for price, offered in sorted(asks)]
    taken = sweep(book, "buy", quantity, limit, budget)
    expected, left = [], budget
    for price in [level["price"] for level in book for _ in range(level["quantity"])][:quantity]:
        if (limit is not None and price > limit) or (left is not None and price > left):
            break
        expected.append(price)
        left = None if left is None else left - price
    assert [level["price"] for level, count in taken for _ in range(count)] == expected
    assert value_of(taken) == sum(expected)


def test_the_world_holds_its_stories(broker: Episode) -> None:
    stocks = {row["stock_id"]: row for row in rows(broker, Stock)}
    bids = {row["stock_id"] for row in rows(broker, BookLevel) if row["side"] == "bid"}
    assert len(stocks) - len(bids) == 1
    assert [row["status"] for row in stocks.values()].count("halted") == 1
    assert sum(row["status"] == "open" for row in rows(broker, StockOrder)) == 3
    assert any("SYSTEM" in row["note"] for row in rows(broker, StockOrder))
