"""Knobs that make a conversation harder or plainer: what tools are shown beside those it needs, and what is hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from palaestra.envs.tools.records import Shown
from palaestra.envs.tools.synthesis.brief import Brief
from palaestra.envs.tools.synthesis.machine import Draft
from palaestra.envs.tools.synthesis.pools import Field
from palaestra.envs.tools.synthesis.probing import replay
from palaestra.envs.tools.synthesis.slots import slots_of
from palaestra.mcp_servers.catalog import CATALOG, load_server
from palaestra.mcp_servers.framework.sources import stream

FEWEST, MOST = 3, 8
OTHERS: Final = 3
"""Servers that distractors come from, at most."""
GROUPS: Final = 8
"""Groups of such servers, for each server."""
OWN: Final = 16
"""Tools of its own server that a conversation shows, unless it needs more."""


def overlaps(world: Field) -> dict[str, frozenset[str]]:
    """WRITE tool -> the tools that change, create or delete the same things, itself among them.

    Found by making calls of each; a tool that does not work at the seed is left out. Costs some ms.
    """
    touched: dict[str, set[tuple[str, str]]] = {}
    for spec in world.writes():
        for arguments in world.pools[spec.name].good[:3]:
            if replay(world.episode, [(spec.name, arguments)]) is not None:
                touched.setdefault(spec.name, set()).update(_touched(world))
    world.episode.reset()
    return {
        name: frozenset(other for other, theirs in touched.items() if mine & theirs)
        for name, mine in touched.items()
        if mine
    }


def _touched(world: Field) -> set[tuple[str, str]]:
    seeded = world.episode.state(world.server.name).image.seeded
    found = set()
    for (table, key), row in world.episode.changes().get(world.server.name, {}).items():
        before = seeded.get((table, key))
        if row is None or before is None:
            found.add((table, "-" if row is None else "+"))
        else:
            columns = world.server.schema.by_name[table].columns
            known = dict(zip(columns, before, strict=True))
            found |= {(table, name) for name, value in row.items() if known[name] != value}
    return found


def choose_shown(
    brief: Brief, draft: Draft, world: Field, servers: Sequence[str], rng: np.random.Generator
) -> tuple[Shown, tuple[str, ...]]:
    """What the agent is shown, and the servers it takes: those needed, others of the same server, distractors."""
    needed = {made.tool for made in draft.made} | set(draft.hidden)
    spare = [name for name in world.server.tools if name not in needed and name not in draft.beside]
    kept = {spare[i] for i in rng.permutation(len(spare))[: max(0, OWN - len(needed))].tolist()}
    own = [name for name in world.server.tools if name in needed | kept]
    distractors, others = _distractors(world.server.name, servers, rng) if brief.distractors else ((), ())
    visible = [name for name in own if name not in draft.hidden]
    shown = Shown(
        tools=(*visible, *distractors), distractors=distractors,
        stripped_enums=_enums(world, own) if brief.stripped else (), missing=dict(draft.hidden),
    )  # fmt: skip
    return shown, (world.server.name, *others)


def _distractors(own: str, servers: Sequence[str], rng: np.random.Generator) -> tuple[tuple[str, ...], tuple[str, ...]]:
    # Few groups of servers, so that the digests of their catalogues are worked out a few times only.
    group = stream(int(rng.integers(GROUPS)), "distractors", own)
    pool = [name for name in (servers if len(servers) > 1 else tuple(CATALOG)) if name != own]
    chosen = [pool[i] for i in sorted(group.permutation(len(pool))[: int(group.integers(1, OTHERS + 1))].tolist())]
    tools: Mapping[str, str] = {tool: name for name in chosen for tool in load_server(name).tools}
    names = list(tools)
    count = int(rng.integers(FEWEST, MOST + 1))
    picked = tuple(names[i] for i in sorted(rng.permutation(len(names))[:count].tolist()))
    return picked, tuple(name for name in chosen if any(tools[tool] == name for tool in picked))


def _enums(world: Field, tools: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        f"{tool}.{slot.name}"
        for tool in tools
        for slot in slots_of(world.server.tools[tool])
        if slot.kind == "choice" and len(slot.options) > 1
    )
