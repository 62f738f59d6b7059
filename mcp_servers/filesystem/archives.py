"""The text of an archive: a whole directory in one file. Pure functions.

    palaestra archive 1
    file 640 9 11           kind, mode, characters of the path and of the content
    docs/a.md               the path, relative to the packed directory
    hello there             the content: a file's text or a link's target
    ...

Lengths come first, so names and contents may hold anything. Reading trusts nothing: a path that is absolute, climbs
with "..", comes twice or before its directory makes the archive broken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from palaestra.mcp_servers.filesystem.paths import clean_path

_TITLE: Final = "palaestra archive 1\n"
_HEADER: Final = re.compile(r"(file|directory|symlink) ([0-7]{3}) (\d{1,4}) (\d{1,5})\n", re.ASCII)


class Member(NamedTuple):
    """One thing in an archive."""

    names: tuple[str, ...]
    kind: str
    mode: str
    content: str


def write_archive(members: Iterable[Member]) -> str:
    """The text of an archive of these members, a directory before what it has.

    >>> read_archive(write_archive([Member(("a",), "file", "640", "text")]))
    [Member(names=('a',), kind='file', mode='640', content='text')]
    """
    parts = [_TITLE]
    for member in members:
        path = "/".join(member.names)
        parts.append(f"{member.kind} {member.mode} {len(path)} {len(member.content)}\n{path}\n{member.content}\n")
    return "".join(parts)


def read_archive(text: str) -> list[Member] | None:
    """The members of an archive, or None if it is broken or none at all."""
    if not text.startswith(_TITLE):
        return None
    members: list[Member] = []
    kinds: dict[tuple[str, ...], str] = {(): "directory"}
    at = len(_TITLE)
    while at < len(text):
        header = _HEADER.match(text, at)
        if header is None:
            return None
        middle = header.end() + int(header[3])
        end = middle + 1 + int(header[4])
        names = _safe_names(text[header.end() : middle])
        framed = text[middle : middle + 1] == "\n" and text[end : end + 1] == "\n"
        member = Member(names, header[1], header[2], text[middle + 1 : end])
        if not framed or not names or names in kinds or kinds.get(names[:-1]) != "directory" or not _holds(member):
            return None
        kinds[names] = member.kind
        members.append(member)
        at = end + 1
    return members


def _holds(member: Member) -> bool:
    """Whether the content is one that a thing of this kind can have."""
    if member.kind == "directory":
        return not member.content
    return member.kind == "file" or _is_clean(member.content)


def _safe_names(path: str) -> tuple[str, ...]:
    names = tuple(path.split("/"))
    return names if _is_clean(path) and not {"", ".", ".."} & set(names) else ()


def _is_clean(path: str) -> bool:
    try:
        return clean_path(path) == path
    except ValueError:
        return False
