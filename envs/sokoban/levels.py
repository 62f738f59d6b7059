"""Levels as text and as identities: XSB and Boxoban files in and out, one canonical form under the eight symmetries.

XSB:  # wall   blank - _ floor   . target   $ box   * box on target   @ player   + player on target   ; comment

    ; 0
    #####
    #@$.#
    #####
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Final, Literal, get_args

from palaestra.envs.core.errors import TaskError
from palaestra.envs.sokoban.core import BOX, BOX_ON_TARGET, FLOOR, PLAYER, PLAYER_ON_TARGET, TARGET, WALL, Level

Split = Literal["train", "valid", "test"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)

XSB: Final = "# .*$@+"
"""The XSB symbol of each code."""

_CODES: Final = {symbol: code for code, symbol in enumerate(XSB)} | {"-": FLOOR, "_": FLOOR}


def read_levels(text: str, source: str = "<text>") -> list[Level]:
    r"""Every level of an XSB or Boxoban text, in order.

    Levels are separated by blank lines or comments; ragged rows are padded; cells the player can never reach, boxes
    set aside, become walls; a level open at the edge gets a wall around it. Linear in the text.

    Raises: TaskError "bad_level" naming source and line: unknown character, not exactly one player, no box, boxes
        and targets differ in number, or no level at all.

    >>> level, = read_levels("; easy\n####\n#@$.#\n####")
    >>> level.height, level.width, level.title
    (3, 5, 'easy')
    """
    levels = [_build(rows, title, source, line) for line, title, rows in _blocks(text, source)]
    if not levels:
        raise TaskError(
            "bad_level", f"{source}, line 1: no level in this text; a level is a block of rows like '#@$.#'"
        )
    return levels


def _blocks(text: str, source: str) -> Iterator[tuple[int, str, list[str]]]:
    """(first line, title, rows) of every block of board rows."""
    title, first = "", 1
    rows: list[str] = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        row = line.rstrip()
        if row and not row.lstrip().startswith(";"):
            for column, symbol in enumerate(row, start=1):
                if symbol not in _CODES:
                    raise TaskError(
                        "bad_level",
                        f"{source}, line {number}: unknown character {symbol!r} in column {column}; "
                        f"use {XSB!r} and '-' or '_' for floor, and start comments with ';'",
                    )
            first = first if rows else number
            rows.append(row)
            continue
        if rows:
            yield first, title, rows
            title, rows = "", []
        title = row.lstrip().removeprefix(";").strip() if row else title
    if rows:
        yield first, title, rows


def _build(rows: list[str], title: str, source: str, line: int) -> Level:
    width = max(map(len, rows))
    grid = [[_CODES[symbol] for symbol in row.ljust(width)] for row in rows]
    cells = bytes(code for row in grid for code in row)
    players = cells.count(PLAYER) + cells.count(PLAYER_ON_TARGET)
    boxes = cells.count(BOX) + cells.count(BOX_ON_TARGET)
    targets = cells.count(TARGET) + cells.count(BOX_ON_TARGET) + cells.count(PLAYER_ON_TARGET)
    problem = (
        f"{players} players ('@' or '+'); a level has exactly one"
        if players != 1
        else "no box ('$' or '*')"
        if boxes == 0
        else f"{boxes} boxes but {targets} targets; every box needs one target"
        if boxes != targets
        else ""
    )
    if problem:
        raise TaskError("bad_level", f"{source}, line {line}: the level starting here has {problem}")
    ringed = bytes(width + 2) + b"".join(bytes([0, *row, 0]) for row in grid) + bytes(width + 2)
    closed = _close(ringed, width + 2)
    inner = [closed[i + 1 : i + 1 + width] for i in range(width + 2, len(closed) - width - 2, width + 2)]
    if any(inner[0]) or any(inner[-1]) or any(row[0] or row[-1] for row in inner):  # open at the edge: keep the ring
        return Level(len(rows) + 2, width + 2, closed, title)
    return Level(len(rows), width, b"".join(inner), title)


def _close(cells: bytes, width: int) -> bytes:
    """The board with every floor cell the player could never reach turned into wall; the board must be ringed."""
    seen = bytearray(len(cells))
    player = cells.find(PLAYER)
    frontier = [player if player >= 0 else cells.index(PLAYER_ON_TARGET)]
    seen[frontier[0]] = 1
    while frontier:
        cell = frontier.pop()
        for near in (cell - width, cell + width, cell - 1, cell + 1):
            if 0 <= near < len(cells) and cells[near] != WALL and not seen[near]:
                seen[near] = 1
                frontier.append(near)
    return bytes(WALL if code == FLOOR and not reached else code for code, reached in zip(cells, seen, strict=True))


def _crop(cells: bytes, height: int, width: int) -> tuple[int, int, bytes]:
    """The smallest board with a wall around it that holds everything but wall."""
    rows = [cells[start : start + width] for start in range(0, height * width, width)]
    used_rows = [i for i, row in enumerate(rows) if any(row)]
    used_columns = [j for j, column in enumerate(zip(*rows, strict=True)) if any(column)]
    left, right = used_columns[0], used_columns[-1] + 1
    body = b"".join(b"\0" + row[left:right] + b"\0" for row in rows[used_rows[0] : used_rows[-1] + 1])
    wide = right - left + 2
    return len(body) // wide + 2, wide, bytes(wide) + body + bytes(wide)


def write_levels(levels: Iterable[Level]) -> str:
    r"""XSB text of the levels, titles as comments; `read_levels` gives equal levels back.

    >>> read_levels(write_levels(read_levels("#####\n#@$.#\n#####")))[0].cells.hex()
    '000000000000050402000000000000'
    """
    blocks = []
    for level in levels:
        text = "".join(XSB[code] for code in level.cells)
        rows = [text[i : i + level.width] for i in range(0, len(text), level.width)]
        blocks.append("\n".join([f"; {level.title}", *rows]) + "\n")
    return "\n".join(blocks)


def load_levels(path: str | Path) -> list[tuple[Level, Split | None]]:
    """The levels of one XSB or Boxoban file, or of all `*.txt`, `*.xsb`, `*.sok` files below a folder, in path order.

    Returns: (level, split); split is the last folder on the way named train, valid or test, None if there is none.
    Raises: TaskError "bad_level" naming file and line; TaskError "no_levels" if there is no such file.
    """
    root = Path(path)
    files = [root] if root.is_file() else sorted(f for f in root.rglob("*") if f.suffix in (".txt", ".xsb", ".sok"))
    if not files:
        raise TaskError(
            "no_levels", f"levels={str(path)!r}: no such file, and no folder holding .txt, .xsb or .sok files"
        )
    found: list[tuple[Level, Split | None]] = []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise TaskError("no_levels", f"levels={str(file)!r} cannot be read: {error}") from error
        named: list[Split] = [name for part in reversed(file.parent.parts) for name in SPLITS if name == part]
        found += [(level, named[0] if named else None) for level in read_levels(text, str(file))]
    return found


def pad(level: Level, height: int, width: int) -> Level:
    """The level with walls added below and to the right up to the given size."""
    rows = [level.cells[i : i + level.width].ljust(width, b"\0") for i in range(0, len(level.cells), level.width)]
    return Level(height, width, b"".join(rows).ljust(height * width, b"\0"), level.title)


@lru_cache(maxsize=256)
def _symmetries(height: int, width: int) -> tuple[tuple[int, int, itemgetter[tuple[int, ...]]], ...]:
    """For each symmetry: the new height and width, and a getter that reads the old cells in the new order."""
    grid = [[row * width + column for column in range(width)] for row in range(height)]
    views = []
    for _ in range(4):
        grid = [list(row) for row in zip(*grid[::-1], strict=True)]
        views += [grid, [row[::-1] for row in grid]]
    return tuple((len(view), len(view[0]), itemgetter(*(cell for row in view for cell in row))) for view in views)


def canonical(level: Level) -> tuple[bytes, int]:
    r"""The one form shared by all rotations, reflections and paddings of a level, and which symmetry leads there.

    Returns: (height, width and cells of the smallest of the eight images; its number 0-7).

    >>> a, = read_levels("#####\n#@$.#\n#####"); b, = read_levels("###\n#.#\n#$#\n#@#\n###")
    >>> canonical(a)[0] == canonical(b)[0]
    True
    """
    height, width, cells = _crop(_close(level.cells, level.width), level.height, level.width)
    images = [bytes((h, w, *view(cells))) for h, w, view in _symmetries(height, width)]
    smallest = min(images)
    return smallest, images.index(smallest)


@lru_cache(maxsize=8192)
def level_digest(level: Level) -> tuple[str, int]:
    """(16 hex digits of the canonical form, number of the symmetry): equal digests mean the same puzzle."""
    form, variant = canonical(level)
    return hashlib.blake2b(form, digest_size=8).hexdigest(), variant


def task_id(level: Level) -> str:
    """`sok-`, 12 hex digits of the canonical form, and the variant number: stable across runs and machines."""
    digest, variant = level_digest(level)
    return f"sok-{digest[:12]}-{variant}"


def split_of(level: Level) -> Split:
    """The split a level belongs to, by its canonical form alone: 80 % train, 10 % valid, 10 % test.

    Because nothing but the puzzle decides, no two splits can ever share a level, whatever seeds they are drawn from.
    """
    bucket = int(level_digest(level)[0], 16) % 10
    return "train" if bucket < 8 else "valid" if bucket == 8 else "test"
