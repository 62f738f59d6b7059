"""Deduplication: no two records of a data set make nearly the same calls.

A record is the set of its tool-name bigrams, start and end marked, and of its name.key=value triples. Two records are
too alike at a Jaccard index of 0.70; an inverted index finds every such pair exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, Final

from palaestra.envs.core.types import canonical_json

THRESHOLD: Final = 0.70
PER_SEQUENCE: Final = 8
"""Records of one sequence of tool names, at most."""


def features(calls: Iterable[tuple[str, Mapping[str, Any]]]) -> frozenset[str]:
    """What a record is compared by.

    >>> sorted(features([("freeze_card", {"card_id": "crd_1"})]))
    ['<freeze_card', 'freeze_card.card_id="crd_1"', 'freeze_card>']
    """
    made = list(calls)
    names = ["", *(name for name, _ in made), ""]
    marks = {f"{a}<{b}" if not a else f"{a}>{b}" for a, b in pairwise(names)}
    return frozenset(marks | {f"{n}.{key}={canonical_json(value)}" for n, args in made for key, value in args.items()})


class Seen:
    """The records kept so far."""

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._holding: dict[str, list[int]] = {}
        self._sequences: dict[tuple[str, ...], int] = {}

    def nearest(self, wanted: frozenset[str]) -> float:
        """The highest Jaccard index with any record kept. Linear in the records that share a feature."""
        shared: dict[int, int] = {}
        for feature in wanted:
            for record in self._holding.get(feature, ()):
                shared[record] = shared.get(record, 0) + 1
        return max((n / (len(wanted) + self._sizes[record] - n) for record, n in shared.items()), default=0.0)

    def refuses(self, wanted: frozenset[str], sequence: tuple[str, ...]) -> str:
        """Why a record would be one too many: "alike" or "sequence"; empty if it would not."""
        if self._sequences.get(sequence, 0) >= PER_SEQUENCE:
            return "sequence"
        return "alike" if self.nearest(wanted) >= THRESHOLD else ""

    def keep(self, wanted: frozenset[str], sequence: tuple[str, ...]) -> None:
        """Add a record."""
        number = len(self._sizes)
        self._sizes.append(len(wanted))
        for feature in wanted:
            self._holding.setdefault(feature, []).append(number)
        self._sequences[sequence] = self._sequences.get(sequence, 0) + 1
