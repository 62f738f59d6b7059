"""The disk stays whole whatever is called: nothing is lost, leaks out of its quota, or shows what it may not."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaestra.mcp_servers.filesystem import SERVER
from palaestra.mcp_servers.filesystem.archives import Member, read_archive, write_archive
from palaestra.mcp_servers.filesystem.models import Entry, FileLock, Node, Password, Session, TrashItem, User, Version
from palaestra.mcp_servers.filesystem.text import matches_wildcards
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.faults import FaultCode
from palaestra.mcp_servers.framework.sources import stream

PLAY = [
    "write_file", "append_to_file", "replace_in_file", "revert_file", "make_directory", "create_symlink",
    "remove_path", "copy_path", "move_path", "link_file", "pack_directory", "unpack_archive", "change_directory",
    "change_path_mode", "lock_file", "unlock_file", "trash_path", "restore_trashed_path",
]  # fmt: skip
MAKING = ("make_directory", "create_symlink")


@pytest.fixture
def disk() -> Episode:
    return EpisodeStore([SERVER]).open(seed=11)[1]


def rows(disk: Episode, model: Any) -> list[dict[str, Any]]:
    return disk.state("filesystem").database.every(model)


def call(disk: Episode, tool: str, **arguments: Any) -> dict[str, Any]:
    result = dispatch(disk, tool, arguments)
    assert result.value is not None, result.text
    return result.value


def code(disk: Episode, tool: str, **arguments: Any) -> str:
    fault = dispatch(disk, tool, arguments).fault
    return "" if fault is None else str(fault.details.get("precondition", fault.code.value))


def become(disk: Episode, login: str) -> None:
    user_id = next(row["user_id"] for row in rows(disk, User) if row["login"] == login)
    secret = next(row["secret"] for row in rows(disk, Password) if row["user_id"] == user_id)
    call(disk, "switch_file_user", user_id=user_id, password=secret)


def check_whole(disk: Episode) -> None:
    """Every node is reached exactly as often as its kind allows, and every user's files fit the quota."""
    nodes = {row["node_id"]: row for row in rows(disk, Node)}
    root = rows(disk, Session)[0]["root_id"]
    held = [row["node_id"] for row in (*rows(disk, Entry), *rows(disk, TrashItem))]
    assert set(held) | {root} == set(nodes)
    assert root not in held
    assert all(held.count(key) == 1 for key, row in nodes.items() if row["kind"] != "file" and key != root)
    inside: dict[str, list[str]] = {}
    for entry in rows(disk, Entry):
        assert nodes[entry["directory_id"]]["kind"] == "directory"
        inside.setdefault(entry["directory_id"], []).append(entry["node_id"])
    pending, reached = [root, *(row["node_id"] for row in rows(disk, TrashItem))], set()
    while pending:
        key = pending.pop()
        reached.add(key)
        pending += inside.get(key, [])
    assert reached == set(nodes)
    assert all(row["size"] == len(row["content"].encode()) for row in nodes.values())
    for user in rows(disk, User):
        used = sum(row["size"] for row in nodes.values() if row["owner_id"] == user["user_id"])
        assert used <= user["quota_bytes"]
    kept = [row["node_id"] for row in rows(disk, Version)]
    assert all(kept.count(key) <= 5 and nodes[key]["kind"] == "file" for key in kept)


@pytest.mark.parametrize("play", range(4))
def test_the_disk_stays_whole_whatever_is_called(disk: Episode, play: int) -> None:
    if play % 2:
        become(disk, "root")
    rng = stream(play, "play")
    paths = [item["path"] for item in call(disk, "find_paths", path="/", pattern="*")["items"]]
    paths += 4 * [path for path in paths if path.endswith(".arc")]
    codes = []
    for _ in range(500):
        tool = str(rng.choice(PLAY))
        old, other = (str(rng.choice(paths)) for _ in range(2))
        new = f"{other if '.' not in other else '/scratch'}/n{int(rng.integers(30))}"
        possible: dict[str, Any] = {
            "path": new if tool in MAKING or rng.random() < 0.2 else old, "source": old, "target": other,
            "destination": other if rng.random() < 0.3 else new, "content": "ab\n" * int(rng.integers(1500)),
            "text": "more\n", "old_text": "a", "new_text": "long", "mode": str(rng.choice(["700", "755", "644"])),
            "trash_item_id": str(rng.choice([row["trash_item_id"] for row in rows(disk, TrashItem)] or ["none"])),
        }  # fmt: skip
        arguments = {key: possible[key] for key in SERVER.tools[tool].input_model.model_fields if key in possible}
        codes.append(code(disk, tool, **arguments))
        paths += [arguments[key] for key in ("path", "destination") if key in arguments and not codes[-1]]
    assert FaultCode.INTERNAL.value not in codes
    assert codes.count("") > 100
    check_whole(disk)
    code(disk, "empty_file_trash")
    check_whole(disk)


