"""One server's state in one episode: a forked SQLite database, its change log, digest and change set.

A call runs between `begin` and `commit` or `rollback`. At commit only the rows it touched are hashed again: the goal
digest costs the size of the change, not of the database. SQLite's own count of changed rows proves that the change log
is complete.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from palaestra.mcp_servers.errors import ToolError
from palaestra.mcp_servers.framework.episode_sources import CLOCK, WRITE_SECONDS, EpisodeSources
from palaestra.mcp_servers.framework.faults import FaultCode, Refusal
from palaestra.mcp_servers.framework.images import (
    MODULUS,
    POSITION,
    WRITE_POSITION,
    Image,
    every_row,
    row_hash,
)
from palaestra.mcp_servers.framework.sql import Database, Row, RowKey

MAX_ROWS: Final = 50_000
MAX_PAGES: Final = 4096  # of 4 KiB: 16 MiB
STEP_CHUNK: Final = 100_000
MAX_STEPS: Final = 5_000_000

_ALLOWED_ACTIONS: Final = frozenset(
    {
        sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT,
        sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE, sqlite3.SQLITE_RECURSIVE,
    }
)  # fmt: skip
# Only functions of their arguments: no clock, no randomness, nothing that reaches outside.
_ALLOWED_FUNCTIONS: Final = frozenset(
    {"abs", "avg", "coalesce", "count", "ifnull", "instr", "length", "lower", "max", "min", "substr", "sum", "total",
     "upper"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StateSnapshot:
    """A server's state at one moment."""

    content: bytes
    overlay: Mapping[RowKey, tuple[Row | None, int]]
    digest: int
    rows: int
    positions: Mapping[str, int]


class _Gate:
    """SQLite's authorizer and step budget: what handlers' statements may do and how long."""

    def __init__(self) -> None:
        self.trusted = False
        self.chunks = 0

    def authorize(self, action: int, first: str | None, second: str | None, _db: str | None, _by: str | None) -> int:
        if self.trusted:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION:
            return sqlite3.SQLITE_OK if second in _ALLOWED_FUNCTIONS else sqlite3.SQLITE_DENY
        if action not in _ALLOWED_ACTIONS:
            return sqlite3.SQLITE_DENY
        private = first is not None and first.startswith(("palaestra_", "sqlite_"))
        return sqlite3.SQLITE_DENY if private else sqlite3.SQLITE_OK

    def __enter__(self) -> None:
        """Let the framework's own statements through."""
        self.trusted = True

    def __exit__(self, *_: object) -> None:
        self.trusted = False

    def progress(self) -> int:
        self.chunks += 1
        return int(self.chunks * STEP_CHUNK >= MAX_STEPS)


