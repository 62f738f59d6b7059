"""Calls of stateful tools through the in-process door, beside a trivial tool on the SDK's in-memory path and OpenEnv's.

Ours validates, runs a transaction, hashes and records every call; the peers' tool echoes its argument. One client and
one call at a time on every side, CPU time of the whole process. The mix is every call of every server's stories,
refusals included, in the order they are told.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from palaestra.benchmarks.harness import cpu_rate, result, with_rows
from palaestra.benchmarks.tool_peers import Rate, openenv_in_process, sdk_in_memory
from palaestra.mcp_servers.catalog import load_servers
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.stories import Teller

READ_TARGET = 20_000.0
WRITE_TARGET = 10_000.0


def run(quick: bool, seed: int) -> dict[str, Any]:
    """Point reads, committed one-row writes and the mix, per CPU-second; a row each."""
    calls, repeats = (200, 3) if quick else (500, 7)
    with EpisodeStore(load_servers()) as store:
        episode = store.open(["banking", "calendar"], seed=seed)[1]
        account = dispatch(episode, "list_bank_accounts", {}).content["items"][0]["account_id"]
        event = dispatch(episode, "search_calendar_events", {"text": "e"}).content["items"][0]["event_id"]
        reads = cpu_rate(lambda: _call(episode, "get_bank_account", {"account_id": account}, calls), repeats)
        change = {"event_id": event, "title": "another title"}
        writes = cpu_rate(lambda: _call(episode, "update_calendar_event", change, calls), repeats)
        mix, kinds = _mix(store, seed, repeats)
    sdk = "mcp in-memory, trivial tool", sdk_in_memory(calls, repeats)
    openenv = openenv_in_process(max(calls // 5, 20), repeats)
    details = {"openenv_missing": openenv} if isinstance(openenv, str) else {}
    shared: dict[str, Any] = {"unit": "calls/CPU-s", "peer": sdk, "seeds": [seed]}
    rows = [
        result("tool-call-read", reads, target=READ_TARGET, details={"calls": calls, **details}, **shared),
        result("tool-call-write", writes, target=WRITE_TARGET, details={"calls": calls}, **shared),
        result("tool-call-mix", mix, target=READ_TARGET, details=kinds, **shared),
    ]
    if not isinstance(openenv, str):
        beside = {**shared, "peer": ("OpenEnv 0.3 in process, held session, trivial tool", openenv)}
        rows.append(result("tool-call-read-openenv", reads, target=None, details={}, **beside))
    return with_rows(rows)


def _call(episode: Episode, tool: str, arguments: dict[str, Any], calls: int) -> int:
    episode.journal.rewind(0)  # the quota of an episode is smaller than what is measured
    for _ in range(calls):
        assert not dispatch(episode, tool, arguments).is_error
    return calls


def _mix(store: EpisodeStore, seed: int, repeats: int) -> tuple[Rate, dict[str, Any]]:
    """Calls per CPU-second over every story of every server, each on a world of its own that is open already."""
    told = []
    for server in store.servers.values():
        for story in server.stories:
            teller = Teller(store.open([server.name], seed=seed)[1], server.name)
            story(teller)
            told.append((teller.episode, [(one.tool, one.arguments) for one in teller.told]))
    rates, errors, writes = [], 0, 0
    for _ in range(repeats + 1):
        spent, calls, errors, writes = 0.0, 0, 0, 0
        for episode, script in told:
            episode.reset()
            started = time.process_time()
            results = [dispatch(episode, tool, arguments) for tool, arguments in script]
            spent += time.process_time() - started
            calls += len(results)
            errors += sum(one.is_error for one in results)
            writes += sum(one.digest_before != one.digest_after for one in results)
        rates.append(calls / spent)
    kept = rates[1:]
    tools = {tool for _, script in told for tool, _ in script}
    rate = {"median": statistics.median(kept), "min": min(kept), "max": max(kept)}
    return rate, {"calls": calls, "tools": len(tools), "refused": errors, "changed_state": writes}
