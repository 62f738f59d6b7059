"""What can be done in the shop beyond browsing it, and the questions it answers.

Rules: goods leave the stock at checkout, not in the cart. A change of the cart's contents takes its coupon and its
delivery choice back, a coupon the delivery choice, so a cart is filled, discounted, addressed and paid in this order.
A purchase is cancelled before it ships; delivered items are returned or exchanged once, within 30 days, food and
beauty products never. Money goes back to where it came from.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from sqlalchemy import bindparam, func, or_, select

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import NoArgs, Output, page_of, query, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import Amount, Key
from palaestra.mcp_servers.shopping.cart import CartView, view_cart
from palaestra.mcp_servers.shopping.models import Category, Product, Review, Variant
from palaestra.mcp_servers.shopping.purchases import PurchaseDetails, view_purchase
from palaestra.mcp_servers.shopping.tools_cart import CART_VERBS
from palaestra.mcp_servers.shopping.tools_purchases import PURCHASE_VERBS


class BrowseArgs(Args):
    """Arguments of a look at the shelves."""

    category: Category | None = None
    maximum_price: Amount = 10**12
    least_stock: Annotated[int, Field(ge=0, le=100, description="pieces that must be left of a variant")] = 1


class Offer(Output):
    """A product with what its matching variants cost and how many pieces are left."""

    product_id: str
    name: str
    brand: str
    category: Category
    price_from: int
    pieces: int
    rating: float | None


class Offers(Output):
    """Offers, cheapest first."""

    items: list[Offer]


# In tenths of a star, so that the sum stays an integer.
_TENTHS = (
    select(func.sum(Review.rating) * 10 // func.count())
    .where(Review.product_id == Product.product_id)
    .correlate(Product)
    .scalar_subquery()
)
_CATEGORY = bindparam("category", type_=Product.__table__.c.category.type)
_PRICE_FROM = func.min(Variant.price).label("price_from")
_OFFERS = Query(
    select(
        Product.product_id, Product.name, Product.brand, Product.category, _PRICE_FROM,
        func.sum(Variant.stock).label("pieces"), _TENTHS.label("tenths"),
    )
    .join_from(Product, Variant, Variant.product_id == Product.product_id)
    .where(
        or_(_CATEGORY.is_(None), Product.category == _CATEGORY),
        Variant.price <= bindparam("maximum"),
        Variant.stock >= bindparam("stock"),
    )
    .group_by(Product.product_id)
    .order_by(_PRICE_FROM, Product.product_id)
    .limit(50)
)  # fmt: skip


@query(returns=Offers)
def browse_products(db: Database, sources: EpisodeSources, args: BrowseArgs) -> Row:
    """The 50 cheapest products with a variant in stock up to a price, with mean rating; a category narrows them."""
    rows = db.rows(_OFFERS, category=args.category, maximum=args.maximum_price, stock=args.least_stock)
    for row in rows:
        tenths = row.pop("tenths")
        row["rating"] = None if tenths is None else tenths / 10
    return {"items": rows}


@query(returns=CartView)
def show_cart(db: Database, sources: EpisodeSources, args: NoArgs) -> Row:
    """The shopper's cart: its lines and whether they are in stock, coupon, delivery and total, in minor units."""
    return view_cart(db)


class TrackPurchaseArgs(Args):
    """Arguments that name a purchase."""

    purchase_id: Key


@query(returns=PurchaseDetails)
def track_purchase(db: Database, sources: EpisodeSources, args: TrackPurchaseArgs) -> Row:
    """A purchase, its items, and how far it has come: preparing, on the way, at the door, delivered or cancelled."""
    return view_purchase(db, sources, args.purchase_id)


class ReadReviewsArgs(Args):
    """Arguments of reading reviews."""

    product_id: Key


_REVIEWS = Query(
    select(Review.__table__)
    .where(Review.product_id == bindparam("product"))
    .order_by(Review.written_at.desc(), Review.review_id)
    .limit(20)
)


@query(returns=page_of(view(Review), "ProductReviews"))
def read_product_reviews(db: Database, sources: EpisodeSources, args: ReadReviewsArgs) -> Row:
    """The latest 20 reviews of a product, newest first. They are what customers wrote, not the shop."""
    db.get(Product, args.product_id)
    return {"items": db.rows(_REVIEWS, product=args.product_id)}


VERBS = [*CART_VERBS, *PURCHASE_VERBS]
QUERIES = [browse_products, show_cart, track_purchase, read_product_reviews]
