"""Pictures can be read back, and no two kinds of cell look alike."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from palaestra.envs.sokoban.generator import Banded, generate
from palaestra.envs.sokoban.render import (
    TINY_COLOURS,
    draw_planes,
    draw_rgb,
    draw_text,
    draw_texts,
    read_rgb,
    text_charset,
)


@pytest.mark.parametrize("scale", ["sprite", "tiny"])
def test_pictures_of_random_boards_are_read_back(scale: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(500):
        board = rng.integers(0, 7, (int(rng.integers(3, 9)), int(rng.integers(3, 9))))
        frame = draw_rgb(board, scale)  # type: ignore[arg-type]
        side = 16 if scale == "sprite" else 1
        assert frame.shape == (side * board.shape[0], side * board.shape[1], 3)
        assert frame.dtype == np.uint8
        assert list(read_rgb(frame, scale)) == board.ravel().tolist()  # type: ignore[arg-type]


def test_a_foreign_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="no Sokoban sprite"):
        read_rgb(np.zeros((32, 32, 3), np.uint8))


def test_colours_and_sprites_differ_clearly() -> None:
    sprites = [draw_rgb(np.array([[code]])).astype(int) for code in range(7)]
    for a, b in itertools.combinations(range(7), 2):
        assert abs(TINY_COLOURS[a].astype(int) - TINY_COLOURS[b]).max() > 60
        assert (abs(sprites[a] - sprites[b]).max(axis=2) > 60).sum() > 15, (a, b)


@pytest.mark.parametrize("style", ["compact", "padded", "xsb"])
def test_batches_are_drawn_like_single_boards(style: str) -> None:
    levels = [generate(Banded(5, 8, 2), "all", seed).level for seed in range(20)]
    cells_NC = np.array([list(level.cells) for level in levels], np.uint8)
    texts = [draw_text(level.cells, 8, style) for level in levels]  # type: ignore[arg-type]
    assert draw_texts(cells_NC, 8, style) == texts  # type: ignore[arg-type]
    assert set("".join(texts)) <= set(text_charset())


def test_planes_of_a_batch() -> None:
    boards = np.random.default_rng(0).integers(0, 7, (4, 5, 6))
    assert draw_planes(boards).shape == (4, 4, 5, 6)
    for i in range(4):
        np.testing.assert_array_equal(draw_planes(boards)[i], draw_planes(boards[i]))
