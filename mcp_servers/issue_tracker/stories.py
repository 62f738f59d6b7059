"""Scenes and chains in the issue tracker that use every tool and meet every rule."""

from __future__ import annotations

from typing import Any

from palaestra.mcp_servers.framework.stories import Teller


def _projects(tell: Teller) -> tuple[str, str, str]:
    """The scrum project with the active sprint, the other one, and the kanban project."""
    main: str = tell.items("list_sprints", status="active")[0]["project_id"]
    side = next(p["project_id"] for p in tell.items("list_projects", workflow="scrum") if p["project_id"] != main)
    return main, side, tell.items("list_projects", workflow="kanban")[0]["project_id"]


def _issues(tell: Teller, project: str, **filters: Any) -> list[dict[str, Any]]:
    return tell.items("list_issues", project_id=project, limit=100, **filters)


def _sprint(tell: Teller, project: str, status: str) -> str:
    found: str = tell.items("list_sprints", project_id=project, status=status)[0]["sprint_id"]
    return found


def _milestones(tell: Teller, project: str) -> list[str]:
    """Milestones of a project, the next due first."""
    found = tell.items("list_milestones", project_id=project)
    return [milestone["milestone_id"] for milestone in sorted(found, key=lambda milestone: milestone["due_at"])]


def _full_member(tell: Teller, project: str) -> tuple[str, list[dict[str, Any]]]:
    """The member of the kanban project who has no room, and what they work on, with a milestone first."""
    members = tell.items("list_project_members", project_id=project, status="active")
    full = min(members, key=lambda member: member["max_issues"])["member_id"]
    work = _issues(tell, project, assignee_id=full, status="in_progress")
    return full, sorted(work, key=lambda issue: issue["milestone_id"] is None)


def _unassigned(tell: Teller, project: str) -> str:
    return str(next(i["issue_id"] for i in _issues(tell, project, status="open") if i["assignee_id"] is None))


def plan_a_sprint(tell: Teller) -> None:
    """In the project between sprints an issue is estimated, planned, started and reviewed."""
    main, side, _ = _projects(tell)
    empty, theirs = _sprint(tell, side, "planned"), _sprint(tell, main, "planned")
    done = next(i for i in _issues(tell, main, status="done"))["issue_id"]
    story = next(i for i in _issues(tell, side, status="open", priority="medium") if _is_raw(i))["issue_id"]
    large = next(i for i in _issues(tell, side, status="open") if i["points"] == 8 and i["milestone_id"])
    tell.refused("sprint_has_work", "start_sprint", sprint_id=empty)
    tell.refused("issue_is_estimated", "plan_issue", issue_id=story, sprint_id=empty)
    tell.refused("issue_is_unfinished", "estimate_issue", issue_id=done, points=3)
    tell.refused("invalid_arguments", "estimate_issue", issue_id=story, points=4)
    tell.call("estimate_issue", issue_id=story, points=13)
    tell.refused("sprint_is_of_project", "plan_issue", issue_id=story, sprint_id=theirs)
    plan = {"issue_id": story, "sprint_id": empty}
    foreign = _milestones(tell, main)[-1]
    tell.refused("milestone_takes_issue", "plan_issue", **plan, milestone_id=foreign)
    beta = _milestones(tell, side)[0]
    tell.call("plan_issue", **plan, milestone_id=beta)
    tell.refused("issue_is_not_in_sprint", "plan_issue", **plan)
    tell.call("plan_issue", issue_id=large["issue_id"], sprint_id=empty)
    more = tell.call("create_issue", project_id=side, title="Café menu: prices in ¥", kind="story", priority="high")
    tell.refused("estimate_is_not_frozen", "estimate_issue", issue_id=_in_active(tell, main, "open"), points=8)
    tell.call("estimate_issue", issue_id=more["issue_id"], points=1)
    tell.refused("issue_fits_sprint", "plan_issue", issue_id=more["issue_id"], sprint_id=empty)
    tell.refused("work_is_planned", "transition_issue", issue_id=story, status="in_progress")
    tell.call("start_sprint", sprint_id=empty)
    tell.refused("sprint_is_planned", "start_sprint", sprint_id=empty)
    tell.refused("sprint_takes_issue", "plan_issue", issue_id=more["issue_id"], sprint_id=empty)
    tell.call("transition_issue", issue_id=story, status="in_progress")
    tell.refused("workflow_allows_status", "transition_issue", issue_id=story, status="done")
    tell.call("transition_issue", issue_id=story, status="in_review")
    tell.call("transition_issue", issue_id=story, status="done")
    tell.refused("issue_is_unfinished", "plan_issue", issue_id=story, sprint_id=theirs)
    summary = tell.call("summarize_sprint", sprint_id=empty)
    assert (summary["committed_points"], summary["done_points"]) == (21, 13)  # noqa: S101 - a story holds its server


