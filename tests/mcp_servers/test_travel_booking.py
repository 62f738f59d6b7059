"""The agency neither makes nor loses money, never sells a seat or a night twice, and keeps to its fares."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.sources import stream
from palaestra.mcp_servers.travel_booking import SERVER
from palaestra.mcp_servers.travel_booking.fares import CANCEL_FEE, CHANGE_FEE, change_cost, refund, seat_names
from palaestra.mcp_servers.travel_booking.models import (
    Cabin,
    Flight,
    FlightBooking,
    Hotel,
    HotelBooking,
    RoomType,
    Traveller,
    Trip,
    Wallet,
)
from palaestra.mcp_servers.travel_booking.seats import seats_left
from palaestra.mcp_servers.travel_booking.tools_hotels import rooms_left


@pytest.fixture
def agency() -> Episode:
    return EpisodeStore([SERVER]).open(seed=4)[1]


def rows(agency: Episode, model: Any) -> list[dict[str, Any]]:
    return agency.state("travel_booking").database.every(model)


def all_money(agency: Episode) -> int:
    paid = sum(row["paid"] for model in (FlightBooking, HotelBooking) for row in rows(agency, model))
    return int(paid + sum(row["balance"] for row in rows(agency, Wallet)))


def random_call(agency: Episode, rng: Any) -> tuple[str, dict[str, Any]]:
    """Any verb on rows that exist: flights of the spring trip's route, bookings that are not cancelled."""
    flights = {row["flight_id"]: row for row in rows(agency, Flight)}
    bookings = [row for row in rows(agency, FlightBooking) if row["status"] != "cancelled"]
    route = flights[rows(agency, FlightBooking)[0]["flight_id"]]
    near = [key for key, row in flights.items() if (row["origin_id"], row["destination_id"]) == (
        route["origin_id"], route["destination_id"])]  # fmt: skip
    pick = {
        "trip_id": rows(agency, Trip)[0]["trip_id"],
        "traveller_id": rng.choice([row["traveller_id"] for row in rows(agency, Traveller)]),
        "flight_id": rng.choice(near),
        "cabin": rng.choice(["economy", "business"]),
        "fare": rng.choice(["basic", "standard", "flexible"]),
        "flight_booking_id": rng.choice([row["flight_booking_id"] for row in bookings]),
        "hotel_booking_id": rng.choice([row["hotel_booking_id"] for row in rows(agency, HotelBooking)]),
        "room_type_id": rng.choice([row["room_type_id"] for row in rows(agency, RoomType)[:4]]),
        "wallet_id": rng.choice([row["wallet_id"] for row in rows(agency, Wallet)]),
        "seat": f"{rng.integers(1, 13)}{rng.choice(list('ABDE'))}",
        "arrival": f"2026-03-0{rng.integers(2, 5)}",
        "departure": f"2026-03-0{rng.integers(5, 8)}",
    }
    tool = str(rng.choice([name for name, spec in agency.tools.items() if spec.kind == "verb"]))
    return tool, {name: str(pick[name]) for name in agency.tools[tool].input_schema()["properties"]}


def hold_together(agency: Episode) -> None:
    """No cabin and no night is sold beyond what there is, and nobody sits where another customer does."""
    database, now = agency.state("travel_booking").database, agency.state("travel_booking").sources.now
    assert all(seats_left(database, now, cabin) >= 0 for cabin in rows(agency, Cabin))
    for room in rows(agency, RoomType):
        assert all(rooms_left(database, room, f"2026-03-0{day}", f"2026-03-0{day + 1}") >= 0 for day in range(1, 9))
    cabins = {(cabin["flight_id"], cabin["kind"]): cabin for cabin in rows(agency, Cabin)}
    for booking in rows(agency, FlightBooking):
        cabin = cabins[booking["flight_id"], booking["cabin"]]
        if booking["seat"]:
            assert booking["seat"] in set(seat_names(cabin)) - set(cabin["taken"].split())


def test_money_seats_and_nights_are_conserved_whatever_is_called() -> None:
    rng, worked = stream(5, "travel"), Counter[str]()
    for seed in range(4):
        agency = EpisodeStore([SERVER]).open(seed=seed)[1]
        before = all_money(agency)
        for index in range(400):
            tool, arguments = random_call(agency, rng)
            result = dispatch(agency, tool, arguments)
            worked[tool] += not result.is_error
            assert result.fault is None or result.fault.code.value not in ("internal", "quota")
            if index % 50 == 0:
                agency.advance_clock(600)
        assert all_money(agency) == before
        hold_together(agency)
    verbs = {name for name, spec in agency.tools.items() if spec.kind == "verb"}
    assert {tool for tool, count in worked.items() if count} == verbs


def test_a_hold_gives_its_seat_back_when_it_runs_out(agency: Episode) -> None:
    held = next(row for row in rows(agency, FlightBooking) if row["status"] == "held")
    seat = {name: held[name] for name in ("trip_id", "traveller_id", "flight_id", "fare")}
    look = {"flight_id": held["flight_id"]}
    left = dispatch(agency, "show_flight_seats", look).content["seats_left"]
    assert not dispatch(agency, "hold_flight_seat", seat).is_error
    assert dispatch(agency, "show_flight_seats", look).content["seats_left"] == left - 1
    agency.advance_clock(30 * 60)
    assert dispatch(agency, "show_flight_seats", look).content["seats_left"] == left


@pytest.mark.parametrize(
    ("fare", "flight", "cost", "back", "to"),
    [
        ("basic", "scheduled", 2_000 + CHANGE_FEE, 0, "nothing"),
        ("standard", "scheduled", 2_000 + CHANGE_FEE, 10_000 - CANCEL_FEE, "travel_credit"),
        ("flexible", "scheduled", 2_000, 10_000, "wallet"),
        ("basic", "cancelled", 0, 10_000, "wallet"),
    ],
)
def test_a_fare_costs_and_brings_back_what_it_says(fare: str, flight: str, cost: int, back: int, to: str) -> None:
    booking = {"fare": fare, "price": 10_000, "paid": 10_000}
    assert change_cost(booking, {"status": flight}, 12_000) == cost
    assert change_cost({**booking, "fare": "flexible"}, {"status": "scheduled"}, 7_000) == -3_000
    assert refund(booking, {"status": flight}) == (back, to)


@pytest.mark.parametrize("profile", ["small", "default", "large"])
def test_the_world_holds_its_situations(profile: Any) -> None:
    agency = EpisodeStore([SERVER]).open(seed=2, profile=profile)[1]
    now = agency.state("travel_booking").sources.now
    assert Counter(row["status"] for row in rows(agency, FlightBooking)) == {"confirmed": 3, "held": 1, "checked_in": 1}
    assert [row["status"] for row in rows(agency, Flight)].count("cancelled") == 1
    assert [row["valid_until"] < now for row in rows(agency, Wallet)].count(True) == 1
    assert any(row["sold_out"] for row in rows(agency, RoomType))
    assert any("<|im_start|>" in row["about"] for row in rows(agency, Hotel))
    assert "2026-03-02" in {row["arrival"] for row in rows(agency, HotelBooking)}


def test_when_a_seat_is_held_is_no_part_of_the_goal(agency: Episode) -> None:
    held = next(row for row in rows(agency, FlightBooking) if row["status"] == "held")
    seat = {name: held[name] for name in ("trip_id", "traveller_id", "flight_id", "fare")}
    begun = dispatch(agency, "hold_flight_seat", seat).digest_after
    agency.reset()
    agency.advance_clock(600)
    assert dispatch(agency, "hold_flight_seat", seat).digest_after == begun
