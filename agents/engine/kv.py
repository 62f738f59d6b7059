"""Preallocated key/value memory, one row per stream.

Per layer two tensors [rows, kv_heads, columns, head_dim]. A forward works on a leading or inner range of rows through
views, so nothing is gathered; whoever owns the rows keeps the active ones together and moves rows with `move`. The
last column is scratch: lanes that carry padding write there and no mask ever shows it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

_COLUMN_STEP = 64


class KVCache:
    """Keys and values of all layers; memory = 2 * layers * rows * kv_heads * columns * head_dim * element size."""

    def __init__(self, layers: int, kv_heads: int, head_dim: int, dtype: torch.dtype, device: torch.device) -> None:
        self._shape = (kv_heads, head_dim)
        self._like = torch.empty(0, dtype=dtype, device=device)
        self.keys = [self._like.new_zeros(0, kv_heads, 0, head_dim) for _ in range(layers)]
        self.values = [self._like.new_zeros(0, kv_heads, 0, head_dim) for _ in range(layers)]

    @property
    def rows(self) -> int:
        """Rows allocated."""
        return self.keys[0].shape[0]

    @property
    def columns(self) -> int:
        """Columns allocated, the scratch column included."""
        return self.keys[0].shape[2]

    def reserve(self, rows: int, length: int) -> None:
        """Make room for `rows` rows of `length` positions and the scratch column; contents stay.

        Growth at least doubles, so a stream that grows token by token copies each entry O(1) times.
        """
        if rows <= self.rows and length < self.columns:
            return
        new_rows = self.rows if rows <= self.rows else max(rows, 2 * self.rows)
        columns = self.columns
        if length >= columns:
            columns = max(-(-(length + 1) // _COLUMN_STEP) * _COLUMN_STEP, 2 * columns)
        for store in (self.keys, self.values):
            for layer, old in enumerate(store):
                new = self._like.new_zeros(new_rows, self._shape[0], columns, self._shape[1])
                new[: old.shape[0], :, : old.shape[2]] = old
                store[layer] = new

    def move(self, sources: Sequence[int], targets: Sequence[int], length: int) -> None:
        """Copy the first `length` columns of each source row to its target row; all reads happen before all writes."""
        if not sources:
            return
        source = torch.tensor(sources, device=self._like.device)
        target = torch.tensor(targets, device=self._like.device)
        for store in (self.keys, self.values):
            for tensor in store:
                tensor[target, :, :length] = tensor[source, :, :length]
