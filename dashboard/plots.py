"""The plots of the report, each a function from numbers to inline SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import FuncFormatter, MaxNLocator

from palaestra.dashboard.history import Curve, Evaluation
from palaestra.dashboard.results import Pair
from palaestra.dashboard.svg import PAINT, figure, plain, settings, to_svg

PERCENT = FuncFormatter(lambda value, _position: f"{100 * value:.0f} %")
_LINES: Final = (("after", "-", "o"), ("orange", "--", "s"), ("green", ":", "^"), ("purple", "-.", "D"))
TIME_PAINT: Final = ("orange", "blue", "purple", "green", "muted", "before")


@dataclass(frozen=True, slots=True)
class Signal:
    """One number to follow over training; of several keys the first that was logged is shown."""

    keys: tuple[str, ...]
    title: str
    unit: str
    share: bool = False


def learning_curve(modes: Mapping[str, Sequence[Evaluation]], kept: float | None, width: int, css_class: str) -> Markup:
    """Validation success over RL iterations: a line with a 95 % band per mode; dotted, the level before RL and the
    iteration whose weights were kept.
    """
    with settings(f"learning{width}"):
        drawn = figure(width, 340 if width > 500 else 300)
        axes = drawn.subplots()
        top = 0.0
        for (mode, points), (paint, dashes, marker) in zip(modes.items(), _LINES, strict=False):
            colour = PAINT[paint]
            steps = [point.step for point in points]
            curve = Curve(steps, [point.success for point in points]).thinned()
            low = Curve(steps, [point.low for point in points]).thinned()
            high = Curve(steps, [point.high for point in points]).thinned()
            few = marker if len(curve.steps) <= 40 else None
            axes.fill_between(curve.steps, low.values, high.values, color=colour, alpha=0.16, linewidth=0)
            axes.plot(curve.steps, curve.values, dashes, marker=few, color=colour, label=plain(mode))
            top = max(top, *high.values)
        first = next(iter(modes.values()))[0]
        if first.step == 0:
            label = f"before RL, {plain(first.mode)} {100 * first.success:.0f} %"
            axes.axhline(first.success, color=PAINT["muted"], linestyle=(0, (2, 2)), linewidth=1.4, label=label)
        if kept is not None:
            label = f"best, iteration {kept:.0f}"
            axes.axvline(kept, color=PAINT["after"], linestyle=(0, (1, 2)), linewidth=1.4, label=label)
        axes.set_ylim(0, min(1.02, 1.08 * top) or 1)
        axes.set_xlabel("RL iteration")
        axes.set_ylabel("validation success")
        axes.yaxis.set_major_formatter(PERCENT)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        drawn.legend(loc="outside upper left", ncols=4 if width > 500 else 2)
        return to_svg(drawn, "Validation success with 95 % bands over RL iterations", css_class)


def dumbbells(pairs: Sequence[Pair], name: str = "dumbbells", row_height: int = 84) -> Markup:
    """Success before (hollow) and after (filled) with 95 % intervals, a row per pair."""
    with settings(name):
        drawn = figure(440, 60 + row_height * len(pairs))
        axes = drawn.subplots()
        for row, pair in enumerate(reversed(pairs)):
            axes.plot([pair.before, pair.after], [row, row], color=PAINT["grid"], linewidth=7, solid_capstyle="round")
            for value, interval, paint, face, lift in (
                (pair.before, pair.before_ci, "before", "none", -0.15),
                (pair.after, pair.after_ci, "after", PAINT["after"], 0.15),
            ):
                colour = PAINT[paint]
                axes.plot(interval, [row + lift] * 2, color=colour, linewidth=1.6)
                axes.plot([value], [row], "o", color=colour, markerfacecolor=face, markersize=11, markeredgewidth=2.4)
                place = (value, row + 2.2 * lift)
                axes.annotate(f"{100 * value:.0f} %", place, ha="center", va="center", color=colour, weight="bold")
        axes.set_yticks(range(len(pairs)), [plain(pair.label).replace("_", " ") for pair in reversed(pairs)])
        axes.tick_params(axis="y", labelcolor=PAINT["ink"], labelsize=12)
        axes.set_xlim(-0.04, 1.04)
        axes.set_xticks(np.linspace(0, 1, 6))
        axes.set_ylim(-0.75, len(pairs) - 0.25)
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
        axes.xaxis.set_major_formatter(PERCENT)
        axes.set_xlabel("held-out success, bars are 95 % intervals")
        return to_svg(drawn, "Held-out success before and after training: " + _spoken(pairs))


def strata(pairs: Sequence[Pair], *, by_length: bool) -> Markup:
    """Success before and after by stratum: bars from zero where strata are in order, a row for each kind otherwise."""
    if not by_length:
        return dumbbells(pairs, "strata", 48)
    with settings("strata"):
        drawn = figure(430, 300)
        axes = drawn.subplots()
        for shift, name in ((-0.2, "before"), (0.2, "after")):
            x = np.arange(len(pairs)) + shift
            values = np.array([getattr(pair, name) for pair in pairs])
            low, high = np.array([getattr(pair, f"{name}_ci") for pair in pairs]).T
            errors = np.clip([values - low, high - values], 0, None)
            solid: dict[str, Any] = {"color": PAINT[name], "edgecolor": PAINT[name], "linewidth": 1.6}
            style = solid if name == "after" else {**solid, "color": "none"}
            bars = axes.bar(x, values, 0.34, label=name, **style)
            axes.errorbar(x, values, errors, fmt="none", ecolor=PAINT["ink"], elinewidth=1.4, capsize=4)
            for bar, value, end in zip(bars, values, high, strict=True):
                place = (bar.get_x() + bar.get_width() / 2, end)
                offset: dict[str, Any] = {"xytext": (0, 4), "textcoords": "offset points"}
                axes.annotate(f"{100 * value:.0f}", place, ha="center", va="bottom", **offset)
        axes.set_xticks(range(len(pairs)), [f"{plain(pair.label)}\nn = {pair.n}" for pair in pairs])
        axes.set_ylim(0, 1.12)
        axes.set_yticks(np.linspace(0, 1, 6))
        axes.yaxis.set_major_formatter(PERCENT)
        axes.set_xlabel("moves of a shortest solution")
        axes.set_ylabel("held-out success")
        drawn.legend(loc="outside upper left", ncols=2)
        return to_svg(drawn, "Held-out success by solution length, before and after: " + _spoken(pairs))


def small(curve: Curve, signal: Signal, step_name: str) -> Markup:
    """One training signal: the values pale, their running mean over a tenth of the run bold."""
    with settings(f"small-{step_name}-{signal.keys[0]}"):
        drawn = figure(300, 190)
        axes = drawn.subplots()
        thin = curve.thinned(200)
        window = max(1, len(thin.values) // 10)
        axes.plot(thin.steps, thin.values, color=PAINT["after"], alpha=0.35 if window > 1 else 1, linewidth=1.4)
        if window > 1:
            axes.plot(thin.steps, _running_mean(thin.values, window), color=PAINT["after"])
        elif len(thin.values) == 1:
            axes.plot(thin.steps, thin.values, "o", color=PAINT["after"])
        if signal.share:
            axes.yaxis.set_major_formatter(PERCENT)
            largest = max((value for value in thin.values if math.isfinite(value)), default=1.0)
            axes.set_ylim(0, max(0.02, min(1.02, 1.15 * largest)))
        elif not any(thin.values):
            axes.set_ylim(0, 1)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.set_xlabel(step_name)
        axes.set_ylabel(signal.unit)
        return to_svg(drawn, f"{signal.title} ({signal.unit}) over {step_name}s")


def time_bar(parts: Sequence[tuple[str, float]], width: int, css_class: str) -> Markup:
    """Seconds by part, as one stacked bar; the table beside it carries the names."""
    with settings(f"time{width}"):
        drawn = figure(width, 88)
        axes = drawn.subplots()
        unit, seconds = time_unit(sum(value for _, value in parts))
        left = 0.0
        for (_name, value), paint in zip(parts, _cycle(len(parts)), strict=True):
            axes.barh(0, value / seconds, left=left, height=0.7, color=PAINT[paint])
            left += value / seconds
        axes.set_yticks([])
        axes.set_xlim(0, left or 1)
        axes.grid(visible=False)
        axes.set_xlabel(f"wall time, {unit}")
        return to_svg(drawn, "Wall time: " + ", ".join(f"{name} {value:.0f} s" for name, value in parts), css_class)


def time_unit(total_s: float) -> tuple[str, float]:
    """The unit to show a duration in, and its seconds.

    >>> time_unit(50.0), time_unit(600.0), time_unit(90_000.0)
    (('seconds', 1.0), ('minutes', 60.0), ('hours', 3600.0))
    """
    return ("seconds", 1.0) if total_s < 180 else ("minutes", 60.0) if total_s < 10_800 else ("hours", 3600.0)


def _cycle(count: int) -> list[str]:
    return [TIME_PAINT[index % len(TIME_PAINT)] for index in range(count)]


def _spoken(pairs: Sequence[Pair]) -> str:
    return "; ".join(f"{pair.label} {100 * pair.before:.0f} % to {100 * pair.after:.0f} %" for pair in pairs)


def _running_mean(values: Sequence[float], window: int) -> Any:
    """The mean of the finite values in a window centred on each, narrower at the ends; NaN where there is none."""
    numbers = np.asarray(values, dtype=float)
    good = np.isfinite(numbers)
    sums = np.concatenate([[0.0], np.cumsum(np.where(good, numbers, 0.0))])
    counts = np.concatenate([[0], np.cumsum(good)])
    places = np.arange(len(numbers))
    reach = np.minimum(window // 2, np.minimum(places, places[::-1]))
    first, last = places - reach, places + reach + 1
    count = counts[last] - counts[first]
    return np.where(count > 0, (sums[last] - sums[first]) / np.maximum(count, 1), np.nan)
