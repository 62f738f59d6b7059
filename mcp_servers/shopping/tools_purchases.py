"""Verbs on what was bought: call it off, take it in, give it back, swap it, judge it."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field
from sqlalchemy import bindparam, select

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import precondition, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import Key
from palaestra.mcp_servers.shopping.models import (
    Address,
    Coupon,
    PayMethod,
    Product,
    Purchase,
    PurchaseLine,
    Review,
    Variant,
)
from palaestra.mcp_servers.shopping.purchases import PurchaseDetails, view_purchase

RETURN_SECONDS: Final = 30 * 86_400

PurchaseLineView = view(PurchaseLine)

_LINES = Query(
    select(PurchaseLine.__table__)
    .where(PurchaseLine.purchase_id == bindparam("purchase"))
    .order_by(PurchaseLine.purchase_line_id)
)
_REVIEW = Query(select(Review.review_id).where(Review.purchase_line_id == bindparam("line")))


def _purchase_of(db: Database, purchase_line_id: str) -> Row:
    return db.get(Purchase, db.get(PurchaseLine, purchase_line_id)["purchase_id"])


def _product_of(db: Database, variant_id: str) -> Row:
    return db.get(Product, db.get(Variant, variant_id)["product_id"])


# -- preconditions -------------------------------------------------------------------------------------------------


@precondition
def purchase_is_placed(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The purchase is neither delivered nor cancelled."""
    return bool(db.get(Purchase, args.purchase_id)["status"] == "placed")


