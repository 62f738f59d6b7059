"""What can be done in video meetings beyond planning them and inviting to them.

Rules: only the host runs a meeting, at most three at once, from 10 minutes before its time. The invited come to a
waiting room and are let in one by one while there is room. A meeting is recorded only if everyone present agrees, and
while it is, only those who agree are let in. A meeting runs its planned time; its recording is finished when it ends,
and is shared with people who took part.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import create_model
from sqlalchemy import bindparam, func, select

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import Output, precondition, query, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import FlagOut, Key
from palaestra.mcp_servers.video_meeting.models import (
    Meeting,
    Participant,
    Person,
    Presence,
    Progress,
    Recording,
    RecordingShare,
)

EARLY_SECONDS: Final = 600
MOST_LIVE: Final = 3

_PEOPLE = Query(
    select(
        Participant.participant_id, Participant.person_id, Person.name, Person.agrees_to_recording,
        Participant.is_host, Participant.status,
    )
    .join_from(Participant, Person, Person.person_id == Participant.person_id)
    .where(Participant.meeting_id == bindparam("meeting"))
    .order_by(Participant.participant_id)
)  # fmt: skip
_RECORDINGS = Query(
    select(Recording.recording_id, Recording.status, Recording.minutes, Recording.began_at)
    .where(Recording.meeting_id == bindparam("meeting"))
    .order_by(Recording.recording_id)
)
_SHARES = Query(
    select(RecordingShare.person_id)
    .where(RecordingShare.recording_id == bindparam("recording"))
    .order_by(RecordingShare.recording_share_id)
)
_LIVE = Query(select(func.count()).where(Meeting.status == "live", Meeting.is_own == 1))
_USER = Query(select(Person.person_id).where(Person.is_user == 1).order_by(Person.person_id))
_PART = Query(
    select(Participant.participant_id, Participant.status)
    .where(Participant.meeting_id == bindparam("meeting"), Participant.person_id == bindparam("person"))
    .order_by(Participant.participant_id)
)


def _meeting(db: Database, args: Any) -> Row:
    """The meeting a call is about: the one it names, or that of its participant or recording."""
    if hasattr(args, "participant_id"):
        return db.get(Meeting, db.get(Participant, args.participant_id)["meeting_id"])
    if hasattr(args, "recording_id"):
        return db.get(Meeting, db.get(Recording, args.recording_id)["meeting_id"])
    return db.get(Meeting, args.meeting_id)


def _people(db: Database, meeting_id: str, *statuses: Presence) -> list[Row]:
    """Participants of a meeting in these statuses."""
    return [row for row in db.rows(_PEOPLE, meeting=meeting_id) if row["status"] in statuses]


def _running(db: Database, meeting_id: str) -> list[Row]:
    """The recording that runs in a meeting, if any."""
    return [row for row in db.rows(_RECORDINGS, meeting=meeting_id) if row["status"] == "running"]


# -- preconditions -------------------------------------------------------------------------------------------------


@precondition
def meeting_is_own(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The meeting is hosted by the user."""
    return bool(_meeting(db, args)["is_own"])


