"""Scenes with the calendar that use every tool and meet every rule."""

from __future__ import annotations

from palaestra.mcp_servers.framework.stories import Teller

TOMORROW = "2026-03-03"
NOON = f"{TOMORROW}T12:00:00Z"
YESTERDAY = "2026-03-01T12:00:00Z"


def _own(tell: Teller) -> tuple[str, str]:
    """The user's two calendars: Work, which is exclusive, and Home."""
    user = next(p["person_id"] for p in tell.items("list_calendar_people", is_user=True))
    work, home = (calendar["calendar_id"] for calendar in tell.items("list_calendars", owner_id=user))
    return work, home


def find_room_in_a_full_morning(tell: Teller) -> None:
    """The morning is full; the first gap is booked, moved, and found on the agenda."""
    work, home = _own(tell)
    theirs = next(c["calendar_id"] for c in tell.items("list_calendars") if c["calendar_id"] not in (work, home))
    day = {"since": f"{TOMORROW}T09:00:00Z", "until": f"{TOMORROW}T18:00:00Z"}
    gap = tell.items("find_free_slots", calendar_id=work, minutes=30, **day)[0]
    new = {"title": "Lunch", "minutes": 45}
    tell.refused("slot_is_free", "book_event", calendar_id=work, starts_at=f"{TOMORROW}T10:30:00Z", **new)
    tell.refused("calendar_is_own", "book_event", calendar_id=theirs, starts_at=NOON, **new)
    tell.refused("start_lies_ahead", "book_event", calendar_id=work, starts_at=YESTERDAY, **new)
    booked = tell.call("book_event", calendar_id=work, starts_at=gap["starts_at"], remind_minutes_before=10, **new)
    event = booked["event_id"]
    tell.refused("new_slot_is_free", "reschedule_event", event_id=event, starts_at=f"{TOMORROW}T09:00:00Z")
    tell.refused("start_lies_ahead", "reschedule_event", event_id=event, starts_at=YESTERDAY)
    tell.call("reschedule_event", event_id=event, starts_at=f"{TOMORROW}T14:00:00Z", minutes=60)
    agenda = tell.items("show_agenda", calendar_id=work, day=TOMORROW)
    assert agenda[-1]["event_id"] == event  # noqa: S101 - a story holds its server to its rules
    tell.call("book_event", calendar_id=home, starts_at=f"{TOMORROW}T14:00:00Z", **new)


def repeat_and_skip(tell: Teller) -> None:
    """An event is made to repeat where there is room, and one occurrence is skipped."""
    work, _ = _own(tell)
    once = tell.call("book_event", calendar_id=work, title="Yoga", starts_at=NOON, minutes=30)["event_id"]
    tell.refused("event_repeats", "cancel_event_occurrence", event_id=once, starts_at=NOON)
    early = tell.call("book_event", calendar_id=work, title="Run", starts_at="2026-03-03T13:30:00Z", minutes=15)[
        "event_id"
    ]
    tell.refused("repeated_slots_are_free", "set_event_recurrence", event_id=early, repeats="daily", occurrences=5)
    tell.call("set_event_recurrence", event_id=once, repeats="daily", occurrences=5)
    skipped = {"event_id": once, "starts_at": "2026-03-05T12:00:00Z"}
    tell.call("cancel_event_occurrence", **skipped)
    tell.refused("conflict", "cancel_event_occurrence", **skipped)
    tell.refused("not_found", "cancel_event_occurrence", event_id=once, starts_at="2026-03-05T12:30:00Z")
    tell.refused("start_lies_ahead", "cancel_event_occurrence", event_id=once, starts_at=YESTERDAY)
    tell.call("book_event", calendar_id=work, title="Doctor", starts_at="2026-03-05T12:00:00Z", minutes=30)
    tell.call("reschedule_event", event_id=once, starts_at="2026-03-03T16:00:00Z")


def answer_and_invite(tell: Teller) -> None:
    """The user answers the open invitation and invites a colleague, once."""
    user = tell.items("list_calendar_people", is_user=True)[0]["person_id"]
    friend = tell.items("list_calendar_people", is_user=False)[1]["person_id"]
    launch = tell.items("list_event_invitees", person_id=user, response="pending")[0]["event_id"]
    tell.call("respond_to_invitation", event_id=launch, response="accepted")
    tell.refused("event_is_own", "invite_to_event", event_id=launch, person_id=friend)
    meeting, kick_off, standup = (
        tell.items("search_calendar_events", text=title)[0]["event_id"]
        for title in ("team meeting", "kick-off", "stand-up")
    )
    tell.refused("user_is_invited", "respond_to_invitation", event_id=meeting, response="declined")
    tell.call("invite_to_event", event_id=meeting, person_id=friend)
    tell.refused("person_is_not_invited", "invite_to_event", event_id=meeting, person_id=friend)
    tell.refused("event_is_not_over", "invite_to_event", event_id=kick_off, person_id=friend)
    tell.refused("reminder_is_set", "snooze_event_reminder", event_id=standup, minutes=10)
    review = tell.items("search_calendar_events", text="design review")[0]["event_id"]
    tell.call("snooze_event_reminder", event_id=review, minutes=10)
    tell.refused("conflict", "delete_calendar_event", event_id=meeting)
    tell.call("update_calendar_event", event_id=review, location="Room Birch")
    tell.refused("invalid_arguments", "update_calendar_event", event_id=review, starts_at=NOON)
    tell.wait(120 * 86_400)
    tell.refused("event_is_not_over", "respond_to_invitation", event_id=launch, response="declined")
    tell.refused("event_is_not_over", "snooze_event_reminder", event_id=review, minutes=5)
    tell.refused("event_is_not_over", "reschedule_event", event_id=review, starts_at="2026-09-01T09:00:00Z")
    tell.refused("event_is_not_over", "transfer_event", event_id=review, person_id=friend)
    tell.refused("event_is_not_over", "set_event_recurrence", event_id=review, repeats="weekly", occurrences=2)


