"""Answers of a model on disk, by the digest of the request, and what they cost, in one SQLite file.

Several processes may use one file. A request is booked before it is sent, at the most it can cost, and corrected when
its answer is there: whatever is killed meanwhile, the budget is never passed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

from palaestra.envs.tools.synthesis.llm_http import Reply
from palaestra.envs.tools.synthesis.llm_settings import LlmSettings
from palaestra.mcp_servers.errors import StoreError, TaskError

_MARK: Final = 0x50414C4C
_PATIENCE_S: Final = 60.0
_TABLES: Final = (
    "create table answers (digest text primary key, text text not null, cut integer not null, tokens integer) "
    "without rowid",
    "create table spent (requests integer not null, tokens integer not null)",
    "insert into spent values (0, 0)",
)


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
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        """Make the tables, or see that they are ours; in one transaction, since others may open the file as well."""
        with _file_errors(self._path):  # what is written outlives a kill; the power takes the last answers at most
            self._db.execute("pragma synchronous = normal")
        with self._writing() as db:
            mark, tables = (db.execute(text).fetchone()[0] for text in (
                "pragma application_id", "select count(*) from sqlite_master"))  # fmt: skip
            if tables and mark != _MARK:
                raise StoreError("bad_cache", f"{self._path.name} is another program's database; name another file")
            if not tables:
                db.execute(f"pragma application_id = {_MARK}")
                for statement in _TABLES:
                    db.execute(statement)
        with suppress(sqlite3.OperationalError):  # locked: others are at work in it, or turn the same log on
            self._db.execute("pragma journal_mode = wal")

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
                        "what is done is kept: raise the budget and call the same command again to go on"
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

    def tokens_told(self) -> int | None:
        """Tokens of the stored answers as the endpoint counted them; None if it told none."""
        with self._lock, _file_errors(self._path):
            found: int | None = self._db.execute("select sum(tokens) from answers").fetchone()[0]
        return found

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
