"""Boards as text, as arrays and as pictures; the sprites are drawn here, in code."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from palaestra.envs.sokoban.core import BOX, BOX_ON_TARGET, PLAYER, PLAYER_ON_TARGET, TARGET
from palaestra.envs.sokoban.levels import XSB

TextStyle = Literal["compact", "padded", "xsb"]
Frame = npt.NDArray[np.uint8]

SYMBOLS: Final = "#_O√XPS"
"""The symbol of each code in the compact and padded styles."""

_CHARMAPS: Final[Mapping[str, Any]] = {
    "compact": SYMBOLS + "\n",
    "padded": {code: f" {symbol} \t" for code, symbol in enumerate(SYMBOLS)} | {7: "\n"},
    "xsb": XSB + "\n",
}

LEGENDS: Final = {
    style: (
        f"On the grid {s[0]!r} is a wall, {s[1]!r} floor, {s[2]!r} a target, {s[3]!r} a box on a target, {s[4]!r} a "
        f"box, {s[5]!r} you, {s[6]!r} you on a target; boxes are pushed by walking into them and never pulled, and a "
        "box in a corner is lost."
    )
    for style, s in {"compact": SYMBOLS, "padded": SYMBOLS, "xsb": XSB}.items()
}


ROW_END: Final = 7
"""A code for the end of a row: a board that carries one after each row is drawn in one go, and stops every move."""


def end_rows(cells: bytes, width: int) -> bytes:
    """The board with `ROW_END` after each row."""
    row_end = bytes([ROW_END])
    return b"".join([cells[i : i + width] + row_end for i in range(0, len(cells), width)])


def draw_ended(ended: bytes | bytearray, style: TextStyle = "compact") -> str:
    """`draw_text` of a board whose rows are ended already."""
    return codecs.charmap_decode(ended, "strict", _CHARMAPS[style])[0][:-1]


def draw_text(cells: bytes | bytearray, width: int, style: TextStyle = "compact") -> str:
    """The board as text, rows joined by newlines.

    >>> draw_text(bytes([0, 0, 0, 0, 0, 0, 5, 4, 2, 0, 0, 0, 0, 0, 0]), 5).splitlines()
    ['#####', '#PXO#', '#####']
    """
    return draw_ended(end_rows(bytes(cells), width), style)


def draw_texts(cells_NC: npt.NDArray[np.uint8], width: int, style: TextStyle = "compact") -> list[str]:
    """`draw_text` for a batch, uint8 [N, cells]: decoded in one go."""
    ended_NHW = np.full((len(cells_NC), cells_NC.shape[1] // width, width + 1), ROW_END, np.uint8)
    ended_NHW[:, :, :width] = cells_NC.reshape(len(cells_NC), -1, width)
    text = codecs.charmap_decode(ended_NHW.tobytes(), "strict", _CHARMAPS[style])[0]
    board = len(text) // len(cells_NC)
    return [text[i : i + board - 1] for i in range(0, len(text), board)]


def text_charset() -> str:
    """Every character a board may be drawn with, in any style, sorted."""
    return "".join(sorted({*SYMBOLS, *XSB, " ", "\t", "\n"}))


PLANE_OF_CODE: Final = np.array(
    [[1, 0, 0, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0, 1], [0, 0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 1, 1]], np.int8
)
"""[plane, code]: whether cells of that code are set in the planes wall, target, box, player."""


def draw_planes(cells_HW: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
    """Four binary planes, int8 [4, H, W] (or [N, 4, H, W] for a batch): wall, target, box, player."""
    return np.moveaxis(PLANE_OF_CODE[:, cells_HW], 0, -3)


TINY_COLOURS: Final[Frame] = np.array(
    [[32, 32, 40], [240, 240, 232], [236, 84, 84], [40, 150, 60], [150, 92, 40], [48, 96, 220], [150, 60, 230]],
    np.uint8,
)
"""One colour per code; any two differ by more than 60 in at least one channel."""


def draw_rgb(cells_HW: npt.NDArray[Any], scale: Literal["sprite", "tiny"] = "sprite") -> Frame:
    """The board as a picture: uint8 [16 H, 16 W, 3], or [H, W, 3] if tiny. Time grows with its area."""
    if scale == "tiny":
        return np.take(TINY_COLOURS, cells_HW, axis=0)
    height, width = cells_HW.shape
    # Gather whole sprite rows (48 bytes, as six words) straight into picture order: one pass, no transposing.
    rows_H16W = 16 * cells_HW.astype(np.intp)[:, None, :] + np.arange(16)[:, None]
    return _sprite_rows().take(rows_H16W, axis=0).view(np.uint8).reshape(16 * height, 16 * width, 3)


@lru_cache(maxsize=1)
def _sprite_rows() -> npt.NDArray[np.uint64]:
    """uint64 [7 * 16, 6]: row r of the sprite of a code is row 16 * code + r."""
    return _sprites().reshape(7 * 16, 48).view(np.uint64)


@lru_cache(maxsize=1)
def _sprites() -> Frame:
    """uint8 [7, 16, 16, 3]: a sprite per code, things drawn over the ground they stand on."""
    rows, columns = np.mgrid[0:16, 0:16]
    radius = np.hypot(rows - 7.5, columns - 7.5)
    sprites = np.empty((7, 16, 16, 3), np.uint8)
    sprites[:] = TINY_COLOURS[1]
    joints = (rows % 4 == 3) | ((columns + 4 * (rows // 4 % 2)) % 8 == 7)
    sprites[0] = np.where(joints[..., None], np.array([72, 72, 80], np.uint8), TINY_COLOURS[0])
    for code in (TARGET, BOX_ON_TARGET, PLAYER_ON_TARGET):
        sprites[code][(radius > 3) & (radius < 6)] = TINY_COLOURS[TARGET]
    crate = np.maximum(abs(rows - 7.5), abs(columns - 7.5)) < 7
    planks = crate & ((rows % 5 == 0) | (abs(rows - columns) < 1))
    for code in (BOX_ON_TARGET, BOX):
        sprites[code][crate] = TINY_COLOURS[code]
        sprites[code][planks] = TINY_COLOURS[code] // 2
    body = (radius < 3) | ((abs(columns - 7.5) < 5) & (abs(rows - 12) < 2)) | (np.hypot(rows - 4, columns - 7.5) < 3)
    for code in (PLAYER, PLAYER_ON_TARGET):
        sprites[code][body] = TINY_COLOURS[code]
    sprites.setflags(write=False)
    return sprites


def read_rgb(frame: Frame, scale: Literal["sprite", "tiny"] = "sprite") -> bytes:
    """The codes of a picture `draw_rgb` made: its inverse, for tests and for whoever records videos.

    Raises: ValueError if a cell shows no known sprite.
    """
    known = TINY_COLOURS[:, None, None, :] if scale == "tiny" else _sprites()
    side = known.shape[1]
    height, width = frame.shape[0] // side, frame.shape[1] // side
    tiles = frame.reshape(height, side, width, side, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 1, side, side, 3)
    matches = (tiles == known[None]).all(axis=(2, 3, 4))
    if not matches.any(axis=1).all():
        raise ValueError("a cell of this picture shows no Sokoban sprite")
    return bytes(matches.argmax(axis=1).astype(np.uint8).tolist())
