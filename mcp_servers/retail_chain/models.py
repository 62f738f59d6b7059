"""Tables of the chain: stores, the items they sell, stock per store, shipments between them, and holds."""

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
    """Tables of the retail_chain server."""


class Store(Base):
    """A shop with a stockroom. Its purchase budget pays for what it reorders."""

    __tablename__ = "store"
    store_id: Mapped[str] = identifier("sto")
    name: Mapped[str] = text(60, unique=True)
    city: Mapped[str] = text(60)
    purchase_budget: Mapped[int] = money("left for reorders", role=Role.GUARDED)
    status: Mapped[str] = choice("open", "renovating", role=Role.GUARDED)


class StoreItem(Base):
    """Something the chain sells; suppliers deliver whole packs."""

    __tablename__ = "store_item"
    store_item_id: Mapped[str] = identifier("itm")
    sku: Mapped[str] = text(12, pattern=r"^[A-Z]{3}-[0-9]{4}$", unique=True)
    name: Mapped[str] = text(80)
    department: Mapped[str] = choice("garden", "home", "kitchen", "sport", "toys")
    unit_cost: Mapped[int] = money("what the supplier asks for one piece", minimum=1, role=Role.GUARDED)
    pack_size: Mapped[int] = integer("pieces in a supplier's pack", minimum=1, unit="pieces", role=Role.GUARDED)
    lead_days: Mapped[int] = integer("how long a supplier takes", minimum=1, unit="days", role=Role.GUARDED)


class Inventory(Base):
    """Stock of one item in one store. What is on hand and not held is available."""

    __tablename__ = "inventory"
    inventory_id: Mapped[str] = identifier("ivt")
    store_id: Mapped[str] = reference("store.store_id", role=Role.GUARDED)
    store_item_id: Mapped[str] = reference("store_item.store_item_id", role=Role.GUARDED)
    on_hand: Mapped[int] = integer(unit="pieces", role=Role.GUARDED)
    held: Mapped[int] = integer("kept for customers", unit="pieces", default=0, role=Role.GUARDED)
    reorder_point: Mapped[int] = integer("reorder when less is available", unit="pieces", role=Role.GUARDED)
    capacity: Mapped[int] = integer("room for so many", unit="pieces", minimum=1, role=Role.GUARDED)
    __table_args__ = (
        UniqueConstraint("store_id", "store_item_id"),
        CheckConstraint("held <= on_hand"),
        CheckConstraint("on_hand <= capacity"),
        STRICT,
    )


class StoreShipment(Base):
    """Stock on its way to a store, from another store or, without one, from the supplier."""

    __tablename__ = "store_shipment"
    store_shipment_id: Mapped[str] = identifier("shp")
    source_store_id: Mapped[str | None] = reference("store.store_id", role=Role.GUARDED, optional=True)
    store_id: Mapped[str] = reference("store.store_id", "where it goes", role=Role.GUARDED)
    store_item_id: Mapped[str] = reference("store_item.store_item_id", role=Role.GUARDED)
    quantity: Mapped[int] = integer(minimum=1, unit="pieces", role=Role.GUARDED)
    status: Mapped[str] = choice("in_transit", "received", role=Role.GUARDED)
    arrives_at: Mapped[int] = instant(role=Role.VOLATILE)
    note: Mapped[str] = text(140, "of the sender", default="", role=Role.GUARDED)


class StockHold(Base):
    """Pieces kept in a store for a customer."""

    __tablename__ = "stock_hold"
    stock_hold_id: Mapped[str] = identifier("hld")
    store_id: Mapped[str] = reference("store.store_id", role=Role.GUARDED)
    store_item_id: Mapped[str] = reference("store_item.store_item_id", role=Role.GUARDED)
    quantity: Mapped[int] = integer(minimum=1, unit="pieces", role=Role.GUARDED)
    customer: Mapped[str] = text(80)
    status: Mapped[str] = choice("active", "released", "collected", role=Role.GUARDED)
    placed_at: Mapped[int] = instant(fill="create")


MODELS = [Store, StoreItem, Inventory, StoreShipment, StockHold]
