"""A default episode kept between runs: a zip archive of one SQLite database per used server, and a manifest.

Whatever wrote the file, it is held to what this process would have built: the same world, the same tables, sound
references. Reading it runs nothing of it and trusts nothing in it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sqlite3
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, NonNegativeInt

from palaestra.mcp_servers.errors import StoreError
from palaestra.mcp_servers.framework.episodes import Episode, Snapshot
from palaestra.mcp_servers.framework.images import MODULUS, POSITION, Image, every_row, row_hash
from palaestra.mcp_servers.framework.sql import Row, RowKey
from palaestra.mcp_servers.framework.state import MAX_PAGES, MAX_ROWS, StateSnapshot

MANIFEST: Final = "manifest.json"
_MAX_BYTES: Final = MAX_PAGES * 4096
_SCHEMA: Final = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"
_POSITIONS: Final = f"SELECT name, value FROM {POSITION}"  # noqa: S608 - a name of ours


class _Manifest(BaseModel):
    """What the archive is of: the world, and the SHA-256 of each used server's database."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: int
    seed: int
    profile: str
    reference_time: int
    waited: NonNegativeInt
    servers: dict[str, str]


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep other processes from using the file meanwhile, by a lock that ends with this process.

    Raises: StoreError "state_in_use", "state_unwritable".
    """
    beside = path.with_name(f"{path.name}.lock")
    try:
        lock = beside.open("w")
    except OSError as error:
        raise StoreError("state_unwritable", f"{path} cannot be kept: {error}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreError(
                "state_in_use", f"another process keeps its state in {path}; give another --state"
            ) from error
        yield


def save(episode: Episode, path: Path) -> None:
    """Write the episode's databases, whole or not at all. Linear in them.

    Raises: StoreError "state_unwritable"; then the file is what it was before.
    """
    snapshot = episode.snapshot()
    found = {name: state.content for name, state in snapshot.states.items()}
    manifest = _Manifest(
        version=1, seed=episode.seed, profile=episode.profile, reference_time=episode.reference_time,
        waited=snapshot.waited,
        servers={name: _sha256(content) for name, content in found.items()},
    )  # fmt: skip
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                    archive.writestr(zipfile.ZipInfo(MANIFEST), manifest.model_dump_json(indent=1))
                    for name, content in found.items():
                        member = zipfile.ZipInfo(f"{name}.sqlite")  # carries no time: equal states, equal files
                        archive.writestr(member, content, zipfile.ZIP_DEFLATED)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
        _sync_folder(path.parent)
    except OSError as error:
        raise StoreError("state_unwritable", f"the state cannot be written to {path}: {error}") from error


def load(episode: Episode, path: Path) -> None:
    """Put the episode in the state that was saved. Linear in the databases.

    Raises: StoreError "bad_state" for a damaged file, "other_world" for one of another seed, profile or time, of
    servers that are not there, or of other tables.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = _Manifest.model_validate_json(_member(archive, MANIFEST))
            _check_world(manifest, episode, path)
            found = {name: _member(archive, f"{name}.sqlite") for name in manifest.servers}
        states = {}
        for name, content in found.items():
            if _sha256(content) != manifest.servers[name]:
                raise StoreError("bad_state", f"{name}.sqlite in {path} is not what was written")
            states[name] = _read(content, episode.state(name).image, f"{name}.sqlite in {path}")
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError("bad_state", f"{path} is no saved state: {type(error).__name__}: {error}") from error
    episode.restore(Snapshot(states, manifest.waited, 0, 0, episode.visible))


def _check_world(manifest: _Manifest, episode: Episode, path: Path) -> None:
    saved = (manifest.seed, manifest.profile, manifest.reference_time)
    wanted = (episode.seed, episode.profile, episode.reference_time)
    if manifest.version != 1:
        raise StoreError("other_world", f"{path} has version {manifest.version} of the format; this reads version 1")
    if saved != wanted:
        raise StoreError(
            "other_world",
            f"{path} is of --seed {saved[0]} --profile {saved[1]} (time {saved[2]}), not of {wanted[0]}, {wanted[1]} "
            f"(time {wanted[2]}); give the same, or another --state",
        )
    if missing := sorted(set(manifest.servers) - set(episode.servers)):
        raise StoreError("other_world", f"{path} has the state of {', '.join(missing)}; serve them, too")


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member, never unpacked beyond what a database may hold."""
    with archive.open(name) as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise StoreError("bad_state", f"{name} is larger than {_MAX_BYTES} bytes")
    return content


def _read(content: bytes, image: Image, what: str) -> StateSnapshot:
    """A database as an episode would have left it. Raises: StoreError."""
    tables = image.server.schema.by_name
    try:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            connection.deserialize(content)
            connection.execute("PRAGMA trusted_schema = OFF")
            if connection.execute(_SCHEMA).fetchall() != _schema(image.content):
                raise StoreError("other_world", f"{what} has other tables than this version of {image.server.name}")
            if connection.execute("PRAGMA quick_check").fetchone() != ("ok",):
                raise StoreError("bad_state", f"{what} is damaged")
            if connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
                raise StoreError("bad_state", f"{what} has references to rows that are not there")
            rows = dict(every_row(connection, image.server))
            positions = dict(connection.execute(_POSITIONS).fetchall())
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise StoreError("bad_state", f"{what} is no sound database: {error}") from error
    if len(rows) > MAX_ROWS or not set(image.positions) <= set(positions):
        raise StoreError("bad_state", f"{what} has {len(rows)} rows, of {MAX_ROWS}, or no clock")
    overlay: dict[RowKey, tuple[Row | None, int]] = {key: (None, 0) for key in image.seeded if key not in rows}
    digest = -sum(image.row_hashes[key] for key in overlay) + image.digest
    for key, row in rows.items():
        if row != image.seeded.get(key):
            table = tables[key[0]]
            overlay[key] = dict(zip(table.columns, row, strict=True)), row_hash(table, row)
            digest += overlay[key][1] - image.row_hashes.get(key, 0)
    return StateSnapshot(content, overlay, digest % MODULUS, len(rows), positions)


def _schema(content: bytes) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(content)
        return connection.execute(_SCHEMA).fetchall()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
