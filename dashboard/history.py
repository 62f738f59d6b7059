"""What a run wrote to `metrics.jsonl`, as curves: one pass over the file, whatever a line lacks is left out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from palaestra.trainers.statistics import wilson

MOST_POINTS = 400
"""Points of a plotted curve; a longer one is averaged in equal stretches."""


@dataclass(slots=True)
class Curve:
    """A number over the steps of a phase; NaN where it was not finite."""

    steps: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, step: float, value: float) -> None:
        """Append a point."""
        self.steps.append(step)
        self.values.append(value)

    def thinned(self, most: int = MOST_POINTS) -> Curve:
        """At most `most` points: the means of equal stretches of the curve (of its finite values).

        >>> Curve([1, 2, 3, 4], [0.0, 2.0, 4.0, 6.0]).thinned(2)
        Curve(steps=[1.5, 3.5], values=[1.0, 5.0])
        """
        if len(self.steps) <= most:
            return self
        pieces = [
            (np.mean(steps), _finite_mean(values))
            for steps, values in zip(
                np.array_split(np.asarray(self.steps), most), np.array_split(np.asarray(self.values), most), strict=True
            )
        ]
        return Curve([float(step) for step, _ in pieces], [value for _, value in pieces])


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Success of the policy after `step` RL iterations on tasks it does not train on; low to high is 95 %."""

    step: float
    split: str
    mode: str
    n: int
    success: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class History:
    """A run's metrics.

    Attributes:
        warmup, rl: curves by name, over optimiser steps and RL iterations.
        evaluations: in the order they were made.
        phase_s: wall seconds by phase, from the differences of successive lines.
        cpu_s: CPU seconds at the last line.
        rl_s: seconds of RL by part: rollout, old_pass, update.
        stop_reasons: how the training episodes ended, and how many did.
        tokens: sampled in training.
    """

    warmup: Mapping[str, Curve]
    rl: Mapping[str, Curve]
    evaluations: tuple[Evaluation, ...]
    phase_s: Mapping[str, float]
    cpu_s: float
    rl_s: Mapping[str, float]
    stop_reasons: Mapping[str, int]
    tokens: int

    @property
    def rl_steps(self) -> int:
        """The last RL iteration logged."""
        return int(max((max(curve.steps) for curve in self.rl.values() if curve.steps), default=0))

    def modes(self, split: str = "valid") -> dict[str, list[Evaluation]]:
        """The evaluations of a split by mode, greedy before the others."""
        found: dict[str, list[Evaluation]] = {}
        for evaluation in self.evaluations:
            if evaluation.split == split:
                found.setdefault(evaluation.mode, []).append(evaluation)
        return dict(sorted(found.items(), key=lambda item: (item[0] != "greedy", item[0])))


def read_history(records: Iterable[Mapping[str, Any]]) -> History:
    """Fold the records of `RunFiles.metrics` into curves; time and memory grow with their number."""
    curves: dict[str, dict[str, Curve]] = {"warmup": {}, "rl": {}}
    evaluations: list[Evaluation] = []
    phase_s: dict[str, float] = {}
    rl_s: dict[str, float] = {}
    stop_reasons: dict[str, int] = {}
    tokens, before_s, cpu_s = 0.0, 0.0, 0.0
    for record in records:
        phase, step = str(record.get("phase", "")), number(record.get("step"))
        now_s = number(record.get("wall_s"))
        if now_s is not None:
            phase_s[phase] = phase_s.get(phase, 0.0) + max(0.0, now_s - before_s)
            before_s = now_s
        cpu_s = finite(record.get("cpu_s")) or cpu_s
        if step is None:
            continue
        if phase == "eval":
            evaluations.extend(_evaluation(record, step))
        elif phase in curves:
            _add_scalars(curves[phase], record, step)
        if phase == "rl":
            _add_counts(rl_s, record.get("seconds"))
            _add_counts(stop_reasons, record.get("stop_reasons"))
            tokens += number(record.get("tokens")) or 0.0
    whole = {reason: int(count) for reason, count in stop_reasons.items()}
    return History(curves["warmup"], curves["rl"], tuple(evaluations), phase_s, cpu_s, rl_s, whole, int(tokens))


def number(value: object) -> float | None:
    """The value as a float if it is a number (NaN and infinities count as numbers), else None."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def finite(value: object) -> float | None:
    """The value as a float if it is a finite number, else None."""
    found = number(value)
    return found if found is not None and math.isfinite(found) else None


def section(data: object, key: str) -> Mapping[str, Any]:
    """The object under a key of JSON data; empty if there is none."""
    found = data.get(key) if isinstance(data, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def rate_interval(success: float, n: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a success rate over n episodes."""
    n = max(0, n)
    low, high = wilson(min(n, max(0, round(success * n))), n)
    return low, high


def _evaluation(record: Mapping[str, Any], step: float) -> Iterable[Evaluation]:
    success = finite(record.get("success"))
    if success is None:
        return
    n = int(finite(record.get("n")) or 0)
    bounds = record.get("ci95")
    low_high = [finite(bound) for bound in bounds] if isinstance(bounds, list) else []
    low, high = low_high if len(low_high) == 2 else (None, None)
    if low is None or high is None:
        low, high = rate_interval(success, n)
    yield Evaluation(step, str(record.get("split", "")), str(record.get("mode", "")), n, success, low, high)


def _add_scalars(curves: dict[str, Curve], record: Mapping[str, Any], step: float) -> None:
    for name, raw in record.items():
        value = number(raw)
        if value is not None and name not in ("step", "wall_s", "cpu_s"):
            curves.setdefault(name, Curve()).add(step, value if math.isfinite(value) else math.nan)
    groups, silent = finite(record.get("groups")), finite(record.get("groups_zero_signal"))
    if groups and silent is not None:
        curves.setdefault("zero_signal", Curve()).add(step, silent / groups)


def _add_counts(totals: dict[str, Any], counts: object) -> None:
    if isinstance(counts, Mapping):
        for name, count in counts.items():
            totals[str(name)] = totals.get(str(name), 0) + (finite(count) or 0)


def _finite_mean(values: Any) -> float:
    kept = values[np.isfinite(values)]
    return float(kept.mean()) if kept.size else math.nan
