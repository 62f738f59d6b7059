"""What can be done with flight bookings; tools_hotels.py adds the stays, tools_search.py what can be looked up.

Rules: a seat is held for 30 minutes and becomes a booking when it is paid; nobody is booked on two flights at once or
beyond the last day of the passport; the fare decides about changes and refunds (fares.py), unless the airline cancelled
the flight; check-in opens 24 hours before departure and ends 45 minutes before it; a checked-in booking stays as it is.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import precondition, verb, view
from palaestra.mcp_servers.framework.sql import Database, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import Key, to_iso
from palaestra.mcp_servers.travel_booking.fares import change_cost, fare_price, refund, seat_names
from palaestra.mcp_servers.travel_booking.models import Flight, FlightBooking, Traveller, Trip
from palaestra.mcp_servers.travel_booking.seats import HOLD_SECONDS, cabin_of, free_seats, is_in_the_air, seats_left
from palaestra.mcp_servers.travel_booking.tools_hotels import HOTEL_QUERIES, HOTEL_VERBS
from palaestra.mcp_servers.travel_booking.tools_search import FLIGHT_QUERIES
from palaestra.mcp_servers.travel_booking.wallets import can_pay, pay, travel_credit, wallet_is_valid

SALE_ENDS: Final = 2 * 3_600
CHECK_IN_OPENS: Final = 24 * 3_600
CHECK_IN_ENDS: Final = 45 * 60

FlightBookingView = view(FlightBooking)


def _booking(db: Database, args: Any) -> Row:
    return db.get(FlightBooking, args.flight_booking_id)


def _flight(db: Database, args: Any) -> Row:
    """The flight the booking is for now."""
    return db.get(Flight, _booking(db, args)["flight_id"])


def _wish(db: Database, args: Any) -> Row:
    """Who wants a seat on `args.flight_id`, in which cabin: a new booking, or an old one that is to be changed."""
    if hasattr(args, "flight_booking_id"):
        return _booking(db, args)
    return {"flight_booking_id": "", "traveller_id": args.traveller_id, "cabin": args.cabin}


def _cost_of_change(db: Database, args: Any) -> int:
    booking = _booking(db, args)
    new_price = fare_price(cabin_of(db, args.flight_id, booking["cabin"]), booking["fare"])
    return change_cost(booking, _flight(db, args), new_price)


def _cost_of_upgrade(db: Database, args: Any) -> int:
    booking = _booking(db, args)
    business = cabin_of(db, booking["flight_id"], "business")
    return max(0, fare_price(business, booking["fare"]) - int(booking["price"]))


# -- preconditions: the flight wished for ----------------------------------------------------------------------------


@precondition
def flight_is_on_sale(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The flight is scheduled and departs at least two hours from now."""
    flight = db.get(Flight, args.flight_id)
    return bool(flight["status"] == "scheduled" and flight["departs_at"] >= sources.now + SALE_ENDS)


