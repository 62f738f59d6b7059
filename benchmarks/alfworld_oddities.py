"""Games made odd on purpose: starts that our generator never makes and real files may hold. Each changes a problem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from palaestra.envs.alfworld.problem import Fact, Problem

Oddity = Callable[[Problem, np.random.Generator], Problem]


def one_place(problem: Problem, rng: np.random.Generator) -> Problem:
    """All receptacles are reached from two places, so that whatever shares a place is seen a lot."""
    places = sorted({fact[2] for fact in problem.having("receptacleatlocation")})[:2]
    homes = {fact[1]: places[int(rng.integers(2))] for fact in problem.having("receptacleatlocation")}
    inside = {fact[1]: fact[2] for fact in problem.having("inreceptacle")}

    def moved(fact: Fact) -> Fact:
        if fact[0] == "receptacleatlocation":
            return (*fact[:2], homes[fact[1]])
        return (*fact[:2], homes[inside[fact[1]]]) if fact[0] == "objectatlocation" else fact

    return replace(problem, facts=tuple(map(moved, problem.facts)))


def start_at_furniture(problem: Problem, rng: np.random.Generator) -> Problem:
    """The agent begins in front of something."""
    place = _pick(sorted({fact[2] for fact in problem.having("receptacleatlocation")}), rng)
    rest = tuple(fact for fact in problem.facts if fact[0] != "atlocation")
    return replace(problem, facts=(*rest, ("atlocation", "agent1", place)))


def hands_full(problem: Problem, rng: np.random.Generator) -> Problem:
    """The agent begins with something in its hand."""
    thing = _pick(sorted(fact[1] for fact in problem.having("pickupable")), rng)
    rest = tuple(
        fact for fact in problem.facts if fact[:2] not in (("inreceptacle", thing), ("objectatlocation", thing))
    )
    return replace(problem, facts=(*rest, ("holds", "agent1", thing), ("holdsany", "agent1")))


def states_at_start(problem: Problem, rng: np.random.Generator) -> Problem:
    """Things are hot, clean, sliced and doors open from the start."""
    able = {"heatable": "ishot", "cleanable": "isclean", "sliceable": "issliced", "openable": "opened"}
    more = [(able[fact[0]], fact[1]) for fact in problem.facts if fact[0] in able and rng.random() < 0.6]
    return replace(problem, facts=tuple(dict.fromkeys((*problem.facts, *more))))


def lying_elsewhere(problem: Problem, rng: np.random.Generator) -> Problem:
    """Things are said to lie at other places than what they are in, as in some real files."""
    places = sorted({fact[2] for fact in problem.having("receptacleatlocation")})

    def moved(fact: Fact) -> Fact:
        return (*fact[:2], _pick(places, rng)) if fact[0] == "objectatlocation" else fact

    return replace(problem, facts=tuple(map(moved, problem.facts)))


def filled_containers(problem: Problem, rng: np.random.Generator) -> Problem:
    """Everything may hold things, and something does."""
    things = sorted(fact[1] for fact in problem.having("pickupable"))
    more: list[Fact] = [("isreceptacleobject", thing) for thing in things[::2]]
    more += [("inreceptacleobject", inner, things[0]) for inner in things[1:3]]
    return replace(problem, facts=tuple(dict.fromkeys((*problem.facts, *more))))


def knives_and_switches(problem: Problem, rng: np.random.Generator) -> Problem:
    """Everything can be cut, switched, heated, cooled and cleaned, and half of it cuts."""
    things = sorted(fact[1] for fact in problem.having("pickupable"))
    able = ("sliceable", "toggleable", "heatable", "coolable", "cleanable")
    more: list[Fact] = [(predicate, thing) for predicate in able for thing in things]
    knives: list[Fact] = [("objecttype", thing, "knifetype") for thing in things[::2]]
    fits: list[Fact] = [("cancontain", fact[2], "knifetype") for fact in problem.having("receptacletype")]
    rest = [fact for fact in problem.facts if fact[:2] not in {knife[:2] for knife in knives}]
    return replace(problem, facts=tuple(dict.fromkeys((*rest, *more, *knives, *fits))))


def plain_ids(problem: Problem, rng: np.random.Generator) -> Problem:
    """One receptacle and one object have ids without coordinates."""
    names = {
        _pick([fact[1] for fact in problem.having(kind)], rng): f"the_{kind}" for kind in ("openable", "pickupable")
    }
    facts = tuple(tuple(names.get(word, word) for word in fact) for fact in problem.facts)
    types = {names.get(name, name): kind for name, kind in problem.types.items()}
    return replace(problem, facts=facts, types=types)


def _pick(things: Sequence[str], rng: np.random.Generator) -> str:
    return things[int(rng.integers(len(things)))]


def _both(first: Oddity, second: Oddity) -> Oddity:
    return lambda problem, rng: second(first(problem, rng), rng)


ODDITIES: Final[tuple[Oddity, ...]] = (
    one_place, start_at_furniture, hands_full, states_at_start, lying_elsewhere, filled_containers,
    knives_and_switches, plain_ids, _both(one_place, lying_elsewhere), _both(one_place, knives_and_switches),
    _both(knives_and_switches, states_at_start), _both(one_place, start_at_furniture), _both(one_place, hands_full),
    _both(one_place, one_place), _both(knives_and_switches, lying_elsewhere), _both(states_at_start, one_place),
)  # fmt: skip
