"""Scenes at the broker that use every tool and meet every rule, and tasks that go in one order only."""

from __future__ import annotations

from typing import Any

from palaestra.mcp_servers.framework.stories import Teller

NOW = "2026-03-02T09:00:00Z"
DAY = 86_400


def _portfolio(tell: Teller, name: str) -> str:
    found = next(row for row in tell.items("list_portfolios") if row["name"] == name)
    return str(found["portfolio_id"])


def _shown(tell: Teller, name: str) -> dict[str, Any]:
    return tell.call("show_portfolio", portfolio_id=_portfolio(tell, name))


def _position(shown: dict[str, Any], target: int | None) -> dict[str, Any]:
    """The position of a portfolio with this target percentage."""
    return next(row for row in shown["positions"] if row["target_percent"] == target)


def _option(shown: dict[str, Any], kind: str, *, pays: bool, expired: bool = False) -> dict[str, Any]:
    prices = {row["stock_id"]: row["last_price"] for row in shown["positions"]}
    for option in shown["options"]:
        gain = prices[option["stock_id"]] - option["strike"]
        if (option["kind"], gain > 0 if kind == "call" else gain < 0, option["expires_at"] < NOW) == (
            kind, pays, expired,
        ):  # fmt: skip
            return dict(option)
    raise LookupError(kind)


def trade_at_the_market(tell: Teller) -> None:
    """A market order walks up the book; what cannot be paid, delivered or filled is refused."""
    growth = _shown(tell, "Growth")
    held, unwanted = _position(growth, 30), _position(growth, None)
    order = {"portfolio_id": growth["portfolio_id"], "stock_id": held["stock_id"]}
    asks = tell.call("show_order_book", stock_id=held["stock_id"])["asks"]
    bought = tell.call("place_stock_order", **order, side="buy", quantity=asks[0]["quantity"] + 1)
    cost = asks[0]["quantity"] * asks[0]["price"] + asks[1]["price"]
    assert (bought["status"], bought["traded_value"]) == ("filled", cost)  # noqa: S101 - holds the server to its rules
    too_much = growth["free_cash"] // held["last_price"] + 1
    limit = {"limit_price": held["last_price"]}
    tell.refused("free_cash_covers_order", "place_stock_order", **order, side="buy", quantity=too_much, **limit)
    tell.refused("free_shares_cover_order", "place_stock_order", **order, side="sell", quantity=10_000)
    order = {"portfolio_id": growth["portfolio_id"], "stock_id": unwanted["stock_id"]}
    tell.refused("book_can_fill", "place_stock_order", **order, side="sell", quantity=5)
    waiting = tell.call("place_stock_order", **order, side="sell", quantity=5, limit_price=unwanted["last_price"])
    thin = tell.call("place_stock_order", **order, side="buy", quantity=30, note="what there is")
    assert (waiting["status"], thin["status"], 0 < thin["filled"] < 30) == ("open", "cancelled", True)  # noqa: S101
    found = tell.items("search_stocks", text=held["symbol"].lower())
    tell.refused("not_found", "show_order_book", stock_id=f"{found[0]['stock_id']}0")


def change_open_orders(tell: Teller) -> None:
    """Open orders are amended and cancelled, but not those of a restricted portfolio or a halted stock."""
    growth, pension, inherited = (_portfolio(tell, name) for name in ("Growth", "Pension", "Inherited"))
    mine, halted, restricted = (
        tell.items("list_stock_orders", portfolio_id=portfolio, status="open")[0]
        for portfolio in (growth, pension, inherited)
    )
    new = {"side": "buy", "quantity": 1, "limit_price": 500}
    tell.refused("stock_is_trading", "place_stock_order", portfolio_id=pension, stock_id=halted["stock_id"], **new)
    tell.refused("portfolio_is_active", "place_stock_order", portfolio_id=inherited, stock_id=mine["stock_id"], **new)
    tell.refused("stock_is_trading", "amend_stock_order", stock_order_id=halted["stock_order_id"], quantity=5)
    tell.refused("portfolio_is_active", "amend_stock_order", stock_order_id=restricted["stock_order_id"], quantity=5)
    order = {"stock_order_id": mine["stock_order_id"]}
    tell.refused("amendment_changes_order", "amend_stock_order", **order, quantity=mine["quantity"])
    tell.refused("quantity_exceeds_fills", "amend_stock_order", **order, quantity=mine["filled"])
    tell.refused("amendment_is_covered", "amend_stock_order", **order, quantity=100_000)
    best = tell.call("show_order_book", stock_id=mine["stock_id"])["asks"][0]["price"]
    amended = tell.call("amend_stock_order", **order, quantity=30, limit_price=best)
    assert amended["status"] == "filled"  # noqa: S101
    tell.refused("order_is_open", "amend_stock_order", **order, quantity=90)
    tell.refused("order_is_open", "cancel_stock_order", **order)
    for waiting in (halted, restricted):
        tell.call("cancel_stock_order", stock_order_id=waiting["stock_order_id"])


