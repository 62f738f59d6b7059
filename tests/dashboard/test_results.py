from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from palaestra.dashboard.history import read_history
from palaestra.dashboard.results import read_result
from palaestra.trainers.run_directory import RunFiles

EMPTY = read_history([])


def test_the_headline_is_the_held_out_result_of_the_summary(finished_run: Path) -> None:
    summary = RunFiles(finished_run).summary()
    assert summary is not None
    result = read_result(summary, EMPTY)
    held_out = summary["held_out"]
    assert result.final
    assert result.pair is not None
    assert (result.pair.before, result.pair.after) == (held_out["before"], held_out["after"])
    assert result.pair.gain == pytest.approx(held_out["gain"])
    assert result.pair.gain_ci == tuple(held_out["gain_ci95"])
    assert result.pair.before_ci[0] <= result.pair.before <= result.pair.before_ci[1]
    assert [pair.label for pair in result.modes] == ["greedy", "sampled"]
    assert {pair.label: pair.n for pair in result.strata} == {
        name: part["n"] for name, part in held_out["by_stratum"].items()
    }


def test_without_a_summary_the_best_validation_result_is_shown_as_such() -> None:
    records = [
        {"phase": "eval", "step": step, "split": "valid", "mode": "greedy", "n": 10, "success": success}
        for step, success in ((0, 0.1), (2, 0.6), (4, 0.5))
    ]
    result = read_result(None, read_history(records))
    assert not result.final
    assert result.pair is not None
    assert (result.pair.before, result.pair.after) == (0.1, 0.6)
    assert result.pair.gain_ci is None
    assert "iteration 2" in result.detail


def test_before_any_evaluation_there_is_no_number() -> None:
    result = read_result(None, EMPTY)
    assert result.pair is None
    assert result.title == "No evaluation yet"


@pytest.mark.parametrize(
    "held_out", [{}, {"before": None, "after": 0.5}, {"before": math.nan, "after": 0.5}, {"before": "0.1", "after": 1}]
)
def test_a_half_written_result_is_none(held_out: dict[str, Any]) -> None:
    assert read_result({"held_out": held_out}, EMPTY).pair is None


def test_a_summary_of_the_headline_alone_is_enough() -> None:
    result = read_result({"held_out": {"n": 4, "before": 0.25, "after": 0.75, "gain_ci95": [None, 1]}}, EMPTY)
    assert result.pair is not None
    assert result.pair.gain == 0.5
    assert result.pair.gain_ci is None
    assert result.modes == (result.pair,)
    assert result.strata == ()


def test_strata_are_lengths_or_kinds() -> None:
    part = {"n": 2, "before": 0.0, "after": 1.0}
    for names, by_length in ((("3-5", "6-8"), True), (("banking", "pick_two_obj_and_place"), False)):
        held_out = {**part, "by_stratum": dict.fromkeys(names, part)}
        assert read_result({"held_out": held_out}, EMPTY).by_length is by_length


def test_strata_without_a_rate_are_left_out() -> None:
    strata: dict[str, Any] = {"3-5": {"n": 0, "before": None, "after": None}, "6-8": 3}
    held_out = {"n": 2, "before": 0.0, "after": 1.0, "by_stratum": strata}
    assert read_result({"held_out": held_out}, EMPTY).strata == ()
