"""What can be done at the broker beyond finding stocks and setting target percentages.

Rules: a buy never costs more than the free cash and a sell never delivers more than the free shares; open orders
reserve both. Orders trade with the book's levels, best price first; a market order gives up what the book cannot fill,
a limit order rests with it. Halted stocks are not traded. A restricted portfolio may only cancel. At most 50,000.00 are
deposited in 24 hours, and they are not withdrawn before those are over. An option is exercised when that pays.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import bindparam, func, select

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import Output, page_of, precondition, query, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import Amount, InstantOut, Key
from palaestra.mcp_servers.trading.exchange import carry_out, free_cash, free_shares, levels, settle
from palaestra.mcp_servers.trading.models import CashMovement, Portfolio, Position, Stock, StockOption, StockOrder
from palaestra.mcp_servers.trading.tools_orders import ORDER_VERBS, StockOrderView, portfolio_is_active

DAILY_DEPOSITS: Final = 5_000_000
DAY: Final = 86_400

PortfolioView = view(Portfolio)
StockOptionView = view(StockOption)

_DEPOSITED = Query(
    select(func.coalesce(func.sum(CashMovement.amount), 0).label("amount")).where(
        CashMovement.portfolio_id == bindparam("portfolio"),
        CashMovement.direction == "deposit",
        CashMovement.moved_at > bindparam("since"),
    )
)
_OPEN_ORDERS = Query(
    select(StockOrder.stock_order_id)
    .where(StockOrder.portfolio_id == bindparam("portfolio"), StockOrder.status == "open")
    .order_by(StockOrder.stock_order_id)
)
_POSITIONS = Query(
    select(
        Position.position_id, Position.stock_id, Stock.symbol, Position.quantity, Position.reserved,
        Position.target_percent, Stock.last_price, Stock.status,
    )
    .join_from(Position, Stock, Stock.stock_id == Position.stock_id)
    .where(Position.portfolio_id == bindparam("portfolio"))
    .order_by(Stock.symbol, Position.position_id)
)  # fmt: skip
_OPTIONS = Query(
    select(
        StockOption.stock_option_id, StockOption.stock_id, StockOption.kind, StockOption.strike, StockOption.shares,
        StockOption.expires_at, StockOption.status,
    )
    .where(StockOption.portfolio_id == bindparam("portfolio"))
    .order_by(StockOption.expires_at, StockOption.stock_option_id)
)  # fmt: skip


def _deposited(db: Database, sources: EpisodeSources, portfolio_id: str) -> int:
    """What came in during the last 24 hours."""
    return int(db.scalar(_DEPOSITED, portfolio=portfolio_id, since=sources.now - DAY))


def _value(portfolio: Row, positions: list[Row]) -> int:
    """Cash and shares at their last prices."""
    return int(portfolio["cash"] + sum(row["quantity"] * row["last_price"] for row in positions))


def _drift(db: Database, portfolio_id: str) -> list[tuple[str, int]]:
    """(stock, shares to buy or, below zero, to sell) of every tradable position off its target; sales first."""
    positions = db.rows(_POSITIONS, portfolio=portfolio_id)
    total = _value(db.get(Portfolio, portfolio_id), positions)
    drift = [
        (row["stock_id"], total * row["target_percent"] // 100 // row["last_price"] - row["quantity"])
        for row in positions
        if row["target_percent"] is not None and row["status"] == "trading"
    ]
    return sorted(((stock, shares) for stock, shares in drift if shares), key=lambda found: found[1])


# -- preconditions -------------------------------------------------------------------------------------------------


@precondition
def deposits_stay_within_limit(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Deposits of 24 hours into a portfolio stay within 50,000.00."""
    return bool(_deposited(db, sources, args.portfolio_id) + args.amount <= DAILY_DEPOSITS)


