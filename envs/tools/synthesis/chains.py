"""Chains: simple paths of two to five tools along the graph, made concrete in one world.

A path is bound call by call on the live server, with forks of the state asked first: an explicit edge takes its value
from the call before, an implicit one needs a call that was refused before and works after.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Final

import numpy as np

from palaestra.envs.tools.synthesis.bindings import pick, propose
from palaestra.envs.tools.synthesis.graph import Edge, Graph, strongest
from palaestra.envs.tools.synthesis.pools import Arguments, Field
from palaestra.envs.tools.synthesis.probing import WORKS, replay
from palaestra.envs.tools.synthesis.products import produced
from palaestra.envs.tools.synthesis.sampling import Call
from palaestra.envs.tools.synthesis.slots import slots_of
from palaestra.envs.tools.synthesis.vocabulary import thing_of
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.mcp_servers.framework.spec import Effect, ToolSpec

SHORTEST: Final = 2
LONGEST: Final = 5
LENGTHS: Final = {2: 0.30, 3: 0.35, 4: 0.20, 5: 0.15}
_TRIES: Final = 10
_BUDGET: Final = 120
"""Proposals per path."""
_DRAWS: Final = 60
_TRIED_WEIGHT: Final = 0.1
"""What a try counts towards a tool's use: tools that rarely work must not be all that is tried."""
_HOPELESS: Final = 4
"""Failures of a step that never worked, after which it is given up in this world."""
_PATIENCE: Final = 10
"""Tries after which a tool whose edges lead nowhere stands beside other paths."""
_KIN_RATE: Final = 0.5
"""How often such a tool stands beside one that makes or shows the same rows, if there is any."""
_LOOKS: Final = 3
_KEEP_RATE: Final = 0.6
_FROM_EXAMPLE: Final = 0.4


