"""Opening the store's database: address, connection settings, schema version, and driver errors made typed.

SQLite runs in WAL mode. `durability="process"` (synchronous NORMAL) keeps every acknowledged commit when the process
dies; `durability="power"` (synchronous FULL) keeps it when the machine loses power, at one fsync per commit.
PostgreSQL keeps its own settings, which are durable against both.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError

from palaestra.agents.store.schema import SCHEMA_VERSION
from palaestra.mcp_servers.errors import StoreError

Durability = Literal["process", "power"]

_WRITES = "palaestra_writes"
_MIGRATION_LOCK = 0x70616C61  # PostgreSQL advisory lock: one process migrates, the others wait


def parse_address(address: str | Path) -> URL:
    """The database a path (SQLite file) or URL (`sqlite:///...`, `postgresql://...`) means.

    Raises: StoreError "bad_address".

    >>> parse_address("runs/a/store.sqlite").render_as_string(), parse_address("postgresql://db/palaestra").drivername
    ('sqlite:///runs/a/store.sqlite', 'postgresql+psycopg')
    """
    if "://" not in str(address):
        return URL.create("sqlite", database=str(address))
    try:
        url = make_url(str(address))
    except ArgumentError as error:
        raise StoreError("bad_address", f"{address!r} is not a database URL: {error}") from error
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "postgresql+psycopg"):
        known = "a path, sqlite:///path or postgresql://user@host/database"
        raise StoreError("bad_address", f"no store on {url.drivername!r}; give {known}")
    if url.drivername == "sqlite" and url.database in (None, "", ":memory:"):
        raise StoreError("bad_address", f"{address!r} would be lost with the process; give a file")
    return url


def open_engine(
    address: str | Path, *, create: bool, read_only: bool, durability: Durability, lock_timeout_s: float
) -> Engine:
    """An engine for the address; creates no file unless `create`.

    Raises: StoreError "bad_address", "no_store", "missing_driver".
    """
    url = parse_address(address)
    if url.drivername == "sqlite":
        path = Path(str(url.database))
        if path.is_dir():
            raise StoreError("bad_address", f"{path} is a folder; did you mean {path / 'store.sqlite'}?")
        if not path.parent.is_dir() or not (create or path.exists()):
            raise StoreError("no_store", f"{path} does not exist; check the path, or create its folder first")
    return _connect(url, durability, lock_timeout_s, read_only)


def upgrade_store(address: str | Path) -> tuple[str | None, str]:
    """Bring an existing store to this version's schema; returns (version before, version after).

    Raises: StoreError as `Store.open`, but for "old_schema".
    """
    engine = open_engine(address, create=False, read_only=False, durability="power", lock_timeout_s=30.0)
    try:
        return upgrade(engine)
    finally:
        engine.dispose()


def _connect(url: URL, durability: Durability, lock_timeout_s: float, read_only: bool) -> Engine:
    """An engine whose write transactions take the write lock at their start (SQLite), so that they never deadlock.

    Raises: StoreError "missing_driver" if psycopg is not installed.
    """
    if url.drivername != "sqlite":
        try:
            settings = f"-c lock_timeout={int(lock_timeout_s * 1000)}"
            return create_engine(url, connect_args={"options": settings}, pool_pre_ping=True)
        except ModuleNotFoundError as error:
            fix = "pip install palaestra[postgres]"
            raise StoreError("missing_driver", f"PostgreSQL needs psycopg ({error}): {fix}") from error
    if read_only:
        path = Path(str(url.database)).absolute().as_uri()
        url = url.set(database=path, query={"mode": "ro", "uri": "true"})
    engine = create_engine(url)

    def configure(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where `begin` below says, not where the driver guesses
        connection.execute(f"PRAGMA busy_timeout = {int(lock_timeout_s * 1000)}")
        connection.execute("PRAGMA foreign_keys = ON")
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'power' else 'NORMAL'}")

    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", begin)
    return engine


@contextmanager
def transaction(engine: Engine, *, writes: bool = False) -> Iterator[Connection]:
    """One transaction: committed when the block ends, rolled back when it raises; driver errors come out typed."""
    with (
        typed_errors(engine.url),
        engine.connect() as connection,
        connection.execution_options(**{_WRITES: writes}).begin(),
    ):
        yield connection


def prepare(engine: Engine, *, create: bool) -> None:
    """Make sure the database holds a store of this version; build it in an empty database if `create`.

    Raises: StoreError "no_store", "not_a_store", "old_schema", "new_schema".
    """
    with transaction(engine) as connection:
        found = schema_version(connection)
    if found is None and create:
        upgrade(engine)
    elif found is None:
        raise StoreError("no_store", f"{_shown(engine.url)} is empty; nothing was ever stored there")
    elif found < SCHEMA_VERSION:
        fix = f"run: palaestra db upgrade {_shown(engine.url)}"
        raise StoreError("old_schema", f"{_shown(engine.url)} has schema {found}, this is {SCHEMA_VERSION}; {fix}")
    elif found > SCHEMA_VERSION:
        fix = "open it with a newer palaestra"
        raise StoreError("new_schema", f"{_shown(engine.url)} has schema {found}, this is {SCHEMA_VERSION}; {fix}")


def schema_version(connection: Connection) -> str | None:
    """The revision the database is at; None for an empty database; StoreError "not_a_store" for a foreign one."""
    tables = inspect(connection).get_table_names()
    if not tables:
        return None
    if "alembic_version" in tables:
        version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if version is not None:
            return str(version)
    shown = ", ".join(sorted(tables)[:5])
    raise StoreError("not_a_store", f"{_shown(connection.engine.url)} is a database of something else (tables {shown})")


def upgrade(engine: Engine) -> tuple[str | None, str]:
    """Bring the schema to this version in one transaction; returns (version before, version after)."""
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    import palaestra.agents.migrations as migrations

    script = ScriptDirectory(str(Path(str(migrations.__file__)).parent))
    with transaction(engine, writes=True) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        before = schema_version(connection)
        if before is not None and before > SCHEMA_VERSION:
            message = f"{_shown(engine.url)} has schema {before}, this is {SCHEMA_VERSION}"
            raise StoreError("new_schema", f"{message}; open it with a newer palaestra")

        def plan(revision: Any, _context: Any) -> Any:
            return script._upgrade_revs("head", revision)

        with EnvironmentContext(Config(), script, fn=plan) as environment:
            environment.configure(connection=connection)
            environment.run_migrations()
    return before, SCHEMA_VERSION


@contextmanager
def typed_errors(url: URL) -> Iterator[None]:
    """Turn driver errors into a StoreError that names the database, the cause and the fix."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        code, fix = _classify(error)
        cause = error.orig if isinstance(error, DBAPIError) else error
        message = f"{_shown(url)}: {str(cause).strip()}; {fix}"
        raise StoreError(code, message, retryable=code in ("locked", "conflict", "unreachable")) from error


