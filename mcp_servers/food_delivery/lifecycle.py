"""How far an order has come, as a function of the clock, and what it costs. Pure functions of rows.

    placed --kitchen_minutes--> picked up --ride_minutes--> delivered

Until pick-up an order is `in_the_kitchen` and can still be changed or cancelled; then it is `on_the_way`.
"""

from __future__ import annotations

from typing import Literal

from palaestra.mcp_servers.food_delivery.models import WEEKDAYS
from palaestra.mcp_servers.framework.sql import Row

Phase = Literal["in_the_kitchen", "on_the_way", "delivered", "cancelled"]


def picked_up_at(order: Row) -> int:
    """When the courier takes an order."""
    return int(order["created_at"] + order["kitchen_minutes"] * 60)


def delivered_at(order: Row) -> int:
    """When an order is at the door."""
    return picked_up_at(order) + int(order["ride_minutes"]) * 60


def phase(order: Row, now: int) -> Phase:
    """How far an order has come.

    >>> order = {"status": "placed", "created_at": 0, "kitchen_minutes": 10, "ride_minutes": 5}
    >>> [phase(order, minute * 60) for minute in (9, 10, 15)]
    ['in_the_kitchen', 'on_the_way', 'delivered']
    """
    if order["status"] == "cancelled":
        return "cancelled"
    if now < picked_up_at(order):
        return "in_the_kitchen"
    return "on_the_way" if now < delivered_at(order) else "delivered"


def paid(order: Row) -> int:
    """The money the diner has given for an order; nothing for a cancelled one."""
    if order["status"] == "cancelled":
        return 0
    return int(to_pay(order) + order["tip"])


def to_pay(order: Row) -> int:
    """What dishes and delivery cost after the promo code and points."""
    return int(order["subtotal"] + order["delivery_fee"] - order["discount"] - order["points_used"])


def is_open(restaurant: Row, at: int) -> bool:
    """Whether a restaurant takes orders at a time, seconds since the epoch."""
    days, seconds = divmod(at, 86_400)
    weekday = WEEKDAYS[(days + 3) % 7]  # 1970 began on a Thursday
    return bool(restaurant["closed_on"] != weekday and restaurant["opens"] <= seconds // 60 < restaurant["closes"])


def delivers_to(restaurant: Row, address: Row) -> bool:
    """Whether a restaurant brings food to an address."""
    return address["zone"] in restaurant["zones"].split()
