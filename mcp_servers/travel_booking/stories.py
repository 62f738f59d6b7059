"""Scenes at the travel agency that use every tool and meet every rule."""

from __future__ import annotations

from typing import Any

from palaestra.mcp_servers.framework.stories import Teller

TODAY, TOMORROW, NEXT_DAY, LATER = "2026-03-02", "2026-03-03", "2026-03-04", "2026-03-07"
HOUR = 3_600


class _Spring:
    """The spring trip as the agency's lists and searches show it."""

    def __init__(self, tell: Teller) -> None:
        self.trip = next(trip["trip_id"] for trip in tell.items("list_trips") if trip["title"].startswith("Spring"))
        flights = [item for item in tell.items("show_trip_itinerary", trip_id=self.trip) if item["kind"] == "flight"]
        self.home, self.there = flights[0]["what"].partition(" ")[2].split(" to ")
        out = {"origin": self.home, "destination": self.there}
        self.morning, self.afternoon, self.soon_after, self.evening = self.ids(tell, day=TOMORROW, **out)
        self.next_day = self.ids(tell, day=NEXT_DAY, **out)[0]
        self.later = self.ids(tell, day=LATER, **out)[0]
        self.back = self.ids(tell, day=LATER, origin=self.there, destination=self.home)[0]
        self.credit_card, self.prepaid, self.credit, self.expired = (
            next(wallet["wallet_id"] for wallet in tell.items("list_travel_wallets") if wallet["label"] == label)
            for label in ("Credit card", "Prepaid card", "Travel credit", "Old voucher")
        )
        bookings = tell.items("list_flight_bookings", trip_id=self.trip)
        by_fare = {row["fare"]: row for row in bookings if row["status"] == "confirmed"}
        self.flexible, self.basic, self.standard = (by_fare[fare] for fare in ("flexible", "basic", "standard"))
        self.held = next(row for row in bookings if row["status"] == "held")

    @staticmethod
    def ids(tell: Teller, **route: str) -> list[str]:
        return [flight["flight_id"] for flight in tell.items("search_flights", **route)]

    def seat(self, who: dict[str, Any], flight_id: str, fare: str = "flexible") -> dict[str, str]:
        """Arguments that hold a seat in economy for the traveller of another booking."""
        return {"trip_id": self.trip, "traveller_id": who["traveller_id"], "flight_id": flight_id, "fare": fare}


def _key(row: dict[str, Any]) -> dict[str, str]:
    return {"flight_booking_id": row["flight_booking_id"]}


def fly_tomorrow(tell: Teller) -> None:
    """A seat is held, paid, chosen and checked in; what is full, cancelled or at the same time is refused."""
    spring = _Spring(tell)
    tell.refused("flight_is_on_sale", "hold_flight_seat", **spring.seat(spring.held, spring.evening))
    tell.refused("seats_are_left", "hold_flight_seat", **spring.seat(spring.held, spring.afternoon))
    tell.refused("traveller_is_free", "hold_flight_seat", **spring.seat(spring.flexible, spring.soon_after))
    tell.refused("passport_outlasts_flight", "hold_flight_seat", **spring.seat(spring.basic, spring.back))
    tell.refused("hold_is_running", "confirm_flight_booking", wallet_id=spring.credit_card, **_key(spring.held))
    mine = _key(tell.call("hold_flight_seat", **spring.seat(spring.held, spring.morning, "basic")))
    tell.refused("booking_is_confirmed", "check_in_flight", **mine)
    tell.refused("booking_is_confirmed", "choose_flight_seat", seat="5A", **mine)
    tell.refused("booking_is_confirmed", "upgrade_flight_cabin", **mine)
    tell.refused("wallet_is_valid", "confirm_flight_booking", wallet_id=spring.expired, **mine)
    tell.refused("wallet_covers_price", "confirm_flight_booking", wallet_id=spring.prepaid, **mine)
    tell.call("confirm_flight_booking", wallet_id=spring.credit_card, **mine)
    tell.refused("booking_is_held", "confirm_flight_booking", wallet_id=spring.credit_card, **mine)
    tell.refused("fare_allows_change", "change_flight_booking", flight_id=spring.next_day, **mine)
    tell.refused("fare_is_refundable", "cancel_flight_booking", **mine)
    seat = tell.call("show_flight_seats", flight_id=spring.morning)["free_seats"][-1]
    tell.refused("seat_is_in_cabin", "choose_flight_seat", seat="1A", **mine)
    tell.call("choose_flight_seat", seat=seat, **mine)
    tell.refused("seat_is_free", "choose_flight_seat", seat=seat, **_key(spring.standard))
    checked_in = tell.call("check_in_flight", **mine)
    assert checked_in["seat"] == seat  # noqa: S101 - a story holds its server to its rules
    tell.refused("booking_is_held_or_confirmed", "cancel_flight_booking", **mine)
    tell.refused("check_in_is_open", "check_in_flight", **_key(spring.flexible))
    tell.wait(8 * HOUR)
    assert tell.call("check_in_flight", **_key(spring.flexible))["seat"]  # noqa: S101


