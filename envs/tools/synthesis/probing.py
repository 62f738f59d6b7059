"""Probing: would this call succeed now? The call runs in the server's own transaction, which is always rolled back.

So one state can be asked hundreds of questions. References are checked by the database at commit only, which a probe
never reaches; so what a probe finds is confirmed by a real call before it counts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any, Final

from palaestra.envs.tools.synthesis.sampling import Call
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode
from palaestra.mcp_servers.framework.faults import Fault, Refusal
from palaestra.mcp_servers.framework.spec import ToolSpec
from palaestra.mcp_servers.framework.state import ServerState

WORKS: Final = ""
"""What `probe` answers for a call that would succeed."""


def probe(state: ServerState, spec: ToolSpec, arguments: dict[str, Any]) -> str:
    """Why a call would fail now: the precondition's name or the fault's code; WORKS if it would not.

    Costs what the call costs, less its commit.
    """
    args = spec.validate(arguments)
    if isinstance(args, Fault):
        return args.code.value
    db, sources = state.database, state.sources
    state.begin()
    try:
        for condition in spec.requires:
            if not condition.check(db, sources, args):
                return condition.name
        spec.handler(db, sources, args)
    except Refusal as refusal:
        return refusal.fault.code.value
    except sqlite3.IntegrityError:
        return "conflict"
    finally:
        state.rollback()
    return WORKS


def why(fault: Fault | None) -> str:
    """The same words for the fault of a real call."""
    return WORKS if fault is None else str(fault.details.get("precondition", fault.code.value))


def replay(episode: Episode, calls: Iterable[Call]) -> list[dict[str, Any]] | None:
    """Reset and make these calls; their results, or None at the first that fails."""
    episode.reset()
    values = []
    for tool, arguments in calls:
        value = dispatch(episode, tool, arguments).value
        if value is None:
            return None
        values.append(value)
    return values
