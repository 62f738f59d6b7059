"""Branches of tool episodes: from a snapshot taken at any call, what follows must be what followed without it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from palaestra.benchmarks.harness import count_result
from palaestra.benchmarks.tool_scripts import Script, perform, record_all, unlimited
from palaestra.mcp_servers.catalog import load_servers
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.mcp_servers.framework.sources import stream


def count_differing(per_server: int, seed: int, servers: Sequence[ToolServer] = ()) -> dict[str, Any]:
    """Branches that differ from the recording: half are forks of the episode, half the episode itself, restored."""
    wrong = branches = 0
    with unlimited(servers or load_servers()) as store:
        by_server: dict[str, list[Script]] = {}
        for script in record_all(store, (seed, seed + 1)):
            by_server.setdefault(script.server, []).append(script)
        for server, scripts in by_server.items():
            rng = stream(seed, "branches", server)
            for number in range(per_server):
                script = scripts[int(rng.integers(len(scripts)))]
                at = int(rng.integers(len(script.operations)))
                wrong += _branch_differs(store, script, at, fork=bool(number % 2))
                branches += 1
    return {"differing": wrong, "branches": branches, "servers": len(by_server)}


def _branch_differs(store: EpisodeStore, script: Script, at: int, *, fork: bool) -> bool:
    handle, trunk = store.open([script.server], seed=script.seed)
    for operation in script.operations[:at]:
        perform(trunk, operation)
    snapshot = trunk.snapshot()
    ended = [handle]
    # The detour: what the trunk does from here on must not be seen in the branch.
    for operation in script.operations[at:]:
        perform(trunk, operation)
    branch = trunk
    if fork:
        other, branch = store.fork(trunk, snapshot)
        ended.append(other)
    else:
        trunk.restore(snapshot)
    same = _rest(branch, script, at) == (script.digests[at:], script.goal, script.final)
    for one in ended:
        store.end(one)
    return not same


def _rest(episode: Episode, script: Script, at: int) -> tuple[tuple[str, ...], str, str]:
    digests = tuple(perform(episode, operation) for operation in script.operations[at:])
    return digests, episode.digest(), episode.full_digest()


def run(quick: bool, seed: int) -> dict[str, Any]:
    """20 branches of every server if quick, otherwise 1,000 (some three CPU-minutes)."""
    found = count_differing(20 if quick else 1_000, seed)
    return count_result("tool-branch", found.pop("differing"), "branches that differ", seed, found)
