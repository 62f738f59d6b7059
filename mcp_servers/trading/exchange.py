"""How an order meets the book: best price first, at the levels' prices; what a limit order leaves over rests.

Orders trade with the market's levels, never with each other. An open order holds a reservation: the cash it may cost
at its limit, or the shares it may deliver.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, select

from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.trading.models import BookLevel, Portfolio, Position, Stock, StockOrder

_OF_SIDE = (BookLevel.stock_id == bindparam("stock"), BookLevel.side == bindparam("side"))
_CHEAPEST = Query(select(BookLevel.__table__).where(*_OF_SIDE).order_by(BookLevel.price, BookLevel.book_level_id))
_DEAREST = Query(select(BookLevel.__table__).where(*_OF_SIDE).order_by(BookLevel.price.desc(), BookLevel.book_level_id))
_POSITION = Query(
    select(Position.__table__).where(
        Position.portfolio_id == bindparam("portfolio"), Position.stock_id == bindparam("stock")
    )
)


def levels(db: Database, stock_id: str, side: str) -> list[Row]:
    """The levels of one side of the book, best first: the cheapest asks, the dearest bids."""
    return db.rows(_CHEAPEST if side == "ask" else _DEAREST, stock=stock_id, side=side)


def facing(db: Database, stock_id: str, side: str) -> list[Row]:
    """The levels that a buy or a sell order meets, best first."""
    return levels(db, stock_id, "ask" if side == "buy" else "bid")


def sweep(
    book: Sequence[Row], side: str, quantity: int, limit_price: int | None, budget: int | None = None
) -> list[tuple[Row, int]]:
    """What an order takes from each level: at most `quantity` shares, within its limit and a buyer's budget."""
    taken = []
    for level in book:
        price = level["price"]
        if limit_price is not None and (price > limit_price if side == "buy" else price < limit_price):
            break
        shares = min(quantity, level["quantity"], quantity if budget is None else budget // price)
        if shares == 0:
            break
        taken.append((level, shares))
        quantity -= shares
        budget = None if budget is None else budget - shares * price
    return taken


def value_of(taken: Sequence[tuple[Row, int]]) -> int:
    """What the shares cost or bring."""
    return sum(level["price"] * shares for level, shares in taken)


def position_of(db: Database, portfolio_id: str, stock_id: str) -> Row | None:
    """The portfolio's position in a stock, if it ever had one."""
    return db.first(_POSITION, portfolio=portfolio_id, stock=stock_id)


def free_cash(portfolio: Row) -> int:
    """Cash that no open order reserves."""
    return int(portfolio["cash"] - portfolio["reserved_cash"])


def free_shares(db: Database, portfolio_id: str, stock_id: str) -> int:
    """Shares that no open order reserves."""
    position = position_of(db, portfolio_id, stock_id)
    return 0 if position is None else int(position["quantity"] - position["reserved"])


def carry_out(db: Database, order: Row, budget: int | None = None) -> Row:
    """Trade what the book allows; the rest of a limit order rests, that of a market order is given up."""
    rest = order["quantity"] - order["filled"]
    book = facing(db, order["stock_id"], order["side"])
    taken = sweep(book, order["side"], rest, order["limit_price"], budget)
    shares, value = sum(count for _, count in taken), value_of(taken)
    for level, count in taken:
        if count == level["quantity"]:
            db.delete(BookLevel, level["book_level_id"])
        else:
            db.update(BookLevel, level["book_level_id"], quantity=level["quantity"] - count)
    if taken:
        db.update(Stock, order["stock_id"], last_price=taken[-1][0]["price"])
        sign = 1 if order["side"] == "buy" else -1
        settle(db, order["portfolio_id"], order["stock_id"], shares=sign * shares, cash=-sign * value)
    unfilled = "cancelled" if order["limit_price"] is None else "open"
    done = db.update(
        StockOrder, order["stock_order_id"], filled=order["filled"] + shares,
        traded_value=order["traded_value"] + value, status="filled" if shares == rest else unfilled,
    )  # fmt: skip
    if done["status"] == "open":
        reserve(db, done, 1)
    return done


def settle(db: Database, portfolio_id: str, stock_id: str, *, shares: int, cash: int) -> None:
    """Exchange shares for cash in a portfolio: what is positive comes in, what is negative goes out."""
    portfolio = db.get(Portfolio, portfolio_id)
    db.update(Portfolio, portfolio_id, cash=portfolio["cash"] + cash)
    position = position_of(db, portfolio_id, stock_id)
    if position is None:
        db.insert(Position, portfolio_id=portfolio_id, stock_id=stock_id, quantity=shares)
    else:
        db.update(Position, position["position_id"], quantity=position["quantity"] + shares)


def reserve(db: Database, order: Row, sign: int) -> None:
    """Hold (1) or free (-1) what the rest of an open order may cost or deliver."""
    rest = order["quantity"] - order["filled"]
    if order["side"] == "buy":
        portfolio = db.get(Portfolio, order["portfolio_id"])
        reserved = portfolio["reserved_cash"] + sign * rest * order["limit_price"]
        db.update(Portfolio, order["portfolio_id"], reserved_cash=reserved)
        return
    position = position_of(db, order["portfolio_id"], order["stock_id"])
    if position is not None:  # a sell order is placed by who holds the shares only
        db.update(Position, position["position_id"], reserved=position["reserved"] + sign * rest)