def move_cash(tell: Teller) -> None:
    """Cash comes in within limits; reserved and fresh cash does not go out."""
    growth, first, inherited = (_shown(tell, name) for name in ("Growth", "First steps", "Inherited"))
    for tool in ("deposit_portfolio_cash", "withdraw_portfolio_cash"):
        tell.refused("portfolio_is_active", tool, portfolio_id=inherited["portfolio_id"], amount=1_000)
    mine = {"portfolio_id": growth["portfolio_id"]}
    tell.refused("deposits_stay_within_limit", "deposit_portfolio_cash", **mine, amount=5_000_001)
    tell.call("deposit_portfolio_cash", **mine, amount=5_000_000)
    tell.refused("deposits_stay_within_limit", "deposit_portfolio_cash", **mine, amount=1)
    tell.refused("cash_is_free", "withdraw_portfolio_cash", **mine, amount=growth["cash"] + 5_000_000)
    tell.call("withdraw_portfolio_cash", **mine, amount=growth["free_cash"])
    fresh = {"portfolio_id": first["portfolio_id"], "amount": first["cash"]}
    tell.refused("cash_is_settled", "withdraw_portfolio_cash", **fresh)
    tell.wait(DAY)
    assert tell.call("withdraw_portfolio_cash", **fresh)["cash"] == 0  # noqa: S101


def rebalance(tell: Teller) -> None:
    """Targets are mended and open orders cancelled before a portfolio can be rebalanced."""
    pension, first = _shown(tell, "Pension"), _shown(tell, "First steps")
    tell.refused("portfolio_is_active", "rebalance_portfolio", portfolio_id=_portfolio(tell, "Inherited"))
    mine = {"portfolio_id": pension["portfolio_id"]}
    tell.refused("targets_fit", "rebalance_portfolio", **mine)
    tell.call("update_stock_position", position_id=_position(pension, 50)["position_id"], target_percent=30)
    tell.refused("no_order_is_open", "rebalance_portfolio", **mine)
    for order in tell.items("list_stock_orders", status="open", **mine):
        tell.call("cancel_stock_order", stock_order_id=order["stock_order_id"])
    assert tell.items("rebalance_portfolio", **mine)  # noqa: S101
    new = {"portfolio_id": first["portfolio_id"]}
    tell.refused("position_is_off_target", "rebalance_portfolio", **new)
    stock = _position(_shown(tell, "Growth"), 15)["stock_id"]
    tell.call("place_stock_order", **new, stock_id=stock, side="buy", quantity=10)
    (bought,) = _shown(tell, "First steps")["positions"]
    tell.call("update_stock_position", position_id=bought["position_id"], target_percent=0)
    (sale,) = tell.items("rebalance_portfolio", **new)
    assert (sale["side"], sale["filled"]) == ("sell", 10)  # noqa: S101
    tell.refused("invalid_arguments", "update_stock_position", position_id=bought["position_id"], quantity=1_000)


def use_the_options(tell: Teller) -> None:
    """A call and a put that pay are exercised once; for the put, shares are bought first."""
    growth, inherited = _shown(tell, "Growth"), _shown(tell, "Inherited")
    call, put = _option(growth, "call", pays=True), _option(growth, "put", pays=True)
    dead, late = _option(growth, "call", pays=False), _option(growth, "put", pays=True, expired=True)
    for rule, option in (
        ("portfolio_is_active", inherited["options"][0]), ("option_has_not_expired", late),
        ("option_is_in_the_money", dead), ("exercise_is_covered", put),
    ):  # fmt: skip
        tell.refused(rule, "exercise_stock_option", stock_option_id=option["stock_option_id"])
    mine = {"portfolio_id": growth["portfolio_id"]}
    tell.call("place_stock_order", **mine, stock_id=put["stock_id"], side="buy", quantity=put["shares"])
    for option in (call, put):
        before = _shown(tell, "Growth")["cash"]
        tell.call("exercise_stock_option", stock_option_id=option["stock_option_id"])
        gained = (1 if option["kind"] == "put" else -1) * option["shares"] * option["strike"]
        assert _shown(tell, "Growth")["cash"] - before == gained  # noqa: S101
        tell.refused("option_is_held", "exercise_stock_option", stock_option_id=option["stock_option_id"])