def hand_over(tell: Teller) -> None:
    """An event goes to the colleague who has room, and is no longer the user's."""
    free, busy = tell.items("list_calendar_people", is_user=False)[:2]
    review = tell.items("search_calendar_events", text="customer call")[0]["event_id"]
    tell.refused("person_has_a_free_calendar", "transfer_event", event_id=review, person_id=busy["person_id"])
    tell.call("transfer_event", event_id=review, person_id=free["person_id"])
    tell.refused("event_is_own", "reschedule_event", event_id=review, starts_at=NOON)
    tell.refused("event_is_own", "transfer_event", event_id=review, person_id=busy["person_id"])
    tell.refused("event_is_own", "cancel_event_occurrence", event_id=review, starts_at=NOON)
    tell.refused("event_is_own", "set_event_recurrence", event_id=review, repeats="daily", occurrences=2)
    tell.call("get_calendar_event", event_id=review)
    tell.call("delete_calendar_event", event_id=review)
    tell.refused("not_found", "get_calendar_event", event_id=review)


STORIES = [find_room_in_a_full_morning, repeat_and_skip, answer_and_invite, hand_over]


# -- chains --------------------------------------------------------------------------------------------------------


def _event(tell: Teller, title: str) -> str:
    found: str = tell.items("search_calendar_events", text=title)[0]["event_id"]
    return found


def make_room_in_a_series(tell: Teller) -> None:
    """A series is set up, one occurrence is dropped, and a call moves into its place."""
    work, _ = _own(tell)
    series = tell.call("book_event", calendar_id=work, title="Yoga", starts_at=NOON, minutes=30)["event_id"]
    tell.call("set_event_recurrence", event_id=series, repeats="daily", occurrences=5)
    tell.call("cancel_event_occurrence", event_id=series, starts_at="2026-03-05T12:00:00Z")
    call = _event(tell, "customer call")
    tell.call("reschedule_event", event_id=call, starts_at="2026-03-05T12:00:00Z", minutes=30)


def invite_before_handing_over(tell: Teller) -> None:
    """A meeting is booked, a colleague invited, and the whole handed to them."""
    work, _ = _own(tell)
    colleague = tell.items("list_calendar_people", is_user=False)[0]["person_id"]
    planned = tell.call("book_event", calendar_id=work, title="Budget review", starts_at=NOON, minutes=30)["event_id"]
    tell.call("invite_to_event", event_id=planned, person_id=colleague)
    tell.call("transfer_event", event_id=planned, person_id=colleague)


def take_the_place_of_another(tell: Teller) -> None:
    """A meeting moves away, another takes its place, and somebody is invited to that."""
    work, _ = _own(tell)
    guest = tell.items("list_calendar_people", is_user=False)[1]["person_id"]
    call = tell.call("get_calendar_event", event_id=_event(tell, "customer call"))
    tell.call("reschedule_event", event_id=call["event_id"], starts_at="2026-03-21T06:00:00Z")
    new = tell.call(
        "book_event", calendar_id=work, title="Town hall", starts_at=call["starts_at"], minutes=call["minutes"]
    )
    tell.call("invite_to_event", event_id=new["event_id"], person_id=guest)


def fill_the_gap_a_colleague_leaves(tell: Teller) -> None:
    """The customer call is handed over; something is booked in its place, and deleted."""
    work, _ = _own(tell)
    colleague = tell.items("list_calendar_people", is_user=False)[0]["person_id"]
    call = tell.call("get_calendar_event", event_id=_event(tell, "customer call"))
    tell.call("transfer_event", event_id=call["event_id"], person_id=colleague)
    new = tell.call("book_event", calendar_id=work, title="Focus", starts_at=call["starts_at"], minutes=15)["event_id"]
    tell.call("delete_calendar_event", event_id=new)


def be_reminded_again(tell: Teller) -> None:
    """A call is booked with a reminder, which is snoozed."""
    _, home = _own(tell)
    booked = tell.call(
        "book_event", calendar_id=home, title="Call grandma", starts_at=NOON, minutes=20, remind_minutes_before=30
    )
    tell.call("snooze_event_reminder", event_id=booked["event_id"], minutes=15)


def drop_one_of_a_series(tell: Teller) -> None:
    """An appointment becomes a weekly one, and one week is left out."""
    _, home = _own(tell)
    class_ = tell.call("book_event", calendar_id=home, title="Pottery", starts_at=NOON, minutes=90)["event_id"]
    tell.call("set_event_recurrence", event_id=class_, repeats="weekly", occurrences=4)
    tell.call("cancel_event_occurrence", event_id=class_, starts_at="2026-03-10T12:00:00Z")


CHAINS = [
    make_room_in_a_series, invite_before_handing_over, take_the_place_of_another, fill_the_gap_a_colleague_leaves,
    be_reminded_again, drop_one_of_a_series,
]  # fmt: skip
