"""Scenes in video meetings that use every tool and meet every rule, and tasks whose steps have one order."""

from __future__ import annotations

from typing import Any

from palaestra.mcp_servers.framework.stories import Teller

Found = dict[str, Any]
SOON = "2026-03-02T09:05:00Z"


def _meetings(tell: Teller, status: str, own: bool = True) -> list[Found]:
    """Meetings with their participants and recordings, the earliest start last."""
    found = tell.items("list_meetings", status=status, is_own=own, limit=100)
    shown = [tell.call("show_meeting", meeting_id=row["meeting_id"]) for row in found]
    return sorted(shown, key=lambda row: str(row["starts_at"]), reverse=True)


def _live(tell: Teller) -> tuple[Found, Found]:
    """The user's live meetings: the one being recorded, and the other."""
    recorded, plain = sorted(_meetings(tell, "live"), key=lambda row: not row["recordings"])
    return recorded, plain


def _coming(tell: Teller) -> tuple[Found, Found, Found]:
    """The user's planned meetings: tomorrow's, the roomy one and the small one."""
    tomorrow, roomy, small = _meetings(tell, "scheduled")
    return tomorrow, roomy, small


def _who(meeting: Found, status: str, **wanted: Any) -> Found:
    """The first guest of a meeting with this status."""
    return next(
        row
        for row in meeting["participants"]
        if row["status"] == status and not row["is_host"] and all(row[name] == value for name, value in wanted.items())
    )


def _free_person(tell: Teller) -> str:
    """Somebody who may be recorded and is not the user."""
    return str(tell.items("list_video_people", is_user=False, agrees_to_recording=True)[0]["person_id"])


# -- stories -------------------------------------------------------------------------------------------------------


def hold_a_recorded_meeting(tell: Teller) -> None:
    """A meeting is started in time, a guest let in, recorded, ended, and the recording shared with the guest."""
    tomorrow, _, small = _coming(tell)
    key = {"meeting_id": small["meeting_id"]}
    tell.refused("meeting_is_live", "record_meeting", **key)
    tell.refused("meeting_is_live", "end_meeting", **key)
    first = _who(small, "invited")
    tell.refused("meeting_is_live", "admit_participant", participant_id=first["participant_id"])
    tell.refused("start_is_near", "start_meeting", meeting_id=tomorrow["meeting_id"])
    started = tell.call("start_meeting", **key)
    tell.refused("meeting_is_scheduled", "start_meeting", **key)
    tell.refused("somebody_is_present", "record_meeting", **key)
    guest, other = (row for row in started["participants"] if row["status"] == "waiting")
    tell.call("admit_participant", participant_id=guest["participant_id"])
    tell.refused("participant_is_waiting", "admit_participant", participant_id=guest["participant_id"])
    tell.refused("meeting_has_room", "admit_participant", participant_id=other["participant_id"])
    recording = tell.call("record_meeting", **key)["recording_id"]
    tell.refused("meeting_is_not_recorded", "record_meeting", **key)
    tell.refused("recording_is_finished", "share_recording", recording_id=recording, person_id=guest["person_id"])
    ended = tell.call("end_meeting", **key)
    assert ended["recordings"][0]["minutes"] == ended["minutes"]  # noqa: S101 - a story holds its server to its rules
    tell.refused("recipient_took_part", "share_recording", recording_id=recording, person_id=other["person_id"])
    tell.call("share_recording", recording_id=recording, person_id=guest["person_id"])
    tell.refused(
        "recording_is_new_to_recipient", "share_recording", recording_id=recording, person_id=guest["person_id"]
    )


def keep_consent(tell: Teller) -> None:
    """A meeting with somebody who does not agree is not recorded; into a recorded one only who agrees is let in."""
    recorded, plain = _live(tell)
    tell.refused("everyone_present_agrees", "record_meeting", meeting_id=plain["meeting_id"])
    shy = _who(recorded, "waiting", agrees_to_recording=False)
    tell.refused("recorded_people_agree", "admit_participant", participant_id=shy["participant_id"])
    agreeing = _who(recorded, "waiting", agrees_to_recording=True)
    tell.call("admit_participant", participant_id=agreeing["participant_id"])
    ended = tell.call("end_meeting", meeting_id=recorded["meeting_id"])
    recording = ended["recordings"][0]["recording_id"]
    tell.call("share_recording", recording_id=recording, person_id=agreeing["person_id"])
    tell.refused("recipient_took_part", "share_recording", recording_id=recording, person_id=shy["person_id"])


