"""The issue tracker: projects, issues with a workflow, sprints and milestones."""

from __future__ import annotations

from palaestra.mcp_servers.framework.crud import crud
from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.mcp_servers.issue_tracker import tools, tools_planning
from palaestra.mcp_servers.issue_tracker.models import MODELS, Issue, Member, Milestone, Project, Sprint
from palaestra.mcp_servers.issue_tracker.seed import seed
from palaestra.mcp_servers.issue_tracker.stories import CHAINS, STORIES

SERVER = ToolServer(
    "issue_tracker",
    "Issues of a few projects. Issues move along their project's workflow; work needs an assignee with room, no "
    "unfinished blocker and, in scrum projects, the one active sprint. Sprints have a capacity in story points; a "
    "milestone is released when everything in it is finished.",
    models=MODELS,
    seed=seed,
    stories=STORIES,
    chains=CHAINS,
    tools=[
        *crud(Project, "list"),
        *crud(Member, "list", entity="project_member"),
        *crud(Sprint, "list create"),
        *crud(Milestone, "list"),
        *crud(Issue, "list search create"),
        *tools.QUERIES,
        *tools_planning.QUERIES,
        *tools.VERBS,
        *tools_planning.VERBS,
    ],
)
