"""A purchase as tools show it: its row, how far it has come, and its items."""

from __future__ import annotations

from typing import Literal

from pydantic import create_model
from sqlalchemy import bindparam, select

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import Output, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.shopping.models import ItemStatus, Product, Purchase, PurchaseLine, Variant

Stage = Literal["preparing", "on_the_way", "at_the_door", "delivered", "cancelled"]

_ITEMS = Query(
    select(
        PurchaseLine.purchase_line_id, PurchaseLine.variant_id, Product.product_id, Product.name, Variant.option,
        PurchaseLine.quantity, PurchaseLine.paid, PurchaseLine.status,
    )
    .join_from(PurchaseLine, Variant, Variant.variant_id == PurchaseLine.variant_id)
    .join(Product, Product.product_id == Variant.product_id)
    .where(PurchaseLine.purchase_id == bindparam("purchase"))
    .order_by(PurchaseLine.purchase_line_id)
)  # fmt: skip


class PurchasedItem(Output):
    """One line of a purchase."""

    purchase_line_id: str
    variant_id: str
    product_id: str
    name: str
    option: str
    quantity: int
    paid: int
    status: ItemStatus


PurchaseDetails = create_model(
    "PurchaseDetails", __base__=view(Purchase), stage=(Stage, ...), items=(list[PurchasedItem], ...)
)


def stage_of(purchase: Row, now: int) -> Stage:
    """How far a purchase has come."""
    if purchase["status"] == "cancelled":
        return "cancelled"
    if purchase["status"] == "delivered":
        return "delivered"
    if purchase["arrives_at"] <= now:
        return "at_the_door"
    return "on_the_way" if purchase["ships_at"] <= now else "preparing"


def view_purchase(db: Database, sources: EpisodeSources, purchase_id: str) -> Row:
    """A purchase as tools show it. Raises: Refusal "not_found"."""
    purchase = db.get(Purchase, purchase_id)
    items = db.rows(_ITEMS, purchase=purchase_id)
    return {**purchase, "stage": stage_of(purchase, sources.now), "items": items}
