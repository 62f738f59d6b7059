"""Sprints and milestones: what is planned, started, closed and released.

Rules: an issue is planned with an estimate, into a sprint of its project that has room; an active sprint takes
critical issues only; a project has one active sprint at a time; closing a sprint moves what is unfinished; a milestone
is released when all of it is finished and the earlier ones are released.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import bindparam, func, select

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import Output, precondition, query, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import Key, refers_to
from palaestra.mcp_servers.issue_tracker.models import Issue, Member, Milestone, Sprint, unfinished
from palaestra.mcp_servers.issue_tracker.tools import IssueView, committed_points, issue_is_unfinished
from palaestra.mcp_servers.issue_tracker.workflow import FINISHED

SprintView = view(Sprint)

_ACTIVE = Query(select(Sprint.sprint_id).where(Sprint.project_id == bindparam("project"), Sprint.status == "active"))
_UNFINISHED_IN_SPRINT = Query(
    select(Issue.issue_id, Issue.points)
    .where(Issue.sprint_id == bindparam("sprint"), *unfinished(Issue))
    .order_by(Issue.issue_id)
)
_DONE_POINTS = Query(
    select(func.coalesce(func.sum(Issue.points), 0)).where(
        Issue.sprint_id == bindparam("sprint"), Issue.status == "done"
    )
)
_OF_MILESTONE = Query(
    select(Issue.issue_id, Issue.status).where(Issue.milestone_id == bindparam("milestone")).order_by(Issue.issue_id)
)
_EARLIER_UNRELEASED = Query(
    select(func.count()).where(
        Milestone.project_id == bindparam("project"), Milestone.due_at < bindparam("due"),
        Milestone.status == "unreleased",
    )
)  # fmt: skip

# -- preconditions -------------------------------------------------------------------------------------------------


@precondition
def issue_is_estimated(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The issue has an estimate."""
    return db.get(Issue, args.issue_id)["points"] is not None


