"""What can be done with issues beyond reading and filing them.

Rules: an issue moves along its project's workflow (scrum: open, in progress, in review, done; kanban has no review);
work needs an assignee and no unfinished blocker, and in scrum an active sprint; a member takes so many unfinished
issues and no more; blockers never wait for each other; what is finished moves again only by reopening it, and what
was released never. Sprints and milestones: tools_planning.py.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, create_model
from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import aliased

from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import Output, precondition, query, verb, view
from palaestra.mcp_servers.framework.sql import Database, Query, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import Key, refers_to
from palaestra.mcp_servers.issue_tracker.models import (
    Issue,
    IssueLink,
    Member,
    Milestone,
    Project,
    Sprint,
    unfinished,
)
from palaestra.mcp_servers.issue_tracker.workflow import FINISHED, WORKED_ON, next_statuses

IssueView = view(Issue)
LinkView = view(IssueLink)
SCALE: Final = (1, 2, 3, 5, 8, 13)
OtherIssue = Annotated[Key, refers_to("issue")]

_Blocker = aliased(Issue)
_BLOCKERS = Query(
    select(_Blocker.issue_id)
    .join_from(IssueLink, _Blocker, _Blocker.issue_id == IssueLink.target_issue_id)
    .where(IssueLink.issue_id == bindparam("issue"), IssueLink.kind == "blocked_by", *unfinished(_Blocker))
    .order_by(_Blocker.issue_id)
)
_WAITING = Query(
    select(Issue.issue_id, Issue.status)
    .join_from(IssueLink, Issue, Issue.issue_id == IssueLink.issue_id)
    .where(IssueLink.target_issue_id == bindparam("issue"), IssueLink.kind == "blocked_by", *unfinished(Issue))
    .order_by(Issue.issue_id)
)
_LOAD = Query(select(func.count()).where(Issue.assignee_id == bindparam("member"), *unfinished(Issue)))
_LINK = Query(
    select(IssueLink.issue_link_id)
    .where(IssueLink.issue_id == bindparam("issue"), IssueLink.target_issue_id == bindparam("target"))
)  # fmt: skip
_DUPLICATE_LINKS = Query(
    select(IssueLink.issue_link_id)
    .where(IssueLink.issue_id == bindparam("issue"), IssueLink.kind == "duplicates")
    .order_by(IssueLink.issue_link_id)
)


def _blockers(db: Database, issue_id: str) -> list[str]:
    """The unfinished issues an issue waits for."""
    return [row["issue_id"] for row in db.rows(_BLOCKERS, issue=issue_id)]


def _waits_for(db: Database, issue_id: str, other: str) -> bool:
    """Whether an issue waits for another, directly or through others."""
    pending, seen = [issue_id], {issue_id}
    while pending:
        for blocker in _blockers(db, pending.pop()):
            if blocker not in seen:
                seen.add(blocker)
                pending.append(blocker)
    return other in seen


def _pause(db: Database, issue: Row) -> None:
    """Stop the work on an issue that got a blocker."""
    if issue["status"] in WORKED_ON:
        db.update(Issue, issue["issue_id"], status="open")


# -- preconditions -------------------------------------------------------------------------------------------------


@precondition
def issue_is_unfinished(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The issue is neither done nor cancelled."""
    return db.get(Issue, args.issue_id)["status"] not in FINISHED