def plan_one_more(tell: Teller) -> None:
    """A fourth meeting starts only after another ended, and only with somebody invited."""
    _, roomy, _ = _coming(tell)
    _, plain = _live(tell)
    new = tell.call("create_meeting", title="Kurzes Gespräch", starts_at=SOON, minutes=15)["meeting_id"]
    tell.refused("invalid_arguments", "create_meeting", title="Forged", starts_at=SOON, minutes=15, status="live")
    tell.refused("somebody_is_invited", "start_meeting", meeting_id=new)
    invitation = {"meeting_id": new, "person_id": _free_person(tell)}
    guest = tell.call("create_meeting_participant", **invitation)
    tell.refused("conflict", "create_meeting_participant", **invitation)
    tell.call("start_meeting", meeting_id=roomy["meeting_id"])
    tell.refused("plan_allows_another", "start_meeting", meeting_id=new)
    tell.call("end_meeting", meeting_id=plain["meeting_id"])
    tell.call("start_meeting", meeting_id=new)
    tell.call("admit_participant", participant_id=guest["participant_id"])
    tell.call("record_meeting", meeting_id=new)


def leave_others_meetings_alone(tell: Teller) -> None:
    """What somebody else hosts is theirs to start, record, end and share."""
    live, planned, ended = (_meetings(tell, status, own=False) for status in ("live", "scheduled", "ended"))
    tell.refused("meeting_is_own", "start_meeting", meeting_id=planned[0]["meeting_id"])
    tell.refused("meeting_is_own", "record_meeting", meeting_id=live[0]["meeting_id"])
    tell.refused("meeting_is_own", "end_meeting", meeting_id=live[0]["meeting_id"])
    tell.refused("meeting_is_own", "admit_participant", participant_id=_who(live[0], "waiting")["participant_id"])
    theirs = next(row for row in ended if row["recordings"])
    tell.refused(
        "meeting_is_own", "share_recording", recording_id=theirs["recordings"][0]["recording_id"],
        person_id=_who(theirs, "left")["person_id"],
    )  # fmt: skip


STORIES = [hold_a_recorded_meeting, keep_consent, plan_one_more, leave_others_meetings_alone]

# -- chains --------------------------------------------------------------------------------------------------------


def record_and_share(tell: Teller) -> None:
    """Start the meeting that is due, let a guest in, record it to its end, and share the recording with the guest."""
    _, _, small = _coming(tell)
    key, guest = {"meeting_id": small["meeting_id"]}, _who(small, "invited")
    tell.call("start_meeting", **key)
    tell.call("admit_participant", participant_id=guest["participant_id"])
    recording = tell.call("record_meeting", **key)["recording_id"]
    tell.call("end_meeting", **key)
    tell.call("share_recording", recording_id=recording, person_id=guest["person_id"])


def meet_somebody_now(tell: Teller) -> None:
    """Create a meeting for now, invite one person, start it, let them in, and stay to the end."""
    person = _free_person(tell)
    new = tell.call("create_meeting", title="Brève rencontre", starts_at=SOON, minutes=20)["meeting_id"]
    guest = tell.call("create_meeting_participant", meeting_id=new, person_id=person)["participant_id"]
    tell.call("start_meeting", meeting_id=new)
    tell.call("admit_participant", participant_id=guest)
    tell.call("end_meeting", meeting_id=new)


def record_an_interview(tell: Teller) -> None:
    """Invite one more person to the meeting that is due, start it, let them in, and record."""
    _, roomy, _ = _coming(tell)
    known = {row["person_id"] for row in roomy["participants"]}
    people = tell.items("list_video_people", is_user=False, agrees_to_recording=True)
    person = next(row["person_id"] for row in people if row["person_id"] not in known)
    key = {"meeting_id": roomy["meeting_id"]}
    guest = tell.call("create_meeting_participant", **key, person_id=person)["participant_id"]
    tell.call("start_meeting", **key)
    tell.call("admit_participant", participant_id=guest)
    tell.call("record_meeting", **key)


def let_the_latecomer_have_it(tell: Teller) -> None:
    """Let the guest who agrees into the recorded meeting, wait for its end, and share the recording with them."""
    recorded, _ = _live(tell)
    guest = _who(recorded, "waiting", agrees_to_recording=True)
    tell.call("admit_participant", participant_id=guest["participant_id"])
    tell.call("end_meeting", meeting_id=recorded["meeting_id"])
    recording = recorded["recordings"][0]["recording_id"]
    tell.call("share_recording", recording_id=recording, person_id=guest["person_id"])


def let_the_last_one_in(tell: Teller) -> None:
    """Let the waiting guest into the unrecorded meeting before it ends."""
    _, plain = _live(tell)
    tell.call("admit_participant", participant_id=_who(plain, "waiting")["participant_id"])
    tell.call("end_meeting", meeting_id=plain["meeting_id"])


def share_what_was_recorded(tell: Teller) -> None:
    """Wait for the end of the recorded meeting and share its recording with the guest who was there."""
    recorded, _ = _live(tell)
    tell.call("end_meeting", meeting_id=recorded["meeting_id"])
    recording = recorded["recordings"][0]["recording_id"]
    tell.call("share_recording", recording_id=recording, person_id=_who(recorded, "present")["person_id"])


CHAINS = [
    record_and_share, meet_somebody_now, record_an_interview, let_the_latecomer_have_it, let_the_last_one_in,
    share_what_was_recorded,
]  # fmt: skip
