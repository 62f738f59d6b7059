"""Every story of every server as a script: calls and waits that any door can be asked to repeat."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from palaestra.mcp_servers.catalog import load_servers
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.faults import ToolResult
from palaestra.mcp_servers.framework.stories import Teller

SEED = 4
Seen = tuple[Any, ...]


class Scribe(Teller):
    """A teller that also notes when time passed."""

    def __init__(self, episode: Episode, server: str) -> None:
        super().__init__(episode, server)
        self.waits: dict[int, int] = {}

    def wait(self, seconds: int) -> None:
        super().wait(seconds)
        self.waits[len(self.told)] = self.waits.get(len(self.told), 0) + seconds


@dataclass(frozen=True)
class Script:
    """One story as the in-process door told it.

    Attributes:
        waits: number of calls made before -> seconds that pass then.
        results: of the calls.
        journal: digests of every call in the dispatch log.
        digest, full: goal and full digest at the end.
    """

    name: str
    server: str
    calls: tuple[tuple[str, dict[str, Any]], ...]
    waits: dict[int, int]
    results: tuple[Seen, ...]
    journal: tuple[Seen, ...]
    digest: str
    full: str


def seen(result: ToolResult) -> Seen:
    """What must be the same on every door."""
    return (result.value, result.fault, result.text, result.result_digest)


def logged(record: dict[str, Any]) -> Seen:
    """What must be the same in every dispatch log."""
    return tuple(record[key] for key in ("tool", "arguments", "fault", "result_digest", "digest_after", "clock"))


@cache
def scripts() -> tuple[Script, ...]:
    """All of them, and after each story three calls that no story makes: an unknown tool, too little, too much."""
    found = []
    with EpisodeStore(load_servers()) as store:
        for server in store.servers.values():
            for number, story in enumerate(server.stories):
                scribe = Scribe(store.open((server.name,), seed=SEED)[1], server.name)
                story(scribe)
                calls = [(told.tool, told.arguments) for told in scribe.told]
                results = [told.result for told in scribe.told]
                for tool, arguments in (("no_such_tool", {}), (calls[0][0], {"": 1}), (calls[-1][0], {"limit": 1.5})):
                    calls.append((tool, arguments))
                    results.append(dispatch(scribe.episode, tool, arguments))
                found.append(
                    Script(
                        f"{server.name}-{number}", server.name, tuple(calls), scribe.waits,
                        tuple(seen(result) for result in results),
                        tuple(logged(record.to_dict()) for record in scribe.episode.journal.records),
                        scribe.episode.digest(), scribe.episode.full_digest(),
                    )
                )  # fmt: skip
    return tuple(found)
