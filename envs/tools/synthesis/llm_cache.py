"""Answers of a model on disk, by the digest of the request, and what they cost, in one SQLite file.

Several processes may use one file. A request is booked before it is sent, at the most it can cost, and corrected when
its answer is there: whatever is killed meanwhile, the budget is never passed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

from palaestra.envs.tools.synthesis.llm_http import Reply
from palaestra.envs.tools.synthesis.llm_settings import LlmSettings
from palaestra.mcp_servers.errors import StoreError, TaskError

_MARK: Final = 0x50414C4C
_PATIENCE_S: Final = 60.0
_TABLES: Final = """
create table if not exists answers (digest text primary key, text text not null, cut integer not null, tokens integer)
    without rowid;
create table if not exists spent (requests integer not null, tokens integer not null);
insert into spent select 0, 0 where not exists (select 1 from spent);
"""


@dataclass(frozen=True, slots=True)
class Spent:
    """What was asked of the endpoint so far, by every run that used the file."""

    requests: int
    tokens: int


class Answers:
    """The cache and the ledger of one data set. Safe to use from several threads.

    Raises: StoreError "bad_cache" if the file is something else or cannot be written.
    """

    def __init__(self, path: Path, settings: LlmSettings) -> None:
        self._path, self._settings = path, settings
        self._lock = Lock()
        with _file_errors(path):
            self._db = sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None, check_same_thread=False)
        try:
            with _file_errors(path):
                self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        mark, tables = (self._db.execute(text).fetchone()[0] for text in (
            "pragma application_id", "select count(*) from sqlite_master"))  # fmt: skip
        if tables and mark != _MARK:
            raise StoreError("bad_cache", f"{self._path.name} is another program's database; name another file")
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = normal")  # outlives a kill; the last answers may be lost with the power
        self._db.execute(f"pragma application_id = {_MARK}")
        self._db.executescript(f"begin immediate; {_TABLES} commit;")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def find(self, digest: str) -> Reply | None:
        """The answer to a request that was answered before."""
        with self._lock, _file_errors(self._path):
            row = self._db.execute("select text, cut, tokens from answers where digest = ?", (digest,)).fetchone()
        return None if row is None else Reply(row[0], bool(row[1]), row[2])

    def book(self, tokens: int) -> None:
        """Book one request at the most it can cost. Raises: TaskError "budget_spent"."""
        with self._writing() as db:
            spent, settings = _spent(db), self._settings
            for name, now, more in (("max_requests", spent.requests, 1), ("max_tokens", spent.tokens, tokens)):
                if now + more > (allowed := getattr(settings, name)):
                    raise TaskError(
                        "budget_spent", f"the next request may cost {more} and {now} of {name} = {allowed} are spent; "
                        "what is done is kept: raise the budget to go on"
                    )  # fmt: skip
            db.execute("update spent set requests = requests + 1, tokens = tokens + ?", (tokens,))

    def correct(self, booked: int, tokens: int) -> None:
        """Note what a request really cost that was booked at more."""
        with self._writing() as db:
            db.execute("update spent set tokens = tokens + ?", (tokens - booked,))

    def keep(self, digest: str, reply: Reply, booked: int) -> Reply:
        """Store an answer and correct its booking; the answer that counts, which is the first one stored."""
        with self._writing() as db:
            values = (digest, reply.text, reply.cut, reply.tokens)
            db.execute("insert or ignore into answers values (?, ?, ?, ?)", values)
            if reply.tokens is not None:
                db.execute("update spent set tokens = tokens + ?", (reply.tokens - booked,))
        return self.find(digest) or reply

    def spent(self) -> Spent:
        """What was spent so far."""
        with self._lock, _file_errors(self._path):
            return _spent(self._db)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _file_errors(self._path):
            self._db.execute("begin immediate")
            try:
                yield self._db
                self._db.execute("commit")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("rollback")
                raise


def _spent(db: sqlite3.Connection) -> Spent:
    return Spent(*db.execute("select requests, tokens from spent").fetchone())


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        text = f"the answers in {path.name} cannot be read or written: {error}; name another file, or delete it"
        raise StoreError("bad_cache", text) from error