@precondition
def meeting_is_scheduled(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The meeting was not started yet."""
    return bool(_meeting(db, args)["status"] == "scheduled")


@precondition
def meeting_is_live(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The meeting is live: started and not ended."""
    return bool(_meeting(db, args)["status"] == "live")


@precondition
def start_is_near(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The planned start is at most 10 minutes ahead."""
    return bool(_meeting(db, args)["starts_at"] - sources.now <= EARLY_SECONDS)


@precondition
def somebody_is_invited(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Somebody besides the user is invited to the meeting and did not decline."""
    user = db.scalar(_USER)
    return any(row["person_id"] != user for row in _people(db, args.meeting_id, "invited"))


@precondition
def plan_allows_another(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Fewer than three meetings of the user are live; end one first."""
    return bool(db.scalar(_LIVE) < MOST_LIVE)


@precondition
def participant_is_waiting(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The participant is in the waiting room."""
    return bool(db.get(Participant, args.participant_id)["status"] == "waiting")


@precondition
def meeting_has_room(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Fewer people are present than the meeting's capacity allows."""
    meeting = _meeting(db, args)
    return bool(len(_people(db, meeting["meeting_id"], "present")) < meeting["capacity"])


@precondition
def recorded_people_agree(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """While the meeting is being recorded, only people who agree to recordings are let in."""
    participant = db.get(Participant, args.participant_id)
    agrees = db.get(Person, participant["person_id"])["agrees_to_recording"]
    return bool(agrees or not _running(db, participant["meeting_id"]))


@precondition
def somebody_is_present(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Somebody besides the host is present."""
    return any(not row["is_host"] for row in _people(db, args.meeting_id, "present"))


@precondition
def everyone_present_agrees(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Everyone present agrees to be recorded."""
    return all(row["agrees_to_recording"] for row in _people(db, args.meeting_id, "present"))


@precondition
def meeting_is_not_recorded(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The meeting is not being recorded already."""
    return not _running(db, args.meeting_id)


@precondition
def recording_is_finished(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The recording is finished, which it is once its meeting ended."""
    return bool(db.get(Recording, args.recording_id)["status"] == "finished")


@precondition
def recipient_took_part(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The person was present in the recorded meeting."""
    db.get(Person, args.person_id)
    part = db.first(_PART, meeting=_meeting(db, args)["meeting_id"], person=args.person_id)
    return bool(part is not None and part["status"] == "left")


@precondition
def recording_is_new_to_recipient(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The recording was not shared with the person before."""
    shares = db.rows(_SHARES, recording=args.recording_id)
    return all(row["person_id"] != args.person_id for row in shares)


# -- what tools show -----------------------------------------------------------------------------------------------


class ParticipantItem(Output):
    """Somebody's part in a meeting."""

    participant_id: str
    person_id: str
    name: str
    agrees_to_recording: FlagOut
    is_host: FlagOut
    status: Presence


class RecordingItem(Output):
    """A recording of a meeting."""

    recording_id: str
    status: Progress
    minutes: int
    shared_with: list[str]


MeetingDetails = create_model(
    "MeetingDetails", __base__=view(Meeting), participants=(list[ParticipantItem], ...),
    recordings=(list[RecordingItem], ...),
)  # fmt: skip


def _details(db: Database, meeting_id: str) -> Row:
    recordings = [
        {
            **{name: row[name] for name in ("recording_id", "status", "minutes")},
            "shared_with": [share["person_id"] for share in db.rows(_SHARES, recording=row["recording_id"])],
        }
        for row in db.rows(_RECORDINGS, meeting=meeting_id)
    ]
    meeting, people = db.get(Meeting, meeting_id), db.rows(_PEOPLE, meeting=meeting_id)
    return {**meeting, "participants": people, "recordings": recordings}


# -- verbs ---------------------------------------------------------------------------------------------------------


class MeetingKeyArgs(Args):
    """Arguments that name a meeting."""

    meeting_id: Key


@verb(
    requires=[meeting_is_own, meeting_is_scheduled, start_is_near, somebody_is_invited, plan_allows_another],
    returns=MeetingDetails,
)
def start_meeting(db: Database, sources: EpisodeSources, args: MeetingKeyArgs) -> Row:
    """Start one of the user's meetings, from 10 minutes before its time. The invited come to the waiting room."""
    for guest in _people(db, args.meeting_id, "invited"):
        db.update(Participant, guest["participant_id"], status="waiting")
    user = db.scalar(_USER)
    part = db.scalar(_PART, meeting=args.meeting_id, person=user)
    if part is None:
        db.insert(Participant, meeting_id=args.meeting_id, person_id=user, is_host=1, status="present")
    else:
        db.update(Participant, part, is_host=1, status="present")
    db.update(Meeting, args.meeting_id, status="live", started_at=sources.now)
    return _details(db, args.meeting_id)


class ParticipantKeyArgs(Args):
    """Arguments that name a participant."""

    participant_id: Key


@verb(
    requires=[meeting_is_own, meeting_is_live, participant_is_waiting, meeting_has_room, recorded_people_agree],
    returns=MeetingDetails,
)
def admit_participant(db: Database, sources: EpisodeSources, args: ParticipantKeyArgs) -> Row:
    """Let somebody in from the waiting room while there is room; into a recorded meeting only who agrees to it."""
    admitted = db.update(Participant, args.participant_id, status="present")
    return _details(db, admitted["meeting_id"])


@verb(
    requires=[
        meeting_is_own, meeting_is_live, somebody_is_present, everyone_present_agrees, meeting_is_not_recorded,
    ],
    returns=view(Recording),
)  # fmt: skip
def record_meeting(db: Database, sources: EpisodeSources, args: MeetingKeyArgs) -> Row:
    """Record a live meeting from now to its end. Everyone present must agree to be recorded."""
    return db.insert(Recording, meeting_id=args.meeting_id)


@verb(requires=[meeting_is_own, meeting_is_live], returns=MeetingDetails)
def end_meeting(db: Database, sources: EpisodeSources, args: MeetingKeyArgs) -> Row:
    """Let a live meeting run its planned time, then end it and its recording. Who still waits has missed it."""
    meeting = db.get(Meeting, args.meeting_id)
    sources.advance(max(0, meeting["started_at"] + meeting["minutes"] * 60 - sources.now))
    for row in _people(db, args.meeting_id, "present"):
        db.update(Participant, row["participant_id"], status="left")
    for row in _people(db, args.meeting_id, "invited", "waiting"):
        db.update(Participant, row["participant_id"], status="missed")
    for row in _running(db, args.meeting_id):
        minutes = -(-(sources.now - row["began_at"]) // 60)
        db.update(Recording, row["recording_id"], status="finished", minutes=minutes)
    db.update(Meeting, args.meeting_id, status="ended", ended_at=sources.now)
    return _details(db, args.meeting_id)


class ShareRecordingArgs(Args):
    """Arguments of sharing a recording."""

    recording_id: Key
    person_id: Key


@verb(
    requires=[meeting_is_own, recording_is_finished, recipient_took_part, recording_is_new_to_recipient],
    returns=view(RecordingShare),
)
def share_recording(db: Database, sources: EpisodeSources, args: ShareRecordingArgs) -> Row:
    """Give a person who took part in one of the user's meetings access to its finished recording."""
    return db.insert(RecordingShare, recording_id=args.recording_id, person_id=args.person_id)


# -- queries -------------------------------------------------------------------------------------------------------


@query(returns=MeetingDetails)
def show_meeting(db: Database, sources: EpisodeSources, args: MeetingKeyArgs) -> Row:
    """A meeting with everyone's part in it, whether they agree to recordings, and its recordings with their shares."""
    return _details(db, args.meeting_id)


VERBS = [start_meeting, admit_participant, record_meeting, end_meeting, share_recording]
QUERIES = [show_meeting]
