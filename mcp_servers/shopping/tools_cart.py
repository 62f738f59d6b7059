"""Verbs that fill the cart and take it to the checkout."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field
from sqlalchemy import bindparam, select

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import precondition, verb
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import Key
from palaestra.mcp_servers.shopping.cart import CartView, change_cart, line_of, read_cart, view_cart
from palaestra.mcp_servers.shopping.models import (
    Address,
    CartLine,
    Coupon,
    PayMethod,
    Purchase,
    PurchaseLine,
    Speed,
    Variant,
    Wish,
)
from palaestra.mcp_servers.shopping.pricing import amount, eligible, subtotal
from palaestra.mcp_servers.shopping.purchases import PurchaseDetails, view_purchase

SERVED: Final = frozenset({"DE", "ES", "FR", "IT", "NL", "PL", "SE"})
HOUR: Final = 3_600
DAYS_ON_THE_WAY: Final = {"standard": (2, 5), "express": (1, 1)}

# -- preconditions -------------------------------------------------------------------------------------------------


@precondition
def stock_covers_quantity(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The stock of the variant covers the quantity, together with what is in the cart already."""
    line = line_of(db, args.variant_id)
    wanted = args.quantity + (line["quantity"] if line else 0)
    return bool(db.get(Variant, args.variant_id)["stock"] >= wanted)


