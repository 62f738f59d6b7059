"""Scenes on the disk that use every tool and meet every rule."""

from __future__ import annotations

from typing import NamedTuple

from palaestra.mcp_servers.filesystem.models import Password
from palaestra.mcp_servers.framework.stories import Teller

BUDGET = "/shared/budget.csv"
HANDBOOK = "/shared/handbook.md"
DEEPEST = "/".join(["d"] * 30)
"""Inside a home directory this is the 32nd name of its path."""


class _Scene(NamedTuple):
    """Who is there: keys of users, and the home directory and project of the agent's user."""

    home: str
    project: str
    me: str
    root: str
    keeper: str
    crowded: str
    leaver: str
    passwords: dict[str, str]


def _scene(tell: Teller) -> _Scene:
    home = tell.call("resolve_path", path=".")["path"]
    users = {user["login"]: user for user in tell.items("list_file_users")}
    crowded = tell.items("list_file_users", group_name="design")[0]["user_id"]
    leaver = tell.items("list_file_users", status="suspended")[0]["user_id"]
    return _Scene(
        home,
        tell.items("search_path_bookmarks", text="MAIN")[0]["path"],
        users[home.rpartition("/")[2]]["user_id"],
        tell.items("list_file_users", administrator=True)[0]["user_id"],
        users[tell.call("stat_path", path=BUDGET)["locked_by"]]["user_id"],
        crowded,
        leaver,
        {row["user_id"]: row["secret"] for row in tell.known(Password)},
    )


def _become(tell: Teller, scene: _Scene, user_id: str) -> None:
    tell.call("switch_file_user", user_id=user_id, password=scene.passwords[user_id])


def _own_trash(tell: Teller, scene: _Scene, name: str) -> str:
    items = tell.items("list_trashed_paths", user_id=scene.me)
    return next(str(item["trash_item_id"]) for item in items if item["name"] == name)


def look_around(tell: Teller) -> None:
    """The user looks at what there is, follows links, and is stopped where permissions say so."""
    scene = _scene(tell)
    listed = {item["path"] for item in tell.items("list_directory", path=scene.project)}
    assert listed == {f"{scene.project}/{name}" for name in ("README.md", "docs", "data")}  # noqa: S101
    assert "drafts/" in tell.call("show_directory_tree", path=".", depth=1)["lines"]  # noqa: S101
    found = tell.items("find_paths", path="/", pattern="*.?rc", kind="file")
    assert {item["path"].rpartition(".")[2] for item in found} == {"arc"}  # noqa: S101
    assert tell.call("resolve_path", path="current/../../current/docs")["path"].startswith(scene.project)  # noqa: S101
    assert tell.call("resolve_path", path="../../../..")["path"] == "/"  # noqa: S101
    assert tell.call("resolve_path", path="lost")["kind"] is None  # noqa: S101
    tell.refused("not_found", "read_file", path="lost")
    tell.refused("conflict", "read_file", path="drafts/here")
    tell.refused("conflict", "read_file", path="drafts")
    tell.refused("conflict", "list_directory", path=HANDBOOK)
    tell.refused("forbidden", "read_file", path="/etc/secrets.conf")
    colleague = tell.call("stat_path", path=BUDGET)["locked_by"]
    tell.refused("forbidden", "read_file", path=f"/home/{colleague}/private/salary.csv")
    tell.refused("forbidden", "write_file", path=HANDBOOK, content="Anything goes.")
    tell.refused("forbidden", "make_directory", path="/shared/../etc/mine")
    tell.refused("invalid_arguments", "read_file", path="x" * 256)
    text = tell.call("read_file", path="current/README.md")["content"]
    assert tell.call("read_file_head", path="current/README.md", lines=1)["lines"][0] == text.split("\n")[0]  # noqa: S101
    tell.call("read_file_tail", path="current/README.md")
    tell.call("count_file_words", path="current/README.md")
    tell.call("compare_files", path="current/README.md", other_path="current/docs/plan.md")
    names = (f"{scene.home}/documents/contract.md", f"/shared/contracts/{scene.project.rpartition('/')[2]}.md")
    sums = {tell.call("checksum_file", path=name)["sha256"] for name in names}
    assert len(sums) == 1  # noqa: S101
    hits = tell.call("search_in_files", path="/", text="status: DRAFT", ignore_case=True)
    assert len(hits["items"]) == 2  # noqa: S101
    assert hits["unreadable"] > 0  # noqa: S101
    tell.call("measure_disk_usage", path=scene.home)
    recent = tell.items("list_recent_files", path="/", since="2026-03-01T00:00:00Z", limit=5)
    tell.call("create_path_bookmark", label="latest", path=recent[0]["path"])
    tell.refused("conflict", "create_path_bookmark", label="latest", path="/shared")


