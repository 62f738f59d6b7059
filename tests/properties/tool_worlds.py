"""What the property tests of the tool servers share: calls that servers understand, taken from their stories."""

from __future__ import annotations

from functools import cache
from typing import Any

from palaestra.mcp_servers.catalog import load_server, load_servers
from palaestra.mcp_servers.framework.episodes import EpisodeStore
from palaestra.mcp_servers.framework.faults import ToolResult
from palaestra.mcp_servers.framework.spec import ToolSpec
from palaestra.mcp_servers.framework.stories import Teller

SEED = 3
Call = tuple[str, dict[str, Any]]


@cache
def story_calls(server: str, seed: int = SEED) -> tuple[tuple[Call, ToolResult], ...]:
    """Every call of the first story of a server, in order, with its result."""
    with EpisodeStore([load_server(server)]) as store:
        teller = Teller(store.open(seed=seed)[1], server)
        load_server(server).stories[0](teller)
        return tuple(((told.tool, told.arguments), told.result) for told in teller.told)


@cache
def good_calls() -> dict[str, tuple[ToolSpec, dict[str, Any]]]:
    """For every tool of the catalog, arguments it succeeded with in a story."""
    found: dict[str, tuple[ToolSpec, dict[str, Any]]] = {}
    with EpisodeStore(load_servers()) as store:
        for server in store.servers.values():
            for story in server.stories:
                teller = Teller(store.open(seed=SEED)[1], server.name)
                story(teller)
                for told in teller.told:
                    if not told.result.is_error:
                        best = found.get(told.tool)
                        if best is None or len(told.arguments) > len(best[1]):  # the more to spoil, the better
                            found[told.tool] = (server.tool(told.tool), told.arguments)
    return found
