"""Recording: a draft becomes a task record. Every call is made again from the seed, and what it came to is noted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from palaestra.envs.tools.outcome import changes_of, created_ids, result_rows
from palaestra.envs.tools.records import GoldCall, GoldTurn, Kind, Shown, TaskRecord, World
from palaestra.envs.tools.synthesis.bindings import propose
from palaestra.envs.tools.synthesis.brief import Brief
from palaestra.envs.tools.synthesis.machine import Draft, Dropped
from palaestra.envs.tools.synthesis.pools import Field
from palaestra.envs.tools.synthesis.probing import WORKS
from palaestra.envs.tools.synthesis.sampling import Call
from palaestra.envs.tools.synthesis.scene import shows
from palaestra.envs.tools.synthesis.slots import slots_of
from palaestra.envs.tools.synthesis.speaking import says
from palaestra.envs.tools.worlds import catalog_digest
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.faults import ToolResult
from palaestra.mcp_servers.framework.spec import Effect

__all__ = ["CONTEXT", "record_of", "shows", "trace"]

CONTEXT: Final = "context"
"""Source of a value that neither the user nor a result gave."""
_MALFORMED: Final = frozenset({WORKS, "invalid_arguments", "quota"})


def record_of(
    brief: Brief, draft: Draft, world: Field, shown: Shown, servers: Sequence[str], images: Mapping[str, str],
    meta: Mapping[str, Any], rng: np.random.Generator,
) -> TaskRecord:  # fmt: skip
    """The record of a draft. Raises: Dropped "replay" if a call fails now. Costs a handful of replays."""
    episode = world.episode
    calls = [(made.tool, made.arguments) for made in draft.made]
    implicit = _implicit(world, calls)
    episode.reset()
    turns: list[GoldTurn] = []
    done: list[tuple[GoldCall, ToolResult]] = []
    detour: dict[str, Any] | None = None
    wanted = int(rng.integers(len(calls))) if brief.failing and calls else -1
    for number, said in enumerate(draft.turns):
        episode.begin_turn(number)
        texts = [turn.user for turn in turns] + [said.user]
        first = len(done)
        for index, made in enumerate(draft.made):
            if made.turn == number:
                if index == wanted:
                    detour = _detour(world, (made.tool, made.arguments), f"c{index}", rng)
                done.append(_gold(world, index, (made.tool, made.arguments), texts, done, implicit.get(index, ())))
        turns.append(
            GoldTurn(
                user=said.user, kind=said.kind, gold=tuple(gold for gold, _ in done[first:]),
                goal_digests={**images, **episode.digests()}, changes=changes_of(episode), reply=said.reply,
            )
        )  # fmt: skip
    episode.reset()
    told = {**meta, "chain": [tool for tool, _ in draft.chain], "family": brief.family, "info_level": brief.level,
            "scenes": list(brief.scenes), **({"detour": detour} if detour else {})}  # fmt: skip
    env = World(
        servers=tuple(servers), seed=episode.seed, profile=episode.profile, reference_time=episode.reference_time,
        image_digests=images, catalog_digest=catalog_digest(servers),
    )  # fmt: skip
    return TaskRecord(kind=_kind(turns), split=brief.split, env=env, shown=shown, turns=tuple(turns), meta=told)


def _kind(turns: Sequence[GoldTurn]) -> Kind:
    with_calls = [bool(turn.gold) for turn in turns]
    return "act" if all(with_calls) else "clarify" if any(with_calls) else "abstain"


def _gold(
    world: Field, index: int, call: Call, texts: Sequence[str], done: Sequence[tuple[GoldCall, ToolResult]],
    implicit: Iterable[int],
) -> tuple[GoldCall, ToolResult]:  # fmt: skip
    spec = world.server.tools[call[0]]
    result = dispatch(world.episode, *call)
    if result.value is None:
        raise Dropped("replay")
    source = {name: trace(value, texts, done) for name, value in call[1].items()}
    explicit = [found.removeprefix("call:") for found in source.values() if found.startswith("call:")]
    edges = dict.fromkeys(explicit, "explicit")
    for earlier in implicit:
        edges.setdefault(f"c{earlier}", "implicit")
    reads = spec.effect is Effect.READ
    created = created_ids(world.episode)
    gold = GoldCall(
        id=f"c{index}", tool=call[0], arguments=call[1], after=tuple(edges), edge_kinds=tuple(edges.values()),  # type: ignore[arg-type]
        source=source, result_digest=result.result_digest, reads=reads,
        rows=result_rows(spec, result.value, created, world.server) if reads else (),
    )  # fmt: skip
    return gold, result


def trace(value: Any, texts: Sequence[str], done: Sequence[tuple[GoldCall, ToolResult]]) -> str:
    """Where a value comes from: "user:<turn>", else "call:<id>" of the first result that shows it, else "context"."""
    for turn in range(len(texts) - 1, -1, -1):
        if says(texts[turn], value):
            return f"user:{turn}"
    for gold, result in done:
        if shows(result.value, value):
            return f"call:{gold.id}"
    return CONTEXT


def _implicit(world: Field, calls: Sequence[Call]) -> dict[int, list[int]]:
    """For each call, the earlier WRITEs without which it fails; what follows from others is left out.

    Cost: one replay per WRITE.
    """
    lost: dict[int, set[int]] = {}
    for left_out, (tool, _) in enumerate(calls):
        if world.server.tools[tool].effect is not Effect.WRITE or left_out == len(calls) - 1:
            continue
        world.episode.reset()
        for index, call in enumerate(calls):
            if index != left_out and dispatch(world.episode, *call).value is None and index > left_out:
                lost.setdefault(index, set()).add(left_out)
    return {
        index: sorted(e for e in needed if not any(e in lost.get(between, ()) for between in needed))
        for index, needed in lost.items()
    }


def _detour(world: Field, call: Call, before: str, rng: np.random.Generator) -> dict[str, Any] | None:
    """A call that fails in the state before a gold call: the same one with one value wrong; None if none was found."""
    spec = world.server.tools[call[0]]
    names = [slot.name for slot in slots_of(spec) if slot.name in call[1]]
    for _ in range(6 if names else 0):
        changed = names[int(rng.integers(len(names)))]
        kept = {name: value for name, value in call[1].items() if name != changed}
        arguments = propose(spec, world.context, rng, fixed=kept, optional=0.0)
        reason = WORKS if arguments is None else world.asks(spec, arguments)
        if arguments is not None and reason not in _MALFORMED:
            return {"before": before, "tool": call[0], "arguments": arguments, "fault": reason}
    return None
