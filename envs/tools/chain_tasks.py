"""Tasks out of the tool servers' own chains: what a chain does is asked for, and the calls it makes are the gold ones.

A chain is a short scene whose WRITEs succeed in one order only. Its request is plain, but every value that no tool
shows is said, so the task can be solved; there is one for every chain and world.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, Final, Literal

from palaestra.envs.core.types import canonical_json
from palaestra.envs.tools.calls import strings
from palaestra.envs.tools.outcome import changes_of, created_ids, result_rows
from palaestra.envs.tools.records import GoldCall, GoldTurn, Shown, TaskRecord, World
from palaestra.envs.tools.worlds import catalog_digest, tools_of
from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.framework.episodes import REFERENCE_TIME, Episode, EpisodeStore
from palaestra.mcp_servers.framework.server import Story
from palaestra.mcp_servers.framework.spec import Effect
from palaestra.mcp_servers.framework.stories import Teller, Told

_SPLITS: Final[tuple[Literal["train", "valid", "test"], ...]] = ("train", "train", "valid", "test")

Chain = tuple[str, Story]
"""(server, chain)."""


def split_of(seed: int) -> Literal["train", "valid", "test"]:
    """The split of a world: of every four, two are there to train on."""
    return _SPLITS[seed % len(_SPLITS)]


def chain_record(chains: Sequence[Chain], seed: int) -> TaskRecord:
    """The conversation in which these chains are asked for one after another, each in a turn of its own.

    Raises: ToolError "story_failed" if a chain does not succeed after the ones before it.

    Cost: seeding the world and making the calls, some 10 ms.
    """
    servers = tuple(dict.fromkeys(server for server, _ in chains))
    with EpisodeStore([load_server(name) for name in servers]) as store:
        _, episode = store.open(servers, seed=seed)
        images = episode.digests()
        made: list[tuple[Told, GoldCall]] = []
        turns = [_turn(number, server, chain, episode, made) for number, (server, chain) in enumerate(chains)]
    world = World(
        servers=servers, seed=seed, reference_time=REFERENCE_TIME, image_digests=images,
        catalog_digest=catalog_digest(servers),
    )  # fmt: skip
    shown = Shown(tools=tuple(tools_of(servers)))
    meta = {"chain": [f"{server}.{chain.__name__}" for server, chain in chains], "teacher": {"kind": "chains"}}
    return TaskRecord(kind="act", split=split_of(seed), env=world, shown=shown, turns=tuple(turns), meta=meta)


def pair_chains(first: str, second: str, replies: int) -> Iterator[tuple[Chain, Chain]]:
    """Chains of two servers to be asked for in one conversation: short ones together, and no more than fit into it.

    Cost: every chain is told once, some milliseconds each.
    """
    told = [
        sorted(
            ((_calls(name, chain), at, chain) for at, chain in enumerate(load_server(name).chains)), key=itemgetter(0)
        )
        for name in (first, second)
    ]
    for (calls, _, one), (more, _, other) in zip(*told, strict=False):
        if calls + more + 2 <= replies:
            yield (first, one), (second, other)


def _calls(server: str, chain: Story) -> int:
    with EpisodeStore([load_server(server)]) as store:
        teller = Teller(store.open([server], seed=0)[1], server)
        chain(teller)
    return len(teller.told)


def _turn(number: int, server: str, chain: Story, episode: Episode, made: list[tuple[Told, GoldCall]]) -> GoldTurn:
    """Tell the chain, and add its calls to those made so far."""
    episode.begin_turn(number)
    teller = Teller(episode, server)
    first = len(made)
    chain(teller)
    for told in teller.told:
        made.append((told, _gold(told, episode, made)))
    told_now = [told for told, _ in made[first:]]
    return GoldTurn(
        user=_request(chain, told_now, [told for told, _ in made[:first]]),
        gold=tuple(gold for _, gold in made[first:]),
        goal_digests=episode.digests(),
        changes=changes_of(episode),
        reply="Done.",
    )


def _gold(told: Told, episode: Episode, made: Sequence[tuple[Told, GoldCall]]) -> GoldCall:
    spec = episode.tools[told.tool]
    reads = spec.effect is Effect.READ
    keys = {told.arguments[name] for name in spec.references if name in told.arguments}
    edges = {gold.id: "explicit" for before, gold in made if not keys.isdisjoint(strings(before.result.value))}
    writes = [gold.id for _, gold in made if not gold.reads]
    if writes and not reads:  # a chain succeeds in one order only
        edges.setdefault(writes[-1], "implicit")
    return GoldCall(
        id=f"c{len(made)}",
        tool=told.tool,
        arguments=told.arguments,
        after=tuple(edges),
        edge_kinds=tuple(edges.values()),  # type: ignore[arg-type]
        expects_fault=None if told.result.fault is None else told.result.fault.code.value,
        result_digest=told.result.result_digest,
        rows=result_rows(spec, told.result.value, created_ids(episode)) if reads and told.result.value else (),
        reads=reads,
    )


def _label(key: str, shown: Sequence[Any]) -> str | None:
    """How a person tells the row with this key from the other rows of its list; None if it was shown alone."""
    if any(isinstance(result, dict) and key in result.values() for result in shown):
        return None
    lists = (rows for result in shown if isinstance(result, dict) for rows in result.values() if isinstance(rows, list))
    for rows in lists:
        row = next((row for row in rows if isinstance(row, dict) and key in row.values()), None)
        if row is None or len(rows) == 1:
            continue
        for name, value in row.items():
            if isinstance(value, str) and not name.endswith("_id") and sum(value in r.values() for r in rows) == 1:
                return value
    return None


def _request(chain: Story, told: Sequence[Told], before: Sequence[Told]) -> str:
    """What the chain does, every argument that no result shows, and which of several rows is meant."""
    shown = [each.result.value for each in before]
    said: dict[str, None] = {}
    for each in told:
        for name, value in each.arguments.items():
            what = name.removesuffix("_id").replace("_", " ")
            if not isinstance(value, str):
                said[f"{what}: {canonical_json(value)}"] = None
            elif not any(value in strings(result) for result in shown):
                said[f"{what}: {value}"] = None
            elif label := _label(value, shown):
                said[f"{what}: {label}"] = None
        shown.append(each.result.value)
    what = " ".join((chain.__doc__ or chain.__name__.replace("_", " ")).split())
    return f"{what} ({'; '.join(said)})" if said else what