@precondition
def sprint_is_of_project(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The sprint belongs to the issue's project."""
    return bool(db.get(Sprint, args.sprint_id)["project_id"] == db.get(Issue, args.issue_id)["project_id"])


@precondition
def sprint_takes_issue(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The sprint is planned, or it is active and the issue is critical."""
    status = db.get(Sprint, args.sprint_id)["status"]
    return bool(status == "planned" or (status == "active" and db.get(Issue, args.issue_id)["priority"] == "critical"))


@precondition
def issue_is_not_in_sprint(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The issue is not in that sprint already, and not in the active one, which keeps its issues until it is closed."""
    current = db.get(Issue, args.issue_id)["sprint_id"]
    return current is None or (current != args.sprint_id and db.get(Sprint, current)["status"] != "active")


@precondition
def issue_fits_sprint(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The issue's points fit into what the sprint's capacity has left."""
    left = db.get(Sprint, args.sprint_id)["capacity"] - committed_points(db, args.sprint_id)
    return bool(db.get(Issue, args.issue_id)["points"] <= left)


@precondition
def milestone_takes_issue(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The milestone, if one is named, belongs to the issue's project and is not released."""
    if args.milestone_id is None:
        return True
    milestone = db.get(Milestone, args.milestone_id)
    own = milestone["project_id"] == db.get(Issue, args.issue_id)["project_id"]
    return bool(own and milestone["status"] == "unreleased")


@precondition
def sprint_is_planned(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The sprint is planned, neither active nor completed."""
    return bool(db.get(Sprint, args.sprint_id)["status"] == "planned")


@precondition
def sprint_is_active(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The sprint is the active one."""
    return bool(db.get(Sprint, args.sprint_id)["status"] == "active")


@precondition
def no_sprint_is_active(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """No other sprint of the project is active; it is closed first."""
    return db.first(_ACTIVE, project=db.get(Sprint, args.sprint_id)["project_id"]) is None


@precondition
def sprint_has_work(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """At least one unfinished issue is planned for the sprint."""
    return bool(db.rows(_UNFINISHED_IN_SPRINT, sprint=args.sprint_id))


@precondition
def next_sprint_is_planned(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The next sprint, if one is named, is a planned sprint of the same project."""
    if args.next_sprint_id is None:
        return True
    sprint, following = db.get(Sprint, args.sprint_id), db.get(Sprint, args.next_sprint_id)
    return bool(following["status"] == "planned" and following["project_id"] == sprint["project_id"])


@precondition
def unfinished_work_fits(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The unfinished issues fit into what the next sprint's capacity has left."""
    if args.next_sprint_id is None:
        return True
    moving = sum(issue["points"] for issue in db.rows(_UNFINISHED_IN_SPRINT, sprint=args.sprint_id))
    left = db.get(Sprint, args.next_sprint_id)["capacity"] - committed_points(db, args.next_sprint_id)
    return bool(moving <= left)


@precondition
def milestone_is_unreleased(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The milestone is not released yet."""
    return bool(db.get(Milestone, args.milestone_id)["status"] == "unreleased")


@precondition
def earlier_milestones_are_released(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Every milestone of the project that is due earlier is released."""
    milestone = db.get(Milestone, args.milestone_id)
    return not db.scalar(_EARLIER_UNRELEASED, project=milestone["project_id"], due=milestone["due_at"])


@precondition
def milestone_has_done_issues(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """At least one issue of the milestone is done."""
    return any(issue["status"] == "done" for issue in db.rows(_OF_MILESTONE, milestone=args.milestone_id))


@precondition
def milestone_is_finished(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """Every issue of the milestone is done or cancelled."""
    return all(issue["status"] in FINISHED for issue in db.rows(_OF_MILESTONE, milestone=args.milestone_id))


# -- verbs ---------------------------------------------------------------------------------------------------------


class PlanArgs(Args):
    """Arguments of a plan."""

    issue_id: Key
    sprint_id: Key
    milestone_id: Annotated[Key | None, Field(description="also put it into this milestone")] = None


@verb(
    requires=[
        issue_is_unfinished, issue_is_estimated, sprint_is_of_project, issue_is_not_in_sprint, sprint_takes_issue,
        issue_fits_sprint, milestone_takes_issue,
    ],
    returns=IssueView,
)  # fmt: skip
def plan_issue(db: Database, sources: EpisodeSources, args: PlanArgs) -> Row:
    """Put an estimated issue into a sprint of its project that has capacity left, and into a milestone if named.

    Planned sprints take any unfinished issue, the active sprint takes critical ones only.
    """
    milestone = {} if args.milestone_id is None else {"milestone_id": args.milestone_id}
    return db.update(Issue, args.issue_id, sprint_id=args.sprint_id, **milestone)


class SprintKeyArgs(Args):
    """Arguments that name a sprint."""

    sprint_id: Key


@verb(requires=[sprint_is_planned, no_sprint_is_active, sprint_has_work], returns=SprintView)
def start_sprint(db: Database, sources: EpisodeSources, args: SprintKeyArgs) -> Row:
    """Start a planned sprint that has issues. A project has one active sprint at a time."""
    return db.update(Sprint, args.sprint_id, status="active", started_at=sources.now)


class CloseSprintArgs(SprintKeyArgs):
    """Arguments of the end of a sprint."""

    next_sprint_id: Annotated[
        Key | None,
        refers_to("sprint", "where unfinished issues go; the backlog if left out"),
    ] = None


class ClosedSprint(Output):
    """A closed sprint and what it left."""

    sprint_id: str
    status: str
    completed_points: int
    moved_issues: list[str]


@verb(requires=[sprint_is_active, next_sprint_is_planned, unfinished_work_fits], returns=ClosedSprint)
def close_sprint(db: Database, sources: EpisodeSources, args: CloseSprintArgs) -> Row:
    """Close the active sprint. Its unfinished issues move to a planned sprint with room for them, or to the backlog."""
    done = db.scalar(_DONE_POINTS, sprint=args.sprint_id)
    moved = [issue["issue_id"] for issue in db.rows(_UNFINISHED_IN_SPRINT, sprint=args.sprint_id)]
    for issue in moved:
        db.update(Issue, issue, sprint_id=args.next_sprint_id)
    db.update(Sprint, args.sprint_id, status="completed", completed_points=done, ended_at=sources.now)
    return {"sprint_id": args.sprint_id, "status": "completed", "completed_points": done, "moved_issues": moved}


class MilestoneKeyArgs(Args):
    """Arguments that name a milestone."""

    milestone_id: Key


@verb(
    requires=[
        milestone_is_unreleased, earlier_milestones_are_released, milestone_has_done_issues, milestone_is_finished,
    ],
    returns=view(Milestone),
)  # fmt: skip
def release_milestone(db: Database, sources: EpisodeSources, args: MilestoneKeyArgs) -> Row:
    """Release a milestone whose issues are all finished. Milestones of a project are released in order of due time."""
    done = sum(issue["status"] == "done" for issue in db.rows(_OF_MILESTONE, milestone=args.milestone_id))
    return db.update(Milestone, args.milestone_id, status="released", released_issues=done)


# -- queries -------------------------------------------------------------------------------------------------------


class MemberWork(Output):
    """What one member has in a sprint; without a member: what nobody has."""

    member_id: str | None
    name: str | None
    issues: int
    points: int
    done_points: int


class SprintSummary(Output):
    """Where a sprint stands, in story points; cancelled issues do not count."""

    sprint_id: str
    status: str
    capacity: int
    committed_points: int
    done_points: int
    unfinished_issues: list[str]
    members: list[MemberWork]


_WORK = Query(
    select(Issue.assignee_id.label("member_id"), Member.name, Issue.status, Issue.points)
    .join_from(Issue, Member, Member.member_id == Issue.assignee_id, isouter=True)
    .where(Issue.sprint_id == bindparam("sprint"), Issue.status != "cancelled")
    .order_by(Issue.assignee_id, Issue.issue_id)
)


@query(returns=SprintSummary)
def summarize_sprint(db: Database, sources: EpisodeSources, args: SprintKeyArgs) -> Row:
    """Where a sprint stands: capacity, committed and done story points, unfinished issues, and work by member."""
    sprint = db.get(Sprint, args.sprint_id)
    members: dict[str | None, Row] = {}
    for issue in db.rows(_WORK, sprint=args.sprint_id):
        found = members.setdefault(
            issue["member_id"],
            {"member_id": issue["member_id"], "name": issue["name"], "issues": 0, "points": 0, "done_points": 0},
        )
        found["issues"] += 1
        found["points"] += issue["points"]
        found["done_points"] += issue["points"] if issue["status"] == "done" else 0
    return {
        **{name: sprint[name] for name in ("sprint_id", "status", "capacity")},
        "committed_points": committed_points(db, args.sprint_id),
        "done_points": db.scalar(_DONE_POINTS, sprint=args.sprint_id),
        "unfinished_issues": [row["issue_id"] for row in db.rows(_UNFINISHED_IN_SPRINT, sprint=args.sprint_id)],
        "members": list(members.values()),
    }


VERBS = [plan_issue, start_sprint, close_sprint, release_milestone]
QUERIES = [summarize_sprint]
