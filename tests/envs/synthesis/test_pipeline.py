"""The pipeline end to end on real servers: exact, the same again, resumable, split apart, worth the full reward."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from itertools import combinations
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest

from palaestra.envs.tools.records import TaskRecord, read_records
from palaestra.envs.tools.synthesis.dedup import THRESHOLD, features
from palaestra.envs.tools.synthesis.exporters import export
from palaestra.envs.tools.synthesis.filters import primary_entity, split_of_chain
from palaestra.envs.tools.synthesis.pipeline import SynthConfig, synthesise
from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.errors import ConfigError, TaskError
from palaestra.rewards.gold import SCORE, earns_the_most

CONFIG = SynthConfig(train=40, valid=4, test=12, servers=("banking", "maps"), seed=3, workers=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("synth") / "tasks.jsonl"
    return out, synthesise(CONFIG.model_copy(update={"score": SCORE}), out)


@pytest.fixture(scope="module")
def records(made: tuple[Path, dict[str, Any]]) -> list[TaskRecord]:
    return list(read_records(made[0]))


def test_counts_and_rates_are_what_was_asked_for(made: tuple[Path, dict[str, Any]], records: list[TaskRecord]) -> None:
    report = made[1]
    assert report["records"] == report["asked"] == len(records) == 56
    assert report["splits"] == {"train": 40, "valid": 4, "test": 12}
    assert json.loads(made[0].with_suffix(".report.json").read_text("utf-8")) == report
    assert "banking" in made[0].with_suffix(".md").read_text("utf-8")
    assert not made[0].with_name(made[0].name + ".parts").exists()
    filters = report["yields"]["filters"]
    assert filters["replay"]["dropped"] == filters["schema"]["dropped"] == 0
    assert filters["score"]["seen"] - filters["score"]["dropped"] == 56
    lengths = {len(r.meta["chain"]) for r in records if r.gold_calls}
    assert lengths <= {2, 3, 4, 5}
    assert {len(r.turns) for r in records if r.meta["family"] != "abstain"} == {2, 3}
    assert all(len(r.turns) == 1 and not r.gold_calls for r in records if r.meta["family"] == "abstain")


def test_every_record_earns_the_full_reward(records: list[TaskRecord]) -> None:
    assert all(earns_the_most(record) for record in records)
    acting = next(record for record in records if any(not call.reads for _, call in record.gold_calls))
    at = next(n for n, turn in enumerate(acting.turns) if any(not call.reads for call in turn.gold))
    cut = acting.turns[at].model_copy(update={"changes": {}})
    assert not earns_the_most(acting.model_copy(update={"turns": (*acting.turns[:at], cut, *acting.turns[at + 1 :])}))


def test_no_two_records_are_alike(records: list[TaskRecord]) -> None:
    sets = [features((c.tool, c.arguments) for _, c in r.gold_calls) for r in records if r.gold_calls]
    assert max(len(a & b) / len(a | b) for a, b in combinations(sets, 2)) < THRESHOLD


def test_training_and_testing_share_no_chain_no_world_and_no_entity(records: list[TaskRecord]) -> None:
    train = [record for record in records if record.split == "train"]
    test = [record for record in records if record.split == "test"]
    for one, other in ((train, test), (train, [r for r in records if r.split == "valid"])):
        chains, others = ({tuple(r.meta["chain"]) for r in part if r.gold_calls} for part in (one, other))
        assert not chains & others
        assert not {r.env.seed for r in one} & {r.env.seed for r in other}
    about, tested = (
        {primary_entity(r, load_server(r.env.servers[0])) for r in part} - {None} for part in (train, test)
    )
    assert not about & tested
    assert all(split_of_chain(r.meta["chain"]) == r.split for r in records if r.gold_calls)


def test_every_value_has_a_source(records: list[TaskRecord]) -> None:
    for record in records:
        known = [call.id for _, call in record.gold_calls]
        for at, call in record.gold_calls:
            assert set(call.source) == set(call.arguments)
            for source in call.source.values():
                kind, _, where = source.partition(":")
                assert (kind == "user" and int(where) <= at) or (kind == "call" and where in known)
            assert set(call.after) <= set(known[: known.index(call.id)])


@pytest.mark.slow
def test_other_processes_make_the_same_file(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    out = tmp_path / "again.jsonl"
    synthesise(CONFIG.model_copy(update={"score": SCORE, "workers": 2}), out)
    assert out.read_bytes() == made[0].read_bytes()
    other = tmp_path / "other.jsonl"
    synthesise(SynthConfig(train=3, servers=("maps",), seed=4, workers=1), other)
    assert {record.env.seed for record in read_records(other)}.isdisjoint(r.env.seed for r in read_records(out))


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_the_same(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    out = tmp_path / "tasks.jsonl"
    script = (
        "import sys; from pathlib import Path; from palaestra.envs.tools.synthesis.pipeline import *\n"
        f"if __name__ == '__main__': synthesise(SynthConfig(**{CONFIG.model_dump()!r} | {{'score': {SCORE!r}}}), "
        "Path(sys.argv[1]))"
    )
    file = tmp_path / "run.py"
    file.write_text(script, "utf-8")
    run = subprocess.Popen([sys.executable, str(file), str(out)], start_new_session=True)
    parts = out.with_name(out.name + ".parts")
    while not list(parts.glob("*.part")) and run.poll() is None:
        pass
    os.killpg(run.pid, signal.SIGKILL)
    run.wait(timeout=30)
    assert list(parts.glob("*.part")), "the run was over before it could be killed"
    assert not out.exists()
    with pytest.raises(ConfigError, match="other_parts"):
        synthesise(CONFIG.model_copy(update={"seed": 4}), out)
    synthesise(CONFIG.model_copy(update={"score": SCORE}), out)
    assert out.read_bytes() == made[0].read_bytes()


@pytest.mark.slow
def test_a_killed_worker_is_an_error_and_loses_nothing(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    out = tmp_path / "tasks.jsonl"

    killed: list[int] = []

    def kill_one(done: int, total: int, spent: object) -> None:
        if done and not killed:
            killed.extend(child.pid for child in active_children() if child.pid)
            os.kill(killed[0], signal.SIGKILL)

    with pytest.raises(TaskError, match="worker_lost"):
        synthesise(CONFIG.model_copy(update={"score": SCORE}), out, kill_one)
    assert not active_children()
    assert not out.exists()
    assert list(out.with_name(out.name + ".parts").glob("*.part"))
    synthesise(CONFIG.model_copy(update={"score": SCORE}), out)
    assert out.read_bytes() == made[0].read_bytes()


@pytest.mark.slow
def test_what_no_server_can_make_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'banking'"):
        SynthConfig(servers=("bankin",))
    impossible = SynthConfig(train=1, servers=("maps",), workers=1, score="operator:not_")
    with pytest.raises(TaskError, match="unfilled"):
        synthesise(impossible, tmp_path / "none.jsonl")


def test_exports_hold_the_whole_conversation(records: list[TaskRecord], tmp_path: Path) -> None:
    some = [record for record in records if record.gold_calls][:5]
    chat, rows = tmp_path / "chat.jsonl", tmp_path / "rows.jsonl"
    assert export(some, chat, "openai") == export(some, rows, "verl") == 5
    for record, line in zip(some, chat.read_text("utf-8").splitlines(), strict=True):
        told = json.loads(line)
        calls = [m["tool_calls"][0]["function"]["name"] for m in told["messages"] if m.get("tool_calls")]
        assert calls == [call.tool for _, call in record.gold_calls]
        assert [m["content"] for m in told["messages"] if m["role"] == "user"] == [t.user for t in record.turns]
        assert {call.tool for _, call in record.gold_calls} <= {tool["function"]["name"] for tool in told["tools"]}
    for record, line in zip(some, rows.read_text("utf-8").splitlines(), strict=True):
        row = json.loads(line)
        assert set(row) == {"data_source", "prompt", "ability", "reward_model", "extra_info", "agent_name"}
        assert TaskRecord.from_json(row["reward_model"]["ground_truth"]) == record
