"""Tables of the video meetings: people, meetings, who takes part, recordings and whom they were shared with."""

from __future__ import annotations

from typing import Literal, get_args

from sqlalchemy import Index, UniqueConstraint
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

Presence = Literal["invited", "declined", "waiting", "present", "left", "missed"]
Progress = Literal["running", "finished"]


class Base(Entity, DeclarativeBase):
    """Tables of the video meeting server."""


class Person(Base):
    """Someone who takes part in meetings. Exactly one of them is the user, who hosts for a team."""

    __tablename__ = "person"
    person_id: Mapped[str] = identifier("prs")
    name: Mapped[str] = text(80)
    email: Mapped[str] = text(120, unique=True)
    is_user: Mapped[int] = flag("the one the agent works for", role=Role.GUARDED)
    agrees_to_recording: Mapped[int] = flag("may be recorded", role=Role.GUARDED)


class Meeting(Base):
    """A video meeting. Those created here are the user's own; others are hosted by somebody else."""

    __tablename__ = "meeting"
    meeting_id: Mapped[str] = identifier("mtg")
    title: Mapped[str] = text(120)
    agenda: Mapped[str] = text(500, default="")
    starts_at: Mapped[int] = instant("planned start")
    minutes: Mapped[int] = integer("planned length", minimum=5, maximum=480, unit="minutes")
    capacity: Mapped[int] = integer("how many may be present, the host among them", minimum=2, maximum=500, default=10)
    is_own: Mapped[int] = flag("hosted by the user", default=True, role=Role.GUARDED)
    status: Mapped[str] = choice("scheduled", "live", "ended", default="scheduled", role=Role.GUARDED)
    # Moments of calls; that they were made is in the status.
    started_at: Mapped[int | None] = instant(role=Role.VOLATILE, optional=True)
    ended_at: Mapped[int | None] = instant(role=Role.VOLATILE, optional=True)


class Participant(Base):
    """A person's part in a meeting: invited, in the waiting room, present, gone, or never let in."""

    __tablename__ = "participant"
    participant_id: Mapped[str] = identifier("prt")
    meeting_id: Mapped[str] = reference("meeting.meeting_id")
    person_id: Mapped[str] = reference("person.person_id")
    is_host: Mapped[int] = flag(role=Role.GUARDED)
    status: Mapped[str] = choice(*get_args(Presence), default="invited", role=Role.GUARDED)
    __table_args__ = (UniqueConstraint("meeting_id", "person_id"), STRICT)


class Recording(Base):
    """A recording of a meeting, running until the meeting ends."""

    __tablename__ = "recording"
    recording_id: Mapped[str] = identifier("rcd")
    meeting_id: Mapped[str] = reference("meeting.meeting_id", role=Role.GUARDED)
    status: Mapped[str] = choice(*get_args(Progress), default="running", role=Role.GUARDED)
    minutes: Mapped[int] = integer("length once finished", default=0, unit="minutes", role=Role.GUARDED)
    began_at: Mapped[int] = instant(fill="create")
    __table_args__ = (Index("recording_by_meeting", "meeting_id"), STRICT)


class RecordingShare(Base):
    """A person's access to a recording, given once."""

    __tablename__ = "recording_share"
    recording_share_id: Mapped[str] = identifier("shr")
    recording_id: Mapped[str] = reference("recording.recording_id", role=Role.GUARDED)
    person_id: Mapped[str] = reference("person.person_id", role=Role.GUARDED)
    shared_at: Mapped[int] = instant(fill="create")
    __table_args__ = (UniqueConstraint("recording_id", "person_id"), STRICT)


MODELS = [Person, Meeting, Participant, Recording, RecordingShare]