@precondition
def issue_is_finished(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The issue is done or cancelled."""
    return db.get(Issue, args.issue_id)["status"] in FINISHED


@precondition
def workflow_allows_status(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The workflow of the issue's project leads from its status straight to the new one."""
    issue = db.get(Issue, args.issue_id)
    return args.status in next_statuses(db.get(Project, issue["project_id"])["workflow"], issue["status"])


@precondition
def issue_is_assigned(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """An issue that is worked on or done has an assignee."""
    working = args.status in (*WORKED_ON, "done")
    return not working or db.get(Issue, args.issue_id)["assignee_id"] is not None


@precondition
def issue_is_unblocked(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """An issue is worked on and done only when every issue it is blocked by is finished."""
    return args.status not in (*WORKED_ON, "done") or not _blockers(db, args.issue_id)


@precondition
def work_is_planned(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """In a scrum project work starts only on issues of the active sprint."""
    issue = db.get(Issue, args.issue_id)
    if args.status != "in_progress" or db.get(Project, issue["project_id"])["workflow"] == "kanban":
        return True
    return issue["sprint_id"] is not None and db.get(Sprint, issue["sprint_id"])["status"] == "active"


@precondition
def issue_is_unreleased(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The issue is not part of a released milestone."""
    milestone = db.get(Issue, args.issue_id)["milestone_id"]
    return milestone is None or db.get(Milestone, milestone)["status"] == "unreleased"


@precondition
def estimate_is_not_frozen(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The issue is not in an active sprint, where estimates are frozen."""
    sprint = db.get(Issue, args.issue_id)["sprint_id"]
    return sprint is None or db.get(Sprint, sprint)["status"] != "active"


@precondition
def estimate_fits_sprint(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The points fit into what the issue's sprint has left beside its other issues."""
    issue = db.get(Issue, args.issue_id)
    if issue["sprint_id"] is None:
        return True
    left = db.get(Sprint, issue["sprint_id"])["capacity"] - committed_points(db, issue["sprint_id"])
    return bool(args.points - (issue["points"] or 0) <= left)


@precondition
def member_is_active(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The member is active, not away."""
    return bool(db.get(Member, args.member_id)["status"] == "active")


@precondition
def member_is_on_project(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The member works on the issue's project."""
    return bool(db.get(Member, args.member_id)["project_id"] == db.get(Issue, args.issue_id)["project_id"])


@precondition
def member_is_not_assignee(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The issue is not assigned to that member already."""
    return bool(db.get(Issue, args.issue_id)["assignee_id"] != args.member_id)


@precondition
def member_has_room(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The member has fewer unfinished issues than the most they take at a time."""
    return bool(db.scalar(_LOAD, member=args.member_id) < db.get(Member, args.member_id)["max_issues"])


@precondition
def issues_are_unlinked(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The two are different issues, and no link joins them yet, in either direction."""
    issue, other = args.issue_id, args.target_issue_id
    db.get(Issue, issue)
    db.get(Issue, other)
    return issue != other and not any(
        db.first(_LINK, issue=one, target=two) for one, two in ((issue, other), (other, issue))
    )


@precondition
def blocker_is_unfinished(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The blocking issue is neither done nor cancelled."""
    return db.get(Issue, args.target_issue_id)["status"] not in FINISHED


@precondition
def blocker_does_not_wait(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The blocking issue does not wait for the blocked one itself, directly or through others."""
    return not _waits_for(db, args.target_issue_id, args.issue_id)


@precondition
def duplicate_is_unfinished(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """An issue that is marked as a duplicate is neither done nor cancelled yet."""
    return args.kind != "duplicates" or db.get(Issue, args.issue_id)["status"] not in FINISHED


@precondition
def target_is_no_duplicate(db: Database, sources: EpisodeSources, args: Any) -> bool:
    """The issue that is duplicated is not marked as a duplicate itself; name the original."""
    return args.kind != "duplicates" or db.first(_DUPLICATE_LINKS, issue=args.target_issue_id) is None


_COMMITTED = Query(
    select(func.coalesce(func.sum(Issue.points), 0)).where(
        Issue.sprint_id == bindparam("sprint"), Issue.status != "cancelled"
    )
)


def committed_points(db: Database, sprint_id: str) -> int:
    """Points of the issues in a sprint; cancelled ones take no room."""
    points: int = db.scalar(_COMMITTED, sprint=sprint_id)
    return points


# -- verbs ---------------------------------------------------------------------------------------------------------


class IssueKeyArgs(Args):
    """Arguments that name an issue."""

    issue_id: Key


class TransitionArgs(IssueKeyArgs):
    """Arguments of a step in the workflow."""

    status: Annotated[
        Literal["open", "in_progress", "in_review", "done", "cancelled"], Field(description="the status to move to")
    ]


@verb(requires=[workflow_allows_status, issue_is_assigned, issue_is_unblocked, work_is_planned], returns=IssueView)
def transition_issue(db: Database, sources: EpisodeSources, args: TransitionArgs) -> Row:
    """Move an issue one step along its project's workflow.

    Scrum: open, in_progress, in_review, done; kanban: open, in_progress, done. Work needs an assignee and no
    unfinished blocker; in scrum it starts in the active sprint only.
    """
    return db.update(Issue, args.issue_id, status=args.status)


@verb(requires=[issue_is_finished, issue_is_unreleased], returns=IssueView)
def reopen_issue(db: Database, sources: EpisodeSources, args: IssueKeyArgs) -> Row:
    """Reopen a done or cancelled issue that was not released: it is open again, unassigned, in the backlog.

    It is no longer marked as a duplicate. Work on issues it blocks stops.
    """
    for link in db.rows(_DUPLICATE_LINKS, issue=args.issue_id):
        db.delete(IssueLink, link["issue_link_id"])
    for waiting in db.rows(_WAITING, issue=args.issue_id):
        _pause(db, waiting)
    return db.update(Issue, args.issue_id, status="open", assignee_id=None, sprint_id=None)


def _on_scale(points: int) -> int:
    if points not in SCALE:
        raise ValueError(f"must be one of {', '.join(map(str, SCALE))}")
    return points


class EstimateArgs(IssueKeyArgs):
    """Arguments of an estimate."""

    # A Literal of integers would take true for 1 and 3.0 for 3.
    points: Annotated[
        int,
        Field(ge=1, le=13, description="story points", json_schema_extra={"enum": list(SCALE)}),
        AfterValidator(_on_scale),
    ]


@verb(requires=[issue_is_unfinished, estimate_is_not_frozen, estimate_fits_sprint], returns=IssueView)
def estimate_issue(db: Database, sources: EpisodeSources, args: EstimateArgs) -> Row:
    """Estimate an unfinished issue in story points. In an active sprint estimates are frozen."""
    return db.update(Issue, args.issue_id, points=args.points)


class AssignArgs(IssueKeyArgs):
    """Arguments of an assignment."""

    member_id: Key


@verb(
    requires=[issue_is_unfinished, member_is_on_project, member_is_not_assignee, member_is_active, member_has_room],
    returns=IssueView,
)
def assign_issue(db: Database, sources: EpisodeSources, args: AssignArgs) -> Row:
    """Assign an unfinished issue to an active member of its project who has room for one more."""
    return db.update(Issue, args.issue_id, assignee_id=args.member_id)


class BlockArgs(IssueKeyArgs):
    """Arguments of a block."""

    target_issue_id: Annotated[OtherIssue, Field(description="the issue that has to be finished first")]


@verb(
    requires=[issues_are_unlinked, issue_is_unfinished, blocker_is_unfinished, blocker_does_not_wait],
    returns=LinkView,
)
def block_issue(db: Database, sources: EpisodeSources, args: BlockArgs) -> Row:
    """Make an issue wait until another one is finished. If it is being worked on, it goes back to open."""
    _pause(db, db.get(Issue, args.issue_id))
    return db.insert(IssueLink, issue_id=args.issue_id, kind="blocked_by", target_issue_id=args.target_issue_id)


class LinkArgs(IssueKeyArgs):
    """Arguments of a link."""

    kind: Literal["duplicates", "relates_to"]
    target_issue_id: OtherIssue


@verb(requires=[issues_are_unlinked, duplicate_is_unfinished, target_is_no_duplicate], returns=LinkView)
def link_issues(db: Database, sources: EpisodeSources, args: LinkArgs) -> Row:
    """Link an issue to another. An issue that duplicates another one is cancelled by it."""
    if args.kind == "duplicates":
        db.update(Issue, args.issue_id, status="cancelled")
    return db.insert(IssueLink, issue_id=args.issue_id, kind=args.kind, target_issue_id=args.target_issue_id)


# -- queries -------------------------------------------------------------------------------------------------------


class LinkedIssue(Output):
    """A link of an issue, as seen from it."""

    kind: Literal["blocked_by", "blocks", "duplicates", "duplicated_by", "relates_to"]
    issue_id: str
    title: str
    status: str


IssueDetails = create_model(
    "IssueDetails", __base__=IssueView, next_statuses=(list[str], ...), waits_for=(list[str], ...),
    links=(list[LinkedIssue], ...),
)  # fmt: skip


_LINKED = Query(
    select(IssueLink.kind, Issue.issue_id, Issue.title, Issue.status)
    .join_from(IssueLink, Issue, Issue.issue_id == IssueLink.target_issue_id)
    .where(IssueLink.issue_id == bindparam("issue"))
    .order_by(IssueLink.issue_link_id)
)
_LINKING = Query(
    select(IssueLink.kind, Issue.issue_id, Issue.title, Issue.status)
    .join_from(IssueLink, Issue, Issue.issue_id == IssueLink.issue_id)
    .where(IssueLink.target_issue_id == bindparam("issue"))
    .order_by(IssueLink.issue_link_id)
)
_SEEN_FROM_TARGET = {"blocked_by": "blocks", "duplicates": "duplicated_by", "relates_to": "relates_to"}


@query(returns=IssueDetails)
def inspect_issue(db: Database, sources: EpisodeSources, args: IssueKeyArgs) -> Row:
    """One issue with its links, the unfinished issues it waits for, and the statuses its workflow leads to next."""
    issue = db.get(Issue, args.issue_id)
    linking = [{**row, "kind": _SEEN_FROM_TARGET[row["kind"]]} for row in db.rows(_LINKING, issue=args.issue_id)]
    return {
        **issue,
        "next_statuses": list(next_statuses(db.get(Project, issue["project_id"])["workflow"], issue["status"])),
        "waits_for": _blockers(db, args.issue_id),
        "links": [*db.rows(_LINKED, issue=args.issue_id), *linking],
    }


VERBS = [transition_issue, reopen_issue, estimate_issue, assign_issue, block_issue, link_issues]
QUERIES = [inspect_issue]
