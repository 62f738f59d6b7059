"""The door: what it lets through, what it refuses, and that a refused call leaves nothing behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.faults import FaultCode, ToolResult
from palaestra.mcp_servers.framework.leases import Limits
from palaestra.mcp_servers.framework.sql import Database
from tests.mcp_servers.shelf import Box, Shelf, build_shelf


def fault_code(result: ToolResult) -> FaultCode:
    assert result.fault is not None, result.text
    return result.fault.code


def test_a_write_gives_the_row_moves_clock_and_digest_and_is_recorded(episode: Episode, box_id: str) -> None:
    episode.begin_turn(3)
    before = episode.state("shelf").sources.now
    result = dispatch(episode, "open_box", {"box_id": box_id})
    assert result.value is not None
    assert result.value["opened"] == "open"
    assert result.text.startswith('{"box_id":"' + box_id + '","shelf_id":')
    assert result.digest_before != result.digest_after
    record = episode.journal.records[-1]
    assert (record.turn, record.server, record.tool) == (3, "shelf", "open_box")
    assert record.arguments == '{"box_id":"' + box_id + '"}'
    assert record.clock == before + 61  # the minute it takes and the second of every WRITE
    assert record.result_digest == result.result_digest
    assert record.to_dict()["fault"] is None


def test_a_read_and_a_fault_move_nothing(episode: Episode, box_id: str) -> None:
    dispatch(episode, "open_box", {"box_id": box_id})
    before = episode.full_digest()
    assert not dispatch(episode, "get_box", {"box_id": box_id}).is_error
    refused = dispatch(episode, "open_box", {"box_id": box_id})
    assert refused.fault is not None
    assert refused.fault.details == {"precondition": "box_is_shut"}
    assert refused.digest_before == refused.digest_after
    assert episode.full_digest() == before


@pytest.mark.parametrize(
    ("tool", "incident"),
    [
        ("lie_about_reading", "declared READ and changed"),
        ("write_past_the_log", "past insert, update and delete"),
        ("burn_an_id", "declared READ and changed"),
        ("trust_a_meddler", "may only read"),
        ("fail_half_way", "secret detail"),
        ("return_nonsense", "something else than declared"),
        ("ask_wall_clock", "not authorized"),
        ("ask_entropy", "not authorized"),
    ],
)
def test_a_tool_that_misbehaves_is_an_internal_fault_and_leaves_nothing(
    episode: Episode, box_id: str, tool: str, incident: str
) -> None:
    before = episode.full_digest()
    result = dispatch(episode, tool, {} if tool.startswith("ask") else {"box_id": box_id})
    assert fault_code(result) is FaultCode.INTERNAL
    assert "incident" in result.text
    assert "secret" not in result.text
    assert incident in episode.journal.records[-1].incident
    assert episode.full_digest() == before
    created = dispatch(episode, "roll_dice", {"sides": 6})
    assert created.value == dispatch(_fresh(episode), "roll_dice", {"sides": 6}).value  # no draw was used up


def _fresh(like: Episode) -> Episode:
    return EpisodeStore(like.servers.values()).open(seed=like.seed)[1]


def test_an_endless_statement_is_a_quota(episode: Episode) -> None:
    result = dispatch(episode, "count_for_ever", {})
    assert fault_code(result) is FaultCode.QUOTA
    assert not dispatch(episode, "count_boxes", {}).is_error  # the next call has its whole budget


@pytest.mark.parametrize(
    ("tool", "arguments", "code"),
    [
        ("no_such_tool", {}, FaultCode.UNKNOWN_TOOL),
        ("\ud800", {}, FaultCode.UNKNOWN_TOOL),
        ("get_box", {"box_id": "box_0"}, FaultCode.NOT_FOUND),
        ("create_box", {"shelf_id": "she_0", "label": "x"}, FaultCode.NOT_FOUND),
        ("create_box", {"label": "x"}, FaultCode.INVALID_ARGUMENTS),
        ("create_box", {"shelf_id": "she_0", "label": "x", "opened": "open"}, FaultCode.INVALID_ARGUMENTS),
        ("update_box", {"box_id": "box_0"}, FaultCode.INVALID_ARGUMENTS),
        ("list_boxes", {"cursor": "nonsense"}, FaultCode.INVALID_ARGUMENTS),
        ("list_boxes", {"cursor": "WzFd"}, FaultCode.INVALID_ARGUMENTS),
        ("list_boxes", {"limit": 101}, FaultCode.INVALID_ARGUMENTS),
        ("get_box", None, FaultCode.INVALID_ARGUMENTS),
    ],
)
def test_bad_calls_have_their_codes(episode: Episode, tool: str, arguments: object, code: FaultCode) -> None:
    assert fault_code(dispatch(episode, tool, arguments)) is code


def test_a_referenced_row_cannot_be_deleted_and_a_unique_one_not_doubled(store: EpisodeStore) -> None:
    from palaestra.mcp_servers.framework.crud import crud

    server = build_shelf(*crud(Shelf, "create delete update", plural="shelves"), name="strict")
    with EpisodeStore([server]) as strict:
        _, episode = strict.open()
        shelf = dispatch(episode, "list_shelves", {}).content["items"][0]
        for tool, arguments in (
            ("delete_shelf", {"shelf_id": shelf["shelf_id"]}),
            ("create_shelf", {"name": shelf["name"]}),
        ):
            assert fault_code(dispatch(episode, tool, arguments)) is FaultCode.CONFLICT
        assert not dispatch(episode, "create_shelf", {"name": "another"}).is_error


def test_hidden_tools_are_unknown_and_come_back(episode: Episode) -> None:
    episode.set_visible_tools(["list_boxes"])
    assert [tool.name for tool in episode.visible_tools()] == ["list_boxes"]
    assert fault_code(dispatch(episode, "count_boxes", {})) is FaultCode.UNKNOWN_TOOL
    episode.set_visible_tools(None)
    assert not dispatch(episode, "count_boxes", {}).is_error
    assert fault_code(dispatch(episode, "count_boxes", {}, servers=("other",))) is FaultCode.UNKNOWN_TOOL


def test_calls_and_result_sizes_have_quotas() -> None:
    with EpisodeStore([build_shelf()], limits=Limits(calls=2, result_bytes=2000)) as store:
        _, episode = store.open()
        assert fault_code(dispatch(episode, "list_boxes", {"limit": 30})) is FaultCode.QUOTA
        assert not dispatch(episode, "list_boxes", {"limit": 1}).is_error
        assert fault_code(dispatch(episode, "list_boxes", {"limit": 1})) is FaultCode.QUOTA
        assert len(episode.journal) == 2


def test_rows_have_a_quota(episode: Episode, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = dispatch(episode, "list_shelves", {}).content["items"][0]["shelf_id"]
    monkeypatch.setattr("palaestra.mcp_servers.framework.state.MAX_ROWS", episode.state("shelf").image.rows)
    before = episode.full_digest()
    result = dispatch(episode, "create_box", {"shelf_id": shelf, "label": "too many"})
    assert fault_code(result) is FaultCode.QUOTA
    assert episode.full_digest() == before


def test_concurrent_calls_of_one_episode_run_one_at_a_time(episode: Episode) -> None:
    shelf = dispatch(episode, "list_shelves", {}).content["items"][0]["shelf_id"]
    results: list[ToolResult] = []

    def create() -> None:
        results.extend(dispatch(episode, "create_box", {"shelf_id": shelf, "label": "x"}) for _ in range(20))

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({result.content["box_id"] for result in results}) == 80
    assert [record.index for record in episode.journal.records] == list(range(81))
    assert episode.state("shelf").digest == episode.state("shelf").recomputed_digest()


def test_too_many_waiting_calls_are_a_quota(episode: Episode) -> None:
    episode.waiting = episode.limits.waiting + 1
    assert fault_code(dispatch(episode, "count_boxes", {})) is FaultCode.QUOTA


def test_a_failing_seed_is_internal() -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("no seed today")

    server = build_shelf()
    server.seed = broken
    with EpisodeStore([server]) as store:
        _, episode = store.open()
        assert fault_code(dispatch(episode, "count_boxes", {})) is FaultCode.INTERNAL
        assert "no seed today" in episode.journal.records[0].incident


class _Interrupted(BaseException):
    pass


@pytest.mark.parametrize("error", [RuntimeError, MemoryError, _Interrupted])
def test_an_error_after_any_statement_leaves_nothing(
    episode: Episode, box_id: str, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = episode.full_digest()
    original: Callable[..., Any] = Database.update

    def breaking(self: Database, *args: Any, **values: Any) -> Any:
        original(self, *args, **values)
        raise error("now")

    monkeypatch.setattr(Database, "update", breaking)
    if error is _Interrupted:
        with pytest.raises(_Interrupted):
            dispatch(episode, "open_box", {"box_id": box_id})
    else:
        assert fault_code(dispatch(episode, "open_box", {"box_id": box_id})) is FaultCode.INTERNAL
    monkeypatch.undo()
    assert episode.full_digest() == before
    assert not dispatch(episode, "open_box", {"box_id": box_id}).is_error


def test_sensitive_values_and_unknown_keys_are_not_echoed(episode: Episode, box_id: str) -> None:
    secret = "s3cret" * 10
    for arguments in ({"box_id": box_id, "code": secret}, {"box_id": box_id, "cod": secret}):
        result = dispatch(episode, "update_box", arguments)
        assert fault_code(result) is FaultCode.INVALID_ARGUMENTS
        assert "s3cret" not in result.text
    loud = dispatch(episode, "update_box", {"box_id": box_id, "label": "y" * 500})
    assert "yyyy" in loud.text
    assert "y" * 201 not in loud.text


def test_guarded_columns_are_out_of_reach_of_generated_tools(episode: Episode) -> None:
    guarded = {"opened", "created_at", "updated_at"}
    for name in ("create_box", "update_box"):
        assert not guarded & set(episode.tools[name].input_schema()["properties"])
    assert Box.__tablename__ == "box"
