"""Every filter drops what it must drop, and says so by its name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from palaestra.envs.tools.records import TaskRecord
from palaestra.envs.tools.synthesis.brief import deal, family_counts
from palaestra.envs.tools.synthesis.dedup import Seen
from palaestra.envs.tools.synthesis.filters import (
    Divide,
    keep_as_seen,
    passes_provenance,
    passes_replay,
    passes_schema,
    refused_as_duplicate,
)
from palaestra.envs.tools.synthesis.scripted import Scripted
from palaestra.envs.tools.synthesis.server_job import Block, Job, run_job
from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore

BANKING = load_server("banking")


def job_records(folder: Path, records: int, score: bool | None = None) -> Block:
    briefs = deal({"train": family_counts(records)}, {"banking": 1.0}, seed=5)
    job = Job(server="banking", servers=("banking", "maps"), seed=5, profile="default")
    run_job(job, briefs, folder, Scripted(), None if score is None else lambda _: bool(score))
    blocks = [Block.load(path) for path in sorted(folder.glob("*.part"))]
    assert len(blocks) == 1
    return blocks[0]


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> TaskRecord:
    """A record whose first call takes arguments."""
    found = job_records(tmp_path_factory.mktemp("parts"), 16).records
    return next(one for _, one in found if one.gold_calls and one.gold_calls[0][1].arguments)


@pytest.fixture
def episode(record: TaskRecord) -> Iterator[Episode]:
    with EpisodeStore([BANKING]) as store:
        yield store.open(["banking"], seed=record.env.seed)[1]


def changed(record: TaskRecord, **changes: object) -> TaskRecord:
    """The record with its first gold call changed."""
    at, call = record.gold_calls[0]
    turn = record.turns[at]
    turn = turn.model_copy(update={"gold": (call.model_copy(update=changes), *turn.gold[1:])})
    return record.model_copy(update={"turns": (*record.turns[:at], turn, *record.turns[at + 1 :])})


def test_a_good_record_passes(record: TaskRecord, episode: Episode) -> None:
    assert passes_schema(record, BANKING)
    assert passes_replay(record, episode)
    assert passes_provenance(record)
    assert Divide().passes(record, BANKING)
    assert refused_as_duplicate(record, Seen()) == ""


def test_an_argument_the_validator_refuses_is_dropped(record: TaskRecord) -> None:
    arguments = record.gold_calls[0][1].arguments
    assert not passes_schema(changed(record, arguments={**arguments, "colour": "red"}), BANKING)
    assert not passes_schema(changed(record, arguments=dict.fromkeys(arguments, 1.5)), BANKING)


def test_a_call_that_fails_or_comes_out_otherwise_is_dropped(record: TaskRecord, episode: Episode) -> None:
    assert not passes_replay(changed(record, result_digest="0" * 64), episode)
    assert not passes_replay(changed(record, tool="cancel_transfer", arguments={"transfer_id": "tra_1"}), episode)
    turn = record.turns[-1].model_copy(update={"goal_digests": {"banking": "0" * 64}})
    assert not passes_replay(record.model_copy(update={"turns": (*record.turns[:-1], turn)}), episode)


def test_a_value_from_nowhere_is_dropped(record: TaskRecord) -> None:
    source = record.gold_calls[0][1].source
    assert not passes_provenance(changed(record, source={**source, next(iter(source)): "context"}))


def test_what_training_is_about_is_not_tested(record: TaskRecord) -> None:
    divide = Divide()
    divide.keep(record, BANKING)
    assert divide.passes(record, BANKING)
    assert not divide.passes(record.model_copy(update={"split": "test"}), BANKING)


def test_the_same_calls_twice_are_dropped(record: TaskRecord) -> None:
    seen = Seen()
    keep_as_seen(record, seen)
    assert refused_as_duplicate(record, seen) == "alike"


def test_what_does_not_earn_the_full_reward_is_dropped_and_counted(tmp_path: Path) -> None:
    block = job_records(tmp_path, 1, score=False)
    assert block.records == []
    assert len(block.unfilled) == 1
    dropped = {name: n for name, n in block.counts.items() if name.startswith("filter.")}
    assert dropped["filter.score"] > 0
    assert block.counts["drafted"] == sum(dropped.values())
    assert block.counts["tried"] == block.counts["drafted"] + sum(
        n for name, n in block.counts.items() if name.startswith("draft.")
    )