_FIXES = {
    "disk_full": "free some space and append again; everything acknowledged before is kept",
    "locked": "another process is writing; try again, or raise lock_timeout_s",
    "corrupt": "the file is damaged; stop writing to it and export what `palaestra db check` still reads",
    "not_a_store": "this file is not a SQLite database; give the path of a store",
    "no_store": "check the path and its permissions",
    "read_only": "open the store for writing, or check the file's permissions",
    "unreachable": "check that the server runs and the URL is right",
    "conflict": "another process stored the same rollout at the same moment; append again",
    "io_error": "check the disk's space, quota and health; everything acknowledged before is kept",
    "database": "see the cause above",
}
_SQLITE_CODES = {
    sqlite3.SQLITE_FULL: "disk_full",
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_CORRUPT: "corrupt",
    sqlite3.SQLITE_NOTADB: "not_a_store",
    sqlite3.SQLITE_CANTOPEN: "no_store",
    sqlite3.SQLITE_READONLY: "read_only",
    sqlite3.SQLITE_IOERR: "io_error",
}
_SQLSTATES = {"53100": "disk_full", "55P03": "locked", "40P01": "locked", "25006": "read_only", "XX001": "corrupt"}


def _classify(error: DBAPIError | sqlite3.Error) -> tuple[str, str]:
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        extended: int = getattr(cause, "sqlite_errorcode", 0)
        code = "conflict" if isinstance(error, IntegrityError) else _SQLITE_CODES.get(extended & 0xFF, "database")
    else:
        state = str(getattr(cause, "sqlstate", None) or "08")
        code = "unreachable" if state[:2] in ("08", "57") else _SQLSTATES.get(state, "database")
        code = "conflict" if state == "23505" else code
    return code, _FIXES[code]


def _shown(url: URL) -> str:
    """The address without password, as a user would type it."""
    if url.drivername == "sqlite":
        return str(url.database).removeprefix("file://")
    return url.render_as_string(hide_password=True)
