"""Tables of the issue tracker: projects and their people, sprints, milestones, issues and links between issues."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, ColumnElement, Index, UniqueConstraint
from sqlalchemy import text as sql
from sqlalchemy.orm import DeclarativeBase, Mapped

from palaestra.mcp_servers.framework.columns import (
    STRICT,
    Entity,
    Role,
    choice,
    identifier,
    instant,
    integer,
    reference,
    text,
)


class Base(Entity, DeclarativeBase):
    """Tables of the issue tracker."""


class Project(Base):
    """Something a team builds or runs. Scrum: sprints and reviews; kanban: issues are worked on as they come."""

    __tablename__ = "project"
    project_id: Mapped[str] = identifier("prj")
    name: Mapped[str] = text(60, unique=True)
    workflow: Mapped[str] = choice("scrum", "kanban", role=Role.GUARDED)


class Member(Base):
    """Someone who works on one project, on so many unfinished issues at a time."""

    __tablename__ = "member"
    member_id: Mapped[str] = identifier("mem")
    project_id: Mapped[str] = reference("project.project_id", role=Role.GUARDED)
    name: Mapped[str] = text(80)
    email: Mapped[str] = text(120, unique=True)
    max_issues: Mapped[int] = integer(
        "most unfinished issues at a time", minimum=1, maximum=20, unit="issues", role=Role.GUARDED
    )
    status: Mapped[str] = choice("active", "away", role=Role.GUARDED)


class Sprint(Base):
    """A few weeks of a project's work. A project has one active sprint at most."""

    __tablename__ = "sprint"
    sprint_id: Mapped[str] = identifier("spr")
    project_id: Mapped[str] = reference("project.project_id")
    name: Mapped[str] = text(60)
    goal: Mapped[str] = text(200, default="")
    capacity: Mapped[int] = integer("how much work fits in", minimum=1, maximum=500, unit="story points")
    status: Mapped[str] = choice("planned", "active", "completed", default="planned", role=Role.GUARDED)
    completed_points: Mapped[int] = integer(
        "points of the issues done when it was closed", unit="story points", default=0, role=Role.GUARDED
    )
    started_at: Mapped[int | None] = instant(role=Role.VOLATILE, optional=True)
    ended_at: Mapped[int | None] = instant(role=Role.VOLATILE, optional=True)
    __table_args__ = (
        UniqueConstraint("project_id", "name"),
        Index("one_active_sprint", "project_id", unique=True, sqlite_where=sql("status = 'active'")),
        STRICT,
    )


class Milestone(Base):
    """A version of a project, released once everything in it is finished, in order of the due times."""

    __tablename__ = "milestone"
    milestone_id: Mapped[str] = identifier("mil")
    project_id: Mapped[str] = reference("project.project_id", role=Role.GUARDED)
    name: Mapped[str] = text(60)
    due_at: Mapped[int] = instant(role=Role.GUARDED)
    status: Mapped[str] = choice("unreleased", "released", default="unreleased", role=Role.GUARDED)
    released_issues: Mapped[int] = integer("issues done in it", unit="issues", default=0, role=Role.GUARDED)
    __table_args__ = (UniqueConstraint("project_id", "name"), STRICT)


class Issue(Base):
    """A piece of work. In no sprint it is in the backlog; done and cancelled are the ends."""

    __tablename__ = "issue"
    issue_id: Mapped[str] = identifier("iss")
    project_id: Mapped[str] = reference("project.project_id")
    title: Mapped[str] = text(120)
    description: Mapped[str] = text(500, default="")
    kind: Mapped[str] = choice("bug", "story", "task")
    priority: Mapped[str] = choice("low", "medium", "high", "critical", default="medium")
    status: Mapped[str] = choice(
        "open", "in_progress", "in_review", "done", "cancelled", default="open", role=Role.GUARDED
    )
    points: Mapped[int | None] = integer(
        "estimate", minimum=1, maximum=13, unit="story points", optional=True, role=Role.GUARDED
    )
    assignee_id: Mapped[str | None] = reference("member.member_id", role=Role.GUARDED, optional=True)
    sprint_id: Mapped[str | None] = reference("sprint.sprint_id", role=Role.GUARDED, optional=True)
    milestone_id: Mapped[str | None] = reference("milestone.milestone_id", role=Role.GUARDED, optional=True)
    created_at: Mapped[int] = instant(fill="create")
    updated_at: Mapped[int] = instant(fill="update")


class IssueLink(Base):
    """What one issue has to do with another: `issue_id` is blocked by, duplicates or relates to the target."""

    __tablename__ = "issue_link"
    issue_link_id: Mapped[str] = identifier("lnk")
    issue_id: Mapped[str] = reference("issue.issue_id", role=Role.GUARDED)
    kind: Mapped[str] = choice("blocked_by", "duplicates", "relates_to", role=Role.GUARDED)
    target_issue_id: Mapped[str] = reference("issue.issue_id", role=Role.GUARDED)
    __table_args__ = (
        UniqueConstraint("issue_id", "target_issue_id"),
        CheckConstraint("issue_id <> target_issue_id"),
        STRICT,
    )


def unfinished(issue: Any) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Conditions on the issue table, or an alias of it: neither done nor cancelled."""
    return issue.status != "done", issue.status != "cancelled"


MODELS = [Project, Member, Sprint, Milestone, Issue, IssueLink]