@precondition
def purchase_is_not_shipped(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The purchase has not left the warehouse yet; later, wait for it and return its items."""
    return bool(sources.now < db.get(Purchase, args.purchase_id)["ships_at"])


@precondition
def item_is_delivered(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The item is delivered."""
    return bool(_purchase_of(db, args.purchase_line_id)["status"] == "delivered")


@precondition
def item_is_returnable(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The product may be returned or exchanged; food and beauty products may not."""
    return bool(_product_of(db, db.get(PurchaseLine, args.purchase_line_id)["variant_id"])["returnable"])


@precondition
def item_is_as_bought(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The item was neither returned nor exchanged before."""
    return bool(db.get(PurchaseLine, args.purchase_line_id)["status"] == "bought")


@precondition
def return_window_is_open(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The item was delivered at most 30 days ago."""
    return bool(sources.now - _purchase_of(db, args.purchase_line_id)["delivered_at"] <= RETURN_SECONDS)


@precondition
def replacement_is_another_variant(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The replacement is another variant of the same product."""
    old = db.get(Variant, db.get(PurchaseLine, args.purchase_line_id)["variant_id"])
    new = db.get(Variant, args.variant_id)
    return bool(new["product_id"] == old["product_id"] and new["variant_id"] != old["variant_id"])


@precondition
def replacement_costs_the_same(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The replacement costs what a piece of the item cost."""
    return bool(db.get(Variant, args.variant_id)["price"] == db.get(PurchaseLine, args.purchase_line_id)["unit_price"])


@precondition
def replacement_is_in_stock(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The stock of the replacement covers the item's quantity."""
    return bool(db.get(Variant, args.variant_id)["stock"] >= db.get(PurchaseLine, args.purchase_line_id)["quantity"])


@precondition
def item_is_not_reviewed(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The shopper has not reviewed the item yet."""
    return db.first(_REVIEW, line=args.purchase_line_id) is None


# -- verbs ---------------------------------------------------------------------------------------------------------


class PurchaseKeyArgs(Args):
    """Arguments that name a purchase."""

    purchase_id: Key


@verb(requires=[purchase_is_placed, purchase_is_not_shipped], returns=PurchaseDetails)
def cancel_purchase(db: Database, sources: EpisodeSources, args: PurchaseKeyArgs) -> Row:
    """Call off a purchase that has not left the warehouse: all money, goods and the coupon's use go back."""
    purchase = db.get(Purchase, args.purchase_id)
    for line in db.rows(_LINES, purchase=args.purchase_id):
        _restock(db, line["variant_id"], line["quantity"])
    if purchase["coupon_id"] is not None:
        uses = db.get(Coupon, purchase["coupon_id"])["uses_left"]
        db.update(Coupon, purchase["coupon_id"], uses_left=uses + 1)
    _refund(db, purchase, purchase["total"])
    db.update(Purchase, args.purchase_id, status="cancelled")
    return view_purchase(db, sources, args.purchase_id)


def _restock(db: Database, variant_id: str, quantity: int) -> None:
    db.update(Variant, variant_id, stock=db.get(Variant, variant_id)["stock"] + quantity)


def _refund(db: Database, purchase: Row, money: int) -> None:
    """Pay back to where the money came from."""
    available = db.get(PayMethod, purchase["pay_method_id"])["available"]
    db.update(PayMethod, purchase["pay_method_id"], available=available + money)
    db.update(Purchase, purchase["purchase_id"], refunded=purchase["refunded"] + money)


@verb(requires=[purchase_is_placed], returns=PurchaseDetails)
def receive_purchase(db: Database, sources: EpisodeSources, args: PurchaseKeyArgs) -> Row:
    """Wait for a purchase and take the parcel in. Time passes, days if need be, until it is at the door."""
    purchase = db.get(Purchase, args.purchase_id)
    sources.advance(max(0, purchase["arrives_at"] - sources.now))
    db.update(Purchase, args.purchase_id, status="delivered", delivered_at=sources.now)
    return view_purchase(db, sources, args.purchase_id)


class ReturnItemArgs(Args):
    """Arguments of a return."""

    purchase_line_id: Key
    reason: Literal["does_not_fit", "damaged", "not_as_described", "changed_mind"]


@verb(
    requires=[item_is_delivered, item_is_as_bought, item_is_returnable, return_window_is_open],
    returns=PurchaseLineView,
)
def return_purchased_item(db: Database, sources: EpisodeSources, args: ReturnItemArgs) -> Row:
    """Send a delivered item back within 30 days: what was paid for it is refunded, delivery fees are not.

    Undamaged goods go back into stock. Not for food and beauty products.
    """
    line = db.get(PurchaseLine, args.purchase_line_id)
    _refund(db, db.get(Purchase, line["purchase_id"]), line["paid"])
    if args.reason == "damaged":
        return db.update(PurchaseLine, args.purchase_line_id, status="returned_damaged")
    _restock(db, line["variant_id"], line["quantity"])
    return db.update(PurchaseLine, args.purchase_line_id, status="returned")


class ExchangeItemArgs(Args):
    """Arguments of an exchange."""

    purchase_line_id: Key
    variant_id: Annotated[Key, Field(description="the variant wanted instead")]


@verb(
    requires=[
        item_is_delivered, item_is_as_bought, item_is_returnable, return_window_is_open,
        replacement_is_another_variant, replacement_costs_the_same, replacement_is_in_stock,
    ],
    returns=PurchaseLineView,
)  # fmt: skip
def exchange_purchased_item(db: Database, sources: EpisodeSources, args: ExchangeItemArgs) -> Row:
    """Swap a delivered item within 30 days for another variant of the product that is in stock at the same price."""
    line = db.get(PurchaseLine, args.purchase_line_id)
    _restock(db, line["variant_id"], line["quantity"])
    _restock(db, args.variant_id, -line["quantity"])
    return db.update(PurchaseLine, args.purchase_line_id, variant_id=args.variant_id, status="exchanged")


class ReviewItemArgs(Args):
    """Arguments of a review."""

    purchase_line_id: Key
    rating: Annotated[int, Field(ge=1, le=5, description="stars")]
    text: Annotated[str, Field(min_length=1, max_length=500)]


@verb(requires=[item_is_delivered, item_is_not_reviewed], returns=view(Review))
def review_purchased_item(db: Database, sources: EpisodeSources, args: ReviewItemArgs) -> Row:
    """Publish the shopper's review of an item that was delivered; one review an item."""
    line = db.get(PurchaseLine, args.purchase_line_id)
    author = db.get(Address, db.get(Purchase, line["purchase_id"])["address_id"])["recipient"]
    return db.insert(
        Review, product_id=db.get(Variant, line["variant_id"])["product_id"], author=author,
        purchase_line_id=args.purchase_line_id, rating=args.rating, text=args.text,
    )  # fmt: skip


PURCHASE_VERBS = [
    cancel_purchase, receive_purchase, return_purchased_item, exchange_purchased_item, review_purchased_item,
]  # fmt: skip