class ServerState:
    """The database of one (episode, server) and everything that is rolled back with it."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.server = image.server
        self._gate = _Gate()
        self._connection = _fork(image.content, self._gate)
        self._bounded = False
        self._adopt(StateSnapshot(image.content, {}, image.digest, image.rows, image.positions))

    def restore(self, snapshot: StateSnapshot) -> None:
        """Back to a snapshot."""
        # A new connection: SQLite crashes when it loads a database under statements that are prepared already.
        self._connection.close()
        self._connection = _fork(snapshot.content, self._gate)
        self._bounded = False
        self._adopt(snapshot)

    def _adopt(self, snapshot: StateSnapshot) -> None:
        self._began_at = 0
        self.overlay = dict(snapshot.overlay)
        self._digest = snapshot.digest
        self._rows = snapshot.rows
        self.digest = format(snapshot.digest, "064x")
        self.sources = EpisodeSources(self.image.root, snapshot.positions)
        self.database = Database(self._connection, self.server.schema, self.sources)

    def reset(self) -> None:
        """Back to the seed, by undoing what was changed: a fork would parse the whole schema again.

        Cost: the rows that were written since the seed.
        """
        image, execute = self.image, self._connection.execute
        if self.sources.positions() == image.positions and not self.overlay:
            return
        with self._gate:
            execute("BEGIN")
            for entity, key in self.overlay:
                execute(self.server.schema.by_name[entity].delete_sql, {"the_key": key})
            for at in self.overlay:
                if at in image.seeded:
                    table = self.server.schema.by_name[at[0]]
                    execute(table.insert_sql, dict(zip(table.columns, image.seeded[at], strict=True)))
            execute(_CLEAR_POSITIONS)
            self._connection.executemany(WRITE_POSITION, image.positions.items())
            execute("COMMIT")
        self._adopt(StateSnapshot(b"", {}, image.digest, image.rows, image.positions))

    def snapshot(self) -> StateSnapshot:
        """The state now, to go back to. Costs a copy of the database."""
        content = self._connection.serialize()
        return StateSnapshot(content, dict(self.overlay), self._digest, self._rows, self.sources.positions())

    def close(self) -> None:
        """Free the database."""
        self._connection.close()

    @property
    def total_changes(self) -> int:
        """Rows changed by this connection so far; moves with every write, also one that changes nothing."""
        return self._connection.total_changes

    def begin(self) -> None:
        """Open a call's transaction and arm its step budget."""
        self._gate.chunks = 0
        self._began_at = self._connection.total_changes
        self._connection.execute("BEGIN")

    def rollback(self) -> None:
        """Leave nothing of the call behind."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self.sources.rollback()
        self.database.forget()

    def commit(self) -> None:
        """Let the clock tick, hash what changed, keep the positions, commit.

        Raises: Refusal "quota" if there would be more than 50,000 rows; ToolError "unlogged_change" if rows changed
            that the change log does not hold.
        """
        touched = self.database.touched
        if self._connection.total_changes - self._began_at != len(touched):
            raise ToolError("unlogged_change", "rows were changed past insert, update and delete of Database")
        execute = self._connection.execute
        self.sources.advance(WRITE_SECONDS)
        with self._gate:
            if not self._bounded:  # costs a parse of the schema, so not for episodes that only read
                execute(f"PRAGMA max_page_count = {MAX_PAGES}")
                self._bounded = True
            fresh, digest, rows = self._rehash(touched)
            for position in self.sources.pending.items():
                execute(WRITE_POSITION, position)
        if rows > MAX_ROWS:
            raise Refusal(FaultCode.QUOTA, f"the database holds {MAX_ROWS} rows; delete some", limit=MAX_ROWS)
        execute("COMMIT")
        self.sources.commit()
        self.database.forget()
        self.overlay.update(fresh)
        self._digest, self._rows = digest, rows
        self.digest = format(digest, "064x")

    def _rehash(self, touched: list[RowKey]) -> tuple[dict[RowKey, tuple[Row | None, int]], int, int]:
        fresh: dict[RowKey, tuple[Row | None, int]] = {}
        digest, rows = self._digest, self._rows
        seeded, stored = self.image.row_hashes, self.database.stored
        for key in dict.fromkeys(touched):
            known = self.overlay.get(key)
            old = known[1] if known is not None else seeded.get(key, 0)
            table = self.server.schema.by_name[key[0]]
            row = stored.get(key)
            if row is None:
                row = self._connection.execute(table.get_sql, {"the_key": key[1]}).fetchone()
            new = 0 if row is None else row_hash(table, row)
            fresh[key] = (None if row is None else dict(zip(table.columns, row, strict=True)), new)
            digest += new - old
            rows += (new != 0) - (old != 0)
        return fresh, digest % MODULUS, rows

    def changes(self) -> dict[RowKey, Row | None]:
        """The change set since the seed: new content of every row that differs, None for one that is gone.

        Volatile columns are left out; a row that was changed and changed back is not in it.
        """
        changed = {}
        for key in sorted(self.overlay):
            row, found = self.overlay[key]
            if found != self.image.row_hashes.get(key, 0):
                table = self.server.schema.by_name[key[0]]
                goal = [table.columns[index] for index in table.goal_indices]
                changed[key] = None if row is None else {name: row[name] for name in goal}
        return changed

    def recomputed_digest(self) -> str:
        """The goal digest from every row; must equal `digest`. Linear in the database."""
        tables = self.server.schema.by_name
        hashes = (row_hash(tables[key[0]], row) for key, row in every_row(self._connection, self.server))
        return format(sum(hashes) % MODULUS, "064x")

    def full_digest(self) -> str:
        """SHA-256 over every table in name order, rows in key order, all columns, private tables included."""
        total = hashlib.sha256()
        with self._gate:
            for name in sorted(self.server.schema.by_name):
                for row in self._connection.execute(self.server.schema.by_name[name].all_sql):
                    total.update(_encode(name, row))
            for row in self._connection.execute(_READ_POSITIONS):
                total.update(_encode(POSITION, row))
        return total.hexdigest()

    def advance_clock(self, seconds: int) -> None:
        """Let time pass outside any call. Raises: ValueError if it would run backwards."""
        self.sources.advance(seconds)
        with self._gate:
            self._connection.execute(WRITE_POSITION, (CLOCK, self.sources.now))
        self.sources.commit()


def _fork(content: bytes, gate: _Gate) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=256, check_same_thread=False)
    connection.deserialize(content)
    connection.execute("PRAGMA foreign_keys = ON")  # off by default in every fork
    connection.set_authorizer(gate.authorize)
    connection.set_progress_handler(gate.progress, STEP_CHUNK)
    return connection


def _encode(table: str, row: tuple[Any, ...]) -> bytes:
    return (json.dumps([table, row]) + "\n").encode()


_CLEAR_POSITIONS: Final = f"DELETE FROM {POSITION}"  # noqa: S608
_READ_POSITIONS: Final = f"SELECT name, value FROM {POSITION} ORDER BY name"  # noqa: S608
