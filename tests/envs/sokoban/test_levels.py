"""Level files in and out, and the identity of a level."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palaestra.envs.core.errors import TaskError
from palaestra.envs.sokoban.core import Level
from palaestra.envs.sokoban.generator import Banded, generate
from palaestra.envs.sokoban.levels import (
    canonical,
    level_digest,
    load_levels,
    pad,
    read_levels,
    split_of,
    task_id,
    write_levels,
)
from palaestra.envs.sokoban.render import draw_text

LEVEL = "#####\n#@$.#\n#####"


def drawn(level: Level) -> list[str]:
    return draw_text(level.cells, level.width, "xsb").split("\n")


def test_symbols_of_both_formats_are_read() -> None:
    (level,) = read_levels("#######\n#+$-_ #\n#*$.  #\n#######")
    assert drawn(level) == ["#######", "#+$   #", "#*$.  #", "#######"]
    assert (level.player, level.boxes, level.targets, level.boxes_on_target) == (8, (9, 15, 16), (8, 15, 17), 1)


def test_ragged_rows_crlf_and_byte_order_mark() -> None:
    (level,) = read_levels("\ufeff  ###\r\n###@###\r\n#  $ .#\r\n#######\r\n")
    assert drawn(level) == ["#######", "###@###", "#  $ .#", "#######"]


def test_level_open_at_the_edge_gets_a_wall() -> None:
    assert drawn(read_levels("@$.")[0]) == ["#####", "#@$.#", "#####"]


def test_floor_out_of_reach_becomes_wall_but_boxes_stay() -> None:
    (level,) = read_levels("########\n#@$.#  #\n####  ##\n#*######\n########")
    assert drawn(level) == ["########", "#@$.####", "########", "#*######", "########"]


def test_boxoban_file_keeps_order_and_titles() -> None:
    levels = read_levels(f"; 0\n{LEVEL}\n\n; 1\n{LEVEL}\n; 2\n{LEVEL}\n\n{LEVEL}")
    assert [level.title for level in levels] == ["0", "1", "2", ""]
    assert len(set(levels)) == 1


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", 1, "no level"),
        ("; only a comment\n", 1, "no level"),
        ("#####\n#@$x#\n#####", 2, "unknown character 'x' in column 4"),
        ("#####\n#@$.#\t\n##\t##", 3, r"unknown character '\\t'"),
        ("#####\n#@$√#\n#####", 2, "unknown character '√'"),
        ("Level 1\n#####", 1, "unknown character 'L'"),
        (f"{LEVEL}\n\n#####\n# $.#\n#####", 5, "0 players"),
        (f"; a\n{LEVEL}\n\n; b\n######\n#@@$.#\n######", 7, "2 players"),
        ("######\n#@+$.#\n######", 1, "2 players"),
        ("#####\n#@ .#\n#####", 1, "no box"),
        ("######\n#@$$.#\n######", 1, "2 boxes but 1 targets"),
        ("######\n#@$..#\n######", 1, "1 boxes but 2 targets"),
        ("#####\n#+$.#\n#####", 1, "1 boxes but 2 targets"),
        ("@", 1, "no box"),
        ("$.", 1, "0 players"),
        (f"\n\n\n{LEVEL}\n!", 7, "unknown character '!'"),
        (f"{LEVEL}\n\n0", 5, "unknown character '0'"),
        ("#####\n#@*$#\n#####", 1, "2 boxes but 1 targets"),
        ("\r\n\r\n#@#\r\n", 3, "no box"),
        ("\ufeff#a#", 1, "unknown character 'a' in column 2"),
    ],
)
def test_malformed_text_names_source_and_line(text: str, line: int, problem: str) -> None:
    with pytest.raises(TaskError, match=rf"^mine\.xsb, line {line}\b.*{problem}") as caught:
        read_levels(text, "mine.xsb")
    assert caught.value.code == "bad_level"


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="# .$*@+-_;\nx\t\r", max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        levels = read_levels(text)
    except TaskError:
        return
    for level in levels:
        border = [c for i, c in enumerate(level.cells) if i % level.width in (0, level.width - 1)]
        assert not any(border)
        assert not any(level.cells[: level.width])
        assert not any(level.cells[-level.width :])
        assert len(level.boxes) == len(level.targets) > 0
        assert level.player > 0
    assert read_levels(write_levels(levels)) == levels


def test_written_levels_are_read_back_with_titles() -> None:
    levels = [generate(Banded(8, 7, 2), "all", seed).level for seed in range(20)]
    assert read_levels(write_levels(levels)) == levels
    (titled,) = read_levels(f"; name of it\n{LEVEL}")
    assert read_levels(write_levels([titled]))[0].title == "name of it"


def images(level: Level) -> list[Level]:
    """The eight images of a level, made by hand."""
    rows = [list(level.cells[i : i + level.width]) for i in range(0, len(level.cells), level.width)]
    made = []
    for _ in range(4):
        rows = [list(row) for row in zip(*rows, strict=True)][::-1]
        made += [rows, [row[::-1] for row in rows]]
    return [Level(len(r), len(r[0]), bytes(code for row in r for code in row)) for r in made]


def test_canonical_form_ignores_symmetry_and_padding() -> None:
    for seed in range(50):
        level = generate(Banded(6, 8, 2), "all", seed).level
        for image in images(level):
            assert canonical(image)[0] == canonical(level)[0]
            assert level_digest(pad(image, 12, 11))[0] == level_digest(level)[0]
            assert split_of(image) == split_of(level)
        assert {task_id(image) for image in images(level)} <= {f"{task_id(level)[:-1]}{i}" for i in range(8)}


def test_different_levels_have_different_forms() -> None:
    forms = {canonical(generate(Banded(), "all", seed).level)[0] for seed in range(300)}
    digests = {level_digest(generate(Banded(), "all", seed).level)[0] for seed in range(300)}
    assert len(forms) == len(digests) > 200


def test_folder_is_walked_in_order_and_names_the_split(tmp_path: Path) -> None:
    for folder, name in (
        ("unfiltered/valid", "b"),
        ("unfiltered/valid", "a"),
        ("hard", "000"),
        ("unfiltered/train", "z"),
    ):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / f"{name}.txt").write_text(f"; {name}\n{LEVEL}\n; {name}2\n{LEVEL}\n", "utf-8")
    (tmp_path / "README.md").write_text("not a level", "utf-8")
    found = [(level.title, split) for level, split in load_levels(tmp_path)]
    assert [title for title, _ in found] == ["000", "0002", "z", "z2", "a", "a2", "b", "b2"]
    assert [split for _, split in found] == [None, None, "train", "train", *["valid"] * 4]
    assert len(load_levels(tmp_path / "hard" / "000.txt")) == 2


def test_missing_and_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="no such file"):
        load_levels(tmp_path / "nothing")
    (tmp_path / "bad.xsb").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(TaskError, match=r"bad\.xsb' cannot be read"):
        load_levels(tmp_path)
    (tmp_path / "bad.xsb").write_text("#####\n#@$?#\n#####", "utf-8")
    with pytest.raises(TaskError, match=r"bad\.xsb, line 2: unknown character"):
        load_levels(tmp_path)
