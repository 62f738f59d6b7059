"""Deduplication is exact: the inverted index finds what comparing every pair finds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from palaestra.envs.tools.synthesis.dedup import PER_SEQUENCE, THRESHOLD, Seen, features

CALL = st.tuples(st.sampled_from("abc"), st.dictionaries(st.sampled_from("xy"), st.integers(0, 2)))
CALLS = st.lists(CALL, min_size=1, max_size=4)


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other)


@settings(max_examples=200, deadline=None)
@given(st.lists(CALLS, min_size=1, max_size=12))
def test_the_index_finds_what_comparing_every_pair_finds(records: list[list[tuple[str, dict[str, int]]]]) -> None:
    seen, kept, counts = Seen(), list[frozenset[str]](), dict[tuple[str, ...], int]()
    for calls in records:
        wanted, sequence = features(calls), tuple(name for name, _ in calls)
        nearest = max((jaccard(wanted, other) for other in kept), default=0.0)
        assert abs(seen.nearest(wanted) - nearest) < 1e-12
        expected = "sequence" if counts.get(sequence, 0) >= PER_SEQUENCE else "alike" if nearest >= THRESHOLD else ""
        assert seen.refuses(wanted, sequence) == expected
        if not expected:
            seen.keep(wanted, sequence)
            kept.append(wanted)
            counts[sequence] = counts.get(sequence, 0) + 1
    assert all(jaccard(a, b) < THRESHOLD for i, a in enumerate(kept) for b in kept[:i])


def test_a_sequence_of_tools_is_kept_eight_times() -> None:
    seen = Seen()
    for number in range(PER_SEQUENCE):
        wanted = features([("a", {f"k{number}": number}), ("b", {f"v{number}": [number]})])
        assert seen.refuses(wanted, ("a", "b")) == ""
        seen.keep(wanted, ("a", "b"))
    other = features([("a", {"quite": 1}), ("b", {"another": 2})])
    assert seen.refuses(other, ("a", "b")) == "sequence"
    assert seen.refuses(other, ("b", "a")) == ""


def test_order_and_values_count() -> None:
    assert features([("a", {}), ("b", {})]) != features([("b", {}), ("a", {})])
    assert features([("a", {"x": 1})]) != features([("a", {"x": "1"})])
