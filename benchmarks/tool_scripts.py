"""Recorded episodes of the tool servers: the calls of their stories and chains, and what came of each.

A recording made alone is what the same calls must give in any company, any process and from any snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.faults import ToolResult
from palaestra.mcp_servers.framework.leases import Limits
from palaestra.mcp_servers.framework.server import Story, ToolServer
from palaestra.mcp_servers.framework.spec import ToolSpec
from palaestra.mcp_servers.framework.stories import Teller

WAIT = ""
"""Stands for the tool's name where time passes; the arguments say how many `seconds`."""

Operation = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Script:
    """One recorded episode.

    Attributes:
        operations: tool and arguments, or a wait.
        digests: of each operation's result; empty for a wait.
        goal, final: goal digest and full digest of the episode at the end.
    """

    server: str
    seed: int
    operations: tuple[Operation, ...]
    digests: tuple[str, ...]
    goal: str
    final: str

    @property
    def calls(self) -> int:
        """How many operations are calls."""
        return sum(tool != WAIT for tool, _ in self.operations)


class Recorder(Teller):
    """A teller that remembers the waits too."""

    def __init__(self, episode: Episode, server: str) -> None:
        super().__init__(episode, server)
        self.operations: list[Operation] = []
        self.digests: list[str] = []

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        super().wait(seconds)
        self.operations.append((WAIT, {"seconds": seconds}))
        self.digests.append("")

    def _tell(self, tool: str, arguments: dict[str, Any]) -> ToolResult:
        result = super()._tell(tool, arguments)
        self.operations.append((tool, arguments))
        self.digests.append(result.result_digest)
        return result


def unlimited(servers: Iterable[ToolServer], **settings: Any) -> EpisodeStore:
    """A store whose episodes may make any number of calls."""
    return EpisodeStore(servers, limits=Limits(calls=10**9, **settings))


def record(store: EpisodeStore, server: str, story: Story, seed: int) -> Script:
    """Tell a story on a new episode and keep what happened."""
    handle, episode = store.open([server], seed=seed)
    recorder = Recorder(episode, server)
    story(recorder)
    goal, final = episode.digest(), episode.full_digest()
    store.end(handle)
    return Script(server, seed, tuple(recorder.operations), tuple(recorder.digests), goal, final)


def record_all(store: EpisodeStore, seeds: Sequence[int]) -> list[Script]:
    """Every story and chain of every server of a store, once per seed. Costs some ms each."""
    return [
        record(store, server.name, story, seed)
        for seed in seeds
        for server in store.servers.values()
        for story in (*server.stories, *server.chains)
    ]


def perform(episode: Episode, operation: Operation) -> str:
    """Do one operation again; the digest of its result."""
    tool, arguments = operation
    if tool == WAIT:
        episode.advance_clock(arguments["seconds"])
        return ""
    return dispatch(episode, tool, arguments).result_digest


def good_calls(store: EpisodeStore, seed: int) -> dict[str, tuple[ToolSpec, Script, int]]:
    """For every tool, the recorded call that succeeded with the most arguments: its script and its place in it."""
    found: dict[str, tuple[ToolSpec, Script, int]] = {}
    for server in store.servers.values():
        for story in (*server.stories, *server.chains):
            handle, episode = store.open([server.name], seed=seed)
            recorder = Recorder(episode, server.name)
            story(recorder)
            store.end(handle)
            script = Script(server.name, seed, tuple(recorder.operations), tuple(recorder.digests), "", "")
            succeeded = iter(not told.result.is_error for told in recorder.told)
            for at, (tool, arguments) in enumerate(script.operations):
                if tool != WAIT and next(succeeded):
                    best = found.get(tool)
                    if best is None or len(arguments) > len(best[1].operations[best[2]][1]):
                        found[tool] = (server.tool(tool), script, at)
    return found
