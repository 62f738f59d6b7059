"""Opening a store: addresses, schema versions, and files or servers that are not in order."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

import palaestra.agents.migrations as migrations
from palaestra.agents.store import Durability, Store, find_damage, upgrade_store
from palaestra.agents.store.database import transaction
from palaestra.agents.store.schema import SCHEMA_VERSION, metadata
from palaestra.mcp_servers.errors import StoreError
from tests.conftest import MakeGroup


def refusal(address: str | Path, *, create: bool = True, read_only: bool = False) -> StoreError:
    with pytest.raises(StoreError) as caught:
        Store.open(address, create=create, read_only=read_only)
    return caught.value


def test_the_migrations_build_exactly_the_declared_tables(store_address: str) -> None:
    with Store.open(store_address) as store, transaction(store.engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_declared_version_is_the_newest_migration() -> None:
    assert ScriptDirectory(str(Path(str(migrations.__file__)).parent)).get_heads() == [SCHEMA_VERSION]


def as_first_version(address: str) -> None:
    """Take a store back to schema 0001 by undoing what 0002 did."""
    with Store.open(address) as store, transaction(store.engine, writes=True) as connection:
        for name in ("rollouts_summary", "rollouts_rollout_id", "rollouts_group", "rollouts_task", "errors_code"):
            connection.execute(text(f"DROP INDEX ix_{name}"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))


def test_an_older_store_is_refused_with_the_command_and_upgraded_with_its_data(
    store_address: str, make_group: MakeGroup
) -> None:
    with Store.open(store_address) as store:
        store.add_run("run")
        store.append([make_group(1)], run_id="run", iteration=0, phase="train")
    as_first_version(store_address)
    error = refusal(store_address)
    assert (error.code, "palaestra db upgrade" in error.message) == ("old_schema", True)
    assert upgrade_store(store_address) == ("0001", SCHEMA_VERSION)
    assert upgrade_store(store_address) == (SCHEMA_VERSION, SCHEMA_VERSION)
    with Store.open(store_address) as store:
        assert list(find_damage(store)) == []
        assert [r.rollout for r in store.rollouts()] == list(make_group(1).rollouts)
        with transaction(store.engine) as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_newer_store_is_refused(store_address: str) -> None:
    with Store.open(store_address) as store, transaction(store.engine, writes=True) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert refusal(store_address).code == "new_schema"
    with pytest.raises(StoreError, match="open it with a newer palaestra"):
        upgrade_store(store_address)


def test_a_database_of_something_else_is_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE customers (id INTEGER)")
    other.close()
    error = refusal(path)
    assert (error.code, "customers" in error.message) == ("not_a_store", True)
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("customers",)]
    other.close()


def test_an_empty_database_is_built_only_if_asked(store_address: str, tmp_path: Path) -> None:
    if "://" not in store_address:
        Path(store_address).touch()
    assert refusal(store_address, create=False).code == "no_store"
    Store.open(store_address).close()
    Store.open(store_address, create=False).close()


@pytest.mark.parametrize(
    ("address", "code", "said"),
    [
        ("missing/store.sqlite", "no_store", "create its folder first"),
        (".", "bad_address", "did you mean"),
        ("sqlite://", "bad_address", "would be lost"),
        ("sqlite:///:memory:", "bad_address", "would be lost"),
        ("mysql://host/db", "bad_address", "no store on 'mysql'"),
        ("://", "bad_address", "not a database URL"),
    ],
)
def test_a_bad_address_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, code: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    error = refusal(address)
    assert error.code == code
    assert said in error.message
    assert list(tmp_path.iterdir()) == []


def test_opening_without_create_makes_no_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "s.sqlite", create=False).code == "no_store"
    assert refusal(tmp_path / "s.sqlite", read_only=True).code == "no_store"
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_unreachable_and_its_password_unsaid(tmp_path: Path) -> None:
    error = refusal(f"postgresql://me:secret@/db?host={tmp_path}")
    assert (error.code, error.retryable) == ("unreachable", True)
    assert "secret" not in str(error)


def test_a_file_that_is_no_database_is_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary, " * 1000)
    assert refusal(path).code == "not_a_store"
    assert path.read_text().startswith("dear diary")


@pytest.fixture
def filled(tmp_path: Path, make_group: MakeGroup) -> Path:
    path = tmp_path / "store.sqlite"
    with Store.open(path) as store:
        store.add_run("run")
        store.append([make_group(seed) for seed in range(20)], run_id="run", iteration=0, phase="train")
    return path


def damage(path: Path, spoil: Callable[[bytearray], bytearray]) -> None:
    path.write_bytes(spoil(bytearray(path.read_bytes())))


def test_a_truncated_store_is_found_corrupt(filled: Path) -> None:
    damage(filled, lambda data: data[: len(data) // 2])
    try:
        with Store.open(filled) as store:
            found = list(find_damage(store))
    except StoreError as error:
        found = [str(error)]
    assert any("[corrupt]" in sentence or "database:" in sentence for sentence in found)


def test_an_overwritten_page_is_found_corrupt(filled: Path) -> None:
    def spoil(data: bytearray) -> bytearray:
        middle = len(data) // 2 // 4096 * 4096
        data[middle : middle + 4096] = b"\xff" * 4096
        return data

    damage(filled, spoil)
    with Store.open(filled) as store:
        assert list(find_damage(store))


def test_a_changed_text_is_found_by_its_digest(filled: Path) -> None:
    def spoil(data: bytearray) -> bytearray:
        at = data.rindex("Tür".encode())
        data[at : at + 1] = b"t"
        return data

    damage(filled, spoil)
    with Store.open(filled) as store:
        assert any("its digest differs" in sentence for sentence in find_damage(store))


def test_a_reader_writes_nothing_and_may_not(filled: Path, make_group: MakeGroup) -> None:
    with Store.open(filled, read_only=True) as store:
        assert store.counts()["rollouts"] == 80
        with pytest.raises(StoreError) as caught:
            store.append([make_group(99)], run_id="run", iteration=0, phase="train")
    assert caught.value.code == "read_only"


def test_a_locked_store_is_a_retryable_error_and_keeps_what_it_had(filled: Path, make_group: MakeGroup) -> None:
    other = sqlite3.connect(filled, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with Store.open(filled, lock_timeout_s=0.01) as store:
        with pytest.raises(StoreError) as caught:
            store.append([make_group(99)], run_id="run", iteration=0, phase="train")
        assert (caught.value.code, caught.value.retryable) == ("locked", True)
        other.execute("ROLLBACK")
        assert store.append([make_group(99)], run_id="run", iteration=0, phase="train").stored == 4
    other.close()


def test_a_locked_table_of_postgresql_is_a_retryable_error(postgres_url: str, make_group: MakeGroup) -> None:
    import psycopg

    with Store.open(postgres_url, lock_timeout_s=0.05) as store, psycopg.connect(postgres_url) as other:
        store.add_run("run")
        other.execute("LOCK TABLE rollouts IN EXCLUSIVE MODE")
        with pytest.raises(StoreError) as caught:
            store.append([make_group(1)], run_id="run", iteration=0, phase="train")
        assert (caught.value.code, caught.value.retryable) == ("locked", True)
        other.rollback()
        assert store.append([make_group(1)], run_id="run", iteration=0, phase="train").stored == 4
        other.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        other.commit()


def test_a_full_database_is_a_typed_error_and_keeps_what_it_had(filled: Path, make_group: MakeGroup) -> None:
    with Store.open(filled) as store:
        with store.engine.connect() as connection:  # the pool hands this connection out again
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StoreError, match="free some space") as caught:
            store.append([make_group(seed) for seed in range(100, 140)], run_id="run", iteration=0, phase="train")
        assert caught.value.code == "disk_full"
        assert store.counts()["rollouts"] == 80
        assert list(find_damage(store)) == []


_FILE_LIMIT = """
import resource, signal, sys
from palaestra.agents.store import Store
from palaestra.mcp_servers.errors import StoreError
from tests.conftest import build_group

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Store.open(sys.argv[1]) as store:
    store.add_run("run")
    acknowledged = 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
    try:
        for seed in range(1000):
            acknowledged += store.append([build_group(seed)], run_id="run", iteration=0, phase="train").stored
    except StoreError as error:
        print(error.code, acknowledged)
"""


def test_a_file_that_may_not_grow_is_a_typed_error_and_keeps_all_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    root = Path(__file__).resolve().parents[2]
    child = [sys.executable, "-c", _FILE_LIMIT, str(path)]
    done = subprocess.run(
        child, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(root)}
    )
    code, acknowledged = done.stdout.split()
    assert code in ("disk_full", "io_error")
    with Store.open(path) as store:
        assert store.counts()["rollouts"] == int(acknowledged) > 0
        assert list(find_damage(store)) == []


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    error = refusal("postgresql://host/db")
    assert (error.code, "pip install palaestra[postgres]" in error.message) == ("missing_driver", True)


@pytest.mark.parametrize(("durability", "level"), [("process", 1), ("power", 2)])
def test_durability_sets_how_hard_sqlite_syncs(tmp_path: Path, durability: Durability, level: int) -> None:
    path = tmp_path / "s.sqlite"
    with Store.open(path, durability=durability) as store, transaction(store.engine) as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == level
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
