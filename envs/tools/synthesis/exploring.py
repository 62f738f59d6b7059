"""Exploring: what one call does to others, tried out in one seeded world after another.

Three things are looked for between two tools A and B. *Explicit*: B takes a value out of A's result and refuses one
that is made up. *Implicit*: a call of B that is refused works after A. *Blocks*: a call of B that works is refused
after A. States further from the seed are reached along calls that A made possible, up to four of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from palaestra.envs.tools.synthesis.bindings import propose
from palaestra.envs.tools.synthesis.pools import Arguments, Field
from palaestra.envs.tools.synthesis.probing import WORKS, replay
from palaestra.envs.tools.synthesis.products import made_up, produced
from palaestra.envs.tools.synthesis.sampling import Call
from palaestra.envs.tools.synthesis.slots import Slot, slots_of
from palaestra.envs.tools.synthesis.vocabulary import seen_as, thing_of
from palaestra.mcp_servers.framework.spec import Effect, ToolSpec

EdgeKind = Literal["explicit", "implicit", "blocks"]
DEEPEST: Final = 6
VARIANTS: Final = 8
"""Calls of one tool whose consequences are looked at, per state."""
_NEXT: Final = 10
"""States looked at per depth, beyond the seed itself."""
_FILLS: Final = 6
_NEAR: Final = 6
"""Things beside those that calls wait for, that other calls may be about."""

Finding = tuple[str, str, EdgeKind, str]
"""(A, B, kind, label): the label is the precondition or fault, or the argument; empty for blocks."""


_Waiting = tuple[str, Arguments, str]
"""A call that is worth making, and why it does not work yet; WORKS if it does."""


@dataclass(frozen=True, slots=True)
class Example:
    """Calls that show an edge: the last needs, or is blocked by, the one before it."""

    seed: int
    calls: tuple[Call, ...]


@dataclass(slots=True)
class Findings:
    """What one world showed: what was tried, and what held, each with an example."""

    tried: set[Finding] = field(default_factory=set)
    held: dict[Finding, Example] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _State:
    """A state away from the seed: the calls that lead there, and what is worth trying in it."""

    path: tuple[Call, ...]
    waiting: tuple[_Waiting, ...]


def explore(world: Field, deepest: int = DEEPEST) -> Findings:
    """Try every ordered pair of tools in one world, in states up to `deepest` calls away. Costs some 0.1 to 3 s."""
    found = Findings()
    world.episode.reset()
    _explicit_from_reads(world, found)
    states = [_State((), ())]
    for depth in range(deepest):
        fresh: list[_State] = []
        for state in states:
            calls = _variants(world) if depth == 0 else _onward(world, state)
            for call in calls:
                fresh += _consequences(world, state, call, found)
        states = _worth_a_look(world, fresh)
    world.episode.reset()
    return found


def _variants(world: Field) -> Iterator[Call]:
    """Calls that work at the seed: a few of each WRITE, some of them about what others wait for."""
    wanted = _wanted_keys(world, ((spec, args) for spec in world.server.tools.values()
                                  for _, args in world.pools[spec.name].refused()))  # fmt: skip
    for spec in world.writes():
        made = list(world.pools[spec.name].good[: VARIANTS // 2])
        made += _about(world, spec, wanted, VARIANTS - len(made))
        for arguments in made:
            yield spec.name, arguments


def _wanted_keys(world: Field, calls: Iterable[tuple[ToolSpec, Arguments]]) -> dict[str, list[str]]:
    wanted: dict[str, dict[str, None]] = {}
    for spec, arguments in calls:
        for slot in slots_of(spec):
            if slot.name in arguments and (slot.entity or slot.kind == "text"):
                wanted.setdefault(slot.entity or seen_as(slot), {})[str(arguments[slot.name])] = None
    for entity, keys in list(wanted.items()):
        for near in [near for key in keys for near in list(world.context.near.get(key, ()))[:_NEAR]]:
            wanted.setdefault(world.context.entity_of(near) or entity, {})[near] = None
    return {name: list(keys) for name, keys in wanted.items()}


def _about(world: Field, spec: ToolSpec, wanted: dict[str, list[str]], most: int) -> list[Arguments]:
    """Calls of a tool that work now and are about one of the wanted keys."""
    made: list[Arguments] = []
    for slot in slots_of(spec):
        keys = wanted.get(slot.entity or seen_as(slot), ())
        for key in keys:
            for _ in range(2):
                if len(made) >= most:
                    return made
                arguments = propose(spec, world.context, world.rng, fixed={slot.name: key})
                if arguments is not None and world.asks(spec, arguments) == WORKS:
                    made.append(arguments)
                    break
    return made


def _onward(world: Field, state: _State) -> list[Call]:
    """What to do next in a state: what became possible there, and what may bring the waiting calls further."""
    if replay(world.episode, state.path) is None:
        return []
    used = {tool for tool, _ in state.path}
    calls: list[Call] = []
    for tool, args, reason in state.waiting:
        if reason == WORKS and tool not in used:
            calls += [(tool, args), *((tool, other) for other in _others(world, tool, args))]
    waiting = [(world.server.tools[tool], args) for tool, args, reason in state.waiting if reason != WORKS]
    if waiting:
        wanted = _wanted_keys(world, waiting)
        for spec in world.writes():
            if spec.name not in used:
                calls += [(spec.name, args) for args in _about(world, spec, wanted, 2)]
                calls += [(spec.name, args) for args in world.pools[spec.name].good[:2]]
    return calls


def _others(world: Field, tool: str, args: Arguments) -> list[Arguments]:
    """Other ways to make a call that just became possible: every word of its choices, and some other values."""
    spec, made = world.server.tools[tool], [args]
    choices = [(slot.name, option) for slot in slots_of(spec) if slot.name in args for option in slot.options]
    for name, option in [*choices, *[("", None)] * (_FILLS if len(choices) < _FILLS else 0)]:
        other = {**args, name: option} if name else propose(spec, world.context, world.rng)
        if other is not None and other not in made and world.asks(spec, other) == WORKS:
            made.append(other)
    return made[1:]


def _consequences(world: Field, state: _State, call: Call, found: Findings) -> list[_State]:
    """Make a call in a state and see what it made possible, or impossible; the states worth going on from."""
    path = (*state.path, call)
    results = replay(world.episode, path)
    if results is None:
        return []
    source = world.server.tools[call[0]]
    if source.effect is Effect.READ:
        return []
    waiting = list(_enabled(world, state, path, found))
    if not any(reason != WORKS for *_, reason in state.waiting):
        waiting += _with_its_result(world, path, results[-1], found)
    if not state.path:
        _blocked(world, path, found)
    return [_State(path, (one,)) for one in waiting]


def _enabled(
    world: Field, state: _State, path: tuple[Call, ...], found: Findings
) -> Iterator[tuple[str, Arguments, str]]:
    source = path[-1][0]
    looking = any(reason != WORKS for *_, reason in state.waiting)  # for what these calls lack, and nothing else
    refused = [
        (name, args, reason)
        for name, pool in ({} if looking else world.pools).items()
        if not state.path or world.server.tools[name].requires
        for reason, args in pool.refused()
        if (source, name, "implicit", reason) not in found.held
    ]
    for name, args, before in [*state.waiting, *refused]:
        finding: Finding = (source, name, "implicit", before)
        if name == source or before == WORKS or (finding in found.held and (name, args, before) not in state.waiting):
            continue
        spec = world.server.tools[name]
        reason = world.asks(spec, args)
        if reason != before and reason != WORKS:
            if _further(spec, before, reason):
                yield name, args, reason
        elif reason == WORKS and _shown(world, path, (name, args)):
            found.tried.add(finding)
            if finding not in found.held:
                found.held[finding] = Example(world.episode.seed, (*path, (name, args)))
                _shown_by_reads(world, path, (name, args), found)
            yield name, args, WORKS
        elif _about_the_same(world, path[-1], (name, args)):
            found.tried.add(finding)


def _shown_by_reads(world: Field, path: tuple[Call, ...], call: Call, found: Findings) -> None:
    """Explicit edges from READs to a call that works in this state only: a READ shows what it names."""
    spec = world.server.tools[call[0]]
    for slot in slots_of(spec):
        key = call[1].get(slot.name)
        fresh = {**call[1], slot.name: made_up(slot, world.server)}
        if slot.entity is None or not isinstance(key, str) or world.asks(spec, fresh) == WORKS:
            continue
        for read in world.context.shown_by.get((slot.entity, key), ()):
            finding: Finding = (read[0], call[0], "explicit", slot.name)
            found.tried.add(finding)
            found.held.setdefault(finding, Example(world.episode.seed, (*path, read, call)))


def _about_the_same(world: Field, one: Call, other: Call) -> bool:
    """Whether two calls name a common key of every table that both name keys of: only then is a trial fair."""
    mine, theirs = (_keys(world, call) for call in (one, other))
    return all(mine[entity] == theirs[entity] for entity in mine.keys() & theirs.keys())


def _keys(world: Field, call: Call) -> dict[str, Any]:
    """Kind of thing -> the one that a call names."""
    slots = slots_of(world.server.tools[call[0]])
    return {thing: call[1][slot.name] for slot in slots if slot.name in call[1] and (thing := thing_of(slot))}


def _further(spec: ToolSpec, before: str, after: str) -> bool:
    """Whether a call got past a precondition that stopped it."""
    order = [condition.name for condition in spec.requires]
    return before in order and after in order and order.index(after) > order.index(before)


def _really(world: Field, path: tuple[Call, ...], call: Call) -> bool:
    """Whether the call works when it is made; afterwards the world is as the path left it."""
    works = replay(world.episode, (*path, call)) is not None
    replay(world.episode, path)
    return works


def _shown(world: Field, path: tuple[Call, ...], call: Call) -> bool:
    """Whether the call works after the path, and not without its last call; the world is left as after the path."""
    # At the seed itself the call is known to be refused.
    works_without = len(path) > 1 and replay(world.episode, (*path[:-1], call)) is not None
    return _really(world, path, call) and not works_without


def _blocked(world: Field, path: tuple[Call, ...], found: Findings) -> None:
    source = path[-1][0]
    for name, pool in world.pools.items():
        finding: Finding = (source, name, "blocks", "")
        if name == source or finding in found.held:
            continue
        for args in pool.good[:2]:
            if _about_the_same(world, path[-1], (name, args)):
                found.tried.add(finding)
                if world.asks(world.server.tools[name], args) != WORKS:
                    found.held[finding] = Example(world.episode.seed, (*path, (name, args)))
                    break


def _with_its_result(
    world: Field, path: tuple[Call, ...], result: dict[str, Any], found: Findings
) -> Iterator[_Waiting]:
    """Fill other tools' arguments from the result of the path's last call."""
    source, given = path[-1]
    values = dict(produced(world.server, result, given))
    for spec in world.server.tools.values():
        for slot in slots_of(spec):
            key = slot.entity or slot.name
            finding: Finding = (source, spec.name, "explicit", slot.name)
            if spec.name == source or not slot.required or key not in values or finding in found.held:
                continue
            outcome = _fill(world, spec, slot, values[key])
            if outcome is None:
                continue
            args, reason = outcome
            found.tried.add(finding)
            fresh = {**args, slot.name: made_up(slot, world.server)}
            if reason == WORKS and world.asks(spec, fresh) != WORKS and _really(world, path, (spec.name, args)):
                found.held[finding] = Example(world.episode.seed, (*path, (spec.name, args)))
                yield spec.name, args, WORKS
            elif reason != WORKS:
                yield spec.name, args, reason


def _fill(world: Field, spec: ToolSpec, slot: Slot, values: list[Any]) -> tuple[Arguments, str] | None:
    """A call with one of the values, that works if one can be found."""
    last: tuple[Arguments, str] | None = None
    for args in world.pools[spec.name].good:
        if args.get(slot.name) in values and world.asks(spec, args) == WORKS:
            return args, WORKS
    for at in range(_FILLS):
        args_ = propose(spec, world.context, world.rng, fixed={slot.name: values[at % len(values)]})
        if args_ is not None:
            last = (args_, world.asks(spec, args_))
            if last[1] == WORKS:
                return last
    return last if last is not None and last[1] not in ("invalid_arguments", "not_found", "quota") else None


def _explicit_from_reads(world: Field, found: Findings) -> None:
    """READs change nothing, so what their results make possible shows at the seed."""
    shown: dict[str, dict[str, dict[Any, Call]]] = {}
    for call, value in world.context.calls:
        for key, values in produced(world.server, value, call[1]).items():
            for one in values:
                shown.setdefault(call[0], {}).setdefault(key, {}).setdefault(one, call)
    for source, fields in shown.items():
        for spec in world.server.tools.values():
            if spec.name != source:
                _explicit(world, spec, fields, source, found)


def _explicit(world: Field, spec: ToolSpec, fields: dict[str, dict[Any, Call]], source: str, found: Findings) -> None:
    for slot in slots_of(spec):
        values = fields.get(slot.entity or slot.name)
        if not slot.required or not values:
            continue
        outcome = _fill(world, spec, slot, list(values)[:12])
        if outcome is None:
            continue
        args, reason = outcome
        finding: Finding = (source, spec.name, "explicit", slot.name)
        found.tried.add(finding)
        if reason == WORKS and world.asks(spec, {**args, slot.name: made_up(slot, world.server)}) != WORKS:
            found.held[finding] = Example(world.episode.seed, (values[args[slot.name]], (spec.name, args)))


def _worth_a_look(world: Field, states: list[_State]) -> list[_State]:
    """States in which a tool can be called, or waits for a reason, not seen before; those that never work first."""
    kept: dict[tuple[str, str], _State] = {}
    for state in states:
        tool, _, reason = state.waiting[0]
        kept.setdefault((tool, reason), state)

    def urgency(state: _State) -> tuple[bool, bool]:
        tool, _, reason = state.waiting[0]
        return bool(world.pools[tool].good), reason != WORKS

    return sorted(kept.values(), key=urgency)[:_NEXT]
