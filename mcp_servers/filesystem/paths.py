"""What a path may look like and how it falls into names. Pure functions of text.

A path is a chain of names split by "/", from the root if it begins with one and from the current directory if not.
Names are Unicode in NFC, so that one name has one spelling; a backslash is a character like any other.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints

from palaestra.mcp_servers.filesystem.models import MAX_NAME, MAX_PATH

MAX_NAMES: Final = 32
MAX_HOPS: Final = 16


def clean_path(path: str) -> str:
    r"""The path in NFC. Raises: ValueError if it is empty, too long, holds NUL or a name beyond 255 characters.

    >>> clean_path("cafe\u0301") == "caf\u00e9"
    True
    """
    clean = unicodedata.normalize("NFC", path)
    if not clean or len(clean) > MAX_PATH:
        raise ValueError(f"must have 1 to {MAX_PATH} characters")
    if "\0" in clean:
        raise ValueError("must not hold NUL")
    if any(len(name) > MAX_NAME for name in clean.split("/")):
        raise ValueError(f"every name in it must have at most {MAX_NAME} characters")
    return clean


def split_path(path: str) -> tuple[bool, list[str]]:
    r"""Whether the path begins at the root, and its names; "." and empty ones say nothing and are left out.

    >>> split_path("/a//./b\\c/../d/")
    (True, ['a', 'b\\c', '..', 'd'])
    """
    return path.startswith("/"), [name for name in path.split("/") if name not in ("", ".")]


def join_path(names: tuple[str, ...]) -> str:
    """The absolute path of names from the root.

    >>> join_path(("home", "ana")), join_path(())
    ('/home/ana', '/')
    """
    return "/" + "/".join(names)


def fits(names: tuple[str, ...]) -> bool:
    """Whether names from the root make a path that may exist."""
    return len(names) <= MAX_NAMES and len(join_path(names)) <= MAX_PATH


Path = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_PATH),
    AfterValidator(clean_path),
    Field(description="absolute, or relative to the current directory"),
]
"""A path argument."""
