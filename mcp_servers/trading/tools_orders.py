"""Orders: placed, amended and cancelled; the rules they share are in the docstring of tools.py."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import precondition, verb, view
from palaestra.mcp_servers.framework.sql import Database, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import Amount, Key
from palaestra.mcp_servers.trading.exchange import (
    carry_out,
    facing,
    free_cash,
    free_shares,
    reserve,
    sweep,
    value_of,
)
from palaestra.mcp_servers.trading.models import Portfolio, Stock, StockOption, StockOrder

StockOrderView = view(StockOrder)
Shares = Annotated[int, Field(ge=1, le=1_000_000)]

# -- preconditions -------------------------------------------------------------------------------------------------


@precondition
def portfolio_is_active(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The portfolio is active, not restricted."""
    if hasattr(args, "stock_order_id"):
        portfolio_id = db.get(StockOrder, args.stock_order_id)["portfolio_id"]
    elif hasattr(args, "stock_option_id"):
        portfolio_id = db.get(StockOption, args.stock_option_id)["portfolio_id"]
    else:
        portfolio_id = args.portfolio_id
    return bool(db.get(Portfolio, portfolio_id)["status"] == "active")


@precondition
def stock_is_trading(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The stock is trading, not halted."""
    amended = hasattr(args, "stock_order_id")
    stock_id = db.get(StockOrder, args.stock_order_id)["stock_id"] if amended else args.stock_id
    return bool(db.get(Stock, stock_id)["status"] == "trading")


@precondition
def book_can_fill(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """A market order needs at least one level on the other side of the book; give a limit price to wait for one."""
    return args.limit_price is not None or bool(facing(db, args.stock_id, args.side))


@precondition
def free_cash_covers_order(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Free cash covers a buy: quantity times limit price, or what the book's levels ask for a market order."""
    if args.side == "sell":
        return True
    if args.limit_price is not None:
        cost = args.quantity * args.limit_price
    else:
        cost = value_of(sweep(facing(db, args.stock_id, "buy"), "buy", args.quantity, None))
    return bool(cost <= free_cash(db.get(Portfolio, args.portfolio_id)))


@precondition
def free_shares_cover_order(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Shares to be sold are in the portfolio and not reserved by another order."""
    return bool(args.side == "buy" or args.quantity <= free_shares(db, args.portfolio_id, args.stock_id))


@precondition
def order_is_open(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The order is open, neither filled nor cancelled."""
    return bool(db.get(StockOrder, args.stock_order_id)["status"] == "open")


@precondition
def amendment_changes_order(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The amendment names a quantity or a limit price that the order does not have yet."""
    return any(db.get(StockOrder, args.stock_order_id)[name] != value for name, value in _amended(args).items())


@precondition
def quantity_exceeds_fills(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The new quantity is larger than what has been filled already; cancel the order to give up the rest."""
    return bool(args.quantity is None or args.quantity > db.get(StockOrder, args.stock_order_id)["filled"])


@precondition
def amendment_is_covered(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Free cash or shares, with what the order itself reserves, cover the amended order."""
    order = db.get(StockOrder, args.stock_order_id)
    new = {**order, **_amended(args)}
    old_rest, new_rest = order["quantity"] - order["filled"], new["quantity"] - new["filled"]
    if order["side"] == "sell":
        return bool(new_rest <= old_rest + free_shares(db, order["portfolio_id"], order["stock_id"]))
    free = free_cash(db.get(Portfolio, order["portfolio_id"])) + old_rest * order["limit_price"]
    return bool(new_rest * new["limit_price"] <= free)


def _amended(args: Any) -> Row:
    """The fields an amendment names."""
    named = {"quantity": args.quantity, "limit_price": args.limit_price}
    return {name: value for name, value in named.items() if value is not None}


# -- verbs ---------------------------------------------------------------------------------------------------------


class PlaceStockOrderArgs(Args):
    """Arguments of an order."""

    portfolio_id: Key
    stock_id: Key
    side: Literal["buy", "sell"]
    quantity: Annotated[Shares, Field(description="shares")]
    limit_price: Annotated[Amount | None, Field(description="worst price per share; left out: a market order")] = None
    note: Annotated[str, Field(max_length=140)] = ""


@verb(
    requires=[
        portfolio_is_active, stock_is_trading, book_can_fill, free_cash_covers_order, free_shares_cover_order,
    ],
    returns=StockOrderView,
)  # fmt: skip
def place_stock_order(db: Database, sources: EpisodeSources, args: PlaceStockOrderArgs) -> Row:
    """Buy or sell shares. Trades at once with the order book, best price first. What a limit order cannot fill stays
    open and reserves its cash or shares; what a market order cannot fill is given up. Prices in minor units.
    """
    order = db.insert(StockOrder, **args.model_dump(), status="cancelled")
    return carry_out(db, order)


class AmendStockOrderArgs(Args):
    """Arguments of an amendment."""

    stock_order_id: Key
    quantity: Annotated[Shares | None, Field(description="new total of shares, those already filled included")] = None
    limit_price: Annotated[Amount | None, Field(description="new worst price per share")] = None


@verb(
    requires=[
        order_is_open, portfolio_is_active, stock_is_trading, amendment_changes_order, quantity_exceeds_fills,
        amendment_is_covered,
    ],
    returns=StockOrderView,
)  # fmt: skip
def amend_stock_order(db: Database, sources: EpisodeSources, args: AmendStockOrderArgs) -> Row:
    """Change the quantity or the limit price of an open order; it trades at once if the book now meets it."""
    reserve(db, db.get(StockOrder, args.stock_order_id), -1)
    return carry_out(db, db.update(StockOrder, args.stock_order_id, **_amended(args)))


class StockOrderKeyArgs(Args):
    """Arguments that name an order."""

    stock_order_id: Key


@verb(requires=[order_is_open], returns=StockOrderView)
def cancel_stock_order(db: Database, sources: EpisodeSources, args: StockOrderKeyArgs) -> Row:
    """Cancel the unfilled rest of an open order and free what it reserves; shares already traded stay traded."""
    reserve(db, db.get(StockOrder, args.stock_order_id), -1)
    return db.update(StockOrder, args.stock_order_id, status="cancelled")


ORDER_VERBS = [place_stock_order, amend_stock_order, cancel_stock_order]
