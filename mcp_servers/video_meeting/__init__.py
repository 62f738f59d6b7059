"""The video meeting server: meetings with a waiting room, and recordings everyone agreed to."""

from __future__ import annotations

from palaestra.mcp_servers.framework.crud import crud
from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.mcp_servers.video_meeting.models import MODELS, Meeting, Participant, Person
from palaestra.mcp_servers.video_meeting.seed import seed
from palaestra.mcp_servers.video_meeting.stories import CHAINS, STORIES
from palaestra.mcp_servers.video_meeting.tools import QUERIES, VERBS

SERVER = ToolServer(
    "video_meeting",
    "Video meetings that the user hosts for a team, up to three at once, and some hosted by others. Guests are let in "
    "from a waiting room; a meeting is recorded only if everyone present agrees; its recording is finished when it "
    "ends and is shared with people who took part. Times are UTC.",
    models=MODELS,
    seed=seed,
    stories=STORIES,
    chains=CHAINS,
    tools=[
        *crud(Person, "list", entity="video_person", plural="video_people"),
        *crud(Meeting, "list create"),
        *crud(Participant, "create", entity="meeting_participant"),
        *QUERIES,
        *VERBS,
    ],
)
