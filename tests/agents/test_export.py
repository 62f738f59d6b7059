"""Episodes out of the store and back."""

from __future__ import annotations

import errno
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from palaestra.agents.durable import appearing
from palaestra.agents.export import export_jsonl, export_parquet, import_jsonl, rollout_from_dict, rollout_to_dict
from palaestra.agents.store import Receipt, Store, find_damage
from palaestra.mcp_servers.errors import StoreError
from palaestra.rewards.compose import Component, Invalid, InvalidReason, Reward, RewardBreakdown
from tests.conftest import MakeGroup

VALID = RewardBreakdown((Component("won", 2.0, (0.0, 0.5), (0.0, 1.0), "seen \ud800"),), (0.0, 1.0), 1.0)
INVALID = Invalid(InvalidReason.TIMEOUT, "slow")


@pytest.fixture
def filled(tmp_path: Path, make_group: MakeGroup) -> Path:
    path = tmp_path / "filled.sqlite"
    with Store.open(path) as store:
        for run in ("a", "b"):
            store.add_run(run, {"name": run})
            for iteration in range(2):
                phase = "eval" if iteration else "train"
                rewards: dict[str, Reward] = {"ep-1-0": VALID, "ep-1-1": INVALID}
                groups = [make_group(1), make_group(2)]
                store.append(groups, run_id=run, iteration=iteration, phase=phase, rewards=rewards)
    return path


def content(store: Store) -> list[Any]:
    episodes = [(s.record.run_id, s.record.iteration, s.record.phase, s.rollout, s.reward) for s in store.rollouts()]
    return [store.runs(), episodes]


def test_jsonl_and_back_gives_an_equal_store(filled: Path, tmp_path: Path) -> None:
    lines = tmp_path / "episodes.jsonl"
    with Store.open(filled) as store, Store.open(tmp_path / "copy.sqlite") as copy:
        assert export_jsonl(store, lines) == 32
        assert import_jsonl(copy, lines) == Receipt(stored=32, repeated=0)
        assert content(copy) == content(store)
        assert import_jsonl(copy, lines) == Receipt(stored=0, repeated=32)
        assert list(find_damage(copy)) == []


def test_every_line_is_one_episode_and_the_first_of_a_run_brings_its_config(filled: Path, tmp_path: Path) -> None:
    lines = tmp_path / "episodes.jsonl"
    with Store.open(filled, read_only=True) as store:
        assert export_jsonl(store, lines, run_id="b", phase="eval") == 8
    parsed = [json.loads(line) for line in lines.read_text().splitlines()]
    assert {(line["run_id"], line["iteration"], line["phase"]) for line in parsed} == {("b", 1, "eval")}
    assert parsed[0]["run"]["config"] == {"name": "b"}
    assert [line["run"] for line in parsed[1:]] == [None] * 7
    assert parsed[0]["rollout"]["completions"][0]["finish_reason"] == "stop"
    assert [line["reward"] and line["reward"]["valid"] for line in parsed[:3]] == [True, False, None]


def test_a_rollout_survives_its_dictionary(make_group: MakeGroup) -> None:
    for rollout in make_group(5).rollouts:
        assert rollout_from_dict(json.loads(json.dumps(rollout_to_dict(rollout)))) == rollout


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda line: line[: len(line) // 2], "line 7 is not an episode"),
        (lambda line: "[]", "TypeError"),
        (lambda line: line.replace('"format": 1', '"format": 9'), "format 9 is not 1"),
        (lambda line: line.replace('"member"', '"membre"'), "membre"),
        (lambda line: line.replace('"stop_reason": "terminated"', '"stop_reason": "bored"'), "bored"),
        (lambda line: line.replace('"iteration": 0, ', ""), "KeyError: 'iteration'"),
    ],
)
def test_a_bad_line_is_named_and_what_came_before_its_group_is_kept(
    filled: Path, tmp_path: Path, spoil: Any, said: str
) -> None:
    path = tmp_path / "episodes.jsonl"
    with Store.open(filled) as store:
        export_jsonl(store, path)
    lines = path.read_text().splitlines()
    bad = spoil(lines[6])  # in the second group of four
    assert bad != lines[6]
    path.write_text("\n".join([*lines[:6], bad]))
    with Store.open(tmp_path / "copy.sqlite") as copy:
        with pytest.raises(StoreError, match=r"episodes\.jsonl, line 7") as caught:
            import_jsonl(copy, path)
        assert caught.value.code == "bad_line"
        assert said in caught.value.message
        assert copy.counts()["rollouts"] == 4


