"""The planner against a search over single commands, and both experts on every kind of task."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import pytest

from palaestra.envs.alfworld.explorer import explore
from palaestra.envs.alfworld.game import TASK_TYPES, compile_game
from palaestra.envs.alfworld.generator import SPLITS, make_household
from palaestra.envs.alfworld.planner import distance, plan
from palaestra.envs.alfworld.problem import Problem
from palaestra.envs.alfworld.sources import EmbeddedGames, compile_household
from palaestra.envs.alfworld.world import World

from .build import world

RECEPTACLES, OBJECTS = 5, 4


def tiny(problem: Problem, keep: set[str], rng: np.random.Generator) -> Problem:
    """The same task with few receptacles and objects left: those of the task first."""
    wanted = [fact[1] for fact in problem.having("objecttype") if fact[2] in keep]
    others = [fact[1] for fact in problem.having("objecttype") if fact[1] not in wanted]
    objects = [*wanted[:2], *rng.permutation(others).tolist()][:OBJECTS]
    inside = {fact[1]: fact[2] for fact in problem.having("inreceptacle")}
    types = {fact[1]: fact[2] for fact in problem.having("receptacletype")}
    needed = keep | {"microwavetype", "fridgetype", "sinkbasintype"}
    first = [r for r, kind in types.items() if kind in needed]
    places = list(dict.fromkeys([*first[:3], *(inside[o] for o in objects[:1]), *types]))[:RECEPTACLES]
    facts = []
    for fact in problem.facts:
        if fact[0] == "inreceptacle" and fact[1] in objects and fact[2] not in places:
            fact = (*fact[:2], places[int(rng.integers(len(places)))])
        known = all(
            problem.types[word] not in ("object", "receptacle") or word in (*objects, *places) for word in fact[1:]
        )
        if known:
            facts.append(fact)
    return Problem(problem.types, tuple(facts), problem.goal)


def shortest(start: World, task: str) -> float:
    """Breadth-first search over the admissible commands that can matter to the task."""
    verbs = {"go", "open", "take", "put", "use" if task.startswith("look") else task.split("_")[1]}
    reached = {start.key()}
    queue = deque([(start, 0)])
    while queue:
        at, steps = queue.popleft()
        if at.won():
            return steps
        for move in at.moves().values():
            if move[0] not in verbs:
                continue
            following = at.copy()
            following.apply(move)
            following.taken.clear()  # where things once lay is of no consequence, nor who says where they lie
            following.lying = [0] * len(following.lying)
            if following.key() not in reached:
                reached.add(following.key())
                queue.append((following, steps + 1))
    return math.inf


@pytest.mark.parametrize("task", TASK_TYPES)
def test_the_planner_is_as_short_as_any_search(task: str) -> None:
    lengths = set()
    for number in range(34):
        made = make_household("train", 7000 + number, size="small", tasks=(task,))
        rng = np.random.default_rng(number)
        problem = tiny(made.problem, {f"{made.target}type".lower(), f"{made.place}type".lower()}, rng)
        grammar = compile_household(made, "f").grammar
        at = World(compile_game(problem, grammar, split="train", file="tiny"))
        for _ in range(int(rng.integers(0, 12))):  # also from the middle: hands full, doors open, things treated
            moves = at.moves()
            local = sorted(command for command, move in moves.items() if move[0] != "go")
            commands = local if local and rng.random() < 0.6 else sorted(moves)
            at.act(commands[int(rng.integers(len(commands)))])
        found = shortest(at, task)
        assert distance(at) == found, (task, number)
        lengths.add(found)
        way = plan(at)
        assert (way is None) == math.isinf(found)
        assert way is None or len(way) == found
    assert len(lengths) >= 3


@pytest.mark.parametrize("split", SPLITS)
def test_both_experts_win_every_embedded_game(split: str) -> None:
    source = EmbeddedGames()
    for index in range(source.count(split)):  # type: ignore[arg-type]
        start = World(source.at(split, index))  # type: ignore[arg-type]
        key = start.key()
        assert not start.won()
        exact, looking = plan(start), explore(start, ())
        assert exact is not None
        assert looking is not None
        assert len(looking) >= len(exact)
        assert start.key() == key
        for way in (exact, looking):
            at = start.copy()
            for command in way:
                assert not at.won()
                assert command in at.moves()
                at.act(command)
            assert at.won()


def test_distance_falls_by_one_along_every_plan_and_ties_are_drawn() -> None:
    source = EmbeddedGames()
    drawn = set()
    for seed in range(40):
        at = World(source.at("train", seed % 6))
        way = plan(at, np.random.default_rng(seed))
        assert way is not None
        drawn.add((seed % 6, tuple(way)))
        for left in range(len(way), 0, -1):
            assert distance(at) == left
            at.act(way[len(way) - left])
        assert distance(at) == 0
        assert plan(at) == []
    assert len(drawn) > 6


def test_the_explorer_uses_nothing_it_has_not_seen() -> None:
    """Swapping what is behind two doors changes nothing until one of them is opened."""
    source = EmbeddedGames()
    compared = 0
    for index in range(60):
        start = World(source.at("train", index))
        twin = start.copy()
        closed = [r for r, door in enumerate(start.game.openable) if door and not start.opened[r]]
        way, other = explore(start, ()), None
        if len(closed) < 2 or way is None:
            continue
        a, b = closed[:2]
        twin.inside[a], twin.inside[b] = twin.inside[b], twin.inside[a]
        other = explore(twin, ())
        assert other is not None
        doors = {start.game.moves.at_receptacle[r].open[0] for r in (a, b)}
        for mine, theirs in zip(way, other, strict=False):
            assert mine == theirs
            if mine in doors:
                break
        compared += 1
    assert compared > 20


def test_what_was_seen_is_remembered() -> None:
    at = world()
    first = explore(at, ())
    assert first is not None
    number = at.game.number["table_bar_1"]
    known = explore(at, [number])
    assert known is not None
    assert known[:2] == ["go to table 1", "take apple 1 from table 1"]


def test_goals_of_no_known_kind_have_no_plan() -> None:
    at = world("(and (opened fridge_bar_1))")
    assert distance(at) is None
    assert plan(at) is None
    assert explore(at, ()) is None


def test_a_hand_that_cannot_be_emptied_is_the_end() -> None:
    at = world(more=(("pickupable", "lamp_bar_1"),))
    for command in ("go to table 1", "take lamp 1 from table 1"):
        at.act(command)
    assert distance(at) == math.inf
    assert plan(at) is None
