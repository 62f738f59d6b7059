"""Tables of the delivery service: one diner, addresses, restaurants with dishes, the basket, orders and promo codes."""

from __future__ import annotations

from typing import Literal, get_args

from sqlalchemy import CheckConstraint, UniqueConstraint
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

Cuisine = Literal["bakery", "italian", "turkish", "japanese", "indian", "mexican", "vietnamese"]
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class Base(Entity, DeclarativeBase):
    """Tables of the food_delivery server."""


class Diner(Base):
    """The one who orders, with prepaid money and points; a point is worth a cent."""

    __tablename__ = "diner"
    diner_id: Mapped[str] = identifier("din")
    name: Mapped[str] = text(80, role=Role.GUARDED)
    balance: Mapped[int] = money(role=Role.GUARDED)
    points: Mapped[int] = integer(minimum=0, role=Role.GUARDED)


class DeliveryAddress(Base):
    """Where food can be brought."""

    __tablename__ = "delivery_address"
    delivery_address_id: Mapped[str] = identifier("adr")
    label: Mapped[str] = text(40, unique=True, role=Role.GUARDED)
    street: Mapped[str] = text(80, role=Role.GUARDED)
    zone: Mapped[str] = choice("centre", "north", "south", "harbour", "hills", role=Role.GUARDED)


class Restaurant(Base):
    """A kitchen: when it cooks, where it delivers, what it asks for."""

    __tablename__ = "restaurant"
    restaurant_id: Mapped[str] = identifier("rst")
    name: Mapped[str] = text(80, role=Role.GUARDED)
    cuisine: Mapped[str] = choice(*get_args(Cuisine), role=Role.GUARDED)
    opens: Mapped[int] = integer("minutes after midnight", maximum=1440, role=Role.GUARDED)
    closes: Mapped[int] = integer("minutes after midnight", maximum=1440, role=Role.GUARDED)
    closed_on: Mapped[str | None] = choice(*WEEKDAYS, role=Role.GUARDED, optional=True)
    zones: Mapped[str] = text(60, "where it delivers, separated by blanks", role=Role.GUARDED)
    minimum_order: Mapped[int] = money(role=Role.GUARDED)
    delivery_fee: Mapped[int] = money(role=Role.GUARDED)
    kitchen_minutes: Mapped[int] = integer(minimum=5, maximum=90, unit="minutes", role=Role.GUARDED)
    rating_sum: Mapped[int] = integer(role=Role.GUARDED)
    rating_count: Mapped[int] = integer(role=Role.GUARDED)
    about: Mapped[str] = text(200, default="", role=Role.GUARDED)
    __table_args__ = (CheckConstraint("opens < closes"), STRICT)


class Dish(Base):
    """Something on a menu; `portions` are what the kitchen has left."""

    __tablename__ = "dish"
    dish_id: Mapped[str] = identifier("dsh")
    restaurant_id: Mapped[str] = reference("restaurant.restaurant_id", role=Role.GUARDED)
    name: Mapped[str] = text(80, role=Role.GUARDED)
    price: Mapped[int] = money(minimum=1, role=Role.GUARDED)
    portions: Mapped[int] = integer(minimum=0, maximum=999, role=Role.GUARDED)
    vegetarian: Mapped[int] = flag(role=Role.GUARDED)
    __table_args__ = (UniqueConstraint("restaurant_id", "name"), STRICT)


class BasketItem(Base):
    """What the diner is about to order; free to change, because nothing is ordered yet."""

    __tablename__ = "food_basket_item"
    food_basket_item_id: Mapped[str] = identifier("bsk")
    dish_id: Mapped[str] = reference("dish.dish_id")
    quantity: Mapped[int] = integer(minimum=1, maximum=20)
    __table_args__ = (UniqueConstraint("dish_id"), STRICT)


class FoodOrder(Base):
    """An order. How far it has come follows from `created_at`, its minutes and the clock; see lifecycle.py."""

    __tablename__ = "food_order"
    food_order_id: Mapped[str] = identifier("fod")
    restaurant_id: Mapped[str] = reference("restaurant.restaurant_id", role=Role.GUARDED)
    delivery_address_id: Mapped[str] = reference("delivery_address.delivery_address_id", role=Role.GUARDED)
    status: Mapped[str] = choice("placed", "cancelled", role=Role.GUARDED)
    subtotal: Mapped[int] = money(minimum=1, role=Role.GUARDED)
    delivery_fee: Mapped[int] = money(role=Role.GUARDED)
    discount: Mapped[int] = money("by the promo code", default=0, role=Role.GUARDED)
    points_used: Mapped[int] = integer("points redeemed, a cent each", default=0, role=Role.GUARDED)
    tip: Mapped[int] = money("for the courier", default=0, role=Role.GUARDED)
    promo_code: Mapped[str] = text(20, default="", role=Role.GUARDED)
    stars: Mapped[int | None] = integer("the diner's rating", minimum=1, maximum=5, role=Role.GUARDED, optional=True)
    comment: Mapped[str] = text(300, default="", role=Role.GUARDED)
    kitchen_minutes: Mapped[int] = integer("from placing to pick-up", minimum=1, maximum=120, role=Role.GUARDED)
    ride_minutes: Mapped[int] = integer("from pick-up to the door", minimum=1, maximum=120, role=Role.GUARDED)
    created_at: Mapped[int] = instant("when it was placed", fill="create")
    __table_args__ = (CheckConstraint("discount + points_used <= subtotal + delivery_fee"), STRICT)


class FoodOrderLine(Base):
    """So many portions of a dish in an order, at the price of that day."""

    __tablename__ = "food_order_line"
    food_order_line_id: Mapped[str] = identifier("fol")
    food_order_id: Mapped[str] = reference("food_order.food_order_id", role=Role.GUARDED)
    dish_id: Mapped[str] = reference("dish.dish_id", role=Role.GUARDED)
    quantity: Mapped[int] = integer(minimum=1, maximum=20, role=Role.GUARDED)
    price: Mapped[int] = money("of one portion", minimum=1, role=Role.GUARDED)
    __table_args__ = (UniqueConstraint("food_order_id", "dish_id"), STRICT)


class PromoCode(Base):
    """A discount the diner can use once."""

    __tablename__ = "promo_code"
    promo_code_id: Mapped[str] = identifier("prm")
    code: Mapped[str] = text(20, unique=True, role=Role.GUARDED)
    percent: Mapped[int] = integer("off the dishes", minimum=1, maximum=50, role=Role.GUARDED)
    most: Mapped[int] = money("the discount is never more", role=Role.GUARDED)
    minimum_subtotal: Mapped[int] = money(role=Role.GUARDED)
    valid_until: Mapped[int] = instant(role=Role.GUARDED)
    used: Mapped[int] = flag(role=Role.GUARDED)


MODELS = [
    Diner, DeliveryAddress, Restaurant, Dish, BasketItem, FoodOrder, FoodOrderLine, PromoCode,
]  # fmt: skip