@precondition
def new_quantity_is_in_stock(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The stock of the variant covers the new quantity."""
    line = db.get(CartLine, args.cart_line_id)
    return bool(db.get(Variant, line["variant_id"])["stock"] >= args.quantity)


@precondition
def cart_is_in_stock(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Everything in the cart is in stock; take out or reduce what is not."""
    return read_cart(db).in_stock


@precondition
def coupon_is_not_expired(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The coupon has not expired."""
    return bool(db.get(Coupon, args.coupon_id)["expires_at"] > sources.now)


@precondition
def coupon_has_uses_left(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The coupon is not used up."""
    return bool(db.get(Coupon, args.coupon_id)["uses_left"] > 0)


@precondition
def cart_reaches_coupon_minimum(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The goods in the cart that the coupon counts for are worth at least its minimum."""
    coupon = db.get(Coupon, args.coupon_id)
    return bool(subtotal(eligible(coupon, read_cart(db).lines)) >= coupon["minimum"])


@precondition
def cart_holds_goods(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """There is something in the cart."""
    return bool(read_cart(db).lines)


@precondition
def address_is_served(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The address is in a country the shop delivers to: DE, ES, FR, IT, NL, PL or SE."""
    return db.get(Address, args.address_id)["country"] in SERVED


@precondition
def delivery_is_chosen(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The delivery of the cart as it stands is chosen."""
    return read_cart(db).row["speed"] is not None


@precondition
def cart_coupon_is_not_expired(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The coupon on the cart has not expired since; change the cart to be rid of it."""
    coupon = read_cart(db).coupon
    return bool(coupon is None or coupon["expires_at"] > sources.now)


@precondition
def pay_method_is_active(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The pay method is active, not expired."""
    return bool(db.get(PayMethod, args.pay_method_id)["status"] == "active")


@precondition
def pay_method_covers_total(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """What is available on the pay method covers the cart's total."""
    return bool(db.get(PayMethod, args.pay_method_id)["available"] >= read_cart(db).total)


# -- verbs ---------------------------------------------------------------------------------------------------------


class AddToCartArgs(Args):
    """Arguments of putting something into the cart."""

    variant_id: Key
    quantity: Annotated[int, Field(ge=1, le=10, description="pieces to add")] = 1


@verb(requires=[stock_covers_quantity], returns=CartView)
def add_to_cart(db: Database, sources: EpisodeSources, args: AddToCartArgs) -> Row:
    """Put pieces of a variant in stock into the cart, at most 10 of each, and take it off the wish list.

    A changed cart loses its coupon and its delivery choice.
    """
    line = line_of(db, args.variant_id)
    if line is None:
        db.insert(CartLine, variant_id=args.variant_id, quantity=args.quantity)
    else:
        db.update(CartLine, line["cart_line_id"], quantity=line["quantity"] + args.quantity)
    wish = db.first(_WISH, variant=args.variant_id)
    if wish is not None:
        db.delete(Wish, wish["wish_id"])
    change_cart(db)
    return view_cart(db)


_WISH = Query(select(Wish.wish_id).where(Wish.variant_id == bindparam("variant")))


class SetCartQuantityArgs(Args):
    """Arguments of a change of quantity."""

    cart_line_id: Key
    quantity: Annotated[int, Field(ge=0, le=10, description="pieces wanted in all; 0 takes the line out")]


@verb(requires=[new_quantity_is_in_stock], returns=CartView)
def set_cart_quantity(db: Database, sources: EpisodeSources, args: SetCartQuantityArgs) -> Row:
    """Set how many pieces of a line the cart holds; 0 takes it out. The cart loses its coupon and delivery choice."""
    if args.quantity == 0:
        db.delete(CartLine, args.cart_line_id)
    else:
        db.update(CartLine, args.cart_line_id, quantity=args.quantity)
    change_cart(db)
    return view_cart(db)


class ApplyCouponArgs(Args):
    """Arguments of using a coupon."""

    coupon_id: Key


@verb(
    requires=[cart_is_in_stock, coupon_is_not_expired, coupon_has_uses_left, cart_reaches_coupon_minimum],
    returns=CartView,
)
def apply_coupon(db: Database, sources: EpisodeSources, args: ApplyCouponArgs) -> Row:
    """Put a valid coupon on a cart that is in stock, in place of any other. Delivery must be chosen afterwards."""
    change_cart(db, coupon_id=args.coupon_id)
    return view_cart(db)


class ChooseDeliveryArgs(Args):
    """Arguments of a delivery choice."""

    address_id: Key
    speed: Speed = "standard"


@verb(requires=[cart_holds_goods, cart_is_in_stock, address_is_served], returns=CartView)
def choose_cart_delivery(db: Database, sources: EpisodeSources, args: ChooseDeliveryArgs) -> Row:
    """Choose where and how fast the cart is delivered. Standard: 4.90, free from 60.00; express: 12.90, a day."""
    change_cart(db, coupon_id=read_cart(db).row["coupon_id"], address_id=args.address_id, speed=args.speed)
    return view_cart(db)


class CheckoutArgs(Args):
    """Arguments of a checkout."""

    pay_method_id: Key


@verb(
    requires=[
        cart_is_in_stock, delivery_is_chosen, cart_coupon_is_not_expired, pay_method_is_active,
        pay_method_covers_total,
    ],
    returns=PurchaseDetails,
)  # fmt: skip
def checkout_cart(db: Database, sources: EpisodeSources, args: CheckoutArgs) -> Row:
    """Buy the cart: pay its total, take the goods out of stock, use the coupon, and empty the cart.

    Delivery must be chosen after the last change to the cart.
    """
    cart = read_cart(db)
    ships_at = sources.now + sources.draw("warehouse", 6, 30) * HOUR
    purchase = db.insert(
        Purchase, address_id=cart.row["address_id"], pay_method_id=args.pay_method_id,
        coupon_id=cart.row["coupon_id"], speed=cart.row["speed"], discount=sum(cart.discounts),
        delivery_fee=cart.fee, total=cart.total, status="placed", ships_at=ships_at,
        arrives_at=ships_at + sources.draw("carrier", *DAYS_ON_THE_WAY[cart.row["speed"]]) * 24 * HOUR,
    )  # fmt: skip
    for line, discount in zip(cart.lines, cart.discounts, strict=True):
        db.insert(
            PurchaseLine, purchase_id=purchase["purchase_id"], variant_id=line["variant_id"],
            quantity=line["quantity"], unit_price=line["price"], paid=amount(line) - discount,
        )  # fmt: skip
        db.update(Variant, line["variant_id"], stock=line["stock"] - line["quantity"])
        db.delete(CartLine, line["cart_line_id"])
    if cart.coupon is not None:
        db.update(Coupon, cart.coupon["coupon_id"], uses_left=cart.coupon["uses_left"] - 1)
    available = db.get(PayMethod, args.pay_method_id)["available"]
    db.update(PayMethod, args.pay_method_id, available=available - cart.total)
    change_cart(db)
    return view_purchase(db, sources, purchase["purchase_id"])


CART_VERBS = [add_to_cart, set_cart_quantity, apply_coupon, choose_cart_delivery, checkout_cart]