def change_plans(tell: Teller) -> None:
    """The cancelled flight is replaced for nothing; other changes need a seat, a passport, time and money."""
    spring = _Spring(tell)
    grounded, standard = _key(spring.basic), _key(spring.standard)
    tell.refused("flight_will_depart", "upgrade_flight_cabin", **grounded)
    tell.refused("flight_will_depart", "choose_flight_seat", seat="5A", **grounded)
    tell.refused("booking_is_confirmed", "change_flight_booking", flight_id=spring.next_day, **_key(spring.held))
    change = "change_flight_booking"
    tell.refused("flight_is_another_on_the_route", change, flight_id=spring.back, **standard)
    tell.refused("flight_is_on_sale", change, flight_id=spring.evening, **standard)
    tell.refused("seats_are_left", change, flight_id=spring.afternoon, **grounded)
    tell.refused("passport_outlasts_flight", change, flight_id=spring.later, **grounded)
    tell.refused("wallet_covers_change", change, flight_id=spring.next_day, **standard)
    moved = tell.call(change, flight_id=spring.next_day, **grounded)
    assert moved["paid"] == spring.basic["paid"]  # noqa: S101 - a story holds its server to its rules
    tell.refused("business_seats_are_left", "upgrade_flight_cabin", **grounded)
    extra = _key(tell.call("hold_flight_seat", **spring.seat(spring.flexible, spring.next_day)))
    tell.call("confirm_flight_booking", wallet_id=spring.credit_card, **extra)
    tell.refused("traveller_is_free", change, flight_id=spring.soon_after, **extra)
    tell.call(change, flight_id=spring.later, **extra)
    tell.wait(30 * HOUR)
    tell.refused("flight_has_not_departed", change, flight_id=spring.later, **standard)


def cancel_and_upgrade(tell: Teller) -> None:
    """Money comes back as the fare says; an upgrade is paid from the wallet of the booking."""
    spring = _Spring(tell)
    flexible, standard = _key(spring.flexible), _key(spring.standard)
    tell.refused("wallet_covers_upgrade", "upgrade_flight_cabin", **standard)
    tell.call("upgrade_flight_cabin", **flexible)
    tell.refused("booking_is_in_economy", "upgrade_flight_cabin", **flexible)
    seats = tell.call("show_flight_seats", flight_id=spring.afternoon, cabin="business")["free_seats"]
    tell.call("choose_flight_seat", seat=seats[0], **flexible)
    quote = tell.call("quote_flight_refund", **standard)
    before = _balance(tell, spring.credit)
    tell.call("cancel_flight_booking", **standard)
    assert _balance(tell, spring.credit) - before == quote["refund"] > 0  # noqa: S101 - holds the server to its rules
    tell.refused("booking_is_held_or_confirmed", "cancel_flight_booking", **standard)
    tell.call("cancel_flight_booking", **_key(spring.held))
    tell.wait(31 * HOUR)
    tell.refused("flight_has_not_departed", "cancel_flight_booking", **flexible)


def _balance(tell: Teller, wallet_id: str) -> int:
    wallets = {wallet["wallet_id"]: wallet["balance"] for wallet in tell.items("list_travel_wallets")}
    return int(wallets[wallet_id])


def sleep_well(tell: Teller) -> None:
    """The last double is the family's own: it is free again once that stay is cancelled."""
    spring = _Spring(tell)
    stays = sorted(tell.items("list_hotel_bookings"), key=lambda stay: stay["arrival"])
    begins_today, refundable, saver = (stay["hotel_booking_id"] for stay in stays)
    room = {"trip_id": spring.trip, "room_type_id": stays[1]["room_type_id"], "wallet_id": spring.credit_card}
    nights = {"arrival": NEXT_DAY, "departure": "2026-03-06"}
    offers = tell.items("search_hotel_rooms", city=spring.there.upper(), **nights)
    assert {offer["rooms_left"] for offer in offers} == {0, 1, 3}  # noqa: S101 - a story holds its server to its rules
    tell.refused("room_is_free", "book_hotel_room", **room, **nights)
    tell.refused("room_is_refundable", "cancel_hotel_booking", hotel_booking_id=saver)
    tell.refused("arrival_is_not_near", "cancel_hotel_booking", hotel_booking_id=begins_today)
    tell.call("cancel_hotel_booking", hotel_booking_id=refundable)
    tell.refused("stay_is_booked", "cancel_hotel_booking", hotel_booking_id=refundable)
    past = {"arrival": "2026-02-27", "departure": TODAY}
    tell.refused("arrival_is_not_past", "book_hotel_room", **room, **past)
    tell.refused("invalid_arguments", "book_hotel_room", **room, arrival=NEXT_DAY, departure=NEXT_DAY)
    tell.refused("wallet_is_valid", "book_hotel_room", **{**room, "wallet_id": spring.expired}, **nights)
    tell.refused("wallet_covers_stay", "book_hotel_room", **{**room, "wallet_id": spring.prepaid}, **nights)
    tell.call("book_hotel_room", **room, **nights)