class Paths:
    """Draws paths so that every tool gets its turn: the less a tool was used, the likelier it is the next one wanted.

    Args:
        used: tool -> how often it is called in the records that were kept; counted by whoever keeps them.
        allowed: which paths may be drawn.
    """

    def __init__(
        self, world: Field, graph: Graph, used: Counter[str] | None = None,
        allowed: Callable[[tuple[str, ...]], bool] = lambda path: True,
    ) -> None:  # fmt: skip
        self.graph = graph
        self._allowed = allowed
        self.tools = world.server.tools
        self.used: Counter[str] = Counter() if used is None else used
        self.tried: Counter[str] = Counter()
        self._failures: Counter[tuple[str, str]] = Counter()
        self.unreached = {name for name, pool in world.pools.items() if not pool.good}
        strong = {edge.target for edge in graph.edges if edge.kind != "blocks"}
        # A tool that works nowhere at the seed is reached by a weak edge if no other leads to it.
        self._leading = (*graph.edges, *(e for e in graph.weak if e.target in self.unreached - strong))
        self.needs = strongest(self._leading)
        self._kin = _kin(world.server)
        self._after: dict[str, list[str]] = {}
        self._before: dict[str, list[str]] = {}
        for source, target in self.needs:
            self._after.setdefault(source, []).append(target)
            self._before.setdefault(target, []).append(source)

    def draw(self, rng: np.random.Generator) -> tuple[str, ...]:
        """The tools of an allowed path, in order; a tool without edges stands beside a path of others."""
        path: tuple[str, ...] = ()
        for _ in range(_DRAWS):
            path = self._draw(rng)
            if len(path) >= SHORTEST and self._allowed(path) and not self._hopeless(path):
                break
        self.tried.update(path)
        return path

    def learn(self, path: Sequence[str], bound: int) -> None:
        """Note how far a path could be bound: steps that failed again and again are not drawn any more."""
        steps = list(pairwise(("", *path)))
        for step in steps[:bound]:
            self._failures[step] = -(10**6)
        if bound < len(steps):
            self._failures[steps[bound]] += 1

    def _hopeless(self, path: Sequence[str]) -> bool:
        return any(self._failures[step] >= _HOPELESS for step in pairwise(("", *path)))

    def _draw(self, rng: np.random.Generator) -> tuple[str, ...]:
        wanted = self._wanted(rng)
        length = int(rng.choice(list(LENGTHS), p=list(LENGTHS.values())))
        linked = wanted in self._after or wanted in self._before
        if self.tried[wanted] > _PATIENCE and not self.used[wanted] and wanted not in self.unreached:
            linked = False
        beside = [name for name in self._after if name != wanted]
        if rng.random() < _KIN_RATE:
            beside = self._kin[wanted] or beside
        path = [wanted] if linked else [pick(beside, rng)] if beside else []
        examples = [edge for edge in self._leading if edge.target == wanted and edge.kind != "blocks"]
        if linked and examples and (wanted in self.unreached or rng.random() < _FROM_EXAMPLE):
            names = [tool for tool, _ in pick(examples, rng).calls]
            path = list(dict.fromkeys(names))[-LONGEST:] if len(set(names)) == len(names) else path
        self._lengthen(path, length if linked else max(1, length - 1), rng)
        if not linked and wanted not in path:
            path.append(wanted)
        return tuple(path)

    def _wanted(self, rng: np.random.Generator) -> str:
        names = list(self.tools)
        weights = np.array([1.0 / (1 + self.used[n] + _TRIED_WEIGHT * self.tried[n]) for n in names])
        return str(names[int(rng.choice(len(names), p=weights / weights.sum()))])

    def _lengthen(self, path: list[str], length: int, rng: np.random.Generator) -> None:
        while path and len(path) < length:
            ahead = [name for name in self._after.get(path[-1], ()) if name not in path]
            behind = [name for name in self._before.get(path[0], ()) if name not in path]
            if not ahead and not behind:
                return
            if ahead and (not behind or rng.random() < 0.6):
                path.append(self._rather_new(ahead, rng))
            else:
                path.insert(0, self._rather_new(behind, rng))

    def _rather_new(self, names: list[str], rng: np.random.Generator) -> str:
        weights = np.array([(3.0 if self.tools[n].effect is Effect.WRITE else 1.0) / (1 + self.used[n]) for n in names])
        return str(names[int(rng.choice(len(names), p=weights / weights.sum()))])


@cache
def _kin(server: ToolServer) -> dict[str, list[str]]:
    """Tool -> the WRITEs whose results hold rows of the same tables."""
    keys = server.schema.keys()
    results = {name: json.dumps(spec.output_schema()) for name, spec in server.tools.items()}
    shown = {name: {key for key in keys if f'"{key}"' in result} for name, result in results.items()}
    writes = [name for name, spec in server.tools.items() if spec.effect is Effect.WRITE]
    return {name: [other for other in writes if other != name and shown[name] & shown[other]] for name in shown}


@dataclass(slots=True)
class _Binding:
    world: Field
    path: tuple[str, ...]
    needs: Mapping[tuple[str, str], Edge]
    rng: np.random.Generator
    budget: int = _BUDGET
    deepest: int = 0


def bind(world: Field, path: tuple[str, ...], paths: Paths, rng: np.random.Generator) -> list[Call] | None:
    """Arguments with which the calls of a path work one after another; None if none were found.

    Cost: some 2 ms, at most 120 proposals.
    """
    world.episode.reset()
    calls: list[Call] = []
    task = _Binding(world, path, paths.needs, rng)
    found = _bind(task, calls, [])
    world.episode.reset()
    paths.learn(path, len(path) if found else task.deepest)
    return calls if found else None


