from __future__ import annotations

import math
import re
from dataclasses import replace

import matplotlib
import pytest

from palaestra.dashboard import plots
from palaestra.dashboard.history import Curve, Evaluation
from palaestra.dashboard.plots import Signal
from palaestra.dashboard.results import Pair
from palaestra.dashboard.svg import PAINT, figure, settings, to_svg

PAIR = Pair("greedy", 50, 0.1, 0.6, (0.04, 0.2), (0.45, 0.73), 0.5, (0.3, 0.7))


def evaluation(step: int, success: float, mode: str = "greedy") -> Evaluation:
    return Evaluation(step, "valid", mode, 50, success, max(0.0, success - 0.1), min(1.0, success + 0.1))


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_every_plot_is_one_svg_that_the_page_policy_allows() -> None:
    modes = {"greedy": [evaluation(0, 0.1), evaluation(4, 0.5)], "sampled": [evaluation(0, 0.05, "sampled")]}
    drawn = {
        "learning": plots.learning_curve(modes, None, 880, "wide"),
        "dumbbells": plots.dumbbells([PAIR, PAIR]),
        "strata": plots.strata([PAIR], by_length=True),
        "small": plots.small(Curve([1, 2], [0.1, 0.2]), Signal(("entropy",), "Entropy", "nats"), "RL iteration"),
        "time": plots.time_bar([("Warm-up", 5.0), ("RL", 7.0)], 400, "narrow"),
    }
    identities: list[str] = []
    for svg in drawn.values():
        assert svg.startswith("<svg ")
        assert svg.endswith("</svg>")
        assert svg.count("<svg") == 1
        assert not re.search(r"style=|<style|<script|https?://|<metadata|#0101|\son\w+=", svg)
        assert "aria-label=" in svg
        identities += re.findall(r' id="([^"]+)"', svg)
    assert len(dict.fromkeys(identities)) == len(identities), "ids must be unique on the page"


def test_axes_are_labelled_with_units() -> None:
    curve = plots.learning_curve({"greedy": [evaluation(0, 0.1), evaluation(8, 0.4)]}, None, 400, "narrow")
    assert {"RL iteration", "validation success", "greedy", "before RL, greedy 10 %"} <= {*texts(curve)}
    small = plots.small(Curve([1, 2], [0.1, 0.2]), Signal(("kl",), "KL", "nats per token"), "RL iteration")
    assert {"RL iteration", "nats per token"} <= {*texts(small)}
    assert "wall time, minutes" in texts(plots.time_bar([("a", 300.0)], 400, ""))


def test_the_numbers_drawn_are_the_numbers_given() -> None:
    assert {"10 %", "60 %", "greedy"} <= {*texts(plots.dumbbells([PAIR]))}
    assert {"10", "60"} <= {*texts(plots.strata([PAIR], by_length=True))}
    assert "n = 50" in plots.strata([PAIR], by_length=True)
    kinds = [replace(PAIR, label=f"kind_{number}") for number in range(13)]
    assert {"10 %", "60 %", "kind 0", "kind 12"} <= {*texts(plots.strata(kinds, by_length=False))}


def test_the_kept_iteration_is_marked() -> None:
    svg = plots.learning_curve({"greedy": [evaluation(0, 0.1), evaluation(8, 0.4)]}, 8.0, 880, "wide")
    assert "best, iteration 8" in texts(svg)


def test_a_curve_that_starts_later_has_no_line_before_rl() -> None:
    svg = plots.learning_curve({"greedy": [evaluation(4, 0.1)]}, None, 880, "wide")
    assert not any(text.startswith("before RL") for text in texts(svg))


@pytest.mark.parametrize("values", [[0.0], [0.0] * 30, [math.nan] * 3, [1.0, math.nan, 3.0] * 20])
@pytest.mark.parametrize("share", [True, False])
def test_flat_single_and_missing_values_draw(values: list[float], share: bool) -> None:
    curve = Curve(list(range(len(values))), values)
    assert plots.small(curve, Signal(("x",), "X", "units", share=share), "RL iteration").startswith("<svg")


def test_perfect_and_hopeless_results_draw() -> None:
    ends = [
        Pair("a", 5, 0.0, 1.0, (0.0, 0.4), (0.6, 1.0), 1.0, None),
        Pair("b", 0, 1.0, 0.0, (0, 1), (0, 1), -1.0, None),
    ]
    assert plots.strata(ends, by_length=True).startswith("<svg")
    assert plots.dumbbells(ends).startswith("<svg")
    assert plots.learning_curve({"greedy": [Evaluation(0, "valid", "greedy", 5, 0, 0, 0)]}, None, 880, "").startswith(
        "<svg"
    )


def test_hostile_names_are_text() -> None:
    name = '$x^2$ <script>alert(1)</script> "門'
    for by_length in (True, False):
        svg = plots.strata([Pair(name, 5, 0.1, 0.2, (0, 1), (0, 1), 0.1, None)], by_length=by_length)
        assert "<script" not in svg
        assert any("$x^2$" in text for text in texts(svg))


def test_drawing_leaves_the_global_settings_alone() -> None:
    before = dict(matplotlib.rcParams)
    with settings("test"):
        drawn = figure(100, 80)
        drawn.subplots().plot([0, 1], [0, 1], color=PAINT["after"])
        svg = to_svg(drawn, 'a "label" & more')
    assert dict(matplotlib.rcParams) == before
    assert 'stroke="var(--after)"' in svg
    assert 'aria-label="a &quot;label&quot; &amp; more"' in svg


def test_the_same_numbers_draw_the_same_picture() -> None:
    assert plots.dumbbells([PAIR]) == plots.dumbbells([PAIR])


def test_a_running_mean_is_centred_and_skips_gaps() -> None:
    values = [1.0, 3.0, math.nan, 5.0, 7.0]
    assert plots._running_mean(values, 3).tolist() == [1.0, 2.0, 4.0, 6.0, 7.0]
    assert math.isnan(plots._running_mean([math.nan], 1)[0])
