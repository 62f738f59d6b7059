"""What can be looked up about flights: connections, seats, a trip's itinerary, what a cancellation brings back."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field
from sqlalchemy import bindparam, func, or_, select
from sqlalchemy.orm import aliased

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import Output, query
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import Day, FlagOut, InstantOut, Key, parse_instant
from palaestra.mcp_servers.travel_booking.fares import refund
from palaestra.mcp_servers.travel_booking.models import (
    Airport,
    Cabin,
    Flight,
    FlightBooking,
    Hotel,
    HotelBooking,
    RoomType,
    Trip,
)
from palaestra.mcp_servers.travel_booking.seats import cabin_of, free_seats, seats_left

DAY: Final = 86_400
Place = Annotated[str, Field(min_length=1, max_length=60, description="airport code or city, in any case")]

_FROM, _TO = aliased(Airport), aliased(Airport)


def _is_at(airport: Any, place: str) -> Any:
    wanted = func.lower(bindparam(place))
    return or_(func.lower(airport.code) == wanted, func.lower(airport.city) == wanted)


class SearchFlightsArgs(Args):
    """Arguments of a search for flights."""

    origin: Place
    destination: Place
    day: Annotated[Day, Field(description="of departure, UTC")]


class CabinOffer(Output):
    """A cabin with its price."""

    cabin: str
    seats_left: int
    basic_price: int


class FlightOffer(Output):
    """A flight with its cabins."""

    flight_id: str
    number: str
    origin: str
    destination: str
    departs_at: InstantOut
    arrives_at: InstantOut
    status: str
    cabins: list[CabinOffer]


class FlightOffers(Output):
    """Flights in order of departure."""

    items: list[FlightOffer]


_FLIGHTS = Query(
    select(
        Flight.flight_id, Flight.number, _FROM.code.label("origin"), _TO.code.label("destination"), Flight.departs_at,
        Flight.arrives_at, Flight.status,
    )
    .join_from(Flight, _FROM, _FROM.airport_id == Flight.origin_id)
    .join(_TO, _TO.airport_id == Flight.destination_id)
    .where(
        _is_at(_FROM, "origin"),
        _is_at(_TO, "destination"),
        Flight.departs_at >= bindparam("since"),
        Flight.departs_at < bindparam("until"),
    )
    .order_by(Flight.departs_at, Flight.flight_id)
)  # fmt: skip
_CABINS = Query(select(Cabin.__table__).where(Cabin.flight_id == bindparam("flight")).order_by(Cabin.kind.desc()))


@query(returns=FlightOffers)
def search_flights(db: Database, sources: EpisodeSources, args: SearchFlightsArgs) -> Row:
    """Flights between two places on a day, in order of departure, with seats left and the basic price per cabin.

    A standard fare costs 130 % of the basic price and a flexible one 180 %.
    """
    since = parse_instant(f"{args.day}T00:00:00Z")
    found = db.rows(_FLIGHTS, origin=args.origin, destination=args.destination, since=since, until=since + DAY)
    for flight in found:
        flight["cabins"] = [
            {
                "cabin": cabin["kind"],
                "seats_left": seats_left(db, sources.now, cabin),
                "basic_price": cabin["price"],
            }
            for cabin in db.rows(_CABINS, flight=flight["flight_id"])
        ]
    return {"items": found}


class ShowSeatsArgs(Args):
    """Arguments of a look at the seats."""

    flight_id: Key
    cabin: Literal["economy", "business"] = "economy"


class Seats(Output):
    """The seats of a cabin."""

    rows: int
    letters: str
    seats_left: int
    free_seats: list[str]


@query(returns=Seats)
def show_flight_seats(db: Database, sources: EpisodeSources, args: ShowSeatsArgs) -> Row:
    """The free seats of a cabin by name, and how many can still be sold: bookings without a seat count as well."""
    cabin = cabin_of(db, args.flight_id, args.cabin)
    return {
        "rows": cabin["rows"],
        "letters": cabin["letters"],
        "seats_left": seats_left(db, sources.now, cabin),
        "free_seats": free_seats(db, cabin),
    }


class ShowItineraryArgs(Args):
    """Arguments of an itinerary."""

    trip_id: Key


class ItineraryItem(Output):
    """A flight or a stay."""

    kind: Literal["flight", "stay"]
    booking_id: str
    what: str
    starts_at: InstantOut
    ends_at: InstantOut
    status: str


class Itinerary(Output):
    """A trip in order of time."""

    items: list[ItineraryItem]
    paid: int


_TRIP_FLIGHTS = Query(
    select(
        FlightBooking.flight_booking_id, FlightBooking.status, FlightBooking.paid, Flight.number, Flight.departs_at,
        Flight.arrives_at, Flight.status.label("flight_status"), _FROM.city.label("origin"),
        _TO.city.label("destination"),
    )
    .join_from(FlightBooking, Flight, Flight.flight_id == FlightBooking.flight_id)
    .join(_FROM, _FROM.airport_id == Flight.origin_id)
    .join(_TO, _TO.airport_id == Flight.destination_id)
    .where(FlightBooking.trip_id == bindparam("trip"))
    .order_by(FlightBooking.flight_booking_id)
)  # fmt: skip
_TRIP_STAYS = Query(
    select(
        HotelBooking.hotel_booking_id, HotelBooking.status, HotelBooking.paid, HotelBooking.arrival,
        HotelBooking.departure, RoomType.kind, Hotel.name, Hotel.city,
    )
    .join_from(HotelBooking, RoomType, RoomType.room_type_id == HotelBooking.room_type_id)
    .join(Hotel, Hotel.hotel_id == RoomType.hotel_id)
    .where(HotelBooking.trip_id == bindparam("trip"))
    .order_by(HotelBooking.hotel_booking_id)
)  # fmt: skip


@query(returns=Itinerary)
def show_trip_itinerary(db: Database, sources: EpisodeSources, args: ShowItineraryArgs) -> Row:
    """Flights and stays of a trip in order of time, cancelled ones too, and what has been paid (minor units).

    A flight the airline cancelled says so.
    """
    db.get(Trip, args.trip_id)
    flights = db.rows(_TRIP_FLIGHTS, trip=args.trip_id)
    stays = db.rows(_TRIP_STAYS, trip=args.trip_id)
    items = [*map(_flight_item, flights), *map(_stay_item, stays)]
    return {
        "items": sorted(items, key=lambda item: (item["starts_at"], item["booking_id"])),
        "paid": sum(row["paid"] for row in (*flights, *stays)),
    }


def _flight_item(row: Row) -> Row:
    grounded = " (cancelled by the airline)" if row["flight_status"] == "cancelled" else ""
    return {
        "kind": "flight",
        "booking_id": row["flight_booking_id"],
        "what": f"{row['number']} {row['origin']} to {row['destination']}{grounded}",
        "starts_at": row["departs_at"],
        "ends_at": row["arrives_at"],
        "status": row["status"],
    }


def _stay_item(row: Row) -> Row:
    return {
        "kind": "stay",
        "booking_id": row["hotel_booking_id"],
        "what": f"{row['kind']} room, {row['name']}, {row['city']}",
        "starts_at": parse_instant(f"{row['arrival']}T00:00:00Z"),
        "ends_at": parse_instant(f"{row['departure']}T00:00:00Z"),
        "status": row["status"],
    }


class QuoteRefundArgs(Args):
    """Arguments of a quote."""

    flight_booking_id: Key


class RefundQuote(Output):
    """What a cancellation brings back."""

    paid: int
    refund: int
    refunded_as: Literal["nothing", "travel_credit", "wallet"]
    cancelled_by_airline: FlagOut


@query(returns=RefundQuote)
def quote_flight_refund(db: Database, sources: EpisodeSources, args: QuoteRefundArgs) -> Row:
    """What cancelling a flight booking would bring back, and as what: money to the wallet, or travel credit."""
    booking = db.get(FlightBooking, args.flight_booking_id)
    flight = db.get(Flight, booking["flight_id"])
    back = refund(booking, flight)
    return {
        "paid": booking["paid"],
        "refund": back.amount,
        "refunded_as": back.to,
        "cancelled_by_airline": flight["status"] == "cancelled",
    }


FLIGHT_QUERIES = [search_flights, show_flight_seats, show_trip_itinerary, quote_flight_refund]
