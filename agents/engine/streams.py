"""Which stream stands in which cache row, and how rows are brought together for a batch.

A forward runs over a dense range of rows, so before every batch the streams in it are moved to rows 0..n-1. In the
common cases nothing moves: fresh streams take free rows there, and a batch of the same episodes already sits there.
Streams that lose their row keep their tokens and are prefilled again when they come back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from palaestra.agents.engine.kv import KVCache


@dataclass(slots=True, eq=False)
class Stream:
    """One committed token stream and what the cache holds of it.

    Attributes:
        tokens: every committed token, prompts and samples.
        cached: leading tokens whose keys and values are in the row; the last sampled token never is.
        row: cache row, None if the stream holds none.
        batch: number of the last batch the stream was part of.
    """

    tokens: list[int] = field(default_factory=list)
    cached: int = 0
    row: int | None = None
    batch: int = -1


class RowTable:
    """Assigns cache rows to streams; at most `max_rows` hold one at a time."""

    def __init__(self, max_rows: int) -> None:
        self.max_rows = max_rows
        self._rows: list[Stream | None] = []
        self._batches = 0

    def gather(self, streams: Sequence[Stream], cache: KVCache) -> None:
        """Give the streams rows 0..n-1, n <= max_rows.

        Streams that hold a row below n keep it. The others fill the gaps in the given order; whoever stood there and
        is not part of the batch moves to a free row further up, or loses its keys and values if there is none.
        Cost: one row copy per stream that moved.
        """
        count = len(streams)
        self._batches += 1
        for stream in streams:
            stream.batch = self._batches
        self._rows.extend([None] * (count - len(self._rows)))
        gaps = [row for row, stream in enumerate(self._rows[:count]) if stream is None or stream.batch != self._batches]
        movers = [stream for stream in streams if stream.row is None or stream.row >= count]
        displaced = [occupant for row in gaps if (occupant := self._rows[row]) is not None]
        moves: list[tuple[Stream, int]] = []
        for stream in movers:
            if stream.row is not None:
                self._rows[stream.row] = None
        moves.extend(zip(movers, gaps, strict=True))
        moves.extend(zip(displaced, self._free_rows(count, len(displaced)), strict=False))
        for stream in displaced[len(moves) - len(movers) :]:
            self.release(stream)
        self._apply(moves, cache)

    def release(self, stream: Stream) -> None:
        """Free the stream's row; it must be prefilled again."""
        if stream.row is not None:
            self._rows[stream.row] = None
        stream.row, stream.cached = None, 0

    def drop_all(self) -> None:
        """Free every row."""
        for stream in self._rows:
            if stream is not None:
                self.release(stream)

    def _free_rows(self, first: int, wanted: int) -> list[int]:
        free = [row for row in range(first, len(self._rows)) if self._rows[row] is None][:wanted]
        more = min(wanted - len(free), self.max_rows - len(self._rows))
        free.extend(range(len(self._rows), len(self._rows) + more))
        self._rows.extend([None] * more)
        return free

    def _apply(self, moves: Sequence[tuple[Stream, int]], cache: KVCache) -> None:
        copies = [(stream.row, row) for stream, row in moves if stream.row is not None and stream.cached]
        cache.reserve(len(self._rows), 0)
        cache.move(
            [source for source, _ in copies],
            [target for _, target in copies],
            max((stream.cached for stream, _ in moves), default=0),
        )
        for stream, row in moves:
            self._rows[row], stream.row = stream, row
