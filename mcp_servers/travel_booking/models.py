"""Tables of the travel agency: travellers, wallets, trips, flights with their cabins, hotels with rooms, bookings."""

from __future__ import annotations

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

DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"


class Base(Entity, DeclarativeBase):
    """Tables of the travel_booking server."""


class Traveller(Base):
    """Someone the user books for."""

    __tablename__ = "traveller"
    traveller_id: Mapped[str] = identifier("tvl")
    name: Mapped[str] = text(80)
    passport: Mapped[str] = text(20, role=Role.GUARDED, unique=True, sensitive=True)
    passport_expires: Mapped[str] = text(10, "last day the passport is valid", pattern=DAY, role=Role.GUARDED)


class Wallet(Base):
    """Where money comes from and goes back to: a card, or the credit the agency gives instead of money."""

    __tablename__ = "wallet"
    wallet_id: Mapped[str] = identifier("wal")
    label: Mapped[str] = text(60)
    kind: Mapped[str] = choice("card", "travel_credit", role=Role.GUARDED)
    balance: Mapped[int] = money("what can be spent", role=Role.GUARDED)
    valid_until: Mapped[int] = instant("no payment after this time", role=Role.GUARDED)


class Trip(Base):
    """What bookings are gathered under."""

    __tablename__ = "trip"
    trip_id: Mapped[str] = identifier("trp")
    title: Mapped[str] = text(80)
    notes: Mapped[str] = text(300, default="")


class Airport(Base):
    """An airport and its city."""

    __tablename__ = "airport"
    airport_id: Mapped[str] = identifier("apt")
    code: Mapped[str] = text(3, pattern=r"^[A-Z]{3}$", unique=True, role=Role.GUARDED)
    city: Mapped[str] = text(60, role=Role.GUARDED)


class Flight(Base):
    """One departure of an airline."""

    __tablename__ = "flight"
    flight_id: Mapped[str] = identifier("flt")
    number: Mapped[str] = text(8, role=Role.GUARDED)
    origin_id: Mapped[str] = reference("airport.airport_id", role=Role.GUARDED)
    destination_id: Mapped[str] = reference("airport.airport_id", role=Role.GUARDED)
    departs_at: Mapped[int] = instant(role=Role.GUARDED)
    arrives_at: Mapped[int] = instant(role=Role.GUARDED)
    status: Mapped[str] = choice("scheduled", "cancelled", role=Role.GUARDED)
    __table_args__ = (
        CheckConstraint("departs_at < arrives_at"),
        CheckConstraint("origin_id <> destination_id"),
        STRICT,
    )


class Cabin(Base):
    """The seats of one class on a flight: rows times letters. `taken` are those other customers sit in."""

    __tablename__ = "cabin"
    cabin_id: Mapped[str] = identifier("cab")
    flight_id: Mapped[str] = reference("flight.flight_id", role=Role.GUARDED)
    kind: Mapped[str] = choice("economy", "business", role=Role.GUARDED)
    first_row: Mapped[int] = integer(minimum=1, maximum=60, role=Role.GUARDED)
    rows: Mapped[int] = integer(minimum=1, maximum=60, role=Role.GUARDED)
    letters: Mapped[str] = text(10, role=Role.GUARDED)
    taken: Mapped[str] = text(400, "seats of other customers", default="", role=Role.GUARDED)
    price: Mapped[int] = money("of the basic fare", minimum=1, role=Role.GUARDED)
    __table_args__ = (UniqueConstraint("flight_id", "kind"), STRICT)


class FlightBooking(Base):
    """One traveller's seat on a flight. Of the wallets' money, `paid` is with the airline."""

    __tablename__ = "flight_booking"
    flight_booking_id: Mapped[str] = identifier("fbk")
    trip_id: Mapped[str] = reference("trip.trip_id", role=Role.GUARDED)
    traveller_id: Mapped[str] = reference("traveller.traveller_id", role=Role.GUARDED)
    flight_id: Mapped[str] = reference("flight.flight_id", role=Role.GUARDED)
    cabin: Mapped[str] = choice("economy", "business", role=Role.GUARDED)
    fare: Mapped[str] = choice("basic", "standard", "flexible", role=Role.GUARDED)
    price: Mapped[int] = money(minimum=1, role=Role.GUARDED)
    paid: Mapped[int] = money("what the airline has got, fees included", default=0, role=Role.GUARDED)
    wallet_id: Mapped[str | None] = reference("wallet.wallet_id", "paid from", role=Role.GUARDED, optional=True)
    status: Mapped[str] = choice("held", "confirmed", "checked_in", "cancelled", role=Role.GUARDED)
    seat: Mapped[str | None] = text(4, role=Role.GUARDED, optional=True)
    created_at: Mapped[int] = instant("when the seat was held", fill="create")
    __table_args__ = (UniqueConstraint("flight_id", "seat"), STRICT)


class Hotel(Base):
    """A hotel."""

    __tablename__ = "hotel"
    hotel_id: Mapped[str] = identifier("htl")
    name: Mapped[str] = text(80, role=Role.GUARDED)
    city: Mapped[str] = text(60, role=Role.GUARDED)
    stars: Mapped[int] = integer(minimum=1, maximum=5, role=Role.GUARDED)
    about: Mapped[str] = text(200, default="", role=Role.GUARDED)


class RoomType(Base):
    """So many equal rooms of a hotel."""

    __tablename__ = "room_type"
    room_type_id: Mapped[str] = identifier("rmt")
    hotel_id: Mapped[str] = reference("hotel.hotel_id", role=Role.GUARDED)
    kind: Mapped[str] = choice("single", "double", "family", role=Role.GUARDED)
    rooms: Mapped[int] = integer("how many the agency can sell", minimum=1, maximum=50, role=Role.GUARDED)
    night_price: Mapped[int] = money(minimum=1, role=Role.GUARDED)
    refundable: Mapped[int] = flag("can be cancelled until a day before arrival", role=Role.GUARDED)
    sold_out: Mapped[str] = text(400, "nights other customers took every room", default="", role=Role.GUARDED)
    __table_args__ = (UniqueConstraint("hotel_id", "kind", "refundable"), STRICT)


class HotelBooking(Base):
    """One room for the nights from arrival up to departure."""

    __tablename__ = "hotel_booking"
    hotel_booking_id: Mapped[str] = identifier("hbk")
    trip_id: Mapped[str] = reference("trip.trip_id", role=Role.GUARDED)
    room_type_id: Mapped[str] = reference("room_type.room_type_id", role=Role.GUARDED)
    arrival: Mapped[str] = text(10, "first day", pattern=DAY, role=Role.GUARDED)
    departure: Mapped[str] = text(10, "last day", pattern=DAY, role=Role.GUARDED)
    paid: Mapped[int] = money("what the hotel has got", role=Role.GUARDED)
    wallet_id: Mapped[str] = reference("wallet.wallet_id", "paid from", role=Role.GUARDED)
    status: Mapped[str] = choice("booked", "cancelled", role=Role.GUARDED)
    created_at: Mapped[int] = instant(fill="create")
    __table_args__ = (CheckConstraint("arrival < departure"), STRICT)


MODELS = [Traveller, Wallet, Trip, Airport, Flight, Cabin, FlightBooking, Hotel, RoomType, HotelBooking]