def test_rights_are_those_of_owner_group_and_others(disk: Episode) -> None:
    owner, same_group, stranger = (rows(disk, User)[index]["login"] for index in (1, 5, 2))
    note = f"/home/{owner}/notes.txt"
    call(disk, "change_path_mode", path=note, mode="640")
    become(disk, same_group)
    call(disk, "read_file", path=note)
    assert code(disk, "append_to_file", path=note, text="mine") == "forbidden"
    become(disk, stranger)
    assert code(disk, "stat_path", path=note) == "forbidden"
    become(disk, owner)
    call(disk, "change_path_mode", path=".", mode="755")
    become(disk, stranger)
    assert call(disk, "stat_path", path=note)["permitted"] == "---"
    assert code(disk, "read_file", path=note) == "forbidden"
    assert code(disk, "trash_path", path=note) == "forbidden"
    become(disk, "root")
    call(disk, "append_to_file", path=note, text="seen")


def test_a_refusal_never_tells_what_an_unreadable_file_holds(disk: Episode) -> None:
    for guess in ("backup_key", "nonsense"):
        found = code(disk, "replace_in_file", path="/etc/secrets.conf", old_text=guess, new_text="x")
        assert found == "forbidden"
    assert code(disk, "unpack_archive", path="/etc/secrets.conf", destination="new") == "forbidden"
    assert code(disk, "pack_directory", source="/etc", destination="new.arc") == "forbidden"
    assert not call(disk, "search_in_files", path="/", text="backup_key")["items"]
    secrets = [row["secret"] for row in rows(disk, Password)]
    for name, tool in SERVER.tools.items():
        arguments = {"path": "."} if "path" in tool.input_model.model_fields else {}
        assert not any(secret in dispatch(disk, name, arguments).text for secret in secrets)


def test_a_path_leads_through_sixteen_links_and_no_more(disk: Episode) -> None:
    call(disk, "make_directory", path="chain")
    for number in range(17):
        target = "../notes.txt" if number == 0 else f"link-{number - 1}"
        call(disk, "create_symlink", path=f"chain/link-{number}", target=target)
    assert call(disk, "resolve_path", path="chain/link-15")["path"].endswith("/notes.txt")
    assert code(disk, "read_file", path="chain/link-16") == "conflict"


def test_no_path_leads_out_of_the_root_and_one_name_has_one_spelling(disk: Episode) -> None:
    call(disk, "create_symlink", path="up", target="/" + "../" * 20)
    assert call(disk, "resolve_path", path="up/../../etc")["path"] == "/etc"
    call(disk, "write_file", path="cafe\u0301", content="open")
    assert call(disk, "read_file", path="caf\u00e9")["content"] == "open"
    call(disk, "write_file", path="a\\b", content="")
    assert call(disk, "resolve_path", path="a\\b")["path"].endswith("/a\\b")
    assert code(disk, "make_directory", path="a\0b") == "invalid_arguments"


names = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..") and name == unicodedata.normalize("NFC", name)
)
members = st.builds(
    Member, names.map(lambda name: (name,)), st.just("file"), st.sampled_from(["644", "700"]), st.text(max_size=30)
)


@given(st.lists(members, max_size=5, unique_by=lambda member: member.names), st.data())
def test_an_archive_gives_back_what_was_packed_and_a_damaged_one_nothing_else(
    packed: list[Member], data: st.DataObject
) -> None:
    text = write_archive(packed)
    assert read_archive(text) == packed
    cut = data.draw(st.integers(0, len(text)))
    assert read_archive(text[:cut]) in [None, *(packed[:count] for count in range(len(packed) + 1))]
    assert read_archive(data.draw(st.text(max_size=60))) is None


@pytest.mark.parametrize("path", ["../up", "/etc/motd", "a//b", "no-directory/b", "a/./b", ""])
def test_an_archive_that_reaches_elsewhere_is_broken(disk: Episode, path: str) -> None:
    call(
        disk, "write_file", path="evil.arc", content=write_archive([Member(tuple(path.split("/")), "file", "644", "x")])
    )
    assert code(disk, "unpack_archive", path="evil.arc", destination="drafts/new") == "archive_is_intact"


@given(st.text("ab*?", max_size=12), st.text("ab*?", max_size=8))
def test_wildcards_mean_what_a_regular_expression_says(name: str, pattern: str) -> None:
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    assert matches_wildcards(name, pattern) is (re.fullmatch(expression, name) is not None)


def test_the_world_holds_its_stories() -> None:
    for seed in range(5):
        disk = EpisodeStore([SERVER]).open(seed=seed)[1]
        check_whole(disk)
        now = disk.state("filesystem").sources.now
        assert sorted(lock["until"] > now for lock in rows(disk, FileLock)) == [False, True]
        assert [user["status"] for user in rows(disk, User)].count("suspended") == 1
        archives = [row for row in rows(disk, Node) if row["content"].startswith("palaestra archive")]
        assert sorted(read_archive(row["content"]) is None for row in archives) == [False, True]
        assert any("<|im_start|>system" in row["content"] for row in rows(disk, Node))
        usage = call(disk, "measure_disk_usage")
        assert 0 < usage["quota_bytes"] - usage["used_bytes"] < 65_536
        assert code(disk, "read_file", path="lost") == "not_found"
        assert code(disk, "read_file", path="drafts/here") == "conflict"
