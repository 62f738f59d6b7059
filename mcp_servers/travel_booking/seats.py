"""Who has a seat: bookings that count, and what is left of a cabin. A held seat counts until its hold runs out."""

from __future__ import annotations

from typing import Final

from sqlalchemy import and_, bindparam, func, or_, select

from palaestra.mcp_servers.framework.faults import FaultCode, Refusal
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.travel_booking.fares import seat_names
from palaestra.mcp_servers.travel_booking.models import Cabin, Flight, FlightBooking

HOLD_SECONDS: Final = 30 * 60
COUNTS: Final = or_(
    FlightBooking.status == "confirmed",
    FlightBooking.status == "checked_in",
    and_(FlightBooking.status == "held", FlightBooking.created_at > bindparam("held_since")),
)
"""Whether a booking takes up a seat; holds count if they began after `held_since`."""

_CABIN = Query(select(Cabin.__table__).where(Cabin.flight_id == bindparam("flight"), Cabin.kind == bindparam("kind")))
_BOOKED = Query(
    select(func.count()).where(
        FlightBooking.flight_id == bindparam("flight"), FlightBooking.cabin == bindparam("kind"), COUNTS
    )
)
_CHOSEN = Query(
    select(FlightBooking.seat)
    .where(FlightBooking.flight_id == bindparam("flight"), FlightBooking.seat.is_not(None))
    .order_by(FlightBooking.flight_booking_id)
)
_MEANWHILE = Query(
    select(func.count())
    .select_from(FlightBooking)
    .join(Flight, Flight.flight_id == FlightBooking.flight_id)
    .where(
        FlightBooking.traveller_id == bindparam("traveller"),
        FlightBooking.flight_booking_id != bindparam("but"),
        Flight.status == "scheduled",
        Flight.departs_at < bindparam("until"),
        Flight.arrives_at > bindparam("since"),
        COUNTS,
    )
)


def cabin_of(db: Database, flight_id: str, kind: str) -> Row:
    """A cabin of a flight. Raises: Refusal "not_found"."""
    found = db.first(_CABIN, flight=db.get(Flight, flight_id)["flight_id"], kind=kind)
    if found is None:
        raise Refusal(FaultCode.NOT_FOUND, f"the flight has no {kind} cabin", entity="cabin", key=kind)
    return found


def seats_left(db: Database, now: int, cabin: Row) -> int:
    """How many seats of a cabin can still be booked."""
    booked: int = db.scalar(_BOOKED, flight=cabin["flight_id"], kind=cabin["kind"], held_since=now - HOLD_SECONDS)
    return len(seat_names(cabin)) - len(cabin["taken"].split()) - booked


def free_seats(db: Database, cabin: Row) -> list[str]:
    """Seats of a cabin nobody sits in, front to back."""
    taken = {*cabin["taken"].split(), *(row["seat"] for row in db.rows(_CHOSEN, flight=cabin["flight_id"]))}
    return [seat for seat in seat_names(cabin) if seat not in taken]


def is_in_the_air(db: Database, now: int, traveller_id: str, flight: Row, but: str = "") -> bool:
    """Whether a traveller has another flight during this one, the booking `but` left aside."""
    during = {"since": flight["departs_at"], "until": flight["arrives_at"], "held_since": now - HOLD_SECONDS}
    return bool(db.scalar(_MEANWHILE, traveller=traveller_id, but=but, **during))
