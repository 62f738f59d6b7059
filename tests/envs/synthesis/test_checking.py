"""A file of records is held to what it says: answers, states, and the tools and worlds it was made for."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from palaestra.envs.tools.dataset import EMBEDDED
from palaestra.envs.tools.records import TaskRecord, read_records
from palaestra.envs.tools.synthesis.checking import check_records
from palaestra.mcp_servers.errors import TaskError


@pytest.fixture(scope="module")
def records() -> list[TaskRecord]:
    return list(islice((record for record in read_records(EMBEDDED) if record.gold_calls), 3))


def test_what_replays_is_counted_and_told_as_it_goes(records: list[TaskRecord]) -> None:
    told: list[int] = []
    assert check_records(records, told.append) == {"records": 3, "replayed": 3, "failures": []}
    assert told == [1, 2, 3]


def test_what_does_not_is_named_with_its_reason(records: list[TaskRecord]) -> None:
    good = records[0]
    number = next(n for n, turn in enumerate(good.turns) if turn.gold)
    turn = good.turns[number]
    first, *others = turn.gold
    server = good.env.servers[0]

    def changed(**fields: object) -> TaskRecord:
        turns = [*good.turns]
        turns[number] = turn.model_copy(update=fields)
        return good.model_copy(update={"turns": tuple(turns)})

    answer = changed(gold=(first.model_copy(update={"result_digest": "0" * 16}), *others))
    state = changed(goal_digests={**turn.goal_digests, server: "0" * 16})
    tools = good.model_copy(update={"env": good.env.model_copy(update={"catalog_digest": "0" * 16})})
    found = check_records([answer, good, state, tools], lambda _: None)
    assert (found["records"], found["replayed"]) == (4, 1)
    reasons = [reason for _, reason in found["failures"]]
    assert reasons[0] == f"{first.tool} in turn {number} answers otherwise"
    assert reasons[1] == f"turn {number} leaves {server} in another state"
    assert "was made for other tools" in reasons[2]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for name, content in (
        ("cut.jsonl.gz", EMBEDDED.read_bytes()[:5000]),
        ("odd.jsonl", b"\xff\xfe"),
        ("no.jsonl.gz", b"{}"),
    ):
        file = tmp_path / name
        file.write_bytes(content)
        with pytest.raises(TaskError, match=name.replace(".", r"\.")):
            list(read_records(file))
