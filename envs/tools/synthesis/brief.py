"""Briefs: what each conversation of a data set is to be, dealt out before any is written, so that rates are exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from palaestra.mcp_servers.framework.sources import stream

Family = Literal["multi", "missing", "abstain"]
Level = Literal["complete", "missing", "minimal"]
Scene = Literal["act", "clarify", "look", "abstain", "hidden"]
"""What a turn is: calls are made; a value is missing; only a goal is named and looked into; nothing fits; a tool that
is needed is hidden."""
Split = Literal["train", "valid", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "valid", "test")

LEVELS: Final[dict[Level, float]] = {"complete": 0.6, "missing": 0.2, "minimal": 0.2}
_OPENINGS: Final[dict[Level, tuple[Scene, ...]]] = {
    "complete": ("act",), "missing": ("clarify", "act"), "minimal": ("look", "act"),
}  # fmt: skip
SHARES: Final[dict[Family, float]] = {"multi": 10_895 / 13_517, "missing": 1_500 / 13_517, "abstain": 1_122 / 13_517}
PAPER: Final[dict[Family, int]] = {"multi": 10_895, "missing": 1_500, "abstain": 1_122}
HELD_OUT: Final = 500
DISTRACTORS: Final = 0.4
STRIPPED: Final = 0.3
IRRELEVANT: Final = 0.05
RETURNS: Final = 2 / 3
"""Of the conversations with a missing function, those in which it comes back."""
CLOSE: Final = 806 / 1_122
"""Of the abstentions, those that are close to what the tools do."""
THIRD_TURN: Final = 0.5
FOLLOW_UP: Final = 0.7


@dataclass(frozen=True, slots=True)
class Brief:
    """What one conversation is to be.

    Attributes:
        index: its place in the data set.
        scenes: what its turns are.
        returns: whether the missing function comes back.
        distractors, stripped: whether tools of other servers are shown, and lists of allowed words hidden.
        failing: whether the transcript holds a deliberate failed call.
    """

    index: int
    server: str
    split: Split
    family: Family
    level: Level
    scenes: tuple[Scene, ...]
    returns: bool
    distractors: bool
    stripped: bool
    failing: bool


def family_counts(records: int) -> dict[Family, int]:
    """How many conversations of each family among so many; the paper's shares, the rest to the largest remainders."""
    return _apportion(records, SHARES)


def deal(counts: Mapping[Split, Mapping[Family, int]], servers: Mapping[str, float], seed: int) -> list[Brief]:
    """The briefs of a whole data set, every rate kept to within one conversation. Linear.

    Args:
        counts: conversations by split and family.
        servers: name -> share of the conversations.
        seed: of the shuffles.
    """
    briefs: list[Brief] = []
    for split, families in counts.items():
        for family, count in families.items():
            briefs += _family(split, family, count, servers, seed, len(briefs))
    return briefs


def _family(
    split: Split, family: Family, count: int, servers: Mapping[str, float], seed: int, first: int
) -> list[Brief]:
    rng = stream(seed, "brief", split, family)
    names = _dealt(servers, count, rng)
    levels: list[Level] = _dealt(LEVELS, count, rng) if family == "multi" else ["complete"] * count
    irrelevant = _flags(IRRELEVANT, count, rng)
    third, follow = _flags(THIRD_TURN, count, rng), _flags(FOLLOW_UP, count, rng)
    special = _flags(RETURNS if family == "missing" else CLOSE, count, rng)
    flags = [_flags(rate, count, rng) for rate in (DISTRACTORS, STRIPPED, 0.15)]
    briefs = []
    for at in range(count):
        scenes = _scenes(family, levels[at], third[at], follow[at], irrelevant[at], special[at])
        briefs.append(
            Brief(first + at, names[at], split, family, levels[at], scenes, special[at], *(flag[at] for flag in flags))
        )
    return briefs


def _scenes(
    family: Family, level: Level, third: bool, follow: bool, irrelevant: bool, special: bool
) -> tuple[Scene, ...]:
    if family == "abstain":
        return ("hidden",) if special else ("abstain",)
    if family == "missing":
        return ("hidden", "act", "act") if third else ("hidden", "act")
    opening: tuple[Scene, ...] = {"complete": ("act",), "missing": ("clarify", "act"), "minimal": ("look", "act")}[
        level
    ]  # type: ignore[assignment]
    if irrelevant:
        return (*opening, "abstain", "act") if len(opening) == 1 and third else (*opening, "abstain")
    if len(opening) == 2:
        return (*opening, "act") if third else opening
    if third:
        return ("act", "act", "act") if follow else ("act", "clarify", "act")
    return ("act", "act")


def _dealt(shares: Mapping[Any, float], count: int, rng: np.random.Generator) -> list[Any]:
    """So many of the keys, by their shares, shuffled."""
    dealt = [key for key, number in _apportion(count, shares).items() for _ in range(number)]
    return [dealt[i] for i in rng.permutation(count).tolist()]


def _flags(rate: float, count: int, rng: np.random.Generator) -> list[bool]:
    return _dealt({True: rate, False: 1 - rate}, count, rng)


def _apportion(count: int, shares: Mapping[Any, float]) -> dict[Any, int]:
    """Whole numbers by shares that sum to `count`: the largest remainders are rounded up."""
    total = sum(shares.values())
    exact = {key: count * share / total for key, share in shares.items()}
    found = {key: int(value) for key, value in exact.items()}
    spare = sorted(exact, key=lambda key: found[key] - exact[key])[: count - sum(found.values())]
    return {key: number + (key in spare) for key, number in found.items()}


def server_shares(tools: Mapping[str, int]) -> dict[str, float]:
    """Share of the conversations by number of tools: each server as much as any, and half as much again by its size."""
    total = sum(tools.values())
    return {name: 1 / len(tools) + 0.5 * count / total for name, count in tools.items()}


def by_server(briefs: Sequence[Brief]) -> dict[str, list[Brief]]:
    """The briefs of each server, in order."""
    found: dict[str, list[Brief]] = {}
    for brief in briefs:
        found.setdefault(brief.server, []).append(brief)
    return found
