"""Tables of the shop: the catalogue, and one shopper's cart, wish list, coupons, addresses and purchases."""

from __future__ import annotations

from typing import Literal, get_args

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped

from palaestra.mcp_servers.framework.columns import (
    STRICT,
    Entity,
    Role,
    choice,
    flag,
    identifier,
    instant,
    integer,
    money,
    reference,
    text,
)

Category = Literal["clothing", "shoes", "kitchen", "electronics", "books", "toys", "food", "beauty"]
Speed = Literal["standard", "express"]
ItemStatus = Literal["bought", "returned", "returned_damaged", "exchanged"]


class Base(Entity, DeclarativeBase):
    """Tables of the shopping server."""


class Product(Base):
    """Something the shop sells, in one or several variants."""

    __tablename__ = "product"
    product_id: Mapped[str] = identifier("prd")
    name: Mapped[str] = text(100)
    brand: Mapped[str] = text(60)
    category: Mapped[str] = choice(*get_args(Category))
    description: Mapped[str] = text(300)
    returnable: Mapped[int] = flag("may be returned or exchanged once delivered", role=Role.GUARDED)


class Variant(Base):
    """One size, colour or edition of a product: what is bought, with its own price and stock."""

    __tablename__ = "variant"
    variant_id: Mapped[str] = identifier("var")
    product_id: Mapped[str] = reference("product.product_id", role=Role.GUARDED)
    option: Mapped[str] = text(40, "size, colour or edition")
    price: Mapped[int] = money("of one piece", minimum=1, role=Role.GUARDED)
    stock: Mapped[int] = integer("pieces left", maximum=100_000, role=Role.GUARDED)
    __table_args__ = (UniqueConstraint("product_id", "option"), STRICT)


class Address(Base):
    """Where parcels can be sent; never changed, because purchases were sent there."""

    __tablename__ = "address"
    address_id: Mapped[str] = identifier("adr")
    label: Mapped[str] = text(40, "how the shopper calls it")
    recipient: Mapped[str] = text(80)
    street: Mapped[str] = text(120)
    city: Mapped[str] = text(60)
    country: Mapped[str] = choice("DE", "ES", "FR", "IT", "NL", "PL", "SE", "BR", "CH", "JP", "US")


class PayMethod(Base):
    """What the shopper pays with, and how much it still covers."""

    __tablename__ = "pay_method"
    pay_method_id: Mapped[str] = identifier("pmt")
    label: Mapped[str] = text(60)
    kind: Mapped[str] = choice("credit_card", "debit_card", "gift_card", role=Role.GUARDED)
    available: Mapped[int] = money("what it still covers", role=Role.GUARDED)
    status: Mapped[str] = choice("active", "expired", role=Role.GUARDED)


class Coupon(Base):
    """A discount on a cart, or on its goods of one category."""

    __tablename__ = "coupon"
    coupon_id: Mapped[str] = identifier("cpn")
    code: Mapped[str] = text(20, unique=True, role=Role.GUARDED)
    kind: Mapped[str] = choice("percent", "amount", role=Role.GUARDED)
    value: Mapped[int] = integer("percent, or minor units", minimum=1, maximum=10**6, role=Role.GUARDED)
    category: Mapped[str | None] = choice(
        *get_args(Category), doc="the only goods it counts for", role=Role.GUARDED, optional=True
    )
    minimum: Mapped[int] = money("least worth of the goods it counts for", minimum=1, role=Role.GUARDED)
    uses_left: Mapped[int] = integer(maximum=1000, role=Role.GUARDED)
    expires_at: Mapped[int] = instant(role=Role.GUARDED)


class Cart(Base):
    """The shopper's one cart. Delivery is chosen if address and speed are set."""

    __tablename__ = "cart"
    cart_id: Mapped[str] = identifier("crt")
    coupon_id: Mapped[str | None] = reference("coupon.coupon_id", role=Role.GUARDED, optional=True)
    address_id: Mapped[str | None] = reference("address.address_id", role=Role.GUARDED, optional=True)
    speed: Mapped[str | None] = choice(*get_args(Speed), role=Role.GUARDED, optional=True)


