"""What can be done in the chain beyond looking up stores, items, shipments and holds.

Rules: only available stock (on hand, not held) is held or sent, between open stores, and to where there is room for it
besides what is on its way. A shipment is on hand once it is received. An item is reordered in whole packs, out of the
store's budget, when less than its reorder point is available and nothing is on its way.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field
from sqlalchemy import Select, bindparam, func, select

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.faults import not_found
from palaestra.mcp_servers.framework.spec import Output, precondition, query, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import PRIVATE, Key
from palaestra.mcp_servers.retail_chain.models import Inventory, StockHold, Store, StoreItem, StoreShipment

HOUR: Final = 3_600
DAY: Final = 86_400
DOCK_SECONDS: Final = 8 * HOUR

ShipmentView = view(StoreShipment)
StockHoldView = view(StockHold)
StoreKey = Annotated[Key, Field(json_schema_extra={PRIVATE: {"ref": "store"}})]
Pieces = Annotated[int, Field(ge=1, le=10_000, description="pieces")]

_INVENTORY = Query(
    select(Inventory.__table__).where(
        Inventory.store_id == bindparam("store"), Inventory.store_item_id == bindparam("item")
    )
)
_COMING = Query(
    select(func.coalesce(func.sum(StoreShipment.quantity), 0).label("quantity")).where(
        StoreShipment.store_id == bindparam("store"),
        StoreShipment.store_item_id == bindparam("item"),
        StoreShipment.status == "in_transit",
    )
)


def _inventory(db: Database, store_id: str, item_id: str) -> Row:
    """The stock of an item in a store that sells it. Raises: Refusal "not_found"."""
    db.get(Store, store_id)
    db.get(StoreItem, item_id)
    found = db.first(_INVENTORY, store=store_id, item=item_id)
    if found is None:
        raise not_found("inventory", f"{item_id} in {store_id}")
    return found


def _coming(db: Database, store_id: str, item_id: str) -> int:
    """Pieces on their way to a store."""
    return int(db.scalar(_COMING, store=store_id, item=item_id))


def _packed(db: Database, args: Any) -> int:
    """Pieces that a transfer or a reorder sends."""
    if hasattr(args, "packs"):
        return int(args.packs * db.get(StoreItem, args.store_item_id)["pack_size"])
    return int(args.quantity)


# -- preconditions -------------------------------------------------------------------------------------------------


@precondition
def stores_differ(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Stock is sent from one store to another, not to itself."""
    return bool(args.source_store_id != args.target_store_id)


