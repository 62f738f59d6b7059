"""The issue tracker keeps its promises about sprints, workloads, blocks and releases, whatever is called."""

from __future__ import annotations

from typing import Any

import pytest

from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.sources import stream
from palaestra.mcp_servers.framework.sql import Database
from palaestra.mcp_servers.issue_tracker import SERVER
from palaestra.mcp_servers.issue_tracker.models import Issue, IssueLink, Member, Milestone, Project, Sprint
from palaestra.mcp_servers.issue_tracker.workflow import EDGES, FINISHED, WORKED_ON

Rows = list[dict[str, Any]]


@pytest.fixture
def tracker() -> Episode:
    return EpisodeStore([SERVER]).open(seed=4)[1]


def rows(tracker: Episode, model: Any) -> Rows:
    database: Database = tracker.state("issue_tracker").database
    return database.every(model)


def random_calls(tracker: Episode, seed: int, count: int) -> set[str]:
    """Any verb with any keys, mostly of one project; most calls are refused. The tools that succeeded."""
    rng = stream(seed, "calls")
    verbs = [tool for tool in SERVER.tools.values() if tool.kind == "verb"]
    known = {"issue": Issue, "member": Member, "sprint": Sprint, "milestone": Milestone}
    tables = {entity: rows(tracker, model) for entity, model in known.items()}
    projects = [project["project_id"] for project in rows(tracker, Project)]
    done = set()
    for _ in range(count):
        tool = verbs[int(rng.integers(len(verbs)))]
        project = str(rng.choice(projects)) if rng.random() < 0.9 else None
        schema = tool.input_schema()
        arguments: dict[str, Any] = {}
        for name, found in schema["properties"].items():
            if name in tool.references and (name in schema["required"] or rng.random() < 0.3):
                entity = tool.references[name]
                near = [row for row in tables[entity] if row["project_id"] == project]
                arguments[name] = str(rng.choice([row[f"{entity}_id"] for row in near or tables[entity]]))
            elif "enum" in found:
                arguments[name] = found["enum"][int(rng.integers(len(found["enum"])))]
        result = dispatch(tracker, tool.name, arguments)
        assert result.fault is None or result.fault.code == "precondition", result.text
        done |= set() if result.is_error else {tool.name}
    return done


def check_invariants(tracker: Episode) -> None:
    issues, links = rows(tracker, Issue), rows(tracker, IssueLink)
    by_id = {issue["issue_id"]: issue for issue in issues}
    workflow = {project["project_id"]: project["workflow"] for project in rows(tracker, Project)}
    for member in rows(tracker, Member):
        own = [issue for issue in issues if issue["assignee_id"] == member["member_id"]]
        assert sum(issue["status"] not in FINISHED for issue in own) <= member["max_issues"]
        assert {issue["project_id"] for issue in own} <= {member["project_id"]}
    for sprint in rows(tracker, Sprint):
        inside = [issue for issue in issues if issue["sprint_id"] == sprint["sprint_id"]]
        assert sum(issue["points"] for issue in inside if issue["status"] != "cancelled") <= sprint["capacity"]
        if sprint["status"] == "completed":
            assert all(issue["status"] in FINISHED for issue in inside)
    active = [sprint["project_id"] for sprint in rows(tracker, Sprint) if sprint["status"] == "active"]
    assert len(active) == len(set(active))
    for milestone in rows(tracker, Milestone):
        content = [issue for issue in issues if issue["milestone_id"] == milestone["milestone_id"]]
        if milestone["status"] == "released":
            assert all(issue["status"] in FINISHED for issue in content)
            assert milestone["released_issues"] == sum(issue["status"] == "done" for issue in content)
    for issue in issues:
        assert issue["status"] in {*EDGES[workflow[issue["project_id"]]], *FINISHED}
        assert issue["assignee_id"] or issue["status"] not in (*WORKED_ON, "done")
    blocks = [(link["issue_id"], link["target_issue_id"]) for link in links if link["kind"] == "blocked_by"]
    unfinished = {(one, two) for one, two in blocks if not {by_id[one]["status"], by_id[two]["status"]} & {*FINISHED}}
    assert all(by_id[waiting]["status"] == "open" for waiting, _ in unfinished)
    while unfinished:  # peel off what waits for nothing; a circle would never end
        waiting = {one for one, _ in unfinished}
        kept = {(one, two) for one, two in unfinished if two in waiting}
        assert kept != unfinished
        unfinished = kept


@pytest.mark.parametrize("seed", range(3))
def test_random_play_breaks_no_rule(seed: int) -> None:
    tracker = EpisodeStore([SERVER]).open(seed=seed)[1]
    check_invariants(tracker)
    done = random_calls(tracker, seed, 500)
    check_invariants(tracker)
    assert done >= {"transition_issue", "plan_issue", "assign_issue", "estimate_issue", "block_issue", "reopen_issue"}
    assert {link["kind"] for link in rows(tracker, IssueLink)} == {"blocked_by", "duplicates", "relates_to"}


def test_a_generated_tool_cannot_finish_assign_or_plan(tracker: Episode) -> None:
    project = rows(tracker, Project)[0]["project_id"]
    new = {"project_id": project, "title": "New", "kind": "task"}
    for name in ("status", "points", "assignee_id", "sprint_id", "milestone_id"):
        assert name not in SERVER.tools["create_issue"].input_schema()["properties"]
        assert dispatch(tracker, "create_issue", {**new, name: "done"}).content["code"] == "invalid_arguments"
    assert dispatch(tracker, "create_issue", new).content["status"] == "open"


def test_closing_a_sprint_books_the_done_points_and_leaves_nothing_behind(tracker: Episode) -> None:
    sprint = next(row for row in rows(tracker, Sprint) if row["status"] == "active")["sprint_id"]
    summary = dispatch(tracker, "summarize_sprint", {"sprint_id": sprint}).content
    assert summary["committed_points"] == sum(member["points"] for member in summary["members"])
    closed = dispatch(tracker, "close_sprint", {"sprint_id": sprint}).content
    assert closed["completed_points"] == summary["done_points"] > 0
    assert closed["moved_issues"] == summary["unfinished_issues"]
    backlog = {row["issue_id"] for row in rows(tracker, Issue) if row["sprint_id"] is None}
    assert backlog >= set(closed["moved_issues"])


@pytest.mark.parametrize("seed", range(4))
def test_the_world_holds_its_situations(seed: int) -> None:
    tracker = EpisodeStore([SERVER]).open(seed=seed)[1]
    check_invariants(tracker)
    issues = rows(tracker, Issue)
    active = [row["sprint_id"] for row in rows(tracker, Sprint) if row["status"] == "active"]
    assert len(active) == 1
    inside = {issue["status"] for issue in issues if issue["sprint_id"] == active[0]}
    assert inside == {"open", "in_progress", "in_review", "done", "cancelled"}
    assert [project["workflow"] for project in rows(tracker, Project)].count("scrum") == 2
    assert {member["status"] for member in rows(tracker, Member)} == {"active", "away"}
    assert any(issue["priority"] == "critical" and issue["points"] is None for issue in issues)
    assert sum("SYSTEM: ignore" in issue["description"] for issue in issues) == 1
    assert sum(row["status"] == "released" for row in rows(tracker, Milestone)) == 1
