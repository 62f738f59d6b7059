"""Pools: calls of every tool that work in a world as it is seeded, and calls that one fault or another keeps back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from palaestra.envs.tools.synthesis.bindings import propose
from palaestra.envs.tools.synthesis.probing import WORKS, probe
from palaestra.envs.tools.synthesis.sampling import Context, sample
from palaestra.envs.tools.synthesis.slots import slots_of
from palaestra.mcp_servers.framework.episodes import Episode
from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.mcp_servers.framework.sources import stream
from palaestra.mcp_servers.framework.spec import Effect, ToolSpec

TRIES: Final = 160
GOOD: Final = 8
BAD: Final = 3
"""Calls kept per tool, and per tool and fault."""
_MALFORMED: Final = frozenset({"invalid_arguments", "quota"})

Arguments = dict[str, Any]


@dataclass(slots=True)
class Pool:
    """Calls of one tool: those that work now, and those that do not, by the reason."""

    good: list[Arguments] = field(default_factory=list)
    bad: dict[str, list[Arguments]] = field(default_factory=dict)

    def refused(self) -> Iterator[tuple[str, Arguments]]:
        """(reason, arguments) of every call that does not work."""
        for reason, calls in self.bad.items():
            for arguments in calls:
                yield reason, arguments


@dataclass(slots=True)
class Field:
    """One seeded world of one server, with what is known of it and the calls to try there."""

    episode: Episode
    server: ToolServer
    context: Context
    pools: dict[str, Pool]
    rng: np.random.Generator

    def writes(self) -> list[ToolSpec]:
        """The tools that may change something."""
        return [spec for spec in self.server.tools.values() if spec.effect is Effect.WRITE]

    def asks(self, spec: ToolSpec, arguments: Arguments) -> str:
        """Why the call would fail now; see `probe`."""
        return probe(self.episode.state(self.server.name), spec, arguments)


def survey(episode: Episode, server: ToolServer) -> Field:
    """Sample a world and fill the pools of every tool. Costs some 50 ms."""
    rng = stream(episode.seed, "survey", server.name)
    context = sample(episode, server, rng)
    field_ = Field(episode, server, context, {}, rng)
    for spec in server.tools.values():
        field_.pools[spec.name] = _pool(field_, spec)
    return field_


def _pool(world: Field, spec: ToolSpec) -> Pool:
    pool, seen = Pool(), set()
    for _ in range(TRIES if slots_of(spec) else 1):
        arguments = propose(spec, world.context, world.rng)
        if arguments is None or repr(arguments) in seen:
            continue
        seen.add(repr(arguments))
        reason = world.asks(spec, arguments)
        if reason == WORKS:
            pool.good.append(arguments)
        elif reason not in _MALFORMED and len(pool.bad.setdefault(reason, [])) < BAD:
            pool.bad[reason].append(arguments)
        if len(pool.good) == GOOD:
            break
    return pool
