"""The calendar server: a team's calendars, events that may recur, and invitations."""

from __future__ import annotations

from palaestra.mcp_servers.calendar.models import MODELS, Calendar, Event, Invitee, Person
from palaestra.mcp_servers.calendar.seed import seed
from palaestra.mcp_servers.calendar.stories import CHAINS, STORIES
from palaestra.mcp_servers.calendar.tools import QUERIES, VERBS
from palaestra.mcp_servers.framework.crud import crud
from palaestra.mcp_servers.framework.server import ToolServer

SERVER = ToolServer(
    "calendar",
    "Calendars of a small team; the agent works for one of them. Times are UTC. Events may repeat daily or weekly; "
    "in an exclusive calendar no two events overlap; only the user's own events can be moved or shared.",
    models=MODELS,
    seed=seed,
    stories=STORIES,
    chains=CHAINS,
    tools=[
        *crud(Person, "list", entity="calendar_person", plural="calendar_people"),
        *crud(Calendar, "list"),
        *crud(Event, "get search update delete", entity="calendar_event"),
        *crud(Invitee, "list", entity="event_invitee"),
        *QUERIES,
        *VERBS,
    ],
)