def test_a_missing_file_is_a_typed_error(filled: Path, tmp_path: Path) -> None:
    with Store.open(filled) as store, pytest.raises(StoreError, match="no_file"):
        import_jsonl(store, tmp_path / "nothing.jsonl")


def test_an_existing_file_is_kept_unless_overwriting_is_allowed(filled: Path, tmp_path: Path) -> None:
    path = tmp_path / "episodes.jsonl"
    path.write_text("precious")
    with Store.open(filled) as store:
        with pytest.raises(StoreError, match="exists"):
            export_jsonl(store, path)
        assert path.read_text() == "precious"
        assert export_jsonl(store, path, overwrite=True) == 32


def test_a_failed_export_leaves_no_file(filled: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "episodes.jsonl"
    with Store.open(filled) as store:
        with pytest.raises(StoreError, match="no_folder"):
            export_jsonl(store, target)
        target.parent.mkdir()
        misspelt: Any = {"fase": "eval"}
        with pytest.raises(StoreError, match="unknown_filter"):
            export_jsonl(store, target, **misspelt)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "disk_full"), (errno.EIO, "io_error")])
def test_a_disk_that_refuses_is_a_typed_error(tmp_path: Path, number: int, code: str) -> None:
    def write() -> None:
        with appearing(tmp_path / "out", overwrite=False) as temporary:
            temporary.write_text("half")
            raise OSError(number, os.strerror(number))

    with pytest.raises(StoreError) as caught:
        write()
    assert caught.value.code == code
    assert list(tmp_path.iterdir()) == []


def test_parquet_holds_every_episode_with_its_parts(filled: Path, tmp_path: Path, make_group: MakeGroup) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "episodes.parquet"
    with Store.open(filled, read_only=True) as store:
        assert export_parquet(store, path, run_id="a") == 16
    rows = pq.read_table(path).to_pylist()
    rollout = make_group(1).rollouts[0]
    first = rows[0]
    assert (first["rollout_id"], first["won"], first["reward"], first["phase"]) == ("ep-1-0", True, 1.0, "train")
    assert [step["reward"] for step in first["steps"]] == [step.reward for step in rollout.trajectory.steps]
    assert first["steps"][0]["observation"] == "Raum 0: Tür, 门 \x00 and ?"
    assert json.loads(first["steps"][0]["info"]) == rollout.trajectory.steps[0].info
    for turn, completion in enumerate(rollout.completions):
        assert tuple(first["completions"][turn]["token_ids"]) == completion.token_ids
        assert tuple(first["completions"][turn]["logprobs"]) == completion.logprobs
    assert first["components"][0]["value_S"] == [0.0, 1.0]
    assert (rows[1]["reward"], rows[1]["reward_invalid"], rows[1]["error_code"]) == (None, "timeout", "policy_failed")
    assert rows[2]["components"] == []


def test_parquet_without_pyarrow_names_the_extra(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with Store.open(filled) as store, pytest.raises(StoreError, match=r"pip install palaestra\[parquet\]"):
        export_parquet(store, tmp_path / "x.parquet")


def test_two_groups_with_one_name_in_two_phases_stay_apart(tmp_path: Path, make_group: MakeGroup) -> None:
    lines = tmp_path / "e.jsonl"
    with Store.open(tmp_path / "s.sqlite") as store, Store.open(tmp_path / "copy.sqlite") as copy:
        store.add_run("a")
        group = make_group(1)
        other = replace(group, rollouts=[replace(r, rollout_id=r.rollout_id + "x") for r in group.rollouts])
        store.append([group], run_id="a", iteration=0, phase="train")
        store.append([other], run_id="a", iteration=0, phase="eval")
        export_jsonl(store, lines)
        import_jsonl(copy, lines)
        assert content(copy) == content(store)