def write_and_take_back(tell: Teller) -> None:
    """A draft is written, changed, and brought back to what it was."""
    tell.refused("path_is_no_directory", "write_file", path="drafts", content="a")
    tell.refused("not_found", "write_file", path="no/such/place.md", content="a")
    tell.refused("path_is_file", "append_to_file", path="drafts", text="a")
    tell.refused("path_is_file", "replace_in_file", path="drafts", old_text="a", new_text="b")
    tell.refused("path_is_file", "revert_file", path="drafts")
    draft = "drafts/opening.md"
    tell.refused("not_found", "append_to_file", path=draft, text="More.\n")
    tell.call("write_file", path=draft, content="Opening at ten.\n")
    tell.refused("version_is_kept", "revert_file", path=draft)
    tell.call("append_to_file", path=draft, text="Drinks at ten.\n")
    tell.refused("text_occurs", "replace_in_file", path=draft, old_text="eleven", new_text="twelve")
    tell.call("replace_in_file", path=draft, old_text="ten", new_text="noon")
    assert tell.call("read_file", path=draft)["content"] == "Opening at noon.\nDrinks at noon.\n"  # noqa: S101
    tell.refused("file_stays_small", "append_to_file", path=draft, text="a" * 65_530)
    tell.call("revert_file", path=draft, steps_back=2)
    assert tell.call("read_file", path=draft)["content"] == "Opening at ten.\n"  # noqa: S101
    tell.refused("version_is_kept", "revert_file", path="documents/proposal.md", steps_back=3)
    tell.call("revert_file", path="documents/proposal.md", steps_back=2)
    many = "drafts/many.txt"
    tell.call("write_file", path=many, content="a" * 40)
    tell.refused("file_stays_small", "replace_in_file", path=many, old_text="a", new_text="b" * 2000)


def live_within_the_quota(tell: Teller) -> None:
    """The administrator lowers the user's quota to what is used; nothing can grow until it is raised again."""
    scene = _scene(tell)
    archive = tell.items("find_paths", path="/archive", pattern="*.arc")[0]["path"]
    tell.call("write_file", path="documents/proposal.md", content="short\n")
    tell.call("write_file", path="drafts/short.txt", content="a word\n")
    used = tell.call("measure_disk_usage")["used_bytes"]
    tell.refused("user_is_administrator", "set_disk_quota", user_id=scene.me, quota_bytes=10**6)
    tell.refused("user_is_administrator", "change_path_owner", path=HANDBOOK, user_id=scene.me)
    _become(tell, scene, scene.root)
    tell.refused("quota_covers_what_is_used", "set_disk_quota", user_id=scene.me, quota_bytes=used - 1)
    tell.refused("new_owner_has_room", "change_path_owner", path=HANDBOOK, user_id=scene.crowded)
    tell.call("change_path_owner", path=HANDBOOK, user_id=scene.keeper)
    tell.call("set_disk_quota", user_id=scene.me, quota_bytes=used + 5)
    tell.call("switch_file_user", user_id=scene.me)
    growing = [
        ("content_fits_the_quota", "write_file", {"path": "drafts/new.txt", "content": "more than that\n"}),
        ("content_fits_the_quota", "append_to_file", {"path": "drafts/short.txt", "text": "and more\n"}),
        ("content_fits_the_quota", "replace_in_file",
         {"path": "drafts/short.txt", "old_text": "word", "new_text": "lengthy sentence"}),
        ("content_fits_the_quota", "revert_file", {"path": "documents/proposal.md"}),
        ("additions_fit_the_quota", "create_symlink", {"path": "drafts/link", "target": "/shared/handbook.md"}),
        ("additions_fit_the_quota", "copy_path", {"source": HANDBOOK, "destination": "drafts"}),
        ("additions_fit_the_quota", "pack_directory", {"source": "current/docs", "destination": "docs.arc"}),
        ("additions_fit_the_quota", "unpack_archive", {"path": archive, "destination": "old"}),
    ]  # fmt: skip
    for rule, tool, arguments in growing:
        tell.refused(rule, tool, **arguments)
    _become(tell, scene, scene.root)
    tell.call("set_disk_quota", user_id=scene.me, quota_bytes=used + 50_000)
    tell.call("switch_file_user", user_id=scene.me)
    for _, tool, arguments in growing:
        tell.call(tool, **arguments)


