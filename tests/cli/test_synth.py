"""`palaestra synth` as people call it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from palaestra.envs.tools.records import read_records

if TYPE_CHECKING:
    from tests.cli.conftest import Command

WORDS = ("synth", "--records", 4, "--servers", "maps, team_chat", "--workers", 1)


def test_it_writes_tasks_a_report_and_a_card(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "tasks.jsonl"
    done = command(*WORDS, "--out", out, "--report", tmp_path / "copy.json", "--format", "openai")
    assert done.code == 0, done.err
    assert "4 conversations" in done.out
    assert len(list(read_records(out))) == 4
    done = command("synth", "--check", out)
    assert (done.code, done.out.strip()) == (0, f"{out}: 4 of 4 records replay to what they say")
    spoilt = tmp_path / "spoilt.jsonl"
    spoilt.write_text(out.read_text("utf-8").replace('"catalog_digest":"', '"catalog_digest":"0'), "utf-8")
    done = command("synth", "--check", spoilt)
    assert done.code == 2
    assert "it was edited" in done.err
    spoilt.unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "copy.json", "tasks.jsonl", "tasks.md", "tasks.openai.jsonl", "tasks.report.json",
    ]  # fmt: skip


def test_json_is_the_report(command: Command, tmp_path: Path) -> None:
    report = command(*WORDS, "--out", tmp_path / "tasks.jsonl", "--json").json()
    assert report["records"] == 4
    assert set(report["coverage"]["servers"]) == {"maps", "team_chat"}


def test_mistakes_are_named(command: Command, tmp_path: Path) -> None:
    done = command("synth", "--out", tmp_path / "x.jsonl", "--servers", "mapps")
    assert done.code == 2
    assert "did you mean 'maps'" in done.err
    done = command("synth", "--out", tmp_path / "x.jsonl", "--format", "xml")
    assert done.code == 2
    assert "openai" in done.err
    done = command("synth", "--out", tmp_path / "x.jsonl", "--profile", "huge", "--records", 1)
    assert done.code == 2
    assert "give either --out" in command("synth").err
    assert list(tmp_path.iterdir()) == []
