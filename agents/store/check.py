"""Finding damage: the database's own check, then every episode read back and compared with its digest."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import text

from palaestra.agents.store.database import transaction
from palaestra.agents.store.query import load, records
from palaestra.agents.store.rows import encode_rollout
from palaestra.agents.store.store import Store
from palaestra.mcp_servers.errors import StoreError


def find_damage(store: Store, page: int = 128) -> Iterator[str]:
    """One sentence per thing that is wrong; nothing if all is well. Reads the whole store once.

    Yields what it can still reach: damage to one episode does not hide that of the next.
    """
    try:
        yield from _database_damage(store)
        after: int | None = None
        while True:
            with transaction(store.engine) as connection:
                found = records(connection, {}, after=after, limit=page, newest_first=False)
            if not found:
                return
            for record in found:
                try:
                    with transaction(store.engine) as connection:
                        rollout = load(connection, [record])[0].rollout
                    digest = encode_rollout(rollout).rollout["digest"]
                except StoreError as error:
                    yield str(error)
                    continue
                if digest != record.digest:
                    place = f"run {record.run_id!r}, iteration {record.iteration}"
                    yield f"rollout {record.rollout_id!r} ({place}) is not what was stored: its digest differs"
            after = found[-1].number
    except StoreError as error:  # the database itself cannot be read on
        yield str(error)


def _database_damage(store: Store) -> Iterator[str]:
    if store.engine.dialect.name != "sqlite":
        return
    with transaction(store.engine) as connection:
        for (message,) in connection.execute(text("PRAGMA integrity_check")).all():
            if message != "ok":
                yield f"database: {message}"
        for table, row, parent, _ in connection.execute(text("PRAGMA foreign_key_check")).all():
            yield f"table {table}, row {row}: its row in {parent} is missing"
