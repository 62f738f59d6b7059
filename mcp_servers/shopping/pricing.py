"""What a cart costs: pure arithmetic on minor units, in which every discounted cent belongs to one line.

A line is a mapping with `price`, `quantity` and `category`; a coupon is a row of its table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

Line = Mapping[str, Any]

FEES: Final = {"standard": 490, "express": 1_290}
FREE_STANDARD_FROM: Final = 6_000


def amount(line: Line) -> int:
    """Price of all pieces of a line."""
    return int(line["price"] * line["quantity"])


def subtotal(lines: Sequence[Line]) -> int:
    """Price of all lines before any discount."""
    return sum(amount(line) for line in lines)


def eligible(coupon: Line, lines: Sequence[Line]) -> list[Line]:
    """The lines a coupon counts for."""
    return [line for line in lines if coupon["category"] in (None, line["category"])]


def discounts(coupon: Line | None, lines: Sequence[Line]) -> list[int]:
    """What a coupon takes off each line, in proportion to its price.

    Rounding the running total, not the shares, makes the shares add up to the whole discount.
    """
    if coupon is None:
        return [0] * len(lines)
    base = subtotal(eligible(coupon, lines))
    whole = base * coupon["value"] // 100 if coupon["kind"] == "percent" else min(coupon["value"], base)
    shares, running = [], 0
    for line in lines:
        counted = amount(line) if coupon["category"] in (None, line["category"]) else 0
        shares.append(whole * (running + counted) // base - whole * running // base if counted else 0)
        running += counted
    return shares


def delivery_fee(speed: str, goods: int) -> int:
    """Standard delivery is free for goods worth 60.00 or more after discount; express never is."""
    return 0 if speed == "standard" and goods >= FREE_STANDARD_FROM else FEES[speed]