@precondition
def both_stores_are_open(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Both stores are open, neither is renovating."""
    stores = (db.get(Store, args.source_store_id), db.get(Store, args.target_store_id))
    return all(store["status"] == "open" for store in stores)


@precondition
def store_is_open(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The store is open, not renovating."""
    return bool(db.get(Store, args.store_id)["status"] == "open")


@precondition
def stock_is_available(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """So many pieces are on hand in the store and not held for customers."""
    store_id = args.source_store_id if hasattr(args, "source_store_id") else args.store_id
    stock = _inventory(db, store_id, args.store_item_id)
    return bool(args.quantity <= stock["on_hand"] - stock["held"])


@precondition
def store_has_room(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """What is on hand, what is on its way and what is to be sent fit into the receiving store's capacity."""
    store_id = args.target_store_id if hasattr(args, "target_store_id") else args.store_id
    stock = _inventory(db, store_id, args.store_item_id)
    total = stock["on_hand"] + _coming(db, store_id, args.store_item_id) + _packed(db, args)
    return bool(total <= stock["capacity"])


@precondition
def shipment_is_in_transit(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The shipment has not been received yet."""
    return bool(db.get(StoreShipment, args.store_shipment_id)["status"] == "in_transit")


@precondition
def shipment_is_near(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The shipment has arrived, or arrives within 8 hours, as long as the store can wait for it."""
    return bool(db.get(StoreShipment, args.store_shipment_id)["arrives_at"] <= sources.now + DOCK_SECONDS)


@precondition
def hold_is_active(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The hold is active, neither released nor collected."""
    return bool(db.get(StockHold, args.stock_hold_id)["status"] == "active")


@precondition
def stock_is_low(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Less than the reorder point is available: on hand and not held."""
    stock = _inventory(db, args.store_id, args.store_item_id)
    return bool(stock["on_hand"] - stock["held"] < stock["reorder_point"])


@precondition
def nothing_is_coming(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """No shipment of the item is on its way to the store; receive it first."""
    return _coming(db, args.store_id, args.store_item_id) == 0


@precondition
def budget_covers_reorder(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The store's purchase budget covers the packs at the supplier's unit cost."""
    cost = _packed(db, args) * db.get(StoreItem, args.store_item_id)["unit_cost"]
    return bool(cost <= db.get(Store, args.store_id)["purchase_budget"])


# -- verbs ---------------------------------------------------------------------------------------------------------


class TransferStoreStockArgs(Args):
    """Arguments of a transfer between stores."""

    source_store_id: StoreKey
    target_store_id: StoreKey
    store_item_id: Key
    quantity: Pieces
    note: Annotated[str, Field(max_length=140)] = ""


@verb(requires=[stores_differ, both_stores_are_open, stock_is_available, store_has_room], returns=ShipmentView)
def transfer_store_stock(db: Database, sources: EpisodeSources, args: TransferStoreStockArgs) -> Row:
    """Send available pieces from one open store to another, where they arrive in 2 to 6 hours and must be received."""
    stock = _inventory(db, args.source_store_id, args.store_item_id)
    db.update(Inventory, stock["inventory_id"], on_hand=stock["on_hand"] - args.quantity)
    return db.insert(
        StoreShipment, source_store_id=args.source_store_id, store_id=args.target_store_id,
        store_item_id=args.store_item_id, quantity=args.quantity, status="in_transit",
        arrives_at=sources.now + sources.draw("drive", 2, 6) * HOUR, note=args.note,
    )  # fmt: skip


class StoreShipmentKeyArgs(Args):
    """Arguments that name a shipment."""

    store_shipment_id: Key


@verb(requires=[shipment_is_in_transit, shipment_is_near], returns=ShipmentView)
def receive_store_shipment(db: Database, sources: EpisodeSources, args: StoreShipmentKeyArgs) -> Row:
    """Take a shipment into the stock of its store. If it arrives within 8 hours, time passes until then."""
    shipment = db.get(StoreShipment, args.store_shipment_id)
    sources.advance(max(0, shipment["arrives_at"] - sources.now))
    stock = _inventory(db, shipment["store_id"], shipment["store_item_id"])
    db.update(Inventory, stock["inventory_id"], on_hand=stock["on_hand"] + shipment["quantity"])
    return db.update(StoreShipment, args.store_shipment_id, status="received")


class HoldStoreStockArgs(Args):
    """Arguments of a hold."""

    store_id: Key
    store_item_id: Key
    quantity: Pieces
    customer: Annotated[str, Field(min_length=1, max_length=80, description="who comes for it")]


@verb(requires=[store_is_open, stock_is_available], returns=StockHoldView)
def hold_store_stock(db: Database, sources: EpisodeSources, args: HoldStoreStockArgs) -> Row:
    """Keep available pieces in an open store for a customer; they stay on hand and are not available to others."""
    stock = _inventory(db, args.store_id, args.store_item_id)
    db.update(Inventory, stock["inventory_id"], held=stock["held"] + args.quantity)
    return db.insert(StockHold, **args.model_dump(), status="active")


class StockHoldKeyArgs(Args):
    """Arguments that name a hold."""

    stock_hold_id: Key


@verb(requires=[hold_is_active], returns=StockHoldView)
def release_stock_hold(db: Database, sources: EpisodeSources, args: StockHoldKeyArgs) -> Row:
    """Give up an active hold; its pieces are available again."""
    hold = db.get(StockHold, args.stock_hold_id)
    stock = _inventory(db, hold["store_id"], hold["store_item_id"])
    db.update(Inventory, stock["inventory_id"], held=stock["held"] - hold["quantity"])
    return db.update(StockHold, args.stock_hold_id, status="released")


class ReorderStoreStockArgs(Args):
    """Arguments of a reorder."""

    store_id: Key
    store_item_id: Key
    packs: Annotated[int, Field(ge=1, le=100, description="whole packs of the item's pack size")]


@verb(
    requires=[store_is_open, stock_is_low, nothing_is_coming, store_has_room, budget_covers_reorder],
    returns=ShipmentView,
)
def reorder_store_stock(db: Database, sources: EpisodeSources, args: ReorderStoreStockArgs) -> Row:
    """Order packs of an item from its supplier, when less than the reorder point is available in an open store and
    nothing is on its way. The store's budget pays at once; the shipment takes the item's lead time.
    """
    item, store = db.get(StoreItem, args.store_item_id), db.get(Store, args.store_id)
    quantity = _packed(db, args)
    left = store["purchase_budget"] - quantity * item["unit_cost"]
    db.update(Store, args.store_id, purchase_budget=left)
    return db.insert(
        StoreShipment, store_id=args.store_id, store_item_id=args.store_item_id, quantity=quantity,
        status="in_transit", arrives_at=sources.now + item["lead_days"] * DAY,
    )  # fmt: skip


# -- queries -------------------------------------------------------------------------------------------------------


def _stock_lines(*where: Any) -> Select[*tuple[Any, ...]]:
    """Inventory with names and what is on its way, of the stores and items that the conditions leave."""
    coming = (
        select(StoreShipment.store_id, StoreShipment.store_item_id, func.sum(StoreShipment.quantity).label("pieces"))
        .where(StoreShipment.status == "in_transit")
        .group_by(StoreShipment.store_id, StoreShipment.store_item_id)
        .subquery()
    )
    return (
        select(
            Inventory.store_id, Store.name.label("store"), Inventory.store_item_id, StoreItem.sku,
            StoreItem.name.label("item"), StoreItem.department, Inventory.on_hand, Inventory.held,
            (Inventory.on_hand - Inventory.held).label("available"),
            func.coalesce(coming.c.pieces, 0).label("coming"), Inventory.reorder_point, Inventory.capacity,
        )
        .join_from(Inventory, Store, Store.store_id == Inventory.store_id)
        .join(StoreItem, StoreItem.store_item_id == Inventory.store_item_id)
        .join(
            coming,
            (coming.c.store_id == Inventory.store_id) & (coming.c.store_item_id == Inventory.store_item_id),
            isouter=True,
        )
        .where(*where)
    )  # fmt: skip


class StockLine(Output):
    """Stock of one item in one store, in pieces."""

    store_id: str
    store: str
    store_item_id: str
    sku: str
    item: str
    department: str
    on_hand: int
    held: int
    available: int
    coming: int
    reorder_point: int
    capacity: int


class StockLines(Output):
    """Stock, line by line."""

    items: list[StockLine]


class ShowStoreInventoryArgs(Args):
    """Arguments that name a store."""

    store_id: Key
    only_low: Annotated[bool, Field(description="only items of which less than the reorder point is available")] = False


_OF_STORE = Query(
    _stock_lines(Inventory.store_id == bindparam("store")).order_by(StoreItem.sku, Inventory.inventory_id)
)


@query(returns=StockLines)
def show_store_inventory(db: Database, sources: EpisodeSources, args: ShowStoreInventoryArgs) -> Row:
    """A store's stock by item: on hand, held, available and on its way, with reorder point and capacity."""
    db.get(Store, args.store_id)
    lines = db.rows(_OF_STORE, store=args.store_id)
    return {"items": [line for line in lines if not args.only_low or line["available"] < line["reorder_point"]]}


class StoreItemKeyArgs(Args):
    """Arguments that name an item."""

    store_item_id: Key


_OF_ITEM = Query(
    _stock_lines(Inventory.store_item_id == bindparam("item")).order_by(
        (Inventory.on_hand - Inventory.held).desc(), Store.name, Inventory.inventory_id
    )
)


@query(returns=StockLines)
def find_item_stock(db: Database, sources: EpisodeSources, args: StoreItemKeyArgs) -> Row:
    """Which stores sell an item, and how much each has: the one with most available first."""
    db.get(StoreItem, args.store_item_id)
    return {"items": db.rows(_OF_ITEM, item=args.store_item_id)}


VERBS = [
    transfer_store_stock, receive_store_shipment, hold_store_stock, release_stock_hold, reorder_store_stock,
]  # fmt: skip
QUERIES = [show_store_inventory, find_item_stock]
