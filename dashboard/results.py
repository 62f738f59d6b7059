"""The result of a run: held-out success before and after, or the best that can be said while it still trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from palaestra.dashboard.history import History, finite, rate_interval, section
from palaestra.trainers.statistics import is_length_band

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Pair:
    """A success rate before and after training on the same n tasks, with 95 % intervals."""

    label: str
    n: int
    before: float
    after: float
    before_ci: Interval
    after_ci: Interval
    gain: float
    gain_ci: Interval | None


@dataclass(frozen=True, slots=True)
class Result:
    """What the report says first.

    Attributes:
        title: what was measured.
        pair: the headline; None if nothing was evaluated yet.
        final: True for held-out tasks after training, False for validation tasks so far.
        modes, strata: the same by decoding mode and by stratum; may be empty.
        detail: one sentence about the headline.
    """

    title: str
    pair: Pair | None
    final: bool
    modes: tuple[Pair, ...]
    strata: tuple[Pair, ...]
    detail: str

    @property
    def by_length(self) -> bool:
        """Whether the strata are lengths of shortest solutions; otherwise they are kinds of tasks."""
        return all(is_length_band(pair.label) for pair in self.strata)


def read_result(summary: Mapping[str, Any] | None, history: History) -> Result:
    """The held-out result of the summary; without one, validation success before RL and at its best."""
    held_out = section(summary, "held_out")
    headline = _pair("held-out success", held_out)
    if headline is None:
        return _so_far(history)
    mode, split = str(held_out.get("mode", "greedy")), str(held_out.get("split", "test"))
    modes = [_pair(name, section(held_out, name)) for name in ("greedy", "sampled")]
    strata = [_pair(str(name), part) for name, part in section(held_out, "by_stratum").items()]
    kept = tuple(pair for pair in modes if pair is not None)
    detail = f"{headline.n} {split} tasks the policy never trained on, the same before and after, {mode} decoding."
    by_stratum = tuple(pair for pair in strata if pair is not None)
    return Result("Held-out success", headline, True, kept or (headline,), by_stratum, detail)


def _so_far(history: History) -> Result:
    modes = history.modes()
    if not modes:
        return Result("No evaluation yet", None, False, (), (), "Nothing has been evaluated in this run so far.")
    mode, points = next(iter(modes.items()))
    first, best = points[0], max(points, key=lambda point: point.success)
    pair = Pair(
        f"validation, {mode}",
        best.n,
        first.success,
        best.success,
        (first.low, first.high),
        (best.low, best.high),
        best.success - first.success,
        None,
    )
    detail = (
        f"{best.n} validation tasks, {mode} decoding: iteration {first.step:.0f}, then the best so far (iteration "
        f"{best.step:.0f}). The best of several measurements flatters; held-out success comes at the end of a run."
    )
    return Result("Validation success so far", pair, False, (pair,), (), detail)


def _pair(label: str, data: object) -> Pair | None:
    if not isinstance(data, Mapping):
        return None
    before, after = finite(data.get("before")), finite(data.get("after"))
    if before is None or after is None:
        return None
    n = int(finite(data.get("n")) or 0)
    gain = finite(data.get("gain"))
    bounds = data.get("gain_ci95")
    ends = [finite(bound) for bound in bounds] if isinstance(bounds, list) else []
    low, high = ends if len(ends) == 2 else (None, None)
    return Pair(
        label,
        n,
        before,
        after,
        rate_interval(before, n),
        rate_interval(after, n),
        after - before if gain is None else gain,
        None if low is None or high is None else (low, high),
    )
