"""Goals: the six tasks are recognised, anything else is tested as written, nonsense is refused."""

from __future__ import annotations

import pytest

from palaestra.envs.alfworld.game import TASK_TYPES
from palaestra.envs.alfworld.generator import make_household
from palaestra.envs.alfworld.goal import compile_goal
from palaestra.envs.core.errors import TaskError

from .build import game, problem, world


@pytest.mark.parametrize("task", TASK_TYPES)
def test_the_six_tasks_are_recognised(task: str) -> None:
    made = make_household("train", 5, tasks=(task,))
    pattern = compile_goal(made.problem).pattern
    assert pattern is not None
    assert pattern.task_type == task
    assert {made.problem.types[o] for o in pattern.objects} == {"object"}
    assert pattern.objects
    assert pattern.places


@pytest.mark.parametrize(
    ("goal", "commands"),
    [
        ("(and (opened fridge_bar_1))", ["go to fridge 1", "open fridge 1"]),
        ("(or (opened fridge_bar_1) (opened microwave_bar_1))", ["go to microwave 1", "open microwave 1"]),
        ("(exists (?o - object) (holds agent1 ?o))", ["go to table 1", "take knife 1 from table 1"]),
        ("(not (atLocation agent1 loc_bar_9))", ["go to table 1"]),
        ("(exists (?a - agent) (holdsAny ?a))", ["go to table 1", "take knife 1 from table 1"]),
        (
            "(exists (?o - object) (and (sliceable ?o) (isSliced ?o)))",
            ["go to table 1", "take knife 1 from table 1", "slice apple 1 with knife 1"],
        ),
        (
            "(or (exists (?o - object) (and (objectType ?o KnifeType) (holds agent1 ?o))) (opened cabinet_bar_1))",
            ["go to table 1", "take knife 1 from table 1"],
        ),
        (
            "(not (exists (?o - object ?r - receptacle) (and (objectType ?o BowlType) (inReceptacle ?o ?r))))",
            ["go to cabinet 1", "take bowl 1 from cabinet 1"],
        ),
        (
            "(exists (?o - object, ?l - location) (and (objectAtLocation ?o ?l) (not (= ?l loc_bar_3)) (isClean ?o)))",
            ["go to table 1", "take apple 1 from table 1", "clean apple 1 with sinkbasin 1", "go to microwave 1",
             "open microwave 1", "move apple 1 to microwave 1"],
        ),
    ],
)  # fmt: skip
def test_other_goals_are_tested_as_written(goal: str, commands: list[str]) -> None:
    at = world(goal)
    assert at.game.goal.pattern is None
    assert at.game.task_type == "unknown"
    for command in commands:
        assert not at.won()
        assert at.act(command) != "Nothing happens."
    assert at.won()


@pytest.mark.parametrize(
    ("goal", "named"),
    [
        ("(and (checked fridge_bar_1))", "checked fridge_bar_1"),
        ("(and (opened fridge_bar_7))", "fridge_bar_7"),
        ("(and (flies fridge_bar_1))", "flies"),
        ("(forall (?o - object) (holds agent1 ?o))", "forall"),
        ("(exists (?o - dragon) (holds agent1 ?o))", "dragon"),
        ("(exists (?o) (holds agent1 ?o))", "no type"),
        ("(exists (?o - object) (exists (?o - object) (holds agent1 ?o)))", "declared twice"),
        ("(opened)", "opened"),
    ],
)
def test_nonsense_is_named(goal: str, named: str) -> None:
    with pytest.raises(TaskError, match=named.replace("?", r"\?")):
        compile_goal(problem(goal))


def test_two_of_a_kind_must_be_in_the_same_place() -> None:
    goal = (
        "(and (exists (?r - receptacle) (exists (?o - object) (and (objectType ?o AppleType) (receptacleType ?r"
        " CabinetType) (inReceptacle ?o ?r) (exists (?o2 - object) (and (not (= ?o ?o2)) (objectType ?o2 AppleType)"
        " (receptacleType ?r CabinetType) (inReceptacle ?o2 ?r)))))))"
    )
    assert game(goal).task_type == "pick_two_obj_and_place"
    at = world(goal)
    commands = [
        "go to table 1", "take apple 1 from table 1", "go to cabinet 1", "move apple 1 to cabinet 1", "go to fridge 1",
        "open fridge 1", "take apple 2 from fridge 1", "go to cabinet 1", "open cabinet 2", "move apple 2 to cabinet 2",
    ]  # fmt: skip
    for command in commands:
        assert at.act(command) != "Nothing happens."
        assert not at.won()
    for command in ("take apple 2 from cabinet 2", "move apple 2 to cabinet 1"):
        at.act(command)
    assert at.won()
