"""The conformance check finds what is planted, and finds nothing wrong with a sound server."""

from __future__ import annotations

import numpy as np
import pytest

from palaestra.mcp_servers.framework.conformance import check_server
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.faults import ToolResult
from palaestra.mcp_servers.framework.server import Profile
from palaestra.mcp_servers.framework.spec import ToolSpec
from palaestra.mcp_servers.framework.sql import Database
from palaestra.mcp_servers.framework.state import ServerState
from palaestra.mcp_servers.framework.stories import Teller
from palaestra.mcp_servers.framework.validation import Args
from tests.mcp_servers import shelf
from tests.mcp_servers.shelf import (
    build_shelf,
    fail_half_way,
    fail_with_conflict,
    lie_about_reading,
    open_one,
    roll_dice,
)


def test_a_sound_server_has_no_problems() -> None:
    assert check_server(build_shelf()) == []


def test_missing_stories_and_uncovered_tools_are_named() -> None:
    problems = check_server(build_shelf(stories=()))
    assert "shelf has no stories, so nothing shows that its tools work" in problems
    assert "shelf: no story uses open_box successfully" in problems
    assert "shelf: no story meets open_box with box_is_shut false" in problems


def test_too_few_verbs_are_named() -> None:
    server = build_shelf(stories=())
    server.tools = {name: tool for name, tool in server.tools.items() if tool.kind == "generated"}
    assert any("at least 25% must be" in problem for problem in check_server(server))


def _one(tool: ToolSpec) -> list[str]:
    def story(tell: Teller) -> None:
        tell.call(tool.name, box_id=tell.items("list_boxes")[0]["box_id"])

    return check_server(build_shelf(tool, stories=(open_one, story)), seeds=(0,))


def test_a_lying_read_and_a_breaking_verb_are_found() -> None:
    assert any("declared READ and changed" in problem for problem in _one(lie_about_reading))
    assert any("secret detail" in problem for problem in _one(fail_half_way))


def test_a_story_that_is_wrong_is_found() -> None:
    def refused(tell: Teller) -> None:
        tell.refused("conflict", "count_boxes")

    def failed(tell: Teller) -> None:
        tell.call("get_box", box_id="box_0")

    problems = check_server(build_shelf(stories=(open_one, refused, failed)), seeds=(0,))
    assert any("should meet conflict, got a result" in problem for problem in problems)
    assert any("should succeed, got" in problem for problem in problems)


def test_state_outside_the_database_is_found() -> None:
    count = iter(range(10**6))

    def drifting(tell: Teller) -> None:
        tell.call("roll_dice", sides=10 + next(count))

    problems = check_server(build_shelf(roll_dice, stories=(open_one, drifting)), seeds=(0,))
    assert any("roll_dice differs when run again" in problem for problem in problems)


def test_a_seed_that_draws_elsewhere_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    stray = np.random.Generator(np.random.PCG64(1))

    def straying(db: Database, sources: EpisodeSources, rng: np.random.Generator, profile: Profile) -> None:
        shelf.seed(db, sources, stray, profile)

    server = build_shelf()
    server.seed = straying
    assert any("gives two different worlds" in problem for problem in check_server(server, seeds=(0,)))
    server.seed = lambda db, sources, rng, profile: shelf.seed(db, sources, np.random.default_rng(0), profile)
    assert "shelf: different seeds give the same world" in check_server(server)


def test_a_wrong_incremental_digest_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ServerState, "recomputed_digest", lambda self: "0")
    assert any("incremental digest differs" in problem for problem in check_server(build_shelf(), seeds=(0,)))


def test_a_lenient_schema_is_found() -> None:
    class Lenient(Args, strict=False):
        sides: int = 0

    server = build_shelf()
    tool = server.tools["count_boxes"]
    object.__setattr__(tool, "input_model", Lenient)

    def count(tell: Teller) -> None:
        tell.call("count_boxes", sides=1)

    object.__setattr__(tool, "handler", lambda db, sources, args: {"count": 1})
    server.stories = (count,)
    assert any("does not refuse" in problem for problem in check_server(server, seeds=(0,)))


def test_a_fault_that_leaves_something_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def leaking(self: ServerState) -> None:
        if self._connection.in_transaction:
            self._connection.execute("COMMIT")
        self.sources.commit()

    def burn(tell: Teller) -> None:
        tell.refused("conflict", "fail_with_conflict", box_id=tell.items("list_boxes")[0]["box_id"])

    monkeypatch.setattr(ServerState, "rollback", leaking)
    problems = check_server(build_shelf(fail_with_conflict, stories=(open_one, burn)), seeds=(0,))
    assert any("a call that failed, changed the state" in problem for problem in problems)


def test_results_know_whether_the_episode_is_lost() -> None:
    from palaestra.mcp_servers.errors import ToolError
    from palaestra.mcp_servers.framework.dispatch import failed
    from palaestra.mcp_servers.framework.faults import Fault, FaultCode

    policy: ToolResult = failed(Fault(FaultCode.CONFLICT, "taken"))
    assert policy.raise_if_lost() is policy
    assert not FaultCode.CONFLICT.is_infrastructure
    with pytest.raises(ToolError, match="gone"):
        failed(Fault(FaultCode.UNAVAILABLE, "gone")).raise_if_lost()
    assert FaultCode.UNAVAILABLE.is_infrastructure