def _bind(task: _Binding, calls: list[Call], results: list[dict[str, Any]]) -> bool:
    at, world = len(calls), task.world
    task.deepest = max(task.deepest, at)
    if at == len(task.path):
        return True
    given = produced(world.server, results[-1], {}) if at else {}
    spec = world.server.tools[task.path[at]]
    edge = task.needs.get((task.path[at - 1], spec.name)) if at else None
    for _ in range(_TRIES):
        task.budget -= 1
        if task.budget < 0:
            return False
        fixed = _fixed(task, spec, edge, calls, given)
        arguments = None if fixed is None else propose(spec, world.context, task.rng, fixed=fixed)
        if arguments is None or world.asks(spec, arguments) != WORKS:
            continue
        if edge is not None and edge.kind == "implicit" and not _held_back(world, calls, (spec.name, arguments)):
            continue
        value = dispatch(world.episode, spec.name, arguments).value
        if value is not None and not _empty(spec, value):
            calls.append((spec.name, arguments))
            results.append(value)
            if _opens_the_way(task, calls[-1], len(calls)) and _bind(task, calls, results):
                return True
            calls.pop()
            results.pop()
        replay(world.episode, calls)
    return False


def _opens_the_way(task: _Binding, last: Call, at: int) -> bool:
    """Whether some call of the next tool works now, after the last one, if the edge to it promises so."""
    edge = None if at == len(task.path) else task.needs.get((task.path[at - 1], task.path[at]))
    if edge is None or edge.kind != "implicit":
        return True
    world, spec = task.world, task.world.server.tools[edge.target]
    waiting = [*world.pools[edge.target].bad.get(edge.label, ())]
    for _ in range(_LOOKS if waiting else 0):
        args = propose(spec, world.context, task.rng, fixed=_shared(world, last, spec))
        waiting += [] if args is None else [args]
    return not waiting or any(world.asks(spec, args) == WORKS for args in waiting)


def _empty(spec: ToolSpec, value: dict[str, Any]) -> bool:
    """Whether a READ found nothing: no task to ask for."""
    return spec.effect is Effect.READ and "items" in value and not value["items"]


def _held_back(world: Field, calls: list[Call], call: Call) -> bool:
    """Whether the call is refused without the last one made; afterwards the world is as the calls left it."""
    replay(world.episode, calls[:-1])
    reason = world.asks(world.server.tools[call[0]], call[1])
    replay(world.episode, calls)
    return reason != WORKS


def _fixed(
    task: _Binding, spec: ToolSpec, edge: Edge | None, calls: list[Call], given: Mapping[str, list[Any]]
) -> Arguments | None:
    """Arguments decided by what came before, and by what the next tool of the path waits for."""
    fixed: Arguments = {}
    if calls and task.rng.random() < _KEEP_RATE:
        fixed |= _shared(task.world, calls[-1], spec)
    if edge is not None and edge.kind == "explicit":
        slot = next(slot for slot in slots_of(spec) if slot.name == edge.label)
        values = given.get(slot.entity or slot.name)
        if not values:
            return None
        fixed[slot.name] = pick(values, task.rng)
    elif edge is not None and edge.kind == "implicit":
        fixed |= _shared(task.world, calls[-1], spec)
    following = task.path[len(calls) + 1] if len(calls) + 1 < len(task.path) else None
    ahead = task.needs.get((spec.name, following)) if following else None
    if following and ahead is not None and ahead.kind == "implicit" and not fixed:
        waiting = task.world.pools[following].bad.get(ahead.label, ())
        if waiting:
            fixed |= _shared(task.world, (following, pick(waiting, task.rng)), spec)
    return fixed


def _shared(world: Field, call: Call, spec: ToolSpec) -> Arguments:
    """The argument a tool has in common with a call: the first that names a thing the call is about."""
    known: dict[str, Any] = {}
    for slot in slots_of(world.server.tools[call[0]]):
        thing = thing_of(slot)
        if slot.name in call[1] and thing:
            known[thing] = call[1][slot.name]
    wanted = [slot for slot in slots_of(spec) if slot.required and thing_of(slot) in known]
    return {slot.name: known[thing_of(slot) or ""] for slot in wanted[:1]}
