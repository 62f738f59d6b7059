"""Which call stands for which gold step: in order of the gold steps, or as well as it can be done.

A matching is better than another if more gold steps count as covered (their direct predecessors were matched
earlier), then if more argument values agree, then if the gold steps, in order, have the earlier calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import Final

WORK: Final = 24_000
"""Pairs of a set of matched steps and a fitting call looked at, at most; beyond it the beam narrows."""
NARROWEST: Final = 16


@dataclass(frozen=True, slots=True)
class Problem:
    """What can be matched with what.

    Attributes:
        fits: per call, in time order: gold step -> how much of its arguments agree, in `units`.
        before: per gold step: its direct predecessors as a bit set.
        units: agreement of a gold step all of whose values agree.
    """

    fits: Sequence[Mapping[int, int]]
    before: Sequence[int]
    units: int = 1


@dataclass(frozen=True, slots=True)
class Matching:
    """Gold step -> call, as indices; `exact` is False if the beam was too narrow to be sure of the best."""

    pairs: Mapping[int, int]
    exact: bool = True


def covered(pairs: Mapping[int, int], before: Sequence[int]) -> tuple[int, ...]:
    """The matched gold steps all of whose direct predecessors are matched to earlier calls."""
    return tuple(
        gold
        for gold, call in sorted(pairs.items())
        if all(pairs.get(earlier, call) < call for earlier in range(len(before)) if before[gold] >> earlier & 1)
    )


def first_fit(problem: Problem) -> Matching:
    """Each gold step, in order, takes the earliest call left that fits. Linear in calls times gold steps."""
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for gold in range(len(problem.before)):
        for call, fits in enumerate(problem.fits):
            if gold in fits and call not in taken:
                pairs[gold] = call
                taken.add(call)
                break
    return Matching(pairs)


def optimal(problem: Problem, width: int = 512) -> Matching:
    """The best matching; never worse than `first_fit`.

    Calls are gone through in time order, keeping for each set of matched gold steps the best way to get there. That is
    exact, because whether a step counts as covered depends only on which steps were matched before it. If more than
    `width` sets have to be kept, or fewer where calls and gold steps are many, the best of them are.

    Cost: linear where first fit is perfect already; else some 0.5 us per set and fitting pair, at most some 20 ms.
    """
    quick = first_fit(problem)
    agreement = sum(problem.fits[call][gold] for gold, call in quick.pairs.items())
    golds = len(problem.before)
    if agreement == golds * problem.units and len(covered(quick.pairs, problem.before)) == golds:
        return quick
    ranks = _Ranks(problem)
    best, exact = _search(problem, ranks, width)
    return Matching(ranks.pairs(max(best, ranks.of(quick.pairs))), exact)


class _Ranks:
    """A matching as one integer that is larger for the better: coverage, agreement, then how early each step's call is.

    Whole matchings can be read back from it, so that the search carries nothing else.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._calls = len(problem.fits)
        self._bits = self._calls.bit_length()
        golds = len(problem.before)
        self._agreement = self._bits * golds
        self.covered = 1 << (self._agreement + (golds * problem.units).bit_length())

    def pair(self, gold: int, call: int) -> int:
        """What a pair adds, its coverage left out."""
        earliness = self._calls - call  # 0 stands for a step without a call
        return (self._problem.fits[call][gold] << self._agreement) + (earliness << self._shift(gold))

    def of(self, pairs: Mapping[int, int]) -> int:
        """The rank of a whole matching."""
        whole = sum(self.pair(gold, call) for gold, call in pairs.items())
        return whole + self.covered * len(covered(pairs, self._problem.before))

    def pairs(self, rank: int) -> dict[int, int]:
        """The matching of a rank."""
        found = {}
        for gold in range(len(self._problem.before)):
            earliness = rank >> self._shift(gold) & ((1 << self._bits) - 1)
            if earliness:
                found[gold] = self._calls - earliness
        return found

    def _shift(self, gold: int) -> int:
        return self._bits * (len(self._problem.before) - 1 - gold)


def _search(problem: Problem, ranks: _Ranks, width: int) -> tuple[int, bool]:
    """The best rank found, and whether no set of matched steps had to be given up."""
    calls = _worth_trying(problem.fits)
    width = min(width, max(NARROWEST, WORK // max(1, sum(len(problem.fits[call]) for call in calls))))
    later, needed = _outlook(problem, calls)
    exact = True
    states = {0: 0}
    for at, call in enumerate(calls):
        moves = [(1 << gold, problem.before[gold], ranks.pair(gold, call)) for gold in problem.fits[call]]
        states = _advance(states, moves, later[at], needed[at], ranks.covered)
        if len(states) > width:
            states = dict(nlargest(width, states.items(), key=_rank_of))
            exact = False
    return max(states.values()), exact


def _rank_of(state: tuple[int, int]) -> int:
    return state[1]


def _advance(
    states: Mapping[int, int], moves: Sequence[tuple[int, int, int]], later: int, needed: int, covered: int
) -> dict[int, int]:
    """The sets reached by matching one call with any step it fits, or with none."""
    reached: dict[int, int] = {}
    fitting = sum(bit for bit, _, _ in moves)
    for matched, rank in states.items():
        free = fitting & ~matched
        if not free or free & later:  # otherwise nobody else can take these steps, so one is taken now
            kept = matched & needed
            if reached.get(kept, -1) < rank:
                reached[kept] = rank
        for bit, before, gain in moves:
            if bit & free:
                gained = rank + gain + (covered if matched & before == before else 0)
                kept = (matched | bit) & needed
                if reached.get(kept, -1) < gained:
                    reached[kept] = gained
    return reached


def _worth_trying(fits: Sequence[Mapping[int, int]]) -> list[int]:
    """Calls that fit something. Of calls in a row that fit the same, only as many as there are steps to take them."""
    chosen: list[int] = []
    same = 0
    for call, found in enumerate(fits):
        if not found:
            continue
        same = same + 1 if chosen and fits[chosen[-1]] == found else 1
        if same <= len(found):
            chosen.append(call)
    return chosen


def _outlook(problem: Problem, calls: Sequence[int]) -> tuple[list[int], list[int]]:
    """After each call: the steps that later calls fit, and those whose being matched still makes a difference."""
    later = [0] * len(calls)
    needed = [0] * len(calls)
    reach = 0
    for at in reversed(range(len(calls))):
        later[at] = needed[at] = reach
        for gold in range(len(problem.before)):
            if reach >> gold & 1:
                needed[at] |= problem.before[gold]
        reach |= sum(1 << gold for gold in problem.fits[calls[at]])
    return later, needed