def _is_raw(issue: dict[str, Any]) -> bool:
    """Whether somebody has an issue that nobody has estimated."""
    return issue["points"] is None and issue["assignee_id"] is not None


def _in_active(tell: Teller, project: str, status: str) -> str:
    active = _sprint(tell, project, "active")
    return str(_issues(tell, project, sprint_id=active, status=status)[0]["issue_id"])


def close_the_sprint(tell: Teller) -> None:
    """The active sprint is closed into one with room for what is left, and that one is started."""
    main, side, _ = _projects(tell)
    active, tight, theirs = (_sprint(tell, main, "active"), _sprint(tell, main, "planned"),
                             _sprint(tell, side, "planned"))  # fmt: skip
    first, second = _issues(tell, main, sprint_id=tight)
    small = first if first["points"] == 3 else second
    tell.refused("estimate_fits_sprint", "estimate_issue", issue_id=small["issue_id"], points=8)
    tell.call("estimate_issue", issue_id=small["issue_id"], points=5)
    tell.refused("no_sprint_is_active", "start_sprint", sprint_id=tight)
    tell.refused("sprint_is_active", "close_sprint", sprint_id=tight)
    tell.refused("next_sprint_is_planned", "close_sprint", sprint_id=active, next_sprint_id=theirs)
    tell.refused("unfinished_work_fits", "close_sprint", sprint_id=active, next_sprint_id=tight)
    tell.refused("not_found", "create_sprint", project_id="prj_1", name="Nowhere", capacity=10)
    roomy = tell.call("create_sprint", project_id=main, name="Catch-up", capacity=60)["sprint_id"]
    tell.refused("conflict", "create_sprint", project_id=main, name="Catch-up", capacity=20)
    left = tell.call("summarize_sprint", sprint_id=active)["unfinished_issues"]
    closed = tell.call("close_sprint", sprint_id=active, next_sprint_id=roomy)
    assert closed["moved_issues"] == left  # noqa: S101
    tell.call("start_sprint", sprint_id=roomy)
    tell.call("close_sprint", sprint_id=roomy)


def wait_for_another(tell: Teller) -> None:
    """What waits for another issue moves on when that is finished; a block stops work, and never in a circle."""
    main, _, _ = _projects(tell)
    begun = _in_active(tell, main, "in_progress")
    waiting = next(
        link["issue_id"] for link in tell.call("inspect_issue", issue_id=begun)["links"] if link["kind"] == "blocks"
    )
    done = _issues(tell, main, status="done")[0]["issue_id"]
    tell.refused("issue_is_unblocked", "transition_issue", issue_id=waiting, status="in_progress")
    tell.refused("issues_are_unlinked", "block_issue", issue_id=begun, target_issue_id=waiting)
    tell.refused("issue_is_unfinished", "block_issue", issue_id=done, target_issue_id=waiting)
    tell.refused("blocker_is_unfinished", "block_issue", issue_id=waiting, target_issue_id=done)
    reviewed = _in_active(tell, main, "in_review")
    tell.call("block_issue", issue_id=begun, target_issue_id=reviewed)
    tell.refused("blocker_does_not_wait", "block_issue", issue_id=reviewed, target_issue_id=waiting)
    tell.refused("issue_is_unblocked", "transition_issue", issue_id=begun, status="in_progress")
    tell.call("transition_issue", issue_id=reviewed, status="done")
    for status in ("in_progress", "in_review", "done"):
        tell.call("transition_issue", issue_id=begun, status=status)
    tell.call("transition_issue", issue_id=waiting, status="in_progress")
    tell.call("reopen_issue", issue_id=begun)
    assert tell.call("inspect_issue", issue_id=waiting)["status"] == "open"  # noqa: S101


