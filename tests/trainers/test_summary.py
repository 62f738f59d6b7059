"""What a run comes to, checked against hand-made evaluations."""

from __future__ import annotations

import json

import numpy as np
import pytest

from palaestra.agents.types import Rollout, RolloutGroup
from palaestra.envs.core.types import Action, Step, StopReason, Task, Trajectory
from palaestra.trainers.config import read_recipe
from palaestra.trainers.evaluate import Evaluation
from palaestra.trainers.statistics import Rate, paired_gain
from palaestra.trainers.summary import compare_held_out, evaluation_record, run_facts


def evaluation(won: list[bool], strata: list[str]) -> Evaluation:
    groups = []
    for number, success in enumerate(won):
        task = Task("env", number)
        step = Step("o", "a", Action("a"), 1.0, True, False)
        trajectory = Trajectory(task, (step,) * (number + 1), StopReason.TERMINATED, "end", success, float(success))
        groups.append(RolloutGroup(f"g{number}", task, (Rollout(f"r{number}", f"g{number}", 0, trajectory),)))
    lengths = np.arange(1, len(won) + 1)
    return Evaluation(np.array(won), lengths, lengths.astype(float), tuple(strata), tuple(groups))


STRATA = ["0-2", "3-5", "0-2", "3-5", "13+"]
AFTER = evaluation([True, True, False, False, True], STRATA)


def test_an_evaluation_as_a_record() -> None:
    record = evaluation_record(AFTER, split="test", mode="greedy", step=7, phase="eval")
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    whole = Rate.of([True, True, False, False, True])
    assert {key: record[key] for key in ("phase", "step", "split", "mode", "n", "success", "failed")} == {
        "phase": "eval", "step": 7, "split": "test", "mode": "greedy", "n": 5, "success": 0.6, "failed": 0,
    }  # fmt: skip
    assert record["ci95"] == [whole.lo, whole.hi]
    assert record["length_mean"] == 3.0
    assert list(record["by_stratum"]) == ["0-2", "3-5", "13+"]
    one = Rate.of([True])
    assert record["by_stratum"]["13+"] == {"n": 1, "success": 1.0, "ci95": [one.lo, one.hi]}


def test_before_and_after_are_paired_task_by_task() -> None:
    before = {"greedy": np.array([False, True, True, False, False]), "sampled": np.zeros(5, np.bool_)}
    found = compare_held_out(before, {"greedy": AFTER, "sampled": AFTER}, primary="greedy")
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    greedy = paired_gain(before["greedy"], AFTER.won)
    assert found["greedy"] == {
        "n": 5, "before": 0.4, "after": 0.6, "gain": pytest.approx(0.2), "gain_ci95": [greedy.lo, greedy.hi],
        "by_stratum": found["greedy"]["by_stratum"],
    }  # fmt: skip
    assert found["sampled"]["gain"] == 0.6
    assert {key: found[key] for key in found["greedy"]} == found["greedy"]  # the primary mode stands at the top
    assert (found["split"], found["mode"]) == ("test", "greedy")
    strata = found["greedy"]["by_stratum"]
    assert [(name, s["n"], s["before"], s["after"]) for name, s in strata.items()] == [
        ("0-2", 2, 0.5, 0.5), ("3-5", 2, 0.5, 0.5), ("13+", 1, 0.0, 1.0),
    ]  # fmt: skip


def test_the_order_of_tasks_matters() -> None:
    """Equal rates on other tasks are another comparison: the interval comes from the pairs."""
    same = compare_held_out({"greedy": AFTER.won}, {"greedy": AFTER}, primary="greedy")
    swapped = compare_held_out({"greedy": AFTER.won[[2, 3, 0, 1, 4]]}, {"greedy": AFTER}, primary="greedy")
    assert same["gain"] == swapped["gain"] == 0
    assert swapped["gain_ci95"][1] > same["gain_ci95"][1]


def test_the_facts_repeat_the_run_and_name_no_place() -> None:
    config = read_recipe("sokoban", ["seed=3", "threads=2", "evaluation.seed=4"])
    facts = run_facts(config, "my-run")
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert (facts["name"], facts["recipe"], facts["env_id"]) == ("my-run", "sokoban", "palaestra/Sokoban-v0")
    assert facts["seeds"] == {"run": 3, "evaluation": 4}
    assert facts["machine"]["torch_threads"] == 2
    assert {"torch", "numpy", "gymnasium", "python"} <= facts["versions"].keys()
    assert facts["reward_components"] == config.reward.components
