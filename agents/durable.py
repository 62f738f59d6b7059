"""Files that survive a crash: complete under their name or not there at all, and on the disk once acknowledged."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from palaestra.mcp_servers.errors import PalaestraError, StoreError

_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up", errno.EFBIG: "the file is too large"}


def write_durably(path: Path, data: bytes) -> None:
    """Write a new file and force it to the disk; its folder entry is durable after `sync_folder`."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_atomically(path: Path, data: bytes) -> None:
    """Give a file new content so that every reader, and every crash, sees the old or the new one whole."""
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        write_durably(temporary, data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def appearing(path: Path, overwrite: bool) -> Iterator[Path]:
    """A temporary file to write in the block; it takes its name when the block ends and is deleted if it raises.

    Raises: StoreError "exists", "no_folder", "disk_full", "io_error".
    """
    if path.exists() and not overwrite:
        raise StoreError("exists", f"{path} exists; choose another name or allow overwriting it")
    if not path.parent.is_dir():
        raise StoreError("no_folder", f"{path.parent} does not exist; create it first")
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    with disk_errors(StoreError, f"writing {path}", "Nothing was changed."):
        try:
            yield temporary
            sync_file(temporary)
            temporary.replace(path)
            sync_folder(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def sync_file(path: Path) -> None:
    """Force the content of a file that is already written to the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Force the folder's list of names (creations, renames, deletions) to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def disk_errors(as_: type[PalaestraError], doing: str, kept: str) -> Iterator[None]:
    """Turn an OSError into `as_`: code "disk_full" where there is no room, otherwise "io_error"."""
    try:
        yield
    except PalaestraError:
        raise
    except OSError as error:
        cause = _FULL.get(error.errno or 0)
        code, fix = ("io_error", str(error)) if cause is None else ("disk_full", f"{cause}; free some space")
        raise as_(code, f"{doing} failed: {fix}. {kept}") from error
