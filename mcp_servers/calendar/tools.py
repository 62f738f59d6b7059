"""What can be done with a calendar beyond reading it and editing titles.

Rules: in an exclusive calendar no two events overlap, in any occurrence; only the user's own events are moved,
repeated, shared or handed over; past events stay as they are; one answers an invitation only if invited.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import bindparam, select

from palaestra.mcp_servers.calendar.models import Calendar, CancelledOccurrence, Event, Invitee, Person
from palaestra.mcp_servers.calendar.slots import Span, all_occurrences, free_slots, occurrences, overlapping
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.faults import FaultCode, Refusal, conflict
from palaestra.mcp_servers.framework.spec import Output, precondition, query, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import Day, Instant, InstantOut, Key, parse_instant

EventView = view(Event)
InviteeView = view(Invitee)
Minutes = Annotated[int, Field(ge=5, le=1440)]
Title = Annotated[str, Field(min_length=1, max_length=120)]
Place = Annotated[str, Field(max_length=120)]

_EVENTS = Query(
    select(Event.__table__).where(Event.calendar_id == bindparam("calendar")).order_by(Event.starts_at, Event.event_id)
)
_CANCELLED = Query(
    select(CancelledOccurrence.event_id, CancelledOccurrence.starts_at)
    .join_from(CancelledOccurrence, Event, Event.event_id == CancelledOccurrence.event_id)
    .where(Event.calendar_id == bindparam("calendar"))
    .order_by(CancelledOccurrence.cancelled_occurrence_id)
)
_INVITATION = Query(
    select(Invitee.__table__).where(Invitee.event_id == bindparam("event"), Invitee.person_id == bindparam("person"))
)


def _cancelled(db: Database, calendar_id: str) -> frozenset[tuple[str, int]]:
    return frozenset((row["event_id"], row["starts_at"]) for row in db.rows(_CANCELLED, calendar=calendar_id))


def _fits(db: Database, event: Row) -> bool:
    """Whether an event overlaps nothing in its calendar, or may."""
    calendar = event["calendar_id"]
    if not db.get(Calendar, calendar)["exclusive"]:
        return True
    return overlapping(event, db.rows(_EVENTS, calendar=calendar), _cancelled(db, calendar)) is None


# -- preconditions -------------------------------------------------------------------------------------------------


@precondition
def calendar_is_own(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The calendar belongs to the user."""
    return bool(db.get(Person, db.get(Calendar, args.calendar_id)["owner_id"])["is_user"])