def find_a_place(tell: Teller) -> None:
    """Nothing is overwritten, nothing goes into itself, and only what is empty is removed."""
    archive = tell.items("find_paths", path="/archive", pattern="*.arc")[0]["path"]
    taken = "documents/proposal.md"
    tell.refused("place_is_free", "make_directory", path="documents/../drafts/attic")
    tell.refused("place_is_free", "create_symlink", path="lost", target="notes.txt")
    tell.refused("place_is_free", "copy_path", source="notes.txt", destination=taken)
    tell.refused("place_is_free", "move_path", source="notes.txt", destination=taken)
    tell.refused("place_is_free", "link_file", source="notes.txt", destination=taken)
    tell.refused("place_is_free", "pack_directory", source="current/docs", destination=taken)
    tell.refused("place_is_free", "unpack_archive", path=archive, destination="drafts/attic")
    tell.refused("destination_lies_outside", "copy_path", source="drafts", destination="drafts/attic")
    tell.refused("destination_lies_outside", "move_path", source="/home", destination="drafts")
    tell.refused("source_is_file", "link_file", source="drafts", destination="projects")
    tell.refused("source_is_directory", "pack_directory", source="notes.txt", destination="notes.arc")
    tell.refused("path_is_file", "unpack_archive", path="drafts", destination="new")
    tell.refused("archive_is_intact", "unpack_archive", path="downloads/photos.arc", destination="new")
    tell.refused("archive_is_intact", "unpack_archive", path="notes.txt", destination="new")
    tell.call("copy_path", source="notes.txt", destination="drafts")
    tell.call("link_file", source="notes.txt", destination="drafts/same.txt")
    tell.call("append_to_file", path="drafts/same.txt", text="- [ ] one more\n")
    assert tell.call("compare_files", path="notes.txt", other_path="drafts/notes.txt")["removed_lines"] == 1  # noqa: S101
    tell.call("unpack_archive", path=archive, destination="old")
    tell.call("pack_directory", source="old", destination="old.arc")
    sums = [tell.call("checksum_file", path=path)["sha256"] for path in (archive, "old.arc")]
    assert sums[0] == sums[1]  # noqa: S101
    tell.refused("directory_is_empty", "remove_path", path="drafts")
    tell.refused("path_is_directory", "change_directory", path="notes.txt")
    tell.call("change_directory", path="drafts/attic")
    tell.refused("current_directory_stays", "remove_path", path=".")
    tell.refused("current_directory_stays", "trash_path", path="..")
    tell.call("change_directory", path="../..")
    tell.call("move_path", source="drafts/attic", destination="projects")
    tell.call("remove_path", path="projects/attic")
    tell.call("remove_path", path="drafts/same.txt")
    assert tell.call("stat_path", path="notes.txt")["hard_links"] == 1  # noqa: S101


