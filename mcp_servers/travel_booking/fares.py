"""What a fare costs, what a change or a cancellation of it costs, and how seats are named. Pure functions of rows.

    fare        price   change                                          cancellation
    basic       100 %   no                                              no
    standard    130 %   difference upwards + 40.00                      travel credit, less 60.00
    flexible    180 %   difference in both directions                   the money back

A flight the airline cancelled makes every fare on it changeable for nothing and refundable in full.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from palaestra.mcp_servers.framework.sql import Row

PERCENT: Final = {"basic": 100, "standard": 130, "flexible": 180}
CHANGE_FEE: Final = 4_000
CANCEL_FEE: Final = 6_000


class Refund(NamedTuple):
    """What comes back, and as what."""

    amount: int
    to: Literal["nothing", "travel_credit", "wallet"]


def fare_price(cabin: Row, fare: str) -> int:
    """The price of a fare in a cabin, minor units."""
    return int(cabin["price"]) * PERCENT[fare] // 100


def change_cost(booking: Row, flight: Row, new_price: int) -> int:
    """What a change to a seat at `new_price` costs; negative if money comes back."""
    if flight["status"] == "cancelled":
        return 0
    difference = new_price - int(booking["price"])
    return difference if booking["fare"] == "flexible" else max(0, difference) + CHANGE_FEE


def refund(booking: Row, flight: Row) -> Refund:
    """What cancelling a booking brings back."""
    paid = int(booking["paid"])
    if paid == 0 or (booking["fare"] == "basic" and flight["status"] != "cancelled"):
        return Refund(0, "nothing")
    if booking["fare"] == "flexible" or flight["status"] == "cancelled":
        return Refund(paid, "wallet")
    return Refund(max(0, paid - CANCEL_FEE), "travel_credit")


def seat_names(cabin: Row) -> list[str]:
    """Every seat of a cabin, front to back.

    >>> seat_names({"first_row": 9, "rows": 2, "letters": "AC"})
    ['9A', '9C', '10A', '10C']
    """
    rows = range(cabin["first_row"], cabin["first_row"] + cabin["rows"])
    return [f"{row}{letter}" for row in rows for letter in cabin["letters"]]