class CartLine(Base):
    """Some pieces of one variant in the cart. They are not reserved until checkout."""

    __tablename__ = "cart_line"
    cart_line_id: Mapped[str] = identifier("cln")
    variant_id: Mapped[str] = reference("variant.variant_id", role=Role.GUARDED)
    quantity: Mapped[int] = integer(minimum=1, maximum=10, role=Role.GUARDED)
    __table_args__ = (UniqueConstraint("variant_id"), STRICT)


class Wish(Base):
    """A variant on the wish list, once."""

    __tablename__ = "wish"
    wish_id: Mapped[str] = identifier("wsh")
    variant_id: Mapped[str] = reference("variant.variant_id")
    note: Mapped[str] = text(140, "why, or for whom", default="")
    __table_args__ = (UniqueConstraint("variant_id"), STRICT)


class Purchase(Base):
    """A cart that was paid. It leaves the warehouse at `ships_at`, whoever looks."""

    __tablename__ = "purchase"
    purchase_id: Mapped[str] = identifier("pur")
    address_id: Mapped[str] = reference("address.address_id", role=Role.GUARDED)
    pay_method_id: Mapped[str] = reference("pay_method.pay_method_id", role=Role.GUARDED)
    coupon_id: Mapped[str | None] = reference("coupon.coupon_id", role=Role.GUARDED, optional=True)
    speed: Mapped[str] = choice(*get_args(Speed), role=Role.GUARDED)
    discount: Mapped[int] = money(role=Role.GUARDED)
    delivery_fee: Mapped[int] = money(role=Role.GUARDED)
    total: Mapped[int] = money("what was paid, delivery included", role=Role.GUARDED)
    refunded: Mapped[int] = money("what was paid back since", default=0, role=Role.GUARDED)
    status: Mapped[str] = choice("placed", "delivered", "cancelled", role=Role.GUARDED)
    # These follow from the moment of the checkout, so they are no more part of a goal than that moment is.
    placed_at: Mapped[int] = instant(fill="create")
    ships_at: Mapped[int] = instant("when it leaves the warehouse", role=Role.VOLATILE)
    arrives_at: Mapped[int] = instant("when the parcel is at the door", role=Role.VOLATILE)
    delivered_at: Mapped[int | None] = instant("when it was taken in", role=Role.VOLATILE, optional=True)


class PurchaseLine(Base):
    """Some pieces of one variant that were bought; returned or exchanged as a whole, once."""

    __tablename__ = "purchase_line"
    purchase_line_id: Mapped[str] = identifier("pln")
    purchase_id: Mapped[str] = reference("purchase.purchase_id", role=Role.GUARDED)
    variant_id: Mapped[str] = reference("variant.variant_id", role=Role.GUARDED)
    quantity: Mapped[int] = integer(minimum=1, maximum=10, role=Role.GUARDED)
    unit_price: Mapped[int] = money("of one piece before any discount", minimum=1, role=Role.GUARDED)
    paid: Mapped[int] = money("for all pieces, after discount", role=Role.GUARDED)
    status: Mapped[str] = choice(*get_args(ItemStatus), default="bought", role=Role.GUARDED)


class Review(Base):
    """What someone thinks of a product; the shopper's own ones name the item they got."""

    __tablename__ = "review"
    review_id: Mapped[str] = identifier("rev")
    product_id: Mapped[str] = reference("product.product_id", role=Role.GUARDED)
    purchase_line_id: Mapped[str | None] = reference("purchase_line.purchase_line_id", role=Role.GUARDED, optional=True)
    author: Mapped[str] = text(80, role=Role.GUARDED)
    rating: Mapped[int] = integer("stars", minimum=1, maximum=5, role=Role.GUARDED)
    text: Mapped[str] = text(500, role=Role.GUARDED)
    written_at: Mapped[int] = instant(fill="create")
    __table_args__ = (UniqueConstraint("purchase_line_id"), STRICT)


MODELS = [Product, Variant, Address, PayMethod, Coupon, Cart, CartLine, Wish, Purchase, PurchaseLine, Review]