def go_as_deep_as_it_goes(tell: Teller) -> None:
    """A path has 32 names at most, whichever way something gets there; an archive is a file and no larger than one."""
    scene = _scene(tell)
    archive = tell.items("find_paths", path="/archive", pattern="*.arc")[0]["path"]
    interview = _own_trash(tell, scene, "interview.txt")
    tell.refused("not_found", "make_directory", path=DEEPEST)
    tell.call("make_directory", path=DEEPEST, parents=True)
    below = f"{DEEPEST}/more"
    tell.refused("place_is_within_limits", "make_directory", path=below)
    tell.refused("place_is_within_limits", "create_symlink", path=below, target="/")
    tell.refused("place_is_within_limits", "write_file", path=below, content="a")
    tell.refused("place_is_within_limits", "link_file", source="notes.txt", destination=DEEPEST)
    tell.refused("place_is_within_limits", "copy_path", source="notes.txt", destination=DEEPEST)
    tell.refused("place_is_within_limits", "move_path", source="projects", destination=DEEPEST[2:].rpartition("/")[0])
    tell.refused("place_is_within_limits", "pack_directory", source="current/docs", destination=below)
    tell.refused("place_is_within_limits", "unpack_archive", path=archive, destination=below)
    tell.refused("place_is_within_limits", "restore_trashed_path", trash_item_id=interview, destination=below)
    tell.call("make_directory", path="drafts/interviews")
    first = "drafts/interviews/first.txt"
    tell.call("restore_trashed_path", trash_item_id=interview, destination=first)
    for name in ("second", "third"):
        tell.call("link_file", source=first, destination=f"drafts/interviews/{name}.txt")
    tell.refused("archive_stays_small", "pack_directory", source="drafts/interviews", destination="drafts/all.arc")


def respect_a_lock(tell: Teller) -> None:
    """What a colleague keeps locked stays as it is, until the lock runs out or is broken."""
    scene = _scene(tell)
    tell.refused("file_is_not_kept_by_another", "write_file", path=BUDGET, content="")
    tell.refused("file_is_not_kept_by_another", "append_to_file", path=BUDGET, text="a\n")
    tell.refused("file_is_not_kept_by_another", "replace_in_file", path=BUDGET, old_text="date", new_text="day")
    tell.refused("file_is_not_kept_by_another", "revert_file", path=BUDGET)
    tell.refused("nothing_inside_is_locked", "remove_path", path=BUDGET)
    tell.refused("nothing_inside_is_locked", "trash_path", path=BUDGET)
    tell.refused("nothing_inside_is_locked", "move_path", source="/shared", destination="/scratch")
    tell.refused("file_is_unlocked", "lock_file", path=BUDGET)
    tell.refused("lock_is_own", "unlock_file", path=BUDGET)
    tell.refused("file_is_locked", "unlock_file", path="/shared/schedule.csv")
    tell.refused("path_is_file", "lock_file", path="/shared")
    tell.refused("forbidden", "lock_file", path=HANDBOOK)
    tell.call("lock_file", path="/shared/schedule.csv", minutes=30)
    tell.call("append_to_file", path="/shared/schedule.csv", text="2026-03-04,move,0\n")
    tell.call("unlock_file", path="/shared/schedule.csv")
    _become(tell, scene, scene.root)
    tell.call("unlock_file", path=BUDGET)
    tell.call("lock_file", path=BUDGET, minutes=1)
    tell.call("switch_file_user", user_id=scene.me)
    tell.refused("nothing_inside_is_locked", "trash_path", path=BUDGET)
    tell.wait(61)
    item = tell.call("trash_path", path=BUDGET)
    tell.call("restore_trashed_path", trash_item_id=item["trash_item_id"])
    tell.call("replace_in_file", path=BUDGET, old_text="date", new_text="day")