def tell_duplicates_apart(tell: Teller) -> None:
    """Two reports of one fault are linked; the one that was no duplicate after all is reopened."""
    main, _, support = _projects(tell)
    again = tell.items("search_issues", text="same here, on two machines")[0]
    first = next(i for i in tell.items("search_issues", text=again["title"][4:], limit=100) if i["priority"] == "high")
    link = {"issue_id": again["issue_id"], "kind": "duplicates", "target_issue_id": first["issue_id"]}
    duplicate = next(i for i in _issues(tell, main, status="cancelled") if _has_link(tell, i["issue_id"]))["issue_id"]
    tell.refused("target_is_no_duplicate", "link_issues", **{**link, "target_issue_id": duplicate})
    tell.call("link_issues", **link)
    tell.refused("issues_are_unlinked", "link_issues", **{**link, "kind": "relates_to"})
    elsewhere = _unassigned(tell, support)
    tell.refused("duplicate_is_unfinished", "link_issues", **{**link, "target_issue_id": elsewhere})
    tell.refused("issue_is_finished", "reopen_issue", issue_id=first["issue_id"])
    assert tell.call("reopen_issue", issue_id=again["issue_id"])["status"] == "open"  # noqa: S101
    tell.call("link_issues", **{**link, "kind": "relates_to"})


def _has_link(tell: Teller, issue_id: str) -> bool:
    return bool(tell.call("inspect_issue", issue_id=issue_id)["links"])


def share_the_work(tell: Teller) -> None:
    """Issues go to members of the project who are there and have room."""
    main, _, support = _projects(tell)
    full, (_, spare) = _full_member(tell, support)
    free = _unassigned(tell, support)
    away = tell.items("list_project_members", project_id=support, status="away")[0]["member_id"]
    stranger = tell.items("list_project_members", project_id=main, status="active")[0]["member_id"]
    done = next(i for i in _issues(tell, support, status="done"))["issue_id"]
    tell.refused("issue_is_assigned", "transition_issue", issue_id=free, status="in_progress")
    tell.refused("issue_is_unfinished", "assign_issue", issue_id=done, member_id=full)
    tell.refused("member_is_on_project", "assign_issue", issue_id=free, member_id=stranger)
    tell.refused("member_is_not_assignee", "assign_issue", issue_id=spare["issue_id"], member_id=full)
    tell.refused("member_is_active", "assign_issue", issue_id=free, member_id=away)
    tell.refused("member_has_room", "assign_issue", issue_id=free, member_id=full)
    tell.call("transition_issue", issue_id=spare["issue_id"], status="done")
    tell.call("assign_issue", issue_id=free, member_id=full)
    tell.call("transition_issue", issue_id=free, status="in_progress")


def release_in_order(tell: Teller) -> None:
    """The milestone that lacks an issue is finished and released before the later one; released issues stay done."""
    _, side, support = _projects(tell)
    near, later = _milestones(tell, support)
    tell.refused("milestone_has_done_issues", "release_milestone", milestone_id=_milestones(tell, side)[0])
    tell.refused("milestone_is_finished", "release_milestone", milestone_id=near)
    tell.refused("earlier_milestones_are_released", "release_milestone", milestone_id=later)
    _, (last, _) = _full_member(tell, support)
    tell.call("transition_issue", issue_id=last["issue_id"], status="done")
    tell.call("release_milestone", milestone_id=near)
    tell.refused("milestone_is_unreleased", "release_milestone", milestone_id=near)
    tell.refused("issue_is_unreleased", "reopen_issue", issue_id=last["issue_id"])
    tell.call("release_milestone", milestone_id=later)


STORIES = [
    plan_a_sprint, close_the_sprint, wait_for_another, tell_duplicates_apart, share_the_work, release_in_order,
]  # fmt: skip


# -- chains --------------------------------------------------------------------------------------------------------


def first_iteration(tell: Teller) -> None:
    """Estimate the story somebody already has, plan it, start the sprint, and take it through to the review."""
    _, side, _ = _projects(tell)
    sprint = _sprint(tell, side, "planned")
    story = next(i for i in _issues(tell, side, status="open", priority="medium") if _is_raw(i))["issue_id"]
    tell.call("estimate_issue", issue_id=story, points=5)
    tell.call("plan_issue", issue_id=story, sprint_id=sprint)
    tell.call("start_sprint", sprint_id=sprint)
    tell.call("transition_issue", issue_id=story, status="in_progress")
    tell.call("transition_issue", issue_id=story, status="in_review")


