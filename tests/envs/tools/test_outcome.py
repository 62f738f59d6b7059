"""Canonical change sets, READ rows and turn outcomes, on live servers."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from tests.mcp_servers.shelf import build_shelf

from palaestra.envs.tools.evidence import CallEvidence, StepEvidence
from palaestra.envs.tools.outcome import NEW, canonical_changes, changes_of, result_rows, state_score, turn_outcomes
from palaestra.envs.tools.records import Cell, GoldCall, GoldTurn, Shown, TaskRecord, World
from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import REFERENCE_TIME, Episode, EpisodeStore

Call = tuple[str, dict[str, Any]]
STORE = EpisodeStore([load_server("banking"), load_server("filesystem"), build_shelf()])


def opened(*servers: str) -> Episode:
    return STORE.open(servers, seed=5)[1]


def call(episode: Episode, tool: str, **arguments: Any) -> dict[str, Any]:
    result = dispatch(episode, tool, arguments)
    assert result.value is not None, result.text
    return result.value


def boxes_made(order: tuple[int, ...]) -> dict[str, tuple[Cell, ...]]:
    episode = opened("shelf")
    shelf = call(episode, "list_shelves")["items"][0]["shelf_id"]
    for number in order:
        box = call(episode, "create_box", shelf_id=shelf, label=f"box {number}", weight=number + 1)["box_id"]
        call(episode, "update_box", box_id=box, label=f"see {box}, box {number}")
    return changes_of(episode)


def test_the_order_of_creation_does_not_matter() -> None:
    first, *others = (boxes_made(order) for order in permutations(range(3)))
    assert all(other == first for other in others)
    cells = first["shelf"]
    assert len({row for _, row, _, _ in cells}) == 3
    assert all(row.startswith(NEW) for _, row, _, _ in cells)
    labels = [value for _, _, column, value in cells if column == "label"]
    assert len(labels) == 3
    assert all(label.startswith("see new:") for label in labels)


def test_references_to_created_rows_are_named_like_the_rows() -> None:
    def told(first: str, second: str, large: int) -> dict[str, tuple[Cell, ...]]:
        episode = opened("banking")
        names = [row for (table, _), row in episode.state("banking").image.seeded.items() if table == "customer"]
        ibans = {"Anna": "DE02120300000000202051", "Lars": "SE4550000000058398257466"}
        made = {
            name: call(episode, "create_payee", name=name, iban=ibans[name])["payee_id"] for name in (first, second)
        }
        call(episode, "verify_identity", customer_id=names[0][0], passphrase=names[0][2])
        account = call(episode, "list_bank_accounts")["items"][0]["account_id"]
        call(episode, "transfer_money", account_id=account, payee_id=made["Anna"], amount=large)
        call(episode, "transfer_money", account_id=account, payee_id=made["Lars"], amount=100)
        return changes_of(episode)

    gold = told("Anna", "Lars", 200)
    assert told("Lars", "Anna", 200) == gold
    other = told("Lars", "Anna", 201)
    assert 0.0 < state_score(other, gold) < 0.5
    payees = {row for table, row, _, _ in gold["banking"] if table == "payee" and row.startswith(NEW)}
    assert len(payees) == 2
    assert {
        value for table, _, column, value in gold["banking"] if (table, column) == ("transfer", "payee_id")
    } == payees


def test_rows_alike_are_told_apart_by_what_refers_to_them() -> None:
    server = load_server("filesystem")
    node = server.schema.by_name["node"]
    entry = server.schema.by_name["entry"]

    def changes(parents: tuple[str, str]) -> dict[str, tuple[Cell, ...]]:
        folder = dict.fromkeys((node.columns[index] for index in node.goal_indices), "same")
        rows: dict[tuple[str, str], Any] = {("node", key): {**folder, node.key: key} for key in ("nod_1", "nod_2")}
        line = dict.fromkeys(entry.columns, "x")
        for number, parent in enumerate(parents):
            key = f"ent_{number}"
            rows["entry", key] = {**line, entry.key: key, entry.columns[1]: parent, entry.columns[2]: f"file {number}"}
        return canonical_changes({"filesystem": rows}, {"filesystem": server}, {"filesystem": {}})

    apart, together = changes(("nod_1", "nod_2")), changes(("nod_1", "nod_1"))
    assert apart == changes(("nod_2", "nod_1"))
    assert together == changes(("nod_2", "nod_2"))
    assert apart != together


def test_only_what_differs_from_the_seed_is_a_cell() -> None:
    episode = opened("shelf")
    box = call(episode, "list_boxes")["items"][0]
    call(episode, "update_box", box_id=box["box_id"], label="other")
    assert changes_of(episode) == {"shelf": (("box", box["box_id"], "label", "other"),)}
    call(episode, "update_box", box_id=box["box_id"], label=box["label"])  # only updated_at differs now
    assert changes_of(episode) == {}
    call(episode, "delete_box", box_id=box["box_id"])
    assert changes_of(episode) == {"shelf": (("box", box["box_id"], "", None),)}


def test_collateral_and_missing_writes_cost() -> None:
    gold = {"shelf": (("box", "box_1", "label", "a"), ("box", "box_2", "label", "b"))}
    assert state_score(gold, gold) == 1.0
    assert state_score({}, {}) == 1.0
    assert state_score({}, gold) == 0.0
    assert state_score({"shelf": gold["shelf"][:1]}, gold) == 0.25
    collateral = {**gold, "banking": (("card", "crd_1", "status", "frozen"),) * 2}
    assert state_score(collateral, gold) == 0.25
    assert state_score({"shelf": (*gold["shelf"], gold["shelf"][0])}, gold) == pytest.approx(1 / 3)
    assert (
        state_score({"shelf": (("box", "box_1", "fragile", True),)}, {"shelf": (("box", "box_1", "fragile", 1),)}) == 0
    )


def test_a_row_is_the_same_row_whatever_tool_found_it() -> None:
    server = build_shelf()
    episode = opened("shelf")
    page = call(episode, "list_boxes", limit=3)
    listed = result_rows(server.tools["list_boxes"], page, (), server)
    one = call(episode, "get_box", box_id=page["items"][1]["box_id"])
    assert result_rows(server.tools["get_box"], one, (), server) == listed[1:2]
    later = {**one, "updated_at": "2027-01-01T00:00:00Z"}
    assert result_rows(server.tools["get_box"], later, (), server) == listed[1:2]
    assert result_rows(server.tools["get_box"], {**one, "label": "x"}, (), server) != listed[1:2]
    ids = [one["box_id"]]
    other = {**one, "box_id": "box_77777"}
    assert result_rows(server.tools["get_box"], one, ids, server) == result_rows(
        server.tools["get_box"], other, ["box_77777"], server
    )
    assert result_rows(server.tools["list_boxes"], {"items": [], "next_cursor": None}, (), server) == ()


def test_two_counts_are_not_the_same_answer() -> None:
    tools = load_server("banking").tools
    first, second = (spec for name, spec in tools.items() if name in ("list_bank_cards", "list_bank_accounts"))
    assert result_rows(first, {"count": 3}, ()) != result_rows(second, {"count": 3}, ())
    row = {"card_id": "crd_1", "status": "active"}
    assert result_rows(first, row, ()) == result_rows(second, {"items": [row]}, ())


def gold_call(
    tool: str, *, reads: bool, rows: tuple[str, ...] = (), digest: str = "d", fault: str | None = None
) -> GoldCall:
    return GoldCall(
        id="c0", tool=tool, arguments={}, reads=reads, rows=rows, result_digest=digest, expects_fault=fault
    )  # fmt: skip


def made(tool: str, *, rows: tuple[str, ...] = (), digest: str = "d", fault: str | None = None) -> CallEvidence:
    return CallEvidence(
        tool=tool, arguments={}, shown=True, fits=True, fits_loose=True, fault=fault, result_digest=digest, rows=rows
    )


def record_of(*turns: GoldTurn) -> TaskRecord:
    world = World(servers=("banking",), seed=0, reference_time=REFERENCE_TIME)
    return TaskRecord(kind="act", split="train", env=world, shown=Shown(tools=("list_cards",)), turns=turns)


ENDS = StepEvidence(turn=0, turn_over=True)
CELLS: dict[str, tuple[Cell, ...]] = {"banking": (("card", "crd_1", "status", "frozen"),)}


def test_doing_nothing_on_a_reading_turn_is_worth_nothing() -> None:
    record = record_of(GoldTurn(user="?", gold=(gold_call("list_cards", reads=True, rows=("r1", "r2")),)))
    assert turn_outcomes(record, [ENDS]) == (0.0,)

    def after(*calls: CallEvidence) -> float:
        return turn_outcomes(record, [StepEvidence(turn=0, calls=calls), ENDS])[0]

    assert after(made("list_cards", rows=("r1", "r2"))) == 1.0
    assert after(made("find_cards", rows=("r2", "r3", "r1"), digest="e")) == 1.0
    assert after(made("find_cards", rows=("r2",), digest="e")) == 0.0
    assert after(made("get_card", rows=("r2",), digest="e"), made("get_card", rows=("r1",), digest="f")) == 1.0


def test_an_empty_answer_is_met_by_asking_the_same_tool() -> None:
    record = record_of(GoldTurn(user="?", gold=(gold_call("search_cards", reads=True),)))
    for call_made, outcome in (
        (made("search_cards"), 1.0),
        (made("list_cards"), 0.0),
        (made("search_cards", digest="e"), 0.0),
    ):
        assert turn_outcomes(record, [StepEvidence(turn=0, calls=(call_made,), turn_over=True)]) == (outcome,)


def test_a_call_that_shall_fail_is_met_by_the_same_failure() -> None:
    record = record_of(GoldTurn(user="?", gold=(gold_call("freeze_card", reads=False, fault="precondition"),)))
    for fault, outcome in (("precondition", 1.0), ("not_found", 0.0), (None, 0.0)):
        step = StepEvidence(turn=0, calls=(made("freeze_card", fault=fault),), turn_over=True)
        assert turn_outcomes(record, [step]) == (outcome,)


def test_turns_are_judged_one_by_one_and_those_that_never_ended_not_at_all() -> None:
    reading = GoldTurn(user="?", gold=(gold_call("list_cards", reads=True, rows=("r1",)),), changes=CELLS)
    writing = GoldTurn(user="!", gold=(gold_call("freeze_card", reads=False),), changes=CELLS)
    chatting = GoldTurn(user="thanks", kind="clarify", changes=CELLS)
    record = record_of(writing, reading, chatting)
    wrote = StepEvidence(turn=0, calls=(made("freeze_card"),), turn_over=True, changes=CELLS)
    read = StepEvidence(turn=1, calls=(made("list_cards", rows=("r1",)),), turn_over=True, changes=CELLS)
    said = StepEvidence(turn=2, turn_over=True, changes=CELLS)
    assert turn_outcomes(record, [wrote, read, said]) == (1.0, 1.0, 1.0)
    assert turn_outcomes(record, [wrote, read]) == (1.0, 1.0, 0.0)
    assert turn_outcomes(record, [wrote, StepEvidence(turn=1)]) == (1.0, 0.0, 0.0)
    assert turn_outcomes(record, [ENDS, read, StepEvidence(turn=2, turn_over=True)]) == (0.0, 1.0, 0.0)