@precondition
def event_is_own(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The event is in a calendar of the user."""
    calendar = db.get(Calendar, db.get(Event, args.event_id)["calendar_id"])
    return bool(db.get(Person, calendar["owner_id"])["is_user"])


@precondition
def start_lies_ahead(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The start lies in the future."""
    return bool(args.starts_at > sources.now)


@precondition
def event_is_not_over(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The event's last occurrence has not ended yet."""
    return list(all_occurrences(db.get(Event, args.event_id)))[-1].end > sources.now


@precondition
def slot_is_free(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Nothing else takes place in the calendar at that time."""
    wanted = {"event_id": "", "calendar_id": args.calendar_id, "repeats": "never", "occurrences": 1}
    return _fits(db, {**wanted, "starts_at": args.starts_at, "minutes": args.minutes})


@precondition
def new_slot_is_free(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Nothing else takes place in the calendar at the new time, in any occurrence."""
    event = db.get(Event, args.event_id)
    minutes = args.minutes if args.minutes is not None else event["minutes"]
    return _fits(db, {**event, "starts_at": args.starts_at, "minutes": minutes})


@precondition
def repeated_slots_are_free(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Nothing else takes place in the calendar at any of the occurrences."""
    event = db.get(Event, args.event_id)
    return _fits(db, {**event, "repeats": args.repeats, "occurrences": args.occurrences})


@precondition
def user_is_invited(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The user is invited to the event."""
    db.get(Event, args.event_id)
    return _invitation(db, args.event_id) is not None


@precondition
def event_repeats(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The event is a recurring one."""
    return bool(db.get(Event, args.event_id)["repeats"] != "never")


@precondition
def person_is_not_invited(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The person is not invited to the event yet."""
    db.get(Person, args.person_id)
    return db.first(_INVITATION, event=args.event_id, person=args.person_id) is None


@precondition
def reminder_is_set(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The event has a reminder."""
    return db.get(Event, args.event_id)["remind_at"] is not None


@precondition
def person_has_a_free_calendar(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The person has a calendar in which nothing else takes place at the event's time."""
    db.get(Person, args.person_id)
    return _calendar_with_room(db, args.event_id, args.person_id) is not None


_USER = Query(select(Person.person_id).where(Person.is_user == 1))
_CALENDARS = Query(
    select(Calendar.calendar_id).where(Calendar.owner_id == bindparam("owner")).order_by(Calendar.calendar_id)
)


def _invitation(db: Database, event_id: str) -> Row | None:
    return db.first(_INVITATION, event=event_id, person=db.scalar(_USER))


def _calendar_with_room(db: Database, event_id: str, person_id: str) -> str | None:
    event = db.get(Event, event_id)
    for row in db.rows(_CALENDARS, owner=person_id):
        if row["calendar_id"] != event["calendar_id"] and _fits(db, {**event, **row}):
            return str(row["calendar_id"])
    return None


# -- verbs ---------------------------------------------------------------------------------------------------------


class BookEventArgs(Args):
    """Arguments of a booking."""

    calendar_id: Key
    title: Title
    starts_at: Instant
    minutes: Minutes
    location: Place = ""
    remind_minutes_before: Annotated[int, Field(ge=0, le=10_080)] | None = None


@verb(requires=[calendar_is_own, start_lies_ahead, slot_is_free], returns=EventView)
def book_event(db: Database, sources: EpisodeSources, args: BookEventArgs) -> Row:
    """Put a new event into one of the user's calendars, at a time in the future that is free."""
    before = args.remind_minutes_before
    return db.insert(
        Event, calendar_id=args.calendar_id, title=args.title, starts_at=args.starts_at, minutes=args.minutes,
        location=args.location, remind_at=None if before is None else args.starts_at - before * 60,
    )  # fmt: skip


class RescheduleEventArgs(Args):
    """Arguments of a move."""

    event_id: Key
    starts_at: Instant
    minutes: Minutes | None = None


@verb(requires=[event_is_own, event_is_not_over, start_lies_ahead, new_slot_is_free], returns=EventView)
def reschedule_event(db: Database, sources: EpisodeSources, args: RescheduleEventArgs) -> Row:
    """Move one of the user's events, all its occurrences and its reminder, to a free time. Invitees answer anew."""
    event = db.get(Event, args.event_id)
    shift = args.starts_at - event["starts_at"]
    remind_at = None if event["remind_at"] is None else event["remind_at"] + shift
    for invitee in db.rows(_INVITEES, event=args.event_id):
        db.update(Invitee, invitee["invitee_id"], response="pending")
    for gone in db.rows(_GONE, event=args.event_id):
        db.update(CancelledOccurrence, gone["cancelled_occurrence_id"], starts_at=gone["starts_at"] + shift)
    minutes = event["minutes"] if args.minutes is None else args.minutes
    return db.update(Event, args.event_id, starts_at=args.starts_at, minutes=minutes, remind_at=remind_at)


_INVITEES = Query(select(Invitee.__table__).where(Invitee.event_id == bindparam("event")).order_by(Invitee.invitee_id))
# Latest first, or shifting one by a period would run into the next.
_GONE = Query(
    select(CancelledOccurrence.__table__)
    .where(CancelledOccurrence.event_id == bindparam("event"))
    .order_by(CancelledOccurrence.starts_at.desc(), CancelledOccurrence.cancelled_occurrence_id)
)


class RespondArgs(Args):
    """Arguments of an answer."""

    event_id: Key
    response: Literal["accepted", "declined", "tentative"]


@verb(requires=[user_is_invited, event_is_not_over], returns=InviteeView)
def respond_to_invitation(db: Database, sources: EpisodeSources, args: RespondArgs) -> Row:
    """Answer an invitation the user got to an event that is not over."""
    invitation = _invitation(db, args.event_id)
    if invitation is None:
        raise conflict("the user is not invited")
    return db.update(Invitee, invitation["invitee_id"], response=args.response)


class CancelOccurrenceArgs(Args):
    """Arguments that name one occurrence."""

    event_id: Key
    starts_at: Instant


@verb(requires=[event_is_own, event_repeats, start_lies_ahead], returns=view(CancelledOccurrence))
def cancel_event_occurrence(db: Database, sources: EpisodeSources, args: CancelOccurrenceArgs) -> Row:
    """Cancel one future occurrence of a recurring event, named by its start; the others stay."""
    event = db.get(Event, args.event_id)
    if not any(span.start == args.starts_at for span in all_occurrences(event)):
        raise Refusal(FaultCode.NOT_FOUND, "the event has no occurrence that starts then", entity="occurrence")
    return db.insert(CancelledOccurrence, event_id=args.event_id, starts_at=args.starts_at)


class InviteArgs(Args):
    """Arguments of an invitation."""

    event_id: Key
    person_id: Key


@verb(requires=[event_is_own, event_is_not_over, person_is_not_invited], returns=InviteeView)
def invite_to_event(db: Database, sources: EpisodeSources, args: InviteArgs) -> Row:
    """Invite a person to one of the user's events that is not over."""
    return db.insert(Invitee, event_id=args.event_id, person_id=args.person_id)


class SnoozeArgs(Args):
    """Arguments of a snooze."""

    event_id: Key
    minutes: Annotated[int, Field(ge=1, le=1440)]


@verb(requires=[reminder_is_set, event_is_not_over], returns=EventView)
def snooze_event_reminder(db: Database, sources: EpisodeSources, args: SnoozeArgs) -> Row:
    """Let an event's reminder ring again some minutes from now."""
    return db.update(Event, args.event_id, remind_at=sources.now // 60 * 60 + args.minutes * 60)


class RecurrenceArgs(Args):
    """Arguments of a recurrence."""

    event_id: Key
    repeats: Literal["daily", "weekly"]
    occurrences: Annotated[int, Field(ge=2, le=60)]


@verb(requires=[event_is_own, event_is_not_over, repeated_slots_are_free], returns=EventView)
def set_event_recurrence(db: Database, sources: EpisodeSources, args: RecurrenceArgs) -> Row:
    """Let one of the user's events repeat daily or weekly, if every occurrence is free."""
    return db.update(Event, args.event_id, repeats=args.repeats, occurrences=args.occurrences)


@verb(requires=[event_is_own, event_is_not_over, person_has_a_free_calendar], returns=EventView)
def transfer_event(db: Database, sources: EpisodeSources, args: InviteArgs) -> Row:
    """Hand one of the user's events over to another person's calendar that is free then."""
    return db.update(Event, args.event_id, calendar_id=_calendar_with_room(db, args.event_id, args.person_id))


# -- queries -------------------------------------------------------------------------------------------------------


class FreeSlotsArgs(Args):
    """Arguments of a search for free time."""

    calendar_id: Key
    since: Instant
    until: Instant
    minutes: Minutes


class Slot(Output):
    """Free time."""

    starts_at: InstantOut
    ends_at: InstantOut


class Slots(Output):
    """Free times, earliest first."""

    items: list[Slot]


@query(returns=Slots)
def find_free_slots(db: Database, sources: EpisodeSources, args: FreeSlotsArgs) -> Row:
    """The first 50 gaps of at least so many minutes in a calendar, between two times at most 31 days apart."""
    within = Span(args.since, min(args.until, args.since + 31 * 86_400))
    found = list(free_slots(_busy(db, args.calendar_id, within), within, args.minutes * 60))
    return {"items": [{"starts_at": slot.start, "ends_at": slot.end} for slot in found[:50]]}


def _busy(db: Database, calendar_id: str, within: Span) -> list[Span]:
    db.get(Calendar, calendar_id)
    cancelled = _cancelled(db, calendar_id)
    events = db.rows(_EVENTS, calendar=calendar_id)
    return [span for event in events for span in occurrences(event, within, cancelled)]


class AgendaArgs(Args):
    """Arguments of a day's agenda."""

    calendar_id: Key
    day: Day


class AgendaItem(Output):
    """One occurrence on the agenda."""

    event_id: str
    title: str
    location: str
    starts_at: InstantOut
    ends_at: InstantOut


class Agenda(Output):
    """A day's occurrences, earliest first."""

    items: list[AgendaItem]


@query(returns=Agenda)
def show_agenda(db: Database, sources: EpisodeSources, args: AgendaArgs) -> Row:
    """Everything that takes place in a calendar on a day (UTC), in order; cancelled occurrences are left out."""
    db.get(Calendar, args.calendar_id)
    start = parse_instant(f"{args.day}T00:00:00Z")
    day = Span(start, start + 86_400)
    cancelled = _cancelled(db, args.calendar_id)
    items = [
        {
            **{name: event[name] for name in ("event_id", "title", "location")},
            "starts_at": span.start,
            "ends_at": span.end,
        }
        for event in db.rows(_EVENTS, calendar=args.calendar_id)
        for span in occurrences(event, day, cancelled)
    ]
    return {"items": sorted(items, key=lambda item: (item["starts_at"], item["event_id"]))[:100]}


VERBS = [
    book_event, reschedule_event, respond_to_invitation, cancel_event_occurrence, invite_to_event,
    snooze_event_reminder, set_event_recurrence, transfer_event,
]  # fmt: skip
QUERIES = [find_free_slots, show_agenda]
