"""Intervals against published tables, by coverage, and by the laws any interval obeys."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaestra.mcp_servers.errors import ConfigError
from palaestra.mcp_servers.framework.sources import stream
from palaestra.trainers.statistics import Rate, length_band, paired_gain, rates_by_stratum, wilson


@pytest.mark.parametrize(
    ("successes", "n", "lo", "hi"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_matches_newcombes_table(successes: int, n: int, lo: float, hi: float) -> None:
    assert wilson(successes, n) == pytest.approx((lo, hi), abs=5e-5)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_rate_inside_zero_and_one_and_mirrors(case: tuple[int, int]) -> None:
    successes, n = case
    lo, hi = wilson(successes, n)
    assert 0.0 <= lo <= successes / n <= hi <= 1.0
    assert lo < hi
    assert wilson(n - successes, n) == pytest.approx((1 - hi, 1 - lo), abs=1e-12)


def test_wilson_of_nothing_knows_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3), (1, 0)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(ConfigError, match=f"successes = {successes} of n = {n}"):
        wilson(successes, n)


def test_paired_gain_counts_only_the_tasks_that_changed() -> None:
    before = np.array([True, True, False, False, False, True])
    after = np.array([True, False, True, True, False, True])
    gain, lo, hi = paired_gain(before, after)
    assert gain == pytest.approx(1 / 6)
    # by hand: b = 2, c = 1, n = 6; p = 3/8, q = 2/8; 1/8 +- 1.96 sqrt((5/8 - 1/64) / 8)
    half = 1.959963984540054 * math.sqrt((5 / 8 - 1 / 64) / 8)
    assert (lo, hi) == pytest.approx((1 / 8 - half, 1 / 8 + half))


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=300))
def test_paired_gain_is_antisymmetric_and_never_a_point(pairs: list[tuple[bool, bool]]) -> None:
    before, after = np.array(pairs).T
    gain, lo, hi = paired_gain(before, after)
    assert -1.0 <= lo <= gain <= hi <= 1.0
    assert lo < hi
    assert paired_gain(after, before) == pytest.approx((-gain, -hi, -lo))


def test_paired_gain_covers_the_truth_about_95_times_in_100() -> None:
    rng = stream(0, "coverage")
    trials, n, p_gain, p_loss = 2000, 128, 0.25, 0.1
    covered = 0
    for _ in range(trials):
        draw = rng.random(n)
        before, after = draw >= p_gain, (draw < p_gain) | (draw >= p_gain + p_loss)
        _, lo, hi = paired_gain(before, after)
        covered += lo <= p_gain - p_loss <= hi
    assert 0.935 < covered / trials < 0.97


@pytest.mark.parametrize(
    ("before", "after"),
    [([True], [True, False]), ([], []), ([[True]], [[False]]), ([1, 0], [0, 1])],
)
def test_paired_gain_refuses_what_cannot_be_paired(before: list[bool], after: list[bool]) -> None:
    with pytest.raises(ConfigError) as caught:
        paired_gain(before, after)
    assert caught.value.code == "shape"


def test_rate_of_no_episodes_is_no_number() -> None:
    rate = Rate.of([])
    assert math.isnan(rate.rate)
    assert rate.to_dict() == {"episodes": 0, "won": 0, "rate": None, "lo": 0.0, "hi": 1.0}


def test_strata_come_from_short_to_long_and_partition_the_episodes() -> None:
    moves = [14, 4, 7, 10, 4, None, 1]
    won = np.array([False, True, True, False, False, True, True])
    rates = rates_by_stratum([length_band(m) for m in moves], won)
    assert list(rates) == ["0-2", "3-5", "6-8", "9-12", "13+", "unknown"]
    assert {name: (rate.won, rate.episodes) for name, rate in rates.items()} == {
        "0-2": (1, 1), "3-5": (1, 2), "6-8": (1, 1), "9-12": (0, 1), "13+": (0, 1), "unknown": (1, 1),
    }  # fmt: skip


def test_strata_and_episodes_must_match() -> None:
    with pytest.raises(ConfigError, match="2 strata for 1 episodes"):
        rates_by_stratum(["3-5", "6-8"], [True])


def test_length_band_of_a_lost_level_is_unknown() -> None:
    assert length_band(math.inf) == length_band(math.nan) == "unknown"
