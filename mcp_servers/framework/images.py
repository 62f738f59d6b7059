"""Seeded images: a server's database after its seed, built once per (server, seed, profile, time) and forked.

Building costs some milliseconds, forking some tens of microseconds. An image carries what an episode's bookkeeping
needs: the hash of every seeded row and the positions of clock and ids.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from pydantic_core import to_json
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from palaestra.mcp_servers.framework.episode_sources import CLOCK, EpisodeSources
from palaestra.mcp_servers.framework.server import Profile, ToolServer
from palaestra.mcp_servers.framework.sources import derive_seed, stream
from palaestra.mcp_servers.framework.sql import Database, RowKey, TableStatements

POSITION = "palaestra_position"
WRITE_POSITION = f"INSERT INTO {POSITION} VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"  # noqa: S608
MODULUS = 1 << 256


@dataclass(frozen=True, slots=True)
class Image:
    """A seeded database, ready to be forked.

    Attributes:
        content: the serialised SQLite database.
        root: seed of the episode's ids and draws.
        seeded: every seeded row, in column order.
        row_hashes: of every seeded row.
        digest: sum of the row hashes mod 2^256.
        positions: of clock, ids and draws after seeding.
    """

    server: ToolServer
    content: bytes
    root: int
    seeded: dict[RowKey, tuple[Any, ...]]
    row_hashes: dict[RowKey, int]
    digest: int
    positions: dict[str, int]

    @property
    def rows(self) -> int:
        """How many rows the seed made."""
        return len(self.row_hashes)


def row_hash(table: TableStatements, row: Sequence[Any]) -> int:
    """SHA-256 over the table's name and the typed values of a row, volatile columns left out, as an integer."""
    values = [row[index] for index in table.goal_indices]
    return int.from_bytes(hashlib.sha256(to_json([table.entity, values])).digest(), "big")


def build_image(server: ToolServer, seed: int, profile: Profile, reference_time: int) -> Image:
    """Create the tables and run the seed. Costs a few ms per thousand rows."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        for statement in _schema_statements(server):
            connection.execute(statement)
        root = derive_seed(seed, "episode", server.name)
        sources = EpisodeSources(root, {CLOCK: reference_time})
        connection.execute("BEGIN")
        server.seed(Database(connection, server.schema, sources), sources, stream(seed, "world", server.name), profile)
        sources.pending[CLOCK] = reference_time  # seeding takes no time
        sources.commit()
        connection.executemany(WRITE_POSITION, sorted(sources.positions().items()))
        connection.execute("COMMIT")
        seeded = dict(every_row(connection, server))
        connection.execute("VACUUM")
        content = connection.serialize()
    finally:
        connection.close()
    hashes = {key: row_hash(server.schema.by_name[key[0]], row) for key, row in seeded.items()}
    return Image(server, content, root, seeded, hashes, sum(hashes.values()) % MODULUS, sources.positions())


def every_row(connection: sqlite3.Connection, server: ToolServer) -> Iterator[tuple[RowKey, tuple[Any, ...]]]:
    """Every row of every table, by table and key."""
    for table in server.schema.by_name.values():
        at = table.columns.index(table.key)
        for row in connection.execute(table.all_sql):
            yield (table.entity, row[at]), row


def _schema_statements(server: ToolServer) -> Iterator[str]:
    dialect = sqlite.dialect()
    for table in server.schema.by_name.values():
        yield str(CreateTable(table.table).compile(dialect=dialect))
        for index in sorted(table.table.indexes, key=lambda index: str(index.name)):
            yield str(CreateIndex(index).compile(dialect=dialect))
    yield f"CREATE TABLE {POSITION} (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID"


class ImageCache:
    """The least recently used images, at most `capacity` of them; safe to share between threads.

    >>> ImageCache(2).capacity
    2
    """

    def __init__(self, capacity: int = 512) -> None:
        self.capacity = capacity
        self._images: OrderedDict[tuple[str, int, Profile, int], Image] = OrderedDict()
        self._lock = Lock()

    def get(self, server: ToolServer, seed: int, profile: Profile, reference_time: int) -> Image:
        """The image, built now if it is not there."""
        key = (server.name, seed, profile, reference_time)
        with self._lock:
            if key in self._images:
                self._images.move_to_end(key)
                return self._images[key]
        image = build_image(server, seed, profile, reference_time)
        with self._lock:
            self._images[key] = image
            while len(self._images) > self.capacity:
                self._images.popitem(last=False)
        return image
