"""How sure a success rate is: intervals for one rate, for a paired gain, and rates by stratum. NumPy only.

All intervals are two-sided 95 %, closed form, and never collapse to a point however few the episodes are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from palaestra.mcp_servers.errors import ConfigError

Z_95: Final = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""

BANDS: Final = (("0-2", 2), ("3-5", 5), ("6-8", 8), ("9-12", 12))
"""Label and largest optimal length of each band; longer ones are "13+"."""
LONGEST_BAND: Final = "13+"
UNKNOWN_BAND: Final = "unknown"


class Interval(NamedTuple):
    """A two-sided 95 % interval."""

    lo: float
    hi: float


class Gain(NamedTuple):
    """A difference of two success rates and its 95 % interval."""

    gain: float
    lo: float
    hi: float


@dataclass(frozen=True, slots=True)
class Rate:
    """A success rate with its Wilson interval; NaN, and the interval [0, 1], of no episodes at all."""

    episodes: int
    won: int
    rate: float
    lo: float
    hi: float

    @classmethod
    def of(cls, won: npt.ArrayLike) -> Rate:
        """The rate of a boolean array [N]."""
        won_N = _booleans(won, "won")
        episodes, wins = int(won_N.size), int(won_N.sum())
        lo, hi = wilson(wins, episodes)
        return cls(episodes, wins, wins / episodes if episodes else math.nan, lo, hi)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data; the rate of no episodes is None."""
        return {**asdict(self), "rate": self.rate if self.episodes else None}


def wilson(successes: int, n: int) -> Interval:
    """Wilson's score interval of a proportion.

    (p + z^2/2n +- z sqrt(p (1 - p) / n + z^2/4n^2)) / (1 + z^2/n); [0, 1] where n is 0.

    >>> [round(bound, 4) for bound in wilson(81, 263)]
    [0.2553, 0.3662]

    Raises: ConfigError "counts" unless 0 <= successes <= n.
    Source: Wilson 1927; the example is Newcombe 1998 (Statistics in Medicine 17:857), Table I.
    """
    if not 0 <= successes <= n:
        raise ConfigError("counts", f"successes = {successes} of n = {n}; give 0 <= successes <= n")
    if n == 0:
        return Interval(0.0, 1.0)
    rate, z2 = successes / n, Z_95**2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # At 0 and n the bound is exactly 0 and 1; rounding must not push it past.
    return Interval(0.0 if successes == 0 else centre - half, 1.0 if successes == n else centre + half)


def paired_gain(before: npt.ArrayLike, after: npt.ArrayLike) -> Gain:
    """How much a success rate rose on the same tasks, with the interval of Bonett and Price.

    gain = (b - c) / n, where b tasks were lost before and won after, c the other way round. Interval: with
    p = (b + 1) / (n + 2), q = (c + 1) / (n + 2), it is p - q +- z sqrt((p + q - (p - q)^2) / (n + 2)), within [-1, 1].

    >>> [round(x, 4) for x in paired_gain([False] * 10, [True] * 4 + [False] * 6)]
    [0.4, -0.0195, 0.6862]

    Args:
        before: bool [N], one entry per task.
        after: bool [N]; entry i is the same task as in `before`.
    Raises: ConfigError "shape" if they differ in length, are empty, or are not booleans in one dimension.
    Source: Bonett and Price 2012, doi 10.3102/1076998611411915 (adjusted Wald interval for paired proportions).
    """
    before_N, after_N = _booleans(before, "before"), _booleans(after, "after")
    if before_N.size != after_N.size or not before_N.size:
        raise ConfigError(
            "shape", f"before has {before_N.size} tasks, after {after_N.size}; evaluate both on the same tasks"
        )
    n = int(before_N.size)
    gained, lost = int((after_N & ~before_N).sum()), int((before_N & ~after_N).sum())
    p, q = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = Z_95 * math.sqrt((p + q - (p - q) ** 2) / (n + 2))
    return Gain((gained - lost) / n, max(-1.0, p - q - half), min(1.0, p - q + half))


def length_band(optimal_moves: float | None) -> str:
    """The stratum of a task whose shortest solution has this many moves; "unknown" if that is None or not finite.

    >>> [length_band(moves) for moves in (1, 3, 5, 6, 12, 13, None)]
    ['0-2', '3-5', '3-5', '6-8', '9-12', '13+', 'unknown']
    """
    if optimal_moves is None or not math.isfinite(optimal_moves):
        return UNKNOWN_BAND
    return next((label for label, largest in BANDS if optimal_moves <= largest), LONGEST_BAND)


def is_length_band(stratum: str) -> bool:
    """Whether a stratum is a band of lengths rather than a kind of task."""
    return stratum in (*(label for label, _ in BANDS), LONGEST_BAND, UNKNOWN_BAND)


def rates_by_stratum(strata: Sequence[str], won: npt.ArrayLike) -> dict[str, Rate]:
    """The success rate of every stratum that occurs: length bands from short to long, then others by name.

    Args:
        strata: [N] names.
        won: bool [N].
    Raises: ConfigError "shape" if their lengths differ.
    """
    won_N = _booleans(won, "won")
    if len(strata) != won_N.size:
        raise ConfigError("shape", f"{len(strata)} strata for {won_N.size} episodes; give one name per episode")
    order = [*(label for label, _ in BANDS), LONGEST_BAND]
    names = sorted(set(strata), key=lambda name: (order.index(name) if name in order else len(order), name))
    strata_N = np.asarray(strata, dtype=object)
    return {name: Rate.of(won_N[strata_N == name]) for name in names}


def _booleans(values: npt.ArrayLike, name: str) -> npt.NDArray[np.bool_]:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype != np.bool_):
        raise ConfigError(
            "shape", f"{name} is {array.dtype} of shape {array.shape}; give booleans in one dimension, one per task"
        )
    return array.astype(np.bool_)
