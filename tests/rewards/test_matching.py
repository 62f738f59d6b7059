from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palaestra.rewards.matching import Problem, covered, first_fit, optimal


def worth(problem: Problem, pairs: Mapping[int, int]) -> tuple[int, int, tuple[int, ...]]:
    """What a better matching has more of, spelled out: covered steps, agreement, earliness of the steps in order."""
    late = len(problem.fits)
    agreement = sum(problem.fits[call][gold] for gold, call in pairs.items())
    earliness = tuple(late - pairs.get(gold, late) for gold in range(len(problem.before)))
    return len(covered(pairs, problem.before)), agreement, earliness


def every_matching(problem: Problem, gold: int = 0) -> Iterator[dict[int, int]]:
    """Each way to give the steps from `gold` on different calls, or none."""
    if gold == len(problem.before):
        yield {}
        return
    for pairs in every_matching(problem, gold + 1):
        yield pairs
        for call, fits in enumerate(problem.fits):
            if gold in fits and call not in pairs.values():
                yield {gold: call, **pairs}


@st.composite
def problems(draw: st.DrawFn, golds: int = 5, calls: int = 6) -> Problem:
    """Steps of a few names that need earlier ones, calls of a few names, any agreement."""
    steps = draw(st.lists(st.integers(0, 2), min_size=1, max_size=golds))
    before = [draw(st.integers(0, (1 << gold) - 1)) for gold in range(len(steps))]
    units = draw(st.sampled_from([1, 2, 6]))
    fits = []
    for name in draw(st.lists(st.integers(0, 2), max_size=calls)):
        candidates = [gold for gold, step in enumerate(steps) if step == name]
        fits.append({gold: draw(st.integers(0, units)) for gold in candidates if draw(st.integers(0, 5))})
    return Problem(fits, before, units)


def check_against_brute_force(problem: Problem) -> None:
    best = max(worth(problem, pairs) for pairs in every_matching(problem))
    found = optimal(problem)
    assert found.exact
    assert worth(problem, found.pairs) == best


@settings(max_examples=500, deadline=None)
@given(problems())
def test_optimal_matching_equals_brute_force(problem: Problem) -> None:
    check_against_brute_force(problem)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(problems())
def test_optimal_matching_equals_brute_force_10_000_times(problem: Problem) -> None:
    check_against_brute_force(problem)


@settings(max_examples=500, deadline=None)
@given(problems(golds=12, calls=18), st.sampled_from([1, 4, 512]))
def test_it_is_never_below_first_fit(problem: Problem, width: int) -> None:
    quick, found = first_fit(problem), optimal(problem, width)
    assert worth(problem, found.pairs) >= worth(problem, quick.pairs)
    assert len(set(found.pairs.values())) == len(found.pairs)
    assert all(gold in problem.fits[call] for gold, call in found.pairs.items())


EVERY_WAY = [
    pytest.param(Problem([{0: 0, 1: 1}, {0: 1, 1: 0}], [0, 0]), {0: 0, 1: 1}, {0: 1, 1: 0}, id="values crossed"),
    pytest.param(
        Problem([{1: 1}, {0: 1}, {1: 1}], [0, 0b1]), {0: 1, 1: 0}, {0: 1, 1: 2}, id="a useless call came first"
    ),
    pytest.param(Problem([{0: 1, 1: 1}, {0: 1}], [0, 0]), {0: 0}, {0: 1, 1: 0}, id="the only one with both keys"),
]


@pytest.mark.parametrize(("problem", "quick", "best"), EVERY_WAY)
def test_where_first_fit_goes_wrong(problem: Problem, quick: dict[int, int], best: dict[int, int]) -> None:
    assert dict(first_fit(problem).pairs) == quick
    assert dict(optimal(problem).pairs) == best


def test_a_step_of_a_later_turn_can_decide_which_step_is_taken_now() -> None:
    # One call, two steps it fits; only the second is what the next turn builds on.
    problem = Problem([{0: 1, 1: 1}, {2: 1}], [0, 0, 0b10])
    assert dict(optimal(problem).pairs) == {1: 0, 2: 1}


def test_a_narrow_beam_says_so() -> None:
    crossed = [{gold: int(gold == 11 - call) for gold in range(12)} for call in range(12)]
    assert not optimal(Problem(crossed, [0] * 12), 4).exact
    assert optimal(Problem([{0: 1}], [0])).exact


def test_nothing_to_match_is_no_pair() -> None:
    assert dict(optimal(Problem([], [0, 0])).pairs) == {}
    assert dict(optimal(Problem([{}], [])).pairs) == {}
