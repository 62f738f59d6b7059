"""Rows of the cache: whatever moves, a stream finds its own keys and values again."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from palaestra.agents.engine.kv import KVCache
from palaestra.agents.engine.streams import RowTable, Stream


def new_cache() -> KVCache:
    return KVCache(layers=2, kv_heads=1, head_dim=2, dtype=torch.float32, device=torch.device("cpu"))


def test_reserve_keeps_what_is_there_and_adds_a_scratch_column() -> None:
    cache = new_cache()
    cache.reserve(2, 10)
    assert (cache.rows, cache.columns) == (2, 64)
    cache.keys[1][1, 0, 3] = 7.0
    cache.reserve(3, 63)
    assert (cache.rows, cache.columns) == (4, 64)
    cache.reserve(1, 64)
    assert (cache.rows, cache.columns) == (4, 128)
    assert cache.keys[1][1, 0, 3].tolist() == [7.0, 7.0]


def test_moves_read_before_they_write() -> None:
    cache = new_cache()
    cache.reserve(2, 4)
    for store in (*cache.keys, *cache.values):
        store[0, :, :4], store[1, :, :4] = 1.0, 2.0
    cache.move([0, 1], [1, 0], 4)
    cache.move([], [], 4)
    for store in (*cache.keys, *cache.values):
        assert store[:2, 0, 3, 0].tolist() == [2.0, 1.0]


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 6), st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6, unique=True), max_size=25))
def test_a_stream_keeps_its_row_or_knows_that_it_lost_it(max_rows: int, batches: list[list[int]]) -> None:
    table, cache = RowTable(max_rows), new_cache()
    streams = [Stream() for _ in range(10)]
    for number, batch in enumerate(batches):
        chosen = [streams[name] for name in batch[:max_rows]]
        table.gather(chosen, cache)
        assert sorted(stream.row for stream in chosen if stream.row is not None) == list(range(len(chosen)))
        rows = [stream.row for stream in streams if stream.row is not None]
        assert len(rows) == len(set(rows)) <= max_rows
        for name, stream in enumerate(streams):
            if stream.row is None:
                assert stream.cached == 0
            else:
                assert cache.keys[0][stream.row, 0, : stream.cached, 0].tolist() == [name + 1.0] * stream.cached
        for name, stream in zip(batch, chosen, strict=False):
            assert stream.row is not None
            length = max(stream.cached, 1 + number % 5)
            cache.reserve(0, length)
            cache.keys[0][stream.row, 0, :length] = name + 1.0
            stream.cached = length
        if number % 7 == 6:
            table.release(streams[batch[0]])


def test_streams_already_in_place_do_not_move() -> None:
    table, cache = RowTable(4), new_cache()
    streams = [Stream() for _ in range(4)]
    table.gather(streams, cache)
    before = [stream.row for stream in streams]
    table.gather(streams[::-1], cache)
    assert [stream.row for stream in streams] == before


def test_dropping_everything_frees_every_row() -> None:
    table, cache = RowTable(2), new_cache()
    streams = [Stream(cached=3), Stream(cached=2)]
    table.gather(streams, cache)
    table.drop_all()
    assert [(stream.row, stream.cached) for stream in streams] == [(None, 0), (None, 0)]
    table.release(streams[0])
    table.gather([Stream(), Stream()], cache)
