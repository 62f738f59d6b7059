"""Tables of the broker: portfolios, stocks, the market's order book, orders, positions and options."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped

from palaestra.mcp_servers.framework.columns import (
    STRICT,
    Entity,
    Role,
    choice,
    identifier,
    instant,
    integer,
    money,
    reference,
    text,
)


class Base(Entity, DeclarativeBase):
    """Tables of the trading server."""


class Portfolio(Base):
    """Cash and shares of the customer. Reserved cash is promised to open buy orders."""

    __tablename__ = "portfolio"
    portfolio_id: Mapped[str] = identifier("pfo")
    name: Mapped[str] = text(60)
    currency: Mapped[str] = choice("EUR", "USD", "CHF", role=Role.GUARDED)
    cash: Mapped[int] = money("all cash, reserved or free", role=Role.GUARDED)
    reserved_cash: Mapped[int] = money("promised to open buy orders", default=0, role=Role.GUARDED)
    status: Mapped[str] = choice("active", "restricted", role=Role.GUARDED)
    __table_args__ = (CheckConstraint("reserved_cash <= cash"), STRICT)


class Stock(Base):
    """A share that can be traded, unless it is halted."""

    __tablename__ = "stock"
    stock_id: Mapped[str] = identifier("stk")
    symbol: Mapped[str] = text(5, pattern=r"^[A-Z]{2,5}$", unique=True)
    name: Mapped[str] = text(80)
    sector: Mapped[str] = choice("energy", "health", "industry", "retail", "software", "transport")
    last_price: Mapped[int] = money("of the latest trade", minimum=1, role=Role.GUARDED)
    status: Mapped[str] = choice("trading", "halted", role=Role.GUARDED)


class BookLevel(Base):
    """What the market offers at one price: asks are for sale, bids are wanted. Gone when it is used up."""

    __tablename__ = "book_level"
    book_level_id: Mapped[str] = identifier("lvl")
    stock_id: Mapped[str] = reference("stock.stock_id", role=Role.GUARDED)
    side: Mapped[str] = choice("bid", "ask", role=Role.GUARDED)
    price: Mapped[int] = money(minimum=1, role=Role.GUARDED)
    quantity: Mapped[int] = integer(minimum=1, unit="shares", role=Role.GUARDED)
    __table_args__ = (UniqueConstraint("stock_id", "side", "price"), STRICT)


class Position(Base):
    """Shares of one stock in a portfolio. Reserved shares are promised to open sell orders."""

    __tablename__ = "position"
    position_id: Mapped[str] = identifier("pos")
    portfolio_id: Mapped[str] = reference("portfolio.portfolio_id", role=Role.GUARDED)
    stock_id: Mapped[str] = reference("stock.stock_id", role=Role.GUARDED)
    quantity: Mapped[int] = integer(unit="shares", role=Role.GUARDED)
    reserved: Mapped[int] = integer("promised to open sell orders", unit="shares", default=0, role=Role.GUARDED)
    target_percent: Mapped[int | None] = integer(
        "share of the portfolio's value that rebalancing aims at", maximum=100, unit="percent", optional=True
    )
    __table_args__ = (UniqueConstraint("portfolio_id", "stock_id"), CheckConstraint("reserved <= quantity"), STRICT)


class StockOrder(Base):
    """An order. Without a limit price it is a market order, which never rests."""

    __tablename__ = "stock_order"
    stock_order_id: Mapped[str] = identifier("ord")
    portfolio_id: Mapped[str] = reference("portfolio.portfolio_id", role=Role.GUARDED)
    stock_id: Mapped[str] = reference("stock.stock_id", role=Role.GUARDED)
    side: Mapped[str] = choice("buy", "sell", role=Role.GUARDED)
    quantity: Mapped[int] = integer(minimum=1, unit="shares", role=Role.GUARDED)
    limit_price: Mapped[int | None] = integer(
        "per share; absent for a market order", minimum=1, unit="minor units", optional=True, role=Role.GUARDED
    )
    filled: Mapped[int] = integer("shares traded so far", unit="shares", default=0, role=Role.GUARDED)
    traded_value: Mapped[int] = money("paid or received so far", default=0, role=Role.GUARDED)
    status: Mapped[str] = choice("open", "filled", "cancelled", role=Role.GUARDED)
    note: Mapped[str] = text(140, default="")
    placed_at: Mapped[int] = instant(fill="create")
    __table_args__ = (
        CheckConstraint("filled <= quantity"),
        CheckConstraint("(status = 'filled') = (filled = quantity)"),
        CheckConstraint("status <> 'open' OR limit_price IS NOT NULL"),
        STRICT,
    )


class StockOption(Base):
    """The right to buy (call) or sell (put) shares at the strike price until it expires."""

    __tablename__ = "stock_option"
    stock_option_id: Mapped[str] = identifier("opt")
    portfolio_id: Mapped[str] = reference("portfolio.portfolio_id", role=Role.GUARDED)
    stock_id: Mapped[str] = reference("stock.stock_id", role=Role.GUARDED)
    kind: Mapped[str] = choice("call", "put", role=Role.GUARDED)
    strike: Mapped[int] = money("price per share", minimum=1, role=Role.GUARDED)
    shares: Mapped[int] = integer(minimum=1, unit="shares", role=Role.GUARDED)
    expires_at: Mapped[int] = instant(role=Role.GUARDED)
    status: Mapped[str] = choice("held", "exercised", default="held", role=Role.GUARDED)


class CashMovement(Base):
    """Cash that came from or went to the customer's bank."""

    __tablename__ = "cash_movement"
    cash_movement_id: Mapped[str] = identifier("mov")
    portfolio_id: Mapped[str] = reference("portfolio.portfolio_id", role=Role.GUARDED)
    direction: Mapped[str] = choice("deposit", "withdrawal", role=Role.GUARDED)
    amount: Mapped[int] = money(minimum=1, role=Role.GUARDED)
    moved_at: Mapped[int] = instant(fill="create")


MODELS = [Portfolio, Stock, BookLevel, Position, StockOrder, StockOption, CashMovement]
