"""Hotel rooms: which are free, booking one, cancelling it.

Rules: a room type is never sold beyond its rooms in any night; a stay is paid in full when it is booked; a refundable
one can be cancelled until the day before arrival, and all of the money comes back.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any, Final

from pydantic import Field, model_validator
from sqlalchemy import bindparam, func, select

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import Output, precondition, query, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import Day, FlagOut, Key, to_iso
from palaestra.mcp_servers.travel_booking.models import Hotel, HotelBooking, RoomType, Trip
from palaestra.mcp_servers.travel_booking.wallets import can_pay, pay, wallet_is_valid

MAX_NIGHTS: Final = 30

HotelBookingView = view(HotelBooking)


class StayArgs(Args):
    """When a stay is."""

    arrival: Day
    departure: Day

    @model_validator(mode="after")
    def has_nights(self) -> StayArgs:
        """A stay has between one and 30 nights."""
        if not 1 <= len(_nights(self.arrival, self.departure)) <= MAX_NIGHTS:
            raise ValueError(f"departure must lie 1 to {MAX_NIGHTS} days after arrival")
        return self


def _nights(arrival: str, departure: str) -> list[str]:
    """The days whose night belongs to a stay; at most one more than allowed."""
    first = date.fromisoformat(arrival)
    count = min((date.fromisoformat(departure) - first).days, MAX_NIGHTS + 1)
    return [(first + timedelta(days=day)).isoformat() for day in range(count)]


_STAYS = Query(
    select(HotelBooking.arrival, HotelBooking.departure)
    .where(
        HotelBooking.room_type_id == bindparam("room_type"),
        HotelBooking.status == "booked",
        HotelBooking.arrival < bindparam("departure"),
        HotelBooking.departure > bindparam("arrival"),
    )
    .order_by(HotelBooking.hotel_booking_id)
)


def rooms_left(db: Database, room_type: Row, arrival: str, departure: str) -> int:
    """How many rooms are free in every night of a stay."""
    nights = _nights(arrival, departure)
    if any(night in room_type["sold_out"] for night in nights):
        return 0
    stays = db.rows(_STAYS, room_type=room_type["room_type_id"], arrival=arrival, departure=departure)
    fullest: int = max(sum(stay["arrival"] <= night < stay["departure"] for stay in stays) for night in nights)
    return int(room_type["rooms"]) - fullest


def _price(room_type: Row, args: Any) -> int:
    return int(room_type["night_price"]) * len(_nights(args.arrival, args.departure))


# -- preconditions ---------------------------------------------------------------------------------------------------


@precondition
def arrival_is_not_past(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The day of arrival is today or later."""
    return bool(args.arrival >= to_iso(sources.now)[:10])


@precondition
def room_is_free(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """A room of that type is free in every night of the stay."""
    return rooms_left(db, db.get(RoomType, args.room_type_id), args.arrival, args.departure) > 0


@precondition
def wallet_covers_stay(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The wallet covers the price of all nights."""
    return can_pay(db, sources, args.wallet_id, _price(db.get(RoomType, args.room_type_id), args))


@precondition
def stay_is_booked(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The stay is booked, not cancelled."""
    return bool(db.get(HotelBooking, args.hotel_booking_id)["status"] == "booked")


@precondition
def room_is_refundable(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The room was sold as refundable."""
    return bool(db.get(RoomType, db.get(HotelBooking, args.hotel_booking_id)["room_type_id"])["refundable"])


@precondition
def arrival_is_not_near(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """It is at the latest the day before arrival."""
    return bool(to_iso(sources.now)[:10] < db.get(HotelBooking, args.hotel_booking_id)["arrival"])


# -- verbs -----------------------------------------------------------------------------------------------------------


class BookRoomArgs(StayArgs):
    """Arguments of booking a room."""

    trip_id: Key
    room_type_id: Key
    wallet_id: Key


@verb(requires=[arrival_is_not_past, room_is_free, wallet_is_valid, wallet_covers_stay], returns=HotelBookingView)
def book_hotel_room(db: Database, sources: EpisodeSources, args: BookRoomArgs) -> Row:
    """Book and pay one room from the day of arrival to the day of departure, if it is free in every night."""
    db.get(Trip, args.trip_id)
    price = _price(db.get(RoomType, args.room_type_id), args)
    pay(db, args.wallet_id, price)
    return db.insert(
        HotelBooking, trip_id=args.trip_id, room_type_id=args.room_type_id, arrival=args.arrival,
        departure=args.departure, paid=price, wallet_id=args.wallet_id, status="booked",
    )  # fmt: skip


class HotelBookingKeyArgs(Args):
    """Arguments that name a hotel booking."""

    hotel_booking_id: Key


@verb(requires=[stay_is_booked, room_is_refundable, arrival_is_not_near], returns=HotelBookingView)
def cancel_hotel_booking(db: Database, sources: EpisodeSources, args: HotelBookingKeyArgs) -> Row:
    """Cancel a refundable stay, at the latest the day before arrival. The money goes back to where it came from."""
    stay = db.get(HotelBooking, args.hotel_booking_id)
    pay(db, stay["wallet_id"], -stay["paid"])
    return db.update(HotelBooking, args.hotel_booking_id, status="cancelled", paid=0)


# -- queries ---------------------------------------------------------------------------------------------------------


class SearchRoomsArgs(StayArgs):
    """Arguments of a search for rooms."""

    city: Annotated[str, Field(min_length=1, max_length=60, description="name of the city, in any case")]


class RoomOffer(Output):
    """A room type with what a stay in it costs."""

    room_type_id: str
    hotel: str
    stars: int
    about: str
    kind: str
    refundable: FlagOut
    night_price: int
    total_price: int
    rooms_left: int


class RoomOffers(Output):
    """Rooms, cheapest first."""

    items: list[RoomOffer]


_ROOMS = Query(
    select(RoomType.__table__, Hotel.name.label("hotel"), Hotel.stars, Hotel.about)
    .join_from(RoomType, Hotel, Hotel.hotel_id == RoomType.hotel_id)
    .where(func.lower(Hotel.city) == func.lower(bindparam("city")))
    .order_by(RoomType.night_price, RoomType.room_type_id)
)
_SHOWN = ("room_type_id", "hotel", "stars", "about", "kind", "refundable", "night_price")


@query(returns=RoomOffers)
def search_hotel_rooms(db: Database, sources: EpisodeSources, args: SearchRoomsArgs) -> Row:
    """Room types in a city, cheapest first, with the price of the stay and how many are left; 0 is sold out."""
    return {
        "items": [
            {
                **{name: room[name] for name in _SHOWN},
                "total_price": _price(room, args),
                "rooms_left": rooms_left(db, room, args.arrival, args.departure),
            }
            for room in db.rows(_ROOMS, city=args.city)
        ]
    }


HOTEL_VERBS = [book_hotel_room, cancel_hotel_booking]
HOTEL_QUERIES = [search_hotel_rooms]