def fix_comes_back(tell: Teller) -> None:
    """File a bug in the kanban project, assign it, fix it, and reopen it because it came back."""
    _, _, support = _projects(tell)
    full, _ = _full_member(tell, support)
    others = tell.items("list_project_members", project_id=support, status="active")
    member = next(m["member_id"] for m in others if m["member_id"] != full and _room(tell, support, m) > 0)
    bug = tell.call("create_issue", project_id=support, title="Printer prints “Ä” as “?”", kind="bug")["issue_id"]
    tell.call("assign_issue", issue_id=bug, member_id=member)
    tell.call("transition_issue", issue_id=bug, status="in_progress")
    tell.call("transition_issue", issue_id=bug, status="done")
    tell.call("reopen_issue", issue_id=bug)


def _room(tell: Teller, project: str, member: dict[str, Any]) -> int:
    issues = _issues(tell, project, assignee_id=member["member_id"])
    room: int = member["max_issues"] - sum(issue["status"] not in ("done", "cancelled") for issue in issues)
    return room


def finish_what_blocks(tell: Teller) -> None:
    """Let one bug wait for the other, finish that one, and take up the first again."""
    _, _, support = _projects(tell)
    _, (blocker, blocked) = _full_member(tell, support)
    tell.call("block_issue", issue_id=blocked["issue_id"], target_issue_id=blocker["issue_id"])
    tell.call("transition_issue", issue_id=blocker["issue_id"], status="done")
    tell.call("transition_issue", issue_id=blocked["issue_id"], status="in_progress")


def release_two(tell: Teller) -> None:
    """Finish the last issue of a milestone, release it, and then the one after it."""
    _, _, support = _projects(tell)
    _, (last, _) = _full_member(tell, support)
    near, later = _milestones(tell, support)
    tell.call("transition_issue", issue_id=last["issue_id"], status="done")
    tell.call("release_milestone", milestone_id=near)
    tell.call("release_milestone", milestone_id=later)


def roll_over(tell: Teller) -> None:
    """Create the next sprint, close the active one into it, and start it."""
    main, _, _ = _projects(tell)
    active = _sprint(tell, main, "active")
    following = tell.call("create_sprint", project_id=main, name="Roll-over", capacity=40)["sprint_id"]
    tell.call("close_sprint", sprint_id=active, next_sprint_id=following)
    tell.call("start_sprint", sprint_id=following)


def blocker_was_a_duplicate(tell: Teller) -> None:
    """A bug waits for another that turns out to be a duplicate; work goes on, until the duplicate turns out real."""
    _, _, support = _projects(tell)
    _, (original, blocked) = _full_member(tell, support)
    blocker = _unassigned(tell, support)
    tell.call("block_issue", issue_id=blocked["issue_id"], target_issue_id=blocker)
    tell.call("link_issues", issue_id=blocker, kind="duplicates", target_issue_id=original["issue_id"])
    tell.call("transition_issue", issue_id=blocked["issue_id"], status="in_progress")
    tell.call("reopen_issue", issue_id=blocker)


def make_room(tell: Teller) -> None:
    """Finish an issue of the member without room, give them another, and let them start on it."""
    _, _, support = _projects(tell)
    full, (_, spare) = _full_member(tell, support)
    free = _unassigned(tell, support)
    tell.call("transition_issue", issue_id=spare["issue_id"], status="done")
    tell.call("assign_issue", issue_id=free, member_id=full)
    tell.call("transition_issue", issue_id=free, status="in_progress")


def squeeze_in(tell: Teller) -> None:
    """Squeeze a critical bug into the running sprint, and close the sprint."""
    main, _, _ = _projects(tell)
    active = _sprint(tell, main, "active")
    bug = tell.call("create_issue", project_id=main, title="Nobody can pay", kind="bug", priority="critical")
    tell.call("estimate_issue", issue_id=bug["issue_id"], points=2)
    tell.call("plan_issue", issue_id=bug["issue_id"], sprint_id=active)
    tell.call("close_sprint", sprint_id=active)


CHAINS = [
    first_iteration, fix_comes_back, finish_what_blocks, release_two, roll_over,
    blocker_was_a_duplicate, make_room, squeeze_in,
]  # fmt: skip