def meet_the_family(tell: Teller) -> None:
    """A trip of one's own for someone of the family; what does not exist is not found."""
    spring = _Spring(tell)
    someone = tell.items("list_travellers")[0]["traveller_id"]
    trip = tell.call("create_trip", title="Überraschung für Oma")["trip_id"]
    wish = {"traveller_id": someone, "flight_id": spring.later, "fare": "standard"}
    tell.refused("not_found", "hold_flight_seat", trip_id="trp_0", **wish)
    tell.refused("invalid_arguments", "hold_flight_seat", trip_id=trip, **{**wish, "fare": "first"})
    tell.call("show_trip_itinerary", trip_id=trip)


STORIES = [fly_tomorrow, change_plans, cancel_and_upgrade, sleep_well, meet_the_family]


def a_new_trip(tell: Teller) -> None:
    """Plan a trip of its own for tomorrow morning, pay for the seat by the aisle and check in."""
    spring = _Spring(tell)
    trip = tell.call("create_trip", title="Head start")["trip_id"]
    wish = {**spring.seat(spring.held, spring.morning), "trip_id": trip}
    mine = _key(tell.call("hold_flight_seat", **wish))
    tell.call("confirm_flight_booking", wallet_id=spring.credit_card, **mine)
    seat = tell.call("show_flight_seats", flight_id=spring.morning)["free_seats"][2]
    tell.call("choose_flight_seat", seat=seat, **mine)
    tell.call("check_in_flight", **mine)


def give_up_a_seat(tell: Teller) -> None:
    """Cancel the flexible booking on the full flight, book its seat for someone else, and upgrade it."""
    spring = _Spring(tell)
    tell.call("cancel_flight_booking", **_key(spring.flexible))
    other = _key(tell.call("hold_flight_seat", **spring.seat(spring.held, spring.afternoon)))
    tell.call("confirm_flight_booking", wallet_id=spring.credit_card, **other)
    tell.call("upgrade_flight_cabin", **other)


def make_room_in_economy(tell: Teller) -> None:
    """Upgrade one traveller on the full flight, so that another one gets the seat in economy."""
    spring = _Spring(tell)
    tell.call("upgrade_flight_cabin", **_key(spring.flexible))
    other = _key(tell.call("hold_flight_seat", **spring.seat(spring.held, spring.afternoon)))
    tell.call("confirm_flight_booking", wallet_id=spring.credit_card, **other)


def replace_the_cancelled_flight(tell: Teller) -> None:
    """Move the passenger of the cancelled flight to the next day and choose a seat there."""
    spring = _Spring(tell)
    grounded = _key(spring.basic)
    tell.call("change_flight_booking", flight_id=spring.next_day, **grounded)
    seat = tell.call("show_flight_seats", flight_id=spring.next_day)["free_seats"][0]
    tell.call("choose_flight_seat", seat=seat, **grounded)


def think_twice(tell: Teller) -> None:
    """Book a flexible seat, move it to a later day, and cancel it after all."""
    spring = _Spring(tell)
    mine = _key(tell.call("hold_flight_seat", **spring.seat(spring.held, spring.next_day)))
    tell.call("confirm_flight_booking", wallet_id=spring.credit_card, **mine)
    tell.call("change_flight_booking", flight_id=spring.later, **mine)
    tell.call("cancel_flight_booking", **mine)


def arrive_a_day_later(tell: Teller) -> None:
    """Cancel the stay in the last double and book the same room for fewer nights."""
    spring = _Spring(tell)
    stay = next(row for row in tell.items("list_hotel_bookings") if row["arrival"] == TOMORROW)
    tell.call("cancel_hotel_booking", hotel_booking_id=stay["hotel_booking_id"])
    nights = {"arrival": NEXT_DAY, "departure": stay["departure"]}
    room = {"room_type_id": stay["room_type_id"], "wallet_id": spring.credit_card}
    tell.call("book_hotel_room", trip_id=spring.trip, **room, **nights)


def a_trip_that_falls_through(tell: Teller) -> None:
    """Plan a trip, book a refundable room for it, and cancel the room again."""
    spring = _Spring(tell)
    trip = tell.call("create_trip", title="Maybe in summer")["trip_id"]
    nights = {"arrival": "2026-07-01", "departure": "2026-07-04"}
    offers = tell.items("search_hotel_rooms", city=spring.there, **nights)
    room = next(offer["room_type_id"] for offer in offers if offer["refundable"])
    booked = tell.call("book_hotel_room", trip_id=trip, room_type_id=room, wallet_id=spring.credit_card, **nights)
    tell.call("cancel_hotel_booking", hotel_booking_id=booked["hotel_booking_id"])


CHAINS = [
    a_new_trip, give_up_a_seat, make_room_in_economy, replace_the_cancelled_flight, think_twice, arrive_a_day_later,
    a_trip_that_falls_through,
]  # fmt: skip
