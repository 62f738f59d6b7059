"""Reading files: whole, in part, counted, compared and searched. All of it needs the right to read the file."""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from palaestra.mcp_servers.filesystem.models import Node
from palaestra.mcp_servers.filesystem.paths import Path, join_path
from palaestra.mcp_servers.filesystem.permissions import READ, current_user, demand, may, may_look_into
from palaestra.mcp_servers.filesystem.rules import PathArgs
from palaestra.mcp_servers.filesystem.text import MAX_DIFF_LINES, difference, lines_of, shortened
from palaestra.mcp_servers.filesystem.tree import existing, walk
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.faults import FaultCode, Refusal, conflict
from palaestra.mcp_servers.framework.spec import Output, query
from palaestra.mcp_servers.framework.sql import Database, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import Line

MAX_MATCHES: Final = 100


class _File(NamedTuple):
    """A file: its absolute path and what it holds."""

    path: str
    size: int
    content: str


def _open(db: Database, path: str) -> _File:
    """A file that the current user may read."""
    place = existing(db, path)
    row = place.trail[-1]
    if row["kind"] != "file":
        raise conflict(f"{place.path[:200]!r} is a directory; name a file")
    demand(current_user(db), row, READ, place.path)
    return _File(place.path, row["size"], db.get(Node, row["node_id"])["content"])


class FileContent(Output):
    """What a file holds."""

    path: str
    size_bytes: int
    content: str


@query(returns=FileContent)
def read_file(db: Database, sources: EpisodeSources, args: PathArgs) -> Row:
    """Read everything a text file holds."""
    file = _open(db, args.path)
    return {"path": file.path, "size_bytes": file.size, "content": file.content}


class PartArgs(PathArgs):
    """Arguments of reading a part."""

    lines: Annotated[int, Field(ge=1, le=1000)] = 10


class FilePart(Output):
    """Some lines of a file; the first line of a file is number 1."""

    path: str
    first_line: int
    total_lines: int
    lines: list[str]


@query(returns=FilePart)
def read_file_head(db: Database, sources: EpisodeSources, args: PartArgs) -> Row:
    """Read the first lines of a file, ten if not said otherwise."""
    file = _open(db, args.path)
    lines = lines_of(file.content)
    return {"path": file.path, "first_line": 1, "total_lines": len(lines), "lines": lines[: args.lines]}


@query(returns=FilePart)
def read_file_tail(db: Database, sources: EpisodeSources, args: PartArgs) -> Row:
    """Read the last lines of a file, ten if not said otherwise."""
    file = _open(db, args.path)
    lines = lines_of(file.content)
    first = max(0, len(lines) - args.lines)
    return {"path": file.path, "first_line": first + 1, "total_lines": len(lines), "lines": lines[first:]}


class WordCount(Output):
    """How much text a file holds."""

    path: str
    lines: int
    words: int
    characters: int
    size_bytes: int


@query(returns=WordCount)
def count_file_words(db: Database, sources: EpisodeSources, args: PathArgs) -> Row:
    """Count lines, words, characters and bytes of a file."""
    file = _open(db, args.path)
    return {
        "path": file.path, "lines": len(lines_of(file.content)), "words": len(file.content.split()),
        "characters": len(file.content), "size_bytes": file.size,
    }  # fmt: skip


class Checksum(Output):
    """A file's fingerprint."""

    path: str
    sha256: str


@query(returns=Checksum)
def checksum_file(db: Database, sources: EpisodeSources, args: PathArgs) -> Row:
    """The SHA-256 of what a file holds, in hexadecimal; two files with equal checksums hold the same."""
    file = _open(db, args.path)
    return {"path": file.path, "sha256": hashlib.sha256(file.content.encode()).hexdigest()}


class CompareArgs(PathArgs):
    """Arguments of a comparison."""

    other_path: Path


class Comparison(Output):
    """How to get from one file to the other; `diff` is a unified diff, empty if their lines are equal."""

    identical: bool
    added_lines: int
    removed_lines: int
    diff: str


@query(returns=Comparison)
def compare_files(db: Database, sources: EpisodeSources, args: CompareArgs) -> Row:
    """What changes from one file to another, as a unified diff. For files of up to 1000 lines."""
    old, new = _open(db, args.path), _open(db, args.other_path)
    if max(old.content.count("\n"), new.content.count("\n")) > MAX_DIFF_LINES:
        raise Refusal(FaultCode.QUOTA, f"a file has more than {MAX_DIFF_LINES} lines; compare checksums instead")
    found = difference(old.content, new.content, old.path, new.path)
    return {
        "identical": old.content == new.content, "added_lines": found.added, "removed_lines": found.removed,
        "diff": found.diff,
    }  # fmt: skip


class SearchTextArgs(Args):
    """Arguments of a search for text."""

    text: Annotated[Line, Field(description="literal text; no wildcards")]
    path: Annotated[Path, Field(description="a file, or a directory whose files are searched, at any depth")] = "."
    ignore_case: bool = False


class Match(Output):
    """A line that contains the text."""

    path: str
    line: int
    text: str


class Matches(Output):
    """Lines that contain the text; `unreadable` counts what you may not read and was left out."""

    items: list[Match]
    truncated: bool
    unreadable: int


@query(returns=Matches)
def search_in_files(db: Database, sources: EpisodeSources, args: SearchTextArgs) -> Row:
    """Find the lines of files that contain a literal text, by path and line; the first 100. Links are not followed."""
    user, top = current_user(db), existing(db, args.path)
    look_into = may_look_into(user)
    wanted = args.text.casefold() if args.ignore_case else args.text
    found: list[Row] = []
    unreadable = 0
    for names, row in walk(db, top.trail[-1], look_into):
        if row["kind"] == "directory":
            unreadable += not look_into(row)
        elif row["kind"] == "file" and not may(user, row, READ):
            unreadable += 1
        elif row["kind"] == "file" and len(found) <= MAX_MATCHES:
            path = join_path((*top.names, *names))
            for number, line in enumerate(lines_of(db.get(Node, row["node_id"])["content"]), start=1):
                if wanted in (line.casefold() if args.ignore_case else line):
                    found.append({"path": path, "line": number, "text": shortened(line)})
    return {"items": found[:MAX_MATCHES], "truncated": len(found) > MAX_MATCHES, "unreadable": unreadable}


FILE_QUERIES = [
    read_file, read_file_head, read_file_tail, count_file_words, checksum_file, compare_files, search_in_files,
]  # fmt: skip
