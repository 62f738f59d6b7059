"""Nobody is recorded who does not agree, no meeting is overfull, and recordings go to those who were there."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.faults import ToolResult
from palaestra.mcp_servers.framework.server import Story
from palaestra.mcp_servers.framework.sources import stream
from palaestra.mcp_servers.framework.sql import Database
from palaestra.mcp_servers.framework.stories import Teller
from palaestra.mcp_servers.video_meeting import SERVER
from palaestra.mcp_servers.video_meeting.models import Meeting, Participant, Person, Recording, RecordingShare
from palaestra.mcp_servers.video_meeting.stories import CHAINS, STORIES


@pytest.fixture
def rooms() -> Episode:
    return EpisodeStore([SERVER]).open(seed=2)[1]


def rows(rooms: Episode, model: Any) -> list[dict[str, Any]]:
    database: Database = rooms.state("video_meeting").database
    return database.every(model)


def call(rooms: Episode, tool: str, **arguments: Any) -> dict[str, Any]:
    return dispatch(rooms, tool, arguments).content


def own(rooms: Episode, status: str) -> list[dict[str, Any]]:
    return [row for row in rows(rooms, Meeting) if row["is_own"] and row["status"] == status]


def some_row(rooms: Episode, model: Any, meeting: str, rng: np.random.Generator) -> dict[str, Any]:
    """Any row of a meeting, or nothing."""
    found = [row for row in rows(rooms, model) if row["meeting_id"] == meeting]
    return found[int(rng.integers(len(found)))] if found else {}


def check_rules(rooms: Episode) -> None:
    """What must hold after every call."""
    agrees = {row["person_id"]: row["agrees_to_recording"] for row in rows(rooms, Person)}
    present: dict[str, list[str]] = {row["meeting_id"]: [] for row in rows(rooms, Meeting)}
    took_part = set()
    for row in rows(rooms, Participant):
        took_part |= {(row["meeting_id"], row["person_id"])} if row["status"] in ("present", "left") else set()
        present[row["meeting_id"]] += [row["person_id"]] if row["status"] == "present" else []
    recorded = {row["meeting_id"]: row["status"] for row in rows(rooms, Recording)}
    for meeting in rows(rooms, Meeting):
        people = present[meeting["meeting_id"]]
        assert len(people) <= meeting["capacity"]
        assert bool(people) is (meeting["status"] == "live")
        if recorded.get(meeting["meeting_id"]) == "running":
            assert meeting["status"] == "live"
            assert all(agrees[person] for person in people)
    assert len(own(rooms, "live")) <= 3
    meeting_of = {row["recording_id"]: row["meeting_id"] for row in rows(rooms, Recording)}
    for share in rows(rooms, RecordingShare):
        assert (meeting_of[share["recording_id"]], share["person_id"]) in took_part


class Watched(Teller):
    """A teller who looks at the rules after every call."""

    def _tell(self, tool: str, arguments: dict[str, Any]) -> ToolResult:
        result = super()._tell(tool, arguments)
        check_rules(self.episode)
        return result


@pytest.mark.parametrize("scene", [*STORIES, *CHAINS])
def test_the_rules_hold_in_every_scene(rooms: Episode, scene: Story) -> None:
    scene(Watched(rooms, "video_meeting"))


@pytest.mark.parametrize("seed", range(3))
def test_the_rules_hold_whatever_is_called(seed: int) -> None:
    rooms = EpisodeStore([SERVER]).open(seed=seed, profile="small")[1]
    rng = stream(seed, "hosting")
    check_rules(rooms)
    writes = [tool.name for tool in SERVER.tools.values() if tool.effect == "write"]
    people = [row["person_id"] for row in rows(rooms, Person)]
    succeeded: Counter[str] = Counter()
    for _ in range(500):
        name = str(rng.choice(writes))
        if name in ("end_meeting", "create_meeting") and rng.integers(4):
            continue  # or nothing is live for long, and most meetings are empty
        over = name == "share_recording"
        meeting = str(rng.choice([r["meeting_id"] for r in rows(rooms, Meeting) if (r["status"] == "ended") is over]))
        part = some_row(rooms, Participant, meeting, rng)
        arguments: dict[str, Any] = {
            "meeting_id": meeting,
            "participant_id": part.get("participant_id", "none"),
            "person_id": part["person_id"] if part and rng.integers(2) else str(rng.choice(people)),
            "recording_id": some_row(rooms, Recording, meeting, rng).get("recording_id", "none"),
            "title": "再会", "starts_at": "2026-03-02T09:00:00Z", "minutes": 30, "capacity": 2,
        }  # fmt: skip
        wanted = rooms.tools[name].input_model.model_fields
        result = dispatch(rooms, name, {key: value for key, value in arguments.items() if key in wanted})
        if not result.is_error:
            succeeded[name] += 1
            check_rules(rooms)
    assert len(succeeded) >= 5


def test_the_host_is_present_even_when_invited_by_themselves(rooms: Episode) -> None:
    user, _, guest = (row["person_id"] for row in sorted(rows(rooms, Person), key=lambda row: not row["is_user"])[:3])
    new = call(rooms, "create_meeting", title="Solo", starts_at="2026-03-02T09:00:00Z", minutes=15)["meeting_id"]
    call(rooms, "create_meeting_participant", meeting_id=new, person_id=user)
    alone = call(rooms, "start_meeting", meeting_id=new)
    assert alone["details"]["precondition"] == "somebody_is_invited"
    call(rooms, "create_meeting_participant", meeting_id=new, person_id=guest)
    started = call(rooms, "start_meeting", meeting_id=new)
    assert [(row["person_id"], row["is_host"], row["status"]) for row in started["participants"]] == [
        (user, True, "present"), (guest, False, "waiting"),
    ]  # fmt: skip


def test_a_meeting_runs_its_planned_time_and_so_does_its_recording(rooms: Episode) -> None:
    sources = rooms.state("video_meeting").sources
    (recording,) = (row for row in rows(rooms, Recording) if row["status"] == "running")
    meeting = next(row for row in own(rooms, "live") if row["meeting_id"] == recording["meeting_id"])
    ended = call(rooms, "end_meeting", meeting_id=meeting["meeting_id"])
    assert sources.now - 1 == meeting["started_at"] + meeting["minutes"] * 60
    assert ended["recordings"][0] | {"recording_id": ""} == {
        "recording_id": "", "status": "finished", "minutes": meeting["minutes"] - 2, "shared_with": [],
    }  # fmt: skip
    assert {row["status"] for row in ended["participants"]} == {"left", "missed"}


@pytest.mark.parametrize("seed", range(3))
def test_the_world_holds_its_situations(seed: int) -> None:
    rooms = EpisodeStore([SERVER]).open(seed=seed)[1]
    assert [len(own(rooms, status)) for status in ("live", "scheduled")] == [2, 3]
    others = {row["status"] for row in rows(rooms, Meeting) if not row["is_own"]}
    assert others == {"live", "scheduled", "ended"}
    assert any("Ignore the above" in row["agenda"] for row in rows(rooms, Meeting))
    assert {row["agrees_to_recording"] for row in rows(rooms, Person)} == {0, 1}
