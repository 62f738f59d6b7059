"""Chains: small tasks of two to five calls that succeed in one order and in no other.

A chain is a function of a `Teller`, as a story is. Its READs are look-ups; its WRITEs are the chain. That the order
matters is shown, not said: the very same calls are made again in every other order, and each time one is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any, Final

from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode
from palaestra.mcp_servers.framework.server import Story, ToolServer
from palaestra.mcp_servers.framework.spec import Effect
from palaestra.mcp_servers.framework.stories import Teller, Told

SHORTEST: Final = 2
LONGEST: Final = 5
DELAY_S: Final = 3


def tell_chain(episode: Episode, chain: Story, server: ToolServer) -> list[Told]:
    """The WRITEs of a chain, told on a new episode. Raises: ToolError "story_failed" if a call fails."""
    teller = Teller(episode, server.name)
    chain(teller)
    return [told for told in teller.told if server.tools[told.tool].effect is Effect.WRITE]


def check_chain(episode: Episode, chain: Story, server: ToolServer) -> Iterator[str]:
    """What keeps a function from being a chain. The episode is new, and is left changed.

    Cost: n! runs of n calls, at most 120 of 5.
    """
    calls = tell_chain(episode, chain, server)
    if not SHORTEST <= len(calls) <= LONGEST:
        yield f"has {len(calls)} WRITEs; a chain has {SHORTEST} to {LONGEST}"
        return
    if any(told.result.is_error for told in calls):
        yield "has a WRITE that is refused; leave refusals to the stories"
        return
    if not succeeds(episode, calls):
        yield "does not succeed without what happens between its WRITEs; a chain does not wait"
    goal = episode.digest()
    if succeeds(episode, calls, pause_s=DELAY_S) and episode.digest() != goal:
        yield (
            f"reaches another goal when each call is made {DELAY_S} s later; declare times that follow from the moment "
            "of a call volatile"
        )
    for order in permutations(calls):
        if _said(order) != _said(calls) and succeeds(episode, order):
            names = ", ".join(told.tool for told in order)
            yield f"succeeds in the order {names} as well; make a later call need an earlier one"
            return


def _said(calls: Sequence[Told]) -> list[tuple[str, dict[str, Any]]]:
    return [(told.tool, told.arguments) for told in calls]


def succeeds(episode: Episode, calls: Sequence[Told], *, pause_s: int = 0) -> bool:
    """Whether the same calls in this order all succeed from the seed, with a pause before each."""
    episode.reset()
    for told in calls:
        episode.advance_clock(pause_s)
        if dispatch(episode, told.tool, told.arguments).is_error:
            return False
    return True
