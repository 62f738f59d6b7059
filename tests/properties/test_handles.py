"""R6: a handle cannot be guessed, opens only its own episode, and appears in nothing that is kept or shown."""

from __future__ import annotations

import json
import logging
from typing import Any

import anyio
import pytest
from mcp import Client

from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import EpisodeStore
from palaestra.mcp_servers.framework.faults import Fault, FaultCode
from palaestra.mcp_servers.framework.mcp_adapter import EPISODE_KEY, build_protocol_server
from palaestra.mcp_servers.framework.sources import stream
from palaestra.mcp_servers.framework.tokens import new_token, redact, same, token_hash
from tests.requirements.ledger import requirement

SEED = 3
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def code(found: object) -> FaultCode:
    assert isinstance(found, Fault)
    return found.code


@requirement("R6")
def test_ten_thousand_guesses_open_nothing() -> None:
    with EpisodeStore([load_server("banking")]) as store:
        handles = [store.open(seed=seed)[0] for seed in range(50)]
        rng = stream(1, "guesses")
        guesses = ["".join(row) for row in rng.choice(list(ALPHABET), (9_000, 43))]
        for handle in handles[:20]:  # and all that are one character off
            guesses += [handle[:at] + ("A" if handle[at] != "A" else "B") + handle[at + 1 :] for at in range(43)]
            guesses += [handle[:-1], handle + "A", handle.swapcase(), "", handle[::-1], f" {handle}"]
        assert len(guesses) > 9_900
        assert {code(store.find(guess)) for guess in guesses} == {FaultCode.UNKNOWN_EPISODE}
        assert all(not isinstance(store.find(handle), Fault) for handle in handles)


@requirement("R6")
def test_handles_do_not_derive_from_the_seed_and_do_not_repeat() -> None:
    with EpisodeStore([load_server("banking")]) as store:
        handles = [store.open(seed=1)[0] for _ in range(500)]
    assert len(set(handles)) == 500
    assert len({new_token() for _ in range(500)}) == 500


@requirement("R6")
def test_a_store_keeps_only_hashes() -> None:
    with EpisodeStore([load_server("banking")]) as store:
        handle, episode = store.open(seed=1)
        assert list(store._open) == [token_hash(handle)]
        assert handle not in repr(vars(store)) + repr(vars(episode))
        assert same(handle, handle)
        assert not same(handle, handle[:-1] + "!")


@requirement("R6")
@pytest.mark.parametrize("era", ["2026-07-28", "legacy"])
def test_wrong_foreign_and_ended_handles_are_refused_and_nothing_runs(era: str) -> None:
    async def run() -> None:
        with EpisodeStore([load_server("calendar")]) as store:
            mine, episode = store.open(seed=SEED)
            foreign, theirs = store.open(seed=SEED, principal="somebody else")
            ended, _ = store.open(seed=SEED)
            store.end(ended)
            async with Client(build_protocol_server(store), mode=era) as client:
                for handle, expected in (
                    (mine[:-1], "unknown_episode"), (foreign, "unknown_episode"), (ended, "expired_episode"),
                    ("", "unknown_episode"), ("\x00", "unknown_episode"), (mine, None),
                ):  # fmt: skip
                    meta: Any = {EPISODE_KEY: handle}
                    got = await client.call_tool("list_calendars", {}, meta=meta)
                    assert (got.structured_content["code"] if got.is_error else None) == expected
            assert (len(episode.journal), len(theirs.journal)) == (1, 0)

    anyio.run(run)


@requirement("R6")
def test_no_handle_is_in_results_records_or_logs(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> tuple[str, str]:
        with EpisodeStore([load_server("calendar")]) as store:
            handle, episode = store.open(seed=SEED)
            shown = []
            async with Client(build_protocol_server(store)) as client:
                meta: Any = {EPISODE_KEY: handle}
                for tool, arguments in (("list_calendars", {}), ("nope", {}), ("list_calendars", {"limit": "x"})):
                    shown.append((await client.call_tool(tool, arguments, meta=meta)).model_dump_json())
            shown += [json.dumps(record.to_dict()) for record in episode.journal.records]
            shown += [dispatch(episode, "get_calendar_event", {"event_id": "x"}).text, repr(episode.snapshot())]
            return handle, "\n".join(shown)

    with caplog.at_level(logging.DEBUG):
        handle, shown = anyio.run(run)
    assert handle not in shown
    assert handle not in redact(caplog.text)
