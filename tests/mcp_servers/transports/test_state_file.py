"""A saved state: exactly what was there, or a named refusal; whatever wrote the file."""

from __future__ import annotations

import hashlib
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.errors import StoreError
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.transports.state_file import MANIFEST, held, load, save


@pytest.fixture
def store() -> Iterator[EpisodeStore]:
    with EpisodeStore([load_server("banking"), load_server("calendar")]) as opened:
        yield opened


def used(store: EpisodeStore, seed: int = 3) -> Episode:
    """An episode with a row added, one changed, one gone, and time passed."""
    episode = store.open(seed=seed)[1]
    calendar = dispatch(episode, "list_calendars", {}).content["items"][1]["calendar_id"]
    first, *_ = dispatch(episode, "search_calendar_events", {"text": "e"}).content["items"]
    for tool, arguments in (
        ("book_event", {"calendar_id": calendar, "title": "x", "minutes": 30, "starts_at": "2026-03-04T12:00:00Z"}),
        ("update_calendar_event", {"event_id": first["event_id"], "title": "y"}),
    ):
        assert not dispatch(episode, tool, arguments).is_error
    assert dispatch(episode, "list_bank_accounts", {}).fault is None
    episode.advance_clock(77)
    return episode


def test_what_is_loaded_is_what_was_saved(store: EpisodeStore, tmp_path: Path) -> None:
    saved, path = used(store), tmp_path / "state"
    save(saved, path)
    again = store.open(seed=3)[1]
    load(again, path)
    assert (again.digest(), again.full_digest()) == (saved.digest(), saved.full_digest())
    assert again.changes()["calendar"] == saved.changes()["calendar"]
    assert again.state("calendar").digest == again.state("calendar").recomputed_digest()
    before = path.read_bytes()
    save(again, path)
    assert path.read_bytes() == before  # equal states, equal files
    again.reset()
    assert again.digest() == store.open(seed=3)[1].digest()
    assert dispatch(again, "list_calendars", {}).fault is None


def rewrite(path: Path, **changed: Callable[[bytes], bytes]) -> None:
    """The archive with some members changed; the manifest says what the others are."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, changed.get(name.partition(".")[0], bytes)(content))


def edited(statement: str) -> Callable[[bytes], bytes]:
    def edit(content: bytes) -> bytes:
        connection = sqlite3.connect(":memory:")
        connection.deserialize(content)
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.executescript(statement)
        connection.commit()
        result = connection.serialize()
        connection.close()
        return result

    return edit


@pytest.mark.parametrize(
    ("statement", "code", "shown"),
    [
        ("CREATE TABLE intruder (x)", "other_world", "other tables"),
        ("CREATE TRIGGER t AFTER UPDATE ON event BEGIN DELETE FROM event; END", "other_world", "other tables"),
        ("DELETE FROM calendar", "bad_state", "references"),
        ("DELETE FROM palaestra_position", "bad_state", "no clock"),
    ],
)
def test_a_database_that_no_episode_leaves_is_refused(
    store: EpisodeStore, tmp_path: Path, statement: str, code: str, shown: str
) -> None:
    path = tmp_path / "state"
    save(used(store), path)
    _forge(path, edited(statement))
    episode = store.open(seed=3)[1]
    before = episode.full_digest()
    with pytest.raises(StoreError, match=shown) as refused:
        load(episode, path)
    assert refused.value.code == code
    assert episode.full_digest() == before


def _forge(path: Path, edit: Callable[[bytes], bytes]) -> None:
    """Change the calendar's database and put its right digest into the manifest: nothing here is a signature."""
    with zipfile.ZipFile(path) as archive:
        old = archive.read("calendar.sqlite")
    new = edit(old)
    before, after = (hashlib.sha256(content).hexdigest().encode() for content in (old, new))
    rewrite(path, calendar=lambda _: new, manifest=lambda text: text.replace(before, after))


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda path: path.write_bytes(b""), "bad_state"),
        (lambda path: path.write_bytes(b"PK\x03\x04" + b"\x00" * 500), "bad_state"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "bad_state"),
        (lambda path: rewrite(path, calendar=lambda content: content[:-1] + b"\x01"), "bad_state"),
        (lambda path: rewrite(path, calendar=lambda _: b"\x00" * (17 * 2**20)), "bad_state"),
        (lambda path: rewrite(path, manifest=lambda _: b"{}"), "bad_state"),
        (lambda path: rewrite(path, manifest=lambda _: b"[" * 200_000), "bad_state"),
        (lambda path: rewrite(path, manifest=lambda text: text.replace(b'n": 1', b'n": 2')), "other_world"),
        (lambda path: rewrite(path, manifest=lambda text: text.replace(b"calendar", b"calender")), "other_world"),
        (lambda path: _forge(path, lambda _: b"not a database" * 100), "bad_state"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused_and_nothing_changes(
    store: EpisodeStore, tmp_path: Path, damage: Callable[[Path], object], code: str
) -> None:
    path = tmp_path / "state"
    save(used(store), path)
    damage(path)
    episode = store.open(seed=3)[1]
    before = episode.full_digest()
    with pytest.raises(StoreError) as refused:
        load(episode, path)
    assert refused.value.code == code, refused.value
    assert episode.full_digest() == before


def test_a_state_of_another_world_is_refused(store: EpisodeStore, tmp_path: Path) -> None:
    path = tmp_path / "state"
    save(used(store), path)
    for other in (
        store.open(seed=4)[1],
        store.open(seed=3, profile="small")[1],
        store.open(seed=3, reference_time=0)[1],
    ):
        with pytest.raises(StoreError, match="other_world"):
            load(other, path)
    with pytest.raises(StoreError, match="serve them, too"):
        load(store.open(("banking",), seed=3)[1], path)
    assert zipfile.ZipFile(path).namelist()[0] == MANIFEST


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with held(tmp_path / "state"), pytest.raises(StoreError, match="state_in_use"), held(tmp_path / "state"):
        pass
    with held(tmp_path / "state"):
        pass