def work_as_someone_else(tell: Teller) -> None:
    """It takes a password to be someone else, and ownership to say who may read what."""
    scene = _scene(tell)
    tell.refused("user_is_another", "switch_file_user", user_id=scene.me)
    tell.refused("forbidden", "switch_file_user", user_id=scene.keeper)
    tell.refused("forbidden", "switch_file_user", user_id=scene.keeper, password="open sesame")  # noqa: S106
    tell.refused("account_is_enabled", "switch_file_user", user_id=scene.leaver, password="open sesame")  # noqa: S106
    tell.refused("user_owns_it", "change_path_mode", path=BUDGET, mode="600")
    _become(tell, scene, scene.keeper)
    tell.call("change_path_mode", path=BUDGET, mode="600")
    tell.refused("forbidden", "list_directory", path=scene.home)
    private = tell.call("resolve_path", path="private")["path"]
    tell.call("change_path_mode", path="private", mode="755")
    _become(tell, scene, scene.me)
    tell.refused("forbidden", "read_file", path=BUDGET)
    tell.call("list_directory", path=private)
    tell.refused("forbidden", "read_file", path=f"{private}/salary.csv")
    tell.call("change_path_mode", path="notes.txt", mode="200")
    tell.refused("forbidden", "read_file", path="notes.txt")
    tell.refused("forbidden", "copy_path", source="notes.txt", destination="drafts")
    assert tell.call("stat_path", path="notes.txt")["permitted"] == "-w-"  # noqa: S101


def sort_the_trash(tell: Teller) -> None:
    """Something comes back where it was, something beside what took its place, the rest is given up."""
    scene = _scene(tell)
    letter, notes = (_own_trash(tell, scene, name) for name in ("old-letter.md", "notes.txt"))
    theirs = tell.items("list_trashed_paths", user_id=scene.keeper)[0]["trash_item_id"]
    tell.refused("trash_item_is_own", "restore_trashed_path", trash_item_id=theirs)
    tell.refused("place_is_free", "restore_trashed_path", trash_item_id=notes)
    tell.call("restore_trashed_path", trash_item_id=notes, destination="drafts/notes.txt")
    assert tell.call("restore_trashed_path", trash_item_id=letter)["path"].endswith("/old-letter.md")  # noqa: S101
    tell.refused("not_found", "restore_trashed_path", trash_item_id=letter)
    whole = tell.call("trash_path", path="projects")["trash_item_id"]
    tell.refused("not_found", "list_directory", path="current")
    tell.call("restore_trashed_path", trash_item_id=whole)
    tell.call("list_directory", path="current")
    tell.call("trash_path", path="projects")
    used = tell.call("measure_disk_usage")["used_bytes"]
    freed = tell.call("empty_file_trash")
    assert freed["items"] == 2  # noqa: S101
    assert tell.call("measure_disk_usage")["used_bytes"] == used - freed["freed_bytes"]  # noqa: S101
    tell.refused("trash_holds_something", "empty_file_trash")


STORIES = [
    look_around, write_and_take_back, live_within_the_quota, find_a_place, go_as_deep_as_it_goes, respect_a_lock,
    work_as_someone_else, sort_the_trash,
]  # fmt: skip


# -- chains --------------------------------------------------------------------------------------------------------


def begin_a_project(tell: Teller) -> None:
    """Make a directory for a project, write its plan, add to it, and give the directory its final name."""
    tell.call("make_directory", path="projects/untitled")
    tell.call("write_file", path="projects/untitled/plan.md", content="# Plan\n")
    tell.call("append_to_file", path="projects/untitled/plan.md", text="\n1. Ask for offers\n")
    tell.call("move_path", source="projects/untitled", destination="projects/spring-fair")


def change_ones_mind(tell: Teller) -> None:
    """Write a note, change it, take the change back, and hand it in."""
    tell.call("write_file", path="drafts/offer.md", content="We ask for 900.\n")
    tell.call("replace_in_file", path="drafts/offer.md", old_text="900", new_text="1,200")
    tell.call("revert_file", path="drafts/offer.md")
    tell.call("move_path", source="drafts/offer.md", destination="/shared/contracts")


