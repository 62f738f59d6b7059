"""`check_server`: what every tool server must pass, ours and anyone else's.

Declared: counts, the share of verbs, preconditions. Shown by its stories: every tool succeeds, every precondition is
met false and true, READs change nothing, faults leave nothing behind, digests kept incrementally equal digests
recomputed, equal seeds and calls give equal results, a snapshot equals never having left. Malformed variants of every
call of the stories are refused with a typed fault. Shown by its chains: the order of calls matters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from palaestra.mcp_servers.errors import PalaestraError
from palaestra.mcp_servers.framework.chains import check_chain
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import REFERENCE_TIME, Episode, EpisodeStore
from palaestra.mcp_servers.framework.faults import FaultCode, ToolResult
from palaestra.mcp_servers.framework.images import Image, build_image
from palaestra.mcp_servers.framework.server import Profile, Story, ToolServer
from palaestra.mcp_servers.framework.spec import Effect, ToolSpec
from palaestra.mcp_servers.framework.state import ServerState
from palaestra.mcp_servers.framework.stories import Teller, Told

VERB_SHARE = 0.25

# What a story raises when the server is not as it expects.
_TELLING_FAILED = (PalaestraError, AssertionError, ValueError, LookupError, StopIteration)


@dataclass(frozen=True, slots=True)
class World:
    """What stories are told on: one server at one seed and size."""

    server: ToolServer
    seed: int
    profile: Profile

    def open(self, store: EpisodeStore) -> tuple[str, Episode]:
        """A new episode."""
        return store.open([self.server.name], seed=self.seed, profile=self.profile)

    def where(self, story: Story) -> str:
        """What problems are introduced with."""
        return f"{self.server.name}/{_name(story)}/seed {self.seed}, {self.profile}"


def check_server(
    server: ToolServer, seeds: Sequence[int] = (0, 1), profiles: Sequence[Profile] = ("default",)
) -> list[str]:
    """Everything that does not hold, one sentence each; empty = the server conforms.

    Cost: every story runs some four times per seed and profile.
    """
    problems = [*_check_declaration(server), *_check_seed(server, seeds)]
    told: list[Told] = []
    with EpisodeStore([server]) as store:
        for world in [World(server, seed, profile) for profile in profiles for seed in seeds]:
            for story in server.stories:
                found, calls = _check_story(store, story, world)
                problems += found
                told += calls
            for chain in server.chains:
                problems += _check_chain(store, chain, world)
    return [*problems, *_check_coverage(server, told)]


def _check_declaration(server: ToolServer) -> Iterator[str]:
    tools = server.tools.values()
    verbs = sum(tool.kind == "verb" for tool in tools)
    if verbs < VERB_SHARE * len(tools):
        yield f"{server.name}: {verbs} of {len(tools)} tools are verbs; at least {VERB_SHARE:.0%} must be"
    if not server.stories:
        yield f"{server.name} has no stories, so nothing shows that its tools work"
    if not server.chains:
        yield f"{server.name} has no chains, so nothing shows that the order of calls matters"
    for tool in tools:
        if "null" in str(tool.input_schema()):
            yield f"{tool.name}: its schema offers null, which every call refuses; leave the key out instead"


def _check_seed(server: ToolServer, seeds: Sequence[int]) -> Iterator[str]:
    contents = []
    for seed in seeds:
        first, again = (build_image(server, seed, "default", REFERENCE_TIME) for _ in range(2))
        if (first.digest, first.positions) != (again.digest, again.positions):
            yield f"{server.name}: seed {seed} gives two different worlds; draw from the given generator only"
        contents.append(_content(first))
    if len(contents) > 1 and all(content == contents[0] for content in contents):
        yield f"{server.name}: different seeds give the same world"


def _content(image: Image) -> list[list[object]]:
    """Every value of a world but the keys, which differ between seeds in any case."""
    state = ServerState(image)
    tables = image.server.schema.by_model.items()
    found = [
        [row[name] for name, info in table.infos.items() if info.kind != "key"]
        for model, table in tables
        for row in state.database.every(model)
    ]
    state.close()
    return found


def _check_story(store: EpisodeStore, story: Story, world: World) -> tuple[list[str], list[Told]]:
    handle, episode = world.open(store)
    watched = _Watched(episode, world.server.name)
    try:
        story(watched)
        episode.reset()
        other, fresh = world.open(store)
        if episode.full_digest() != fresh.full_digest():
            watched.problems.append("a reset differs from a new episode")
        store.end(other)
        problems = [*watched.problems, *_check_replay(store, story, world, watched.told)]
    except _TELLING_FAILED as error:
        problems = [*watched.problems, f"{type(error).__name__}: {error}"]
    finally:
        store.end(handle)
    return [f"{world.where(story)}: {problem}" for problem in problems], watched.told


def _check_chain(store: EpisodeStore, chain: Story, world: World) -> list[str]:
    handle, episode = world.open(store)
    try:
        problems = list(check_chain(episode, chain, world.server))
    except _TELLING_FAILED as error:
        problems = [f"{type(error).__name__}: {error}"]
    finally:
        store.end(handle)
    return [f"{world.where(chain)}: {problem}" for problem in problems]


def _check_replay(store: EpisodeStore, story: Story, world: World, told: Sequence[Told]) -> Iterator[str]:
    """The same seed and calls again; and once more with a detour through a snapshot after every call."""
    for detour in (False, True):
        handle, episode = world.open(store)
        again = (_Detouring if detour else Teller)(episode, world.server.name)
        story(again)
        what = "restored to a snapshot before every call" if detour else "run again"
        for old, new in zip(told, again.told, strict=True):
            if (old.result, old.arguments) != (new.result, new.arguments):
                yield f"{old.tool} differs when {what}"
        store.end(handle)


class _Watched(Teller):
    """A teller that looks at the state around every call, and at malformed variants of it."""

    def __init__(self, episode: Episode, server: str) -> None:
        super().__init__(episode, server)
        self.problems: list[str] = []

    def _tell(self, tool: str, arguments: dict[str, Any]) -> ToolResult:
        spec = self.episode.tools[tool]
        before = self.episode.full_digest()
        for broken in malformed(spec, arguments):
            fault = dispatch(self.episode, tool, broken).fault
            if fault is None or fault.code is not FaultCode.INVALID_ARGUMENTS:
                self.problems.append(f"{tool} does not refuse {str(broken)[:200]} as invalid_arguments")
        self.episode.journal.rewind(len(self.told))
        result = super()._tell(tool, arguments)
        after = self.episode.full_digest()
        state = self.episode.state(self.server)
        if state.digest != state.recomputed_digest():
            self.problems.append(f"{tool}: the incremental digest differs from the recomputed one")
        if (spec.effect is Effect.READ or result.is_error) and before != after:
            self.problems.append(f"{tool}: a READ, or a call that failed, changed the state")
        return result


class _Detouring(Teller):
    """A teller that makes every call twice: the first time it goes back to a snapshot."""

    def _tell(self, tool: str, arguments: dict[str, Any]) -> ToolResult:
        snapshot = self.episode.snapshot()
        dispatch(self.episode, tool, arguments)
        self.episode.restore(snapshot)
        return super()._tell(tool, arguments)


@dataclass(frozen=True, slots=True)
class _Shown:
    """What the stories showed of one tool."""

    succeeded: bool
    refused_by: tuple[str, ...]


def _check_coverage(server: ToolServer, told: Sequence[Told]) -> Iterator[str]:
    for tool in server.tools.values():
        shown = _shown(tool, told)
        if not shown.succeeded:
            yield f"{server.name}: no story uses {tool.name} successfully"
        for condition in tool.requires:
            if condition.name not in shown.refused_by:
                yield f"{server.name}: no story meets {tool.name} with {condition.name} false"


def _shown(tool: ToolSpec, told: Sequence[Told]) -> _Shown:
    results = [one.result for one in told if one.tool == tool.name]
    refused = [result.fault.details.get("precondition", "") for result in results if result.fault is not None]
    return _Shown(any(not result.is_error for result in results), tuple(refused))


def malformed(spec: ToolSpec, arguments: dict[str, Any]) -> Iterator[object]:
    """Calls that every tool must refuse as invalid_arguments, derived from one it understands.

    A wrong top level, an extra key, every required key missing, and for every key: null, the wrong type, NaN, 10^30, a
    lone surrogate, NUL, a too long text, depth.
    """
    yield from (None, [], "text", 1)
    yield {**arguments, "no_such_key": 1}
    yield {**arguments, "\x00": 1}
    for name, found in spec.input_model.model_fields.items():
        if found.is_required():
            yield {key: value for key, value in arguments.items() if key != name}
    for name, value in arguments.items():
        for wrong in (*_HOSTILE, *_other_types(value)):
            yield {**arguments, name: wrong}


def _other_types(value: object) -> tuple[object, ...]:
    """Values that mean the same to a lenient reader and are refused by a strict one."""
    if isinstance(value, bool):
        return (int(value), str(value).lower())
    if isinstance(value, int):
        return (str(value), float(value), True)
    return (1, [value])


def _deep(levels: int) -> list[Any]:
    deep: list[Any] = []
    for _ in range(levels):
        deep = [deep]
    return deep


_HOSTILE: tuple[object, ...] = (
    None, float("nan"), float("inf"), 10**30, "\ud800", "a\x00b", "x" * 300_000, b"bytes", {"a": 1}, _deep(100),
)  # fmt: skip


def _name(story: Story) -> str:
    return getattr(story, "__name__", "story")
