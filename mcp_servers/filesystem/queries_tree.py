"""Looking around: what is in directories, where paths lead, what there is of a kind, and what it takes up."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from palaestra.mcp_servers.filesystem.models import Node
from palaestra.mcp_servers.filesystem.paths import Path, join_path
from palaestra.mcp_servers.filesystem.permissions import READ, current_user, demand, may_look_into, rights, shown_rights
from palaestra.mcp_servers.filesystem.rules import PathArgs
from palaestra.mcp_servers.filesystem.storage import lock_on, used_bytes, versions_of
from palaestra.mcp_servers.filesystem.text import matches_wildcards
from palaestra.mcp_servers.filesystem.tree import Place, children, entries_of, existing, locate, walk
from palaestra.mcp_servers.filesystem.views import PathView, logins, shown
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.faults import conflict
from palaestra.mcp_servers.framework.spec import Output, query
from palaestra.mcp_servers.framework.sql import Database, Row
from palaestra.mcp_servers.framework.validation import Args
from palaestra.mcp_servers.framework.values import Instant, InstantOut, Line

MAX_ITEMS: Final = 200


class HereArgs(Args):
    """Arguments that name a directory, the current one if left out."""

    path: Annotated[Path, Field(description="the directory; the current one if left out")] = "."


class DirectoryList(Output):
    """What is in a directory, by name."""

    items: list[PathView]
    truncated: bool


class PathList(DirectoryList):
    """Paths in order; `unreadable` counts the directories that you may not look into and that were left out."""

    unreadable: int


def _directory(db: Database, path: str) -> Place:
    """A directory the current user may list."""
    place = existing(db, path)
    if place.trail[-1]["kind"] != "directory":
        raise conflict(f"{place.path[:200]!r} is not a directory")
    demand(current_user(db), place.trail[-1], READ, place.path)
    return place


def _below(db: Database, top: Place) -> tuple[list[tuple[str, Row]], int]:
    """Everything inside a directory that the current user may see, with its path; and what had to be left out."""
    look_into = may_look_into(current_user(db))
    found = [(join_path((*top.names, *names)), row) for names, row in walk(db, top.trail[-1], look_into) if names]
    return found, sum(row["kind"] == "directory" and not look_into(row) for _, row in found)


@query(returns=DirectoryList)
def list_directory(db: Database, sources: EpisodeSources, args: HereArgs) -> Row:
    """What is directly in a directory, by name, with kind, owner, mode and size; the first 200."""
    place = _directory(db, args.path)
    rows, names = children(db, place.trail[-1]["node_id"]), logins(db)
    items = [shown(join_path((*place.names, row["name"])), row, names) for row in rows[:MAX_ITEMS]]
    return {"items": items, "truncated": len(rows) > MAX_ITEMS}


class TreeArgs(HereArgs):
    """Arguments of a drawing."""

    depth: Annotated[int, Field(ge=1, le=32, description="how many levels to show")] = 3


class TreeDrawing(Output):
    """A directory drawn with one line per name."""

    path: str
    lines: list[str]
    truncated: bool


@query(returns=TreeDrawing)
def show_directory_tree(db: Database, sources: EpisodeSources, args: TreeArgs) -> Row:
    """Draw everything inside a directory, indented by depth; directories end in "/", links in "@"; up to 200 lines."""
    place = _directory(db, args.path)
    below = len(place.names)
    lines = []
    for path, row in _below(db, place)[0]:
        level = path.count("/") - below
        if level <= args.depth:
            mark = {"directory": "/", "symlink": "@", "file": ""}[row["kind"]]
            lines.append("  " * (level - 1) + row["name"] + mark)
    return {"path": place.path, "lines": lines[:MAX_ITEMS], "truncated": len(lines) > MAX_ITEMS}


class FindArgs(HereArgs):
    """Arguments of a search by name."""

    pattern: Annotated[
        Line, Field(description="matched against whole names: * is any run of characters, ? any one, the rest literal")
    ]
    kind: Literal["file", "directory", "symlink"] | None = None


@query(returns=PathList)
def find_paths(db: Database, sources: EpisodeSources, args: FindArgs) -> Row:
    """Find files, directories and links inside a directory, at any depth, by their names; the first 200."""
    found, unreadable = _below(db, _directory(db, args.path))
    names = logins(db)
    items = [
        shown(path, row, names)
        for path, row in found
        if args.kind in (None, row["kind"]) and matches_wildcards(row["name"], args.pattern)
    ]
    return {"items": items[:MAX_ITEMS], "truncated": len(items) > MAX_ITEMS, "unreadable": unreadable}


class PathStat(PathView):
    """Everything about one path but its content; `permitted` is what you may do with it, e.g. "rw-"."""

    permitted: str
    hard_links: int
    target: str | None
    kept_versions: int
    locked_by: str | None
    locked_until: InstantOut | None
    created_at: InstantOut


@query(returns=PathStat)
def stat_path(db: Database, sources: EpisodeSources, args: PathArgs) -> Row:
    """Show owner, mode, size, times, lock, hard links and kept versions of one path; of a link, where it leads."""
    place = existing(db, args.path, follow=False)
    row, names = place.trail[-1], logins(db)
    lock = lock_on(db, sources, row["node_id"])
    whole = db.get(Node, row["node_id"])
    return {
        **shown(place.path, row, names),
        "permitted": shown_rights(rights(current_user(db), row)),
        "hard_links": len(entries_of(db, row["node_id"])),
        "target": whole["content"] if row["kind"] == "symlink" else None,
        "kept_versions": len(versions_of(db, row["node_id"])),
        "locked_by": None if lock is None else names[lock["user_id"]],
        "locked_until": None if lock is None else lock["until"],
        "created_at": whole["created_at"],
    }


class Resolved(Output):
    """Where a path really leads; `kind` is null if nothing is there."""

    path: str
    kind: str | None


@query(returns=Resolved)
def resolve_path(db: Database, sources: EpisodeSources, args: PathArgs) -> Row:
    """The absolute path behind a path, without links, "." and ".."; "." itself is the current directory."""
    place = locate(db, args.path)
    return {"path": place.path, "kind": None if place.node is None else place.node["kind"]}


class DiskUsageItem(Output):
    """What one thing in a directory takes up, with everything inside it."""

    name: str
    kind: str
    size_bytes: int


class DiskUsage(Output):
    """What a directory takes up, largest first, and how much of the disk quota the current user has used."""

    path: str
    total_bytes: int
    files: int
    directories: int
    unreadable: int
    items: list[DiskUsageItem]
    login: str
    used_bytes: int
    quota_bytes: int


@query(returns=DiskUsage)
def measure_disk_usage(db: Database, sources: EpisodeSources, args: HereArgs) -> Row:
    """Sum up sizes in a directory, by what is directly in it, and show your use of your disk quota.

    A file with several hard links in the directory counts once in the total. The quota counts all files you own
    anywhere, those in the trash included.
    """
    place, user = _directory(db, args.path), current_user(db)
    found, unreadable = _below(db, place)
    depth = len(place.names) + 1
    sizes: dict[str, int] = {}
    for path, row in found:
        name = path.split("/")[depth]
        sizes[name] = sizes.get(name, 0) + row["size"]
    items = [
        {"name": row["name"], "kind": row["kind"], "size_bytes": sizes[row["name"]]}
        for path, row in found
        if path.count("/") == depth
    ]
    once = {row["node_id"]: row for _, row in found}.values()
    return {
        "path": place.path,
        "total_bytes": sum(row["size"] for row in once),
        "files": sum(row["kind"] == "file" for row in once),
        "directories": sum(row["kind"] == "directory" for row in once),
        "unreadable": unreadable,
        "items": sorted(items, key=lambda item: (-item["size_bytes"], item["name"]))[:MAX_ITEMS],
        "login": user["login"],
        "used_bytes": used_bytes(db, user["user_id"]),
        "quota_bytes": user["quota_bytes"],
    }


class RecentArgs(HereArgs):
    """Arguments of a search by time."""

    since: Instant | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_ITEMS)] = 20


@query(returns=PathList)
def list_recent_files(db: Database, sources: EpisodeSources, args: RecentArgs) -> Row:
    """Files inside a directory, at any depth, the last changed first; `since` leaves out those not changed since."""
    found, unreadable = _below(db, _directory(db, args.path))
    since = 0 if args.since is None else args.since
    files = [(path, row) for path, row in found if row["kind"] == "file" and row["modified_at"] >= since]
    files.sort(key=lambda item: (-item[1]["modified_at"], item[0]))
    names = logins(db)
    items = [shown(path, row, names) for path, row in files[: args.limit]]
    return {"items": items, "truncated": len(files) > args.limit, "unreadable": unreadable}


TREE_QUERIES = [
    list_directory, show_directory_tree, find_paths, stat_path, resolve_path, measure_disk_usage, list_recent_files,
]  # fmt: skip