STORIES = [trade_at_the_market, change_open_orders, move_cash, rebalance, use_the_options]


# -- chains --------------------------------------------------------------------------------------------------------


def bring_cash_for_a_large_order(tell: Teller) -> None:
    """Deposit what a large limit order lacks, place it, make it smaller, and cancel it after all."""
    growth = _shown(tell, "Growth")
    stock, limit = _position(growth, 30)["stock_id"], 9 * _position(growth, 30)["last_price"] // 10
    quantity = growth["free_cash"] // limit + 1
    mine = {"portfolio_id": growth["portfolio_id"]}
    tell.call("deposit_portfolio_cash", **mine, amount=limit)
    order = {"side": "buy", "quantity": quantity, "limit_price": limit}
    placed = tell.call("place_stock_order", **mine, stock_id=stock, **order)["stock_order_id"]
    tell.call("amend_stock_order", stock_order_id=placed, quantity=quantity // 2)
    tell.call("cancel_stock_order", stock_order_id=placed)


def sell_and_take_the_money(tell: Teller) -> None:
    """Sell a position at the market and withdraw all cash that is free then."""
    sold = _position(_shown(tell, "Growth"), 15)
    mine = {"portfolio_id": _portfolio(tell, "Growth")}
    tell.call("place_stock_order", **mine, stock_id=sold["stock_id"], side="sell", quantity=sold["quantity"])
    tell.call("withdraw_portfolio_cash", **mine, amount=_shown(tell, "Growth")["free_cash"])


def cash_in_the_call(tell: Teller) -> None:
    """Exercise the call that pays, sell its shares with those already held, and withdraw the cash."""
    growth = _shown(tell, "Growth")
    option, held = _option(growth, "call", pays=True), _position(growth, 30)
    mine = {"portfolio_id": growth["portfolio_id"]}
    tell.call("exercise_stock_option", stock_option_id=option["stock_option_id"])
    quantity = held["quantity"] + option["shares"]
    tell.call("place_stock_order", **mine, stock_id=held["stock_id"], side="sell", quantity=quantity)
    tell.call("withdraw_portfolio_cash", **mine, amount=_shown(tell, "Growth")["free_cash"])


def cash_in_the_put(tell: Teller) -> None:
    """Buy the shares that the put lacks, exercise it, and withdraw the cash."""
    growth = _shown(tell, "Growth")
    option, held = _option(growth, "put", pays=True), _position(growth, 20)
    mine = {"portfolio_id": growth["portfolio_id"]}
    quantity = option["shares"] - held["quantity"]
    tell.call("place_stock_order", **mine, stock_id=held["stock_id"], side="buy", quantity=quantity)
    tell.call("exercise_stock_option", stock_option_id=option["stock_option_id"])
    tell.call("withdraw_portfolio_cash", **mine, amount=_shown(tell, "Growth")["free_cash"])


def clear_the_way_for_rebalancing(tell: Teller) -> None:
    """Cancel the open order, rebalance the portfolio, and put in a new order, at a limit far from the market."""
    growth = _portfolio(tell, "Growth")
    (order,) = tell.items("list_stock_orders", portfolio_id=growth, status="open")
    tell.call("cancel_stock_order", stock_order_id=order["stock_order_id"])
    tell.call("rebalance_portfolio", portfolio_id=growth)
    new = {"side": "sell", "quantity": 1, "limit_price": 2 * order["limit_price"]}
    tell.call("place_stock_order", portfolio_id=growth, stock_id=order["stock_id"], **new)


def start_a_position(tell: Teller) -> None:
    """Buy a first share, give its position a target, rebalance towards it, and wait with an order for more."""
    first, stock = _portfolio(tell, "First steps"), _position(_shown(tell, "Growth"), 15)
    order = {"portfolio_id": first, "stock_id": stock["stock_id"], "side": "buy"}
    tell.call("place_stock_order", **order, quantity=1)
    (position,) = tell.call("show_portfolio", portfolio_id=first)["positions"]
    tell.call("update_stock_position", position_id=position["position_id"], target_percent=20)
    tell.call("rebalance_portfolio", portfolio_id=first)
    waiting = tell.call("place_stock_order", **order, quantity=2, limit_price=stock["last_price"] // 2)
    tell.call("cancel_stock_order", stock_order_id=waiting["stock_order_id"])


CHAINS = [
    bring_cash_for_a_large_order, sell_and_take_the_money, cash_in_the_call, cash_in_the_put,
    clear_the_way_for_rebalancing, start_a_position,
]  # fmt: skip
