"""Filters: what a record must pass before it is kept, each by itself and from the record alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

from palaestra.envs.tools.records import TaskRecord
from palaestra.envs.tools.synthesis.brief import Split
from palaestra.envs.tools.synthesis.dedup import Seen, features
from palaestra.envs.tools.synthesis.recording import CONTEXT
from palaestra.envs.tools.synthesis.slots import slots_of
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode
from palaestra.mcp_servers.framework.faults import Fault
from palaestra.mcp_servers.framework.server import ToolServer

FILTERS: Final = ("schema", "replay", "provenance", "split", "dedup", "score")
Score = Callable[[TaskRecord], bool]
"""Whether the gold calls of a record earn the most its reward can give; rewards sit above, so it is passed in."""
_RESERVED: Final = 0.25
"""Share of the values that name an entity in every world (paths) which training never is about."""


def passes_schema(record: TaskRecord, server: ToolServer) -> bool:
    """Whether the strict validator takes every gold call."""
    return not any(isinstance(server.tool(c.tool).validate(dict(c.arguments)), Fault) for _, c in record.gold_calls)


def passes_replay(record: TaskRecord, episode: Episode) -> bool:
    """Whether the gold calls, made from the seed, all succeed with the recorded results and end in the recorded states.

    Errors only; an empty result is none. Leaves the episode at its seed.
    """
    episode.reset()
    try:
        for number, turn in enumerate(record.turns):
            episode.begin_turn(number)
            for call in turn.gold:
                result = dispatch(episode, call.tool, dict(call.arguments))
                if result.fault is not None or result.result_digest != call.result_digest:
                    return False
            if any(turn.goal_digests.get(name) != digest for name, digest in episode.digests().items()):
                return False
        return True
    finally:
        episode.reset()


def passes_provenance(record: TaskRecord) -> bool:
    """Whether every value of a gold call was said by the user or shown by a result before it."""
    return not any(source == CONTEXT for _, call in record.gold_calls for source in call.source.values())


def primary_entity(record: TaskRecord, server: ToolServer) -> tuple[str, bool] | None:
    """What a record is about: the first key, else the first path, of its calls, and whether it is a key."""
    paths = []
    for _, call in record.gold_calls:
        for slot in slots_of(server.tool(call.tool)):
            value = call.arguments.get(slot.name)
            if isinstance(value, str) and slot.entity:
                return value, True
            if isinstance(value, str) and "path" in slot.name and slot.required:
                paths.append(value)
    return (paths[0], False) if paths else None


def split_of_chain(chain: Sequence[str]) -> Split:
    """The split to which every record with this sequence of tools belongs: of 20 chains, one valid and three test."""
    bucket = _bucket(" ".join(chain), 20)
    return "valid" if bucket == 0 else "test" if bucket <= 3 else "train"


class Divide:
    """Keeps training and testing apart by what their records are about."""

    def __init__(self) -> None:
        self._trained: set[str] = set()
        self._tested: set[str] = set()

    def passes(self, record: TaskRecord, server: ToolServer) -> bool:
        """Whether the record's entity belongs to no other split."""
        about = primary_entity(record, server)
        if about is None:
            return True
        name, is_key = about
        training = record.split == "train"
        if not is_key and training == (_bucket(name, 100) < 100 * _RESERVED):
            return False
        return name not in (self._tested if training else self._trained)

    def keep(self, record: TaskRecord, server: ToolServer) -> None:
        """Note what a kept record is about."""
        about = primary_entity(record, server)
        if about is not None:
            (self._trained if record.split == "train" else self._tested).add(about[0])


def refused_as_duplicate(record: TaskRecord, seen: Seen) -> str:
    """Why the record is too like another; records without calls are compared by what the user says and is shown."""
    calls = [(call.tool, call.arguments) for _, call in record.gold_calls]
    if calls:
        return seen.refuses(features(calls), tuple(name for name, _ in calls))
    return seen.refuses(_said(record), (record.turns[0].user,))


def nearest_kept(record: TaskRecord, seen: Seen) -> float:
    """The highest Jaccard index of the record's calls with those of any kept record."""
    return seen.nearest(features((call.tool, call.arguments) for _, call in record.gold_calls))


def keep_as_seen(record: TaskRecord, seen: Seen) -> None:
    """Add a kept record to those others are compared with."""
    calls = [(call.tool, call.arguments) for _, call in record.gold_calls]
    if calls:
        seen.keep(features(calls), tuple(name for name, _ in calls))
    else:
        seen.keep(_said(record), (record.turns[0].user,))


def _said(record: TaskRecord) -> frozenset[str]:
    return frozenset({" ".join((record.turns[0].user, *record.shown.tools))})


def _bucket(text: str, buckets: int) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") % buckets