@precondition
def seats_are_left(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The cabin of the flight has a seat left."""
    return seats_left(db, sources.now, cabin_of(db, args.flight_id, _wish(db, args)["cabin"])) > 0


@precondition
def passport_outlasts_flight(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The traveller's passport is valid on the day of arrival."""
    traveller = db.get(Traveller, _wish(db, args)["traveller_id"])
    return bool(to_iso(db.get(Flight, args.flight_id)["arrives_at"])[:10] <= traveller["passport_expires"])


@precondition
def traveller_is_free(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The traveller has no other flight at that time."""
    wish, flight = _wish(db, args), db.get(Flight, args.flight_id)
    return not is_in_the_air(db, sources.now, wish["traveller_id"], flight, but=wish["flight_booking_id"])


@precondition
def flight_is_another_on_the_route(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The new flight is a different one between the same airports."""
    old, new = _flight(db, args), db.get(Flight, args.flight_id)
    route = ("origin_id", "destination_id")
    return old["flight_id"] != new["flight_id"] and all(old[end] == new[end] for end in route)


# -- preconditions: the booking --------------------------------------------------------------------------------------


@precondition
def booking_is_held(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The booking is held and not paid yet."""
    return bool(_booking(db, args)["status"] == "held")


@precondition
def hold_is_running(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The hold has not run out; if it has, hold a seat again."""
    return bool(_booking(db, args)["created_at"] + HOLD_SECONDS > sources.now)


@precondition
def wallet_covers_price(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The wallet covers the price."""
    return can_pay(db, sources, args.wallet_id, _booking(db, args)["price"])


@precondition
def booking_is_confirmed(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The booking is confirmed, and not checked in or cancelled."""
    return bool(_booking(db, args)["status"] == "confirmed")


@precondition
def booking_is_held_or_confirmed(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The booking is held or confirmed, and not checked in or cancelled."""
    return _booking(db, args)["status"] in ("held", "confirmed")


@precondition
def flight_has_not_departed(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The booked flight has not departed; a cancelled one never does."""
    flight = _flight(db, args)
    return bool(flight["status"] == "cancelled" or flight["departs_at"] > sources.now)


@precondition
def flight_will_depart(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The booked flight is scheduled, not cancelled, and has not departed."""
    flight = _flight(db, args)
    return bool(flight["status"] == "scheduled" and flight["departs_at"] > sources.now)


@precondition
def fare_allows_change(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The fare allows changes, or the airline cancelled the flight."""
    return bool(_booking(db, args)["fare"] != "basic" or _flight(db, args)["status"] == "cancelled")


@precondition
def wallet_covers_change(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The wallet the booking was paid from covers the difference in price and the fee."""
    return can_pay(db, sources, _booking(db, args)["wallet_id"], _cost_of_change(db, args))


@precondition
def fare_is_refundable(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The fare is refundable, the airline cancelled the flight, or nothing is paid yet."""
    booking = _booking(db, args)
    return booking["paid"] == 0 or refund(booking, _flight(db, args)).to != "nothing"


@precondition
def check_in_is_open(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The flight is scheduled and departs in less than 24 hours and more than 45 minutes."""
    flight = _flight(db, args)
    left = flight["departs_at"] - sources.now
    return bool(flight["status"] == "scheduled" and CHECK_IN_ENDS < left < CHECK_IN_OPENS)


@precondition
def booking_is_in_economy(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The booking is in economy."""
    return bool(_booking(db, args)["cabin"] == "economy")


@precondition
def business_seats_are_left(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The business cabin of the flight has a seat left."""
    return seats_left(db, sources.now, cabin_of(db, _booking(db, args)["flight_id"], "business")) > 0


@precondition
def wallet_covers_upgrade(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The wallet the booking was paid from covers the difference in price."""
    return can_pay(db, sources, _booking(db, args)["wallet_id"], _cost_of_upgrade(db, args))


@precondition
def seat_is_in_cabin(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The booking's cabin has a seat of that name."""
    booking = _booking(db, args)
    return args.seat in seat_names(cabin_of(db, booking["flight_id"], booking["cabin"]))


@precondition
def seat_is_free(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Nobody sits in that seat."""
    booking = _booking(db, args)
    return args.seat in free_seats(db, cabin_of(db, booking["flight_id"], booking["cabin"]))


# -- verbs -----------------------------------------------------------------------------------------------------------


class HoldSeatArgs(Args):
    """Arguments of a hold."""

    trip_id: Key
    traveller_id: Key
    flight_id: Key
    cabin: Literal["economy", "business"] = "economy"
    fare: Annotated[
        Literal["basic", "standard", "flexible"],
        Field(description="basic: no change, no refund; standard: both for a fee; flexible: both free"),
    ]


@verb(
    requires=[flight_is_on_sale, seats_are_left, passport_outlasts_flight, traveller_is_free],
    returns=FlightBookingView,
)
def hold_flight_seat(db: Database, sources: EpisodeSources, args: HoldSeatArgs) -> Row:
    """Hold a seat on a flight for a traveller, for 30 minutes at today's price. Pay with confirm_flight_booking."""
    db.get(Trip, args.trip_id)
    price = fare_price(cabin_of(db, args.flight_id, args.cabin), args.fare)
    return db.insert(
        FlightBooking, trip_id=args.trip_id, traveller_id=args.traveller_id, flight_id=args.flight_id,
        cabin=args.cabin, fare=args.fare, price=price, status="held",
    )  # fmt: skip


class ConfirmArgs(Args):
    """Arguments of a payment."""

    flight_booking_id: Key
    wallet_id: Key


@verb(requires=[booking_is_held, hold_is_running, wallet_is_valid, wallet_covers_price], returns=FlightBookingView)
def confirm_flight_booking(db: Database, sources: EpisodeSources, args: ConfirmArgs) -> Row:
    """Pay for a held seat in full from one wallet; the booking is then confirmed."""
    price = _booking(db, args)["price"]
    pay(db, args.wallet_id, price)
    return db.update(FlightBooking, args.flight_booking_id, status="confirmed", wallet_id=args.wallet_id, paid=price)


class ChangeArgs(Args):
    """Arguments of a change."""

    flight_booking_id: Key
    flight_id: Annotated[Key, Field(description="the flight to change to")]


@verb(
    requires=[
        booking_is_confirmed, flight_has_not_departed, fare_allows_change, flight_is_another_on_the_route,
        flight_is_on_sale, seats_are_left, passport_outlasts_flight, traveller_is_free, wallet_covers_change,
    ],
    returns=FlightBookingView,
)  # fmt: skip
def change_flight_booking(db: Database, sources: EpisodeSources, args: ChangeArgs) -> Row:
    """Move a confirmed booking to another flight on the same route, in the same cabin and fare; its seat is given up.

    A standard fare pays the difference upwards and 40.00, a flexible one the difference in both directions; after the
    airline cancelled the flight it costs nothing.
    """
    booking, cost = _booking(db, args), _cost_of_change(db, args)
    new_price = fare_price(cabin_of(db, args.flight_id, booking["cabin"]), booking["fare"])
    free_of_charge = _flight(db, args)["status"] == "cancelled"
    pay(db, booking["wallet_id"], cost)
    return db.update(
        FlightBooking, args.flight_booking_id, flight_id=args.flight_id, seat=None, paid=booking["paid"] + cost,
        price=booking["price"] if free_of_charge else new_price,
    )  # fmt: skip


class FlightBookingKeyArgs(Args):
    """Arguments that name a flight booking."""

    flight_booking_id: Key


@verb(requires=[booking_is_held_or_confirmed, flight_has_not_departed, fare_is_refundable], returns=FlightBookingView)
def cancel_flight_booking(db: Database, sources: EpisodeSources, args: FlightBookingKeyArgs) -> Row:
    """Cancel a held or refundable booking. Flexible fares get the money back, standard ones credit less 60.00."""
    booking = _booking(db, args)
    back = refund(booking, _flight(db, args))
    if back.amount:
        pay(db, booking["wallet_id"] if back.to == "wallet" else travel_credit(db), -back.amount)
    return db.update(
        FlightBooking, args.flight_booking_id, status="cancelled", seat=None,
        paid=booking["paid"] - back.amount,
    )  # fmt: skip


@verb(requires=[booking_is_confirmed, check_in_is_open], returns=FlightBookingView)
def check_in_flight(db: Database, sources: EpisodeSources, args: FlightBookingKeyArgs) -> Row:
    """Check in for a flight that departs within 24 hours. Without a chosen seat the first free one is given."""
    booking = _booking(db, args)
    seat = booking["seat"] or free_seats(db, cabin_of(db, booking["flight_id"], booking["cabin"]))[0]
    return db.update(FlightBooking, args.flight_booking_id, status="checked_in", seat=seat)


@verb(
    requires=[
        booking_is_confirmed, flight_will_depart, booking_is_in_economy, business_seats_are_left, wallet_covers_upgrade,
    ],
    returns=FlightBookingView,
)  # fmt: skip
def upgrade_flight_cabin(db: Database, sources: EpisodeSources, args: FlightBookingKeyArgs) -> Row:
    """Move a confirmed economy booking to business for the difference in price; its seat is given up."""
    booking, cost = _booking(db, args), _cost_of_upgrade(db, args)
    pay(db, booking["wallet_id"], cost)
    return db.update(
        FlightBooking, args.flight_booking_id, cabin="business", seat=None, price=booking["price"] + cost,
        paid=booking["paid"] + cost,
    )  # fmt: skip


class ChooseSeatArgs(Args):
    """Arguments of a seat."""

    flight_booking_id: Key
    seat: Annotated[str, Field(pattern=r"^[0-9]{1,2}[A-Z]$", description="row and letter, such as 12C")]


@verb(requires=[booking_is_confirmed, flight_will_depart, seat_is_in_cabin, seat_is_free], returns=FlightBookingView)
def choose_flight_seat(db: Database, sources: EpisodeSources, args: ChooseSeatArgs) -> Row:
    """Choose a free seat in the cabin of a confirmed booking, instead of the one chosen before."""
    return db.update(FlightBooking, args.flight_booking_id, seat=args.seat)


VERBS = [
    hold_flight_seat, confirm_flight_booking, change_flight_booking, cancel_flight_booking, check_in_flight,
    upgrade_flight_cabin, choose_flight_seat, *HOTEL_VERBS,
]  # fmt: skip
QUERIES = [*FLIGHT_QUERIES, *HOTEL_QUERIES]
