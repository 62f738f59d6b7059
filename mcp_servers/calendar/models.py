"""Tables of the calendar: people, their calendars, events that may recur, and who is invited."""

from __future__ import annotations

from sqlalchemy import UniqueConstraint
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
    reference,
    text,
)


class Base(Entity, DeclarativeBase):
    """Tables of the calendar server."""


class Person(Base):
    """Someone who owns calendars or can be invited. Exactly one of them is the user."""

    __tablename__ = "person"
    person_id: Mapped[str] = identifier("per")
    name: Mapped[str] = text(80)
    email: Mapped[str] = text(120, unique=True)
    is_user: Mapped[int] = flag("the one the agent works for", role=Role.GUARDED)


class Calendar(Base):
    """A calendar of a person; in one that is exclusive, events never overlap."""

    __tablename__ = "calendar"
    calendar_id: Mapped[str] = identifier("cal")
    owner_id: Mapped[str] = reference("person.person_id", role=Role.GUARDED)
    name: Mapped[str] = text(60)
    exclusive: Mapped[int] = flag("events may not overlap", role=Role.GUARDED)


class Event(Base):
    """Something at a time, once or `occurrences` times, a day or a week apart."""

    __tablename__ = "event"
    event_id: Mapped[str] = identifier("evt")
    calendar_id: Mapped[str] = reference("calendar.calendar_id", role=Role.GUARDED)
    title: Mapped[str] = text(120)
    location: Mapped[str] = text(120, default="")
    notes: Mapped[str] = text(500, default="")
    starts_at: Mapped[int] = instant("start of the first occurrence", role=Role.GUARDED)
    minutes: Mapped[int] = integer("length", minimum=5, maximum=1440, unit="minutes", role=Role.GUARDED)
    repeats: Mapped[str] = choice("never", "daily", "weekly", default="never", role=Role.GUARDED)
    occurrences: Mapped[int] = integer("how often", minimum=1, maximum=60, default=1, role=Role.GUARDED)
    remind_at: Mapped[int | None] = instant("when the reminder rings", role=Role.GUARDED, optional=True)
    created_at: Mapped[int] = instant(fill="create")
    updated_at: Mapped[int] = instant(fill="update")


class CancelledOccurrence(Base):
    """One occurrence of a recurring event that does not take place."""

    __tablename__ = "cancelled_occurrence"
    cancelled_occurrence_id: Mapped[str] = identifier("can")
    event_id: Mapped[str] = reference("event.event_id", role=Role.GUARDED)
    starts_at: Mapped[int] = instant(role=Role.GUARDED)
    __table_args__ = (UniqueConstraint("event_id", "starts_at"), STRICT)


class Invitee(Base):
    """A person's invitation to an event."""

    __tablename__ = "invitee"
    invitee_id: Mapped[str] = identifier("inv")
    event_id: Mapped[str] = reference("event.event_id", role=Role.GUARDED)
    person_id: Mapped[str] = reference("person.person_id", role=Role.GUARDED)
    response: Mapped[str] = choice("pending", "accepted", "declined", "tentative", default="pending", role=Role.GUARDED)
    __table_args__ = (UniqueConstraint("event_id", "person_id"), STRICT)


MODELS = [Person, Calendar, Event, CancelledOccurrence, Invitee]
