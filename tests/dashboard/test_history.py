from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from palaestra.dashboard.history import Curve, finite, number, rate_interval, read_history, section
from palaestra.trainers.run_directory import RunFiles
from palaestra.trainers.statistics import wilson


def test_a_run_is_read_as_it_was_logged(finished_run: Path) -> None:
    records = list(RunFiles(finished_run).metrics())
    history = read_history(records)
    rl = [record for record in records if record["phase"] == "rl"]
    assert history.rl_steps == 6
    assert history.rl["reward_mean"].values == [record["reward_mean"] for record in rl]
    assert history.rl["zero_signal"].values == [record["groups_zero_signal"] / record["groups"] for record in rl]
    assert history.tokens == sum(record["tokens"] for record in rl)
    assert history.rl_s == {"rollout": 36.0, "old_pass": 3.0, "update": 18.0}
    assert sum(history.stop_reasons.values()) == sum(record["groups"] for record in rl)
    assert len(history.warmup["loss"].values) == 24


def test_phases_get_the_time_between_lines_and_a_clock_set_back_takes_none_away() -> None:
    lines = [("warmup", 5.0), ("rl", 15.0), ("eval", 18.0), ("rl", 10.0), ("rl", 12.0)]
    history = read_history([{"phase": phase, "wall_s": wall_s} for phase, wall_s in lines])
    assert history.phase_s == {"warmup": 5.0, "rl": 12.0, "eval": 3.0}


def test_modes_come_greedy_first_and_only_of_the_split() -> None:
    def line(mode: str, split: str) -> dict[str, Any]:
        return {"phase": "eval", "step": 0, "split": split, "mode": mode, "n": 10, "success": 0.5, "ci95": [0.2, 0.8]}

    history = read_history([line("sampled", "valid"), line("greedy", "valid"), line("greedy", "test")])
    assert list(history.modes()) == ["greedy", "sampled"]
    assert [len(points) for points in history.modes().values()] == [1, 1]
    assert history.modes("other") == {}


@pytest.mark.parametrize("bounds", [None, [0.1], [0.1, None], "0.1"])
def test_a_missing_interval_is_computed_from_the_counts(bounds: Any) -> None:
    record = {"phase": "eval", "step": 0, "n": 20, "success": 0.25, "ci95": bounds}
    evaluation = read_history([record]).evaluations[0]
    assert (evaluation.low, evaluation.high) == tuple(wilson(5, 20))


def test_an_evaluation_without_a_number_and_lines_without_a_step_are_left_out() -> None:
    records: list[dict[str, Any]] = [
        {"phase": "eval", "step": 1, "success": math.nan},
        {"phase": "rl", "loss": 1.0},
        {"step": 1},
        {},
    ]
    history = read_history(records)
    assert (history.evaluations, history.rl, history.rl_steps) == ((), {}, 0)


def test_non_finite_values_stay_as_gaps() -> None:
    history = read_history([{"phase": "rl", "step": step, "loss": loss} for step, loss in enumerate((1.0, math.inf))])
    assert history.rl["loss"].values[0] == 1.0
    assert math.isnan(history.rl["loss"].values[1])


def test_a_long_curve_is_averaged_and_a_short_one_left_alone() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=1200).tolist()
    curve = Curve(list(range(1200)), values)
    thin = curve.thinned(400)
    assert len(thin.steps) == len(thin.values) == 400
    assert thin.values[7] == pytest.approx(np.mean(values[21:24]))
    assert curve.thinned(1200) is curve


def test_thinning_skips_gaps_but_keeps_a_stretch_of_them() -> None:
    thin = Curve([0, 1, 2, 3], [math.nan, 4.0, math.nan, math.nan]).thinned(2)
    assert thin.values[0] == 4.0
    assert math.isnan(thin.values[1])


def test_numbers_are_told_from_everything_else() -> None:
    assert [number(value) for value in (1, 2.5, True, "3", None, [1])] == [1.0, 2.5, None, None, None, None]
    assert [finite(value) for value in (1, math.nan, math.inf, False)] == [1.0, None, None, None]
    assert section({"a": {"b": 1}}, "a") == {"b": 1}
    nothings: list[object] = [{"a": 3}, {}, None, []]
    assert [section(nothing, "a") for nothing in nothings] == [{}] * 4


@pytest.mark.parametrize(("success", "n"), [(0.0, 0), (1.0, 5), (1.7, 5), (-0.2, 5), (0.5, -1)])
def test_intervals_of_odd_rates_stay_within_zero_and_one(success: float, n: int) -> None:
    low, high = rate_interval(success, n)
    assert 0.0 <= low <= high <= 1.0