@precondition
def cash_is_free(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Cash that no open order reserves covers the amount."""
    return bool(args.amount <= free_cash(db.get(Portfolio, args.portfolio_id)))


@precondition
def cash_is_settled(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Free cash covers the amount without the deposits of the last 24 hours, which cannot be withdrawn yet."""
    free = free_cash(db.get(Portfolio, args.portfolio_id))
    return bool(args.amount <= free - _deposited(db, sources, args.portfolio_id))


@precondition
def targets_fit(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The target percentages of the portfolio's positions add up to 100 at most."""
    targets = [row["target_percent"] or 0 for row in db.rows(_POSITIONS, portfolio=args.portfolio_id)]
    return bool(sum(targets) <= 100)


@precondition
def no_order_is_open(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The portfolio has no open order, which would keep cash or shares from being rebalanced."""
    return db.first(_OPEN_ORDERS, portfolio=args.portfolio_id) is None


@precondition
def position_is_off_target(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """At least one position with a target is off it by a whole share."""
    return bool(_drift(db, args.portfolio_id))


@precondition
def option_is_held(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The option has not been exercised yet."""
    return bool(db.get(StockOption, args.stock_option_id)["status"] == "held")


@precondition
def option_has_not_expired(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The option has not expired."""
    return bool(sources.now <= db.get(StockOption, args.stock_option_id)["expires_at"])


@precondition
def option_is_in_the_money(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Exercising pays: the stock's last price is above a call's strike, or below a put's."""
    option = db.get(StockOption, args.stock_option_id)
    gain = db.get(Stock, option["stock_id"])["last_price"] - option["strike"]
    return bool(gain > 0 if option["kind"] == "call" else gain < 0)


@precondition
def exercise_is_covered(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Free cash covers the shares of a call at its strike; free shares cover those of a put."""
    option = db.get(StockOption, args.stock_option_id)
    if option["kind"] == "put":
        return bool(option["shares"] <= free_shares(db, option["portfolio_id"], option["stock_id"]))
    return bool(option["shares"] * option["strike"] <= free_cash(db.get(Portfolio, option["portfolio_id"])))


# -- verbs ---------------------------------------------------------------------------------------------------------


class MoveCashArgs(Args):
    """Arguments of a deposit or withdrawal."""

    portfolio_id: Key
    amount: Amount


@verb(requires=[portfolio_is_active, deposits_stay_within_limit], returns=PortfolioView)
def deposit_portfolio_cash(db: Database, sources: EpisodeSources, args: MoveCashArgs) -> Row:
    """Bring cash from the customer's bank into a portfolio, 50,000.00 in 24 hours at most. It can be traded with at
    once and withdrawn after 24 hours.
    """
    return _move_cash(db, args, "deposit", args.amount)


@verb(requires=[portfolio_is_active, cash_is_free, cash_is_settled], returns=PortfolioView)
def withdraw_portfolio_cash(db: Database, sources: EpisodeSources, args: MoveCashArgs) -> Row:
    """Send cash of a portfolio to the customer's bank: neither cash reserved by open orders, nor fresh deposits."""
    return _move_cash(db, args, "withdrawal", -args.amount)


def _move_cash(db: Database, args: MoveCashArgs, direction: str, change: int) -> Row:
    db.insert(CashMovement, portfolio_id=args.portfolio_id, direction=direction, amount=args.amount)
    cash = db.get(Portfolio, args.portfolio_id)["cash"]
    return db.update(Portfolio, args.portfolio_id, cash=cash + change)


class PortfolioKeyArgs(Args):
    """Arguments that name a portfolio."""

    portfolio_id: Key


@verb(
    requires=[portfolio_is_active, targets_fit, no_order_is_open, position_is_off_target],
    returns=page_of(StockOrderView),
)
def rebalance_portfolio(db: Database, sources: EpisodeSources, args: PortfolioKeyArgs) -> Row:
    """Bring every position that has a target percentage to it, by market orders: first sales, then purchases as far
    as cash and the order book allow. Positions without a target and halted stocks are left alone.
    """
    orders = []
    for stock_id, shares in _drift(db, args.portfolio_id):
        order = db.insert(
            StockOrder, portfolio_id=args.portfolio_id, stock_id=stock_id, side="buy" if shares > 0 else "sell",
            quantity=abs(shares), status="cancelled", note="rebalancing",
        )  # fmt: skip
        cash = free_cash(db.get(Portfolio, args.portfolio_id))
        orders.append(carry_out(db, order, budget=cash if shares > 0 else None))
    return {"items": orders}


class StockOptionKeyArgs(Args):
    """Arguments that name an option."""

    stock_option_id: Key


@verb(
    requires=[portfolio_is_active, option_is_held, option_has_not_expired, option_is_in_the_money, exercise_is_covered],
    returns=StockOptionView,
)
def exercise_stock_option(db: Database, sources: EpisodeSources, args: StockOptionKeyArgs) -> Row:
    """Use an option that pays: a call buys its shares at the strike price, a put sells them."""
    option = db.get(StockOption, args.stock_option_id)
    sign = 1 if option["kind"] == "call" else -1
    settle(
        db, option["portfolio_id"], option["stock_id"], shares=sign * option["shares"],
        cash=-sign * option["shares"] * option["strike"],
    )  # fmt: skip
    return db.update(StockOption, args.stock_option_id, status="exercised")


# -- queries -------------------------------------------------------------------------------------------------------


class StockKeyArgs(Args):
    """Arguments that name a stock."""

    stock_id: Key


class PriceLevel(Output):
    """Shares offered or wanted at one price (minor units)."""

    price: int
    quantity: int


class OrderBook(Output):
    """What the market wants and offers, best price first."""

    stock_id: str
    symbol: str
    status: str
    last_price: int
    bids: list[PriceLevel]
    asks: list[PriceLevel]


@query(returns=OrderBook)
def show_order_book(db: Database, sources: EpisodeSources, args: StockKeyArgs) -> Row:
    """The market's bids (they buy) and asks (they sell) of a stock by price level, best first, in minor units."""
    stock = db.get(Stock, args.stock_id)
    sides = {
        f"{side}s": [{"price": row["price"], "quantity": row["quantity"]} for row in levels(db, args.stock_id, side)]
        for side in ("bid", "ask")
    }
    return {name: stock[name] for name in ("stock_id", "symbol", "status", "last_price")} | sides


class ValuedPosition(Output):
    """A position at its last price."""

    position_id: str
    stock_id: str
    symbol: str
    quantity: int
    reserved: int
    target_percent: int | None
    last_price: int
    value: int


class ListedOption(Output):
    """An option of the portfolio."""

    stock_option_id: str
    stock_id: str
    kind: str
    strike: int
    shares: int
    expires_at: InstantOut
    status: str


class ValuedPortfolio(Output):
    """A portfolio with all it holds."""

    portfolio_id: str
    name: str
    currency: str
    status: str
    cash: int
    free_cash: int
    total_value: int
    positions: list[ValuedPosition]
    options: list[ListedOption]


@query(returns=ValuedPortfolio)
def show_portfolio(db: Database, sources: EpisodeSources, args: PortfolioKeyArgs) -> Row:
    """A portfolio's cash, its positions at their last prices with targets, and its options. Money in minor units."""
    portfolio = db.get(Portfolio, args.portfolio_id)
    positions = db.rows(_POSITIONS, portfolio=args.portfolio_id)
    valued = [
        {**{name: row[name] for name in row if name != "status"}, "value": row["quantity"] * row["last_price"]}
        for row in positions
    ]
    return {
        **{name: portfolio[name] for name in ("portfolio_id", "name", "currency", "status", "cash")},
        "free_cash": free_cash(portfolio),
        "total_value": _value(portfolio, positions),
        "positions": valued,
        "options": db.rows(_OPTIONS, portfolio=args.portfolio_id),
    }


VERBS = [
    *ORDER_VERBS, deposit_portfolio_cash, withdraw_portfolio_cash, rebalance_portfolio, exercise_stock_option,
]  # fmt: skip
QUERIES = [show_order_book, show_portfolio]