def prepare_a_review(tell: Teller) -> None:
    """Go to a new directory, fetch a copy of the contract, rename it, and keep it locked while it is reviewed."""
    tell.call("make_directory", path="drafts/review")
    tell.call("change_directory", path="drafts/review")
    tell.call("copy_path", source="../../documents/contract.md", destination="contract.md")
    tell.call("move_path", source="contract.md", destination="contract-reviewed.md")
    tell.call("lock_file", path="contract-reviewed.md", minutes=120)


def replace_by_a_linked_file(tell: Teller) -> None:
    """A file survives under a second name when its first is removed, and gets the first one back."""
    tell.call("write_file", path="drafts/list.txt", content="paint\nframes\n")
    tell.call("link_file", source="drafts/list.txt", destination="drafts/list-kept.txt")
    tell.call("remove_path", path="drafts/list.txt")
    tell.call("move_path", source="drafts/list-kept.txt", destination="drafts/list.txt")


def move_house(tell: Teller) -> None:
    """Empty a directory, remove it, and leave a link to where everything is now."""
    tell.call("move_path", source="private/diary.md", destination="documents/diary.md")
    tell.call("remove_path", path="private")
    tell.call("create_symlink", path="private", target="documents")


def take_it_out_of_the_trash(tell: Teller) -> None:
    """Put the contract into the trash, restore it elsewhere after all, and hide it from others."""
    item = tell.call("trash_path", path="documents/contract.md")["trash_item_id"]
    tell.call("restore_trashed_path", trash_item_id=item, destination="drafts/contract.md")
    tell.call("change_path_mode", path="drafts/contract.md", mode="600")


def try_out_a_backup(tell: Teller) -> None:
    """Pack a directory, put the original into the trash, unpack the backup in its place and go there."""
    tell.call("pack_directory", source="drafts", destination="documents/drafts.arc")
    tell.call("trash_path", path="drafts")
    tell.call("unpack_archive", path="documents/drafts.arc", destination="drafts")
    tell.call("change_directory", path="drafts/attic")


def make_room(tell: Teller) -> None:
    """Empty the trash, so that the new figures fit into the quota."""
    tell.call("empty_file_trash")
    tell.call("write_file", path="documents/figures.csv", content="1200,340,77\n" * 2200)


def break_a_lock(tell: Teller) -> None:
    """The administrator breaks a colleague's lock and puts last year's budget into the archive."""
    _become(tell, _scene(tell), _scene(tell).root)
    tell.call("unlock_file", path=BUDGET)
    tell.call("move_path", source=BUDGET, destination="/archive/2025")


def hand_over_the_archive(tell: Teller) -> None:
    """The administrator makes the user the owner of the archive; the user restores an old letter into it."""
    scene = _scene(tell)
    letter = _own_trash(tell, scene, "old-letter.md")
    _become(tell, scene, scene.root)
    tell.call("change_path_owner", path="/archive/2025", user_id=scene.me)
    tell.call("switch_file_user", user_id=scene.me)
    tell.call("restore_trashed_path", trash_item_id=letter, destination="/archive/2025/old-letter.md")


def ask_for_more_room(tell: Teller) -> None:
    """The administrator raises the user's quota; the user writes what did not fit before."""
    scene = _scene(tell)
    quota = tell.call("measure_disk_usage")["quota_bytes"]
    _become(tell, scene, scene.root)
    tell.call("set_disk_quota", user_id=scene.me, quota_bytes=quota + 50_000)
    tell.call("switch_file_user", user_id=scene.me)
    tell.call("write_file", path="documents/figures.csv", content="1200,340,77\n" * 2500)


CHAINS = [
    begin_a_project, change_ones_mind, prepare_a_review, replace_by_a_linked_file, move_house,
    take_it_out_of_the_trash, try_out_a_backup, make_room, break_a_lock, hand_over_the_archive, ask_for_more_room,
]  # fmt: skip
