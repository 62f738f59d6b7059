"""Small households to test on, written down by hand."""

from __future__ import annotations

from palaestra.envs.alfworld import sexpr
from palaestra.envs.alfworld.game import Game, compile_game
from palaestra.envs.alfworld.grammar import read_grammar, write_grammar
from palaestra.envs.alfworld.problem import Fact, Problem
from palaestra.envs.alfworld.world import World

TYPES = {
    "agent1": "agent",
    **dict.fromkeys(("loc_bar_0", "loc_bar_1", "loc_bar_2", "loc_bar_3", "loc_bar_9"), "location"),
    **dict.fromkeys(("cabinet_bar_1", "cabinet_bar_2", "fridge_bar_1", "microwave_bar_1"), "receptacle"),
    **dict.fromkeys(("sink_bar_1_bar_sinkbasin", "table_bar_1"), "receptacle"),
    **dict.fromkeys(("apple_bar_1", "apple_bar_2", "knife_bar_1", "lamp_bar_1", "bowl_bar_1"), "object"),
    **dict.fromkeys(("cabinettype", "fridgetype", "microwavetype", "sinkbasintype", "tabletype"), "rtype"),
    **dict.fromkeys(("appletype", "knifetype", "lamptype", "bowltype", "butterknifetype"), "otype"),
}
HOMES = {
    "cabinet_bar_1": "loc_bar_0",
    "cabinet_bar_2": "loc_bar_0",  # the two share a place
    "fridge_bar_1": "loc_bar_1",
    "microwave_bar_1": "loc_bar_2",
    "sink_bar_1_bar_sinkbasin": "loc_bar_3",
    "table_bar_1": "loc_bar_3",
}
INSIDE = {
    "apple_bar_1": "fridge_bar_1",
    "apple_bar_2": "table_bar_1",
    "knife_bar_1": "table_bar_1",
    "lamp_bar_1": "table_bar_1",
    "bowl_bar_1": "cabinet_bar_2",
}
FACTS: tuple[Fact, ...] = (
    ("atlocation", "agent1", "loc_bar_9"),
    *(("receptacleatlocation", r, place) for r, place in HOMES.items()),
    *(("receptacletype", r, r.split("_")[0] + "type") for r in HOMES if not r.startswith("sink")),
    ("receptacletype", "sink_bar_1_bar_sinkbasin", "sinkbasintype"),
    *(("openable", r) for r in ("cabinet_bar_1", "fridge_bar_1", "microwave_bar_1")),
    *(("objecttype", o, o.split("_")[0] + "type") for o in INSIDE),
    *(("inreceptacle", o, r) for o, r in INSIDE.items()),
    *(("objectatlocation", o, HOMES[r]) for o, r in INSIDE.items()),
    *(("pickupable", o) for o in INSIDE if o != "lamp_bar_1"),
    *((able, o) for able in ("heatable", "coolable", "cleanable", "sliceable") for o in ("apple_bar_1", "apple_bar_2")),
    ("toggleable", "lamp_bar_1"),
    ("isreceptacleobject", "bowl_bar_1"),
    *(("cancontain", r, "appletype") for r in ("cabinettype", "fridgetype", "microwavetype", "tabletype")),
    *(("cancontain", "tabletype", o) for o in ("knifetype", "bowltype")),
    ("cancontain", "cabinettype", "bowltype"),
)
GOAL = (
    "(and (exists (?r - receptacle) (exists (?o - object) (and (heatable ?o) (objectType ?o AppleType)"
    " (receptacleType ?r CabinetType) (isHot ?o) (inReceptacle ?o ?r)))))"
)


def problem(goal: str = GOAL, more: tuple[Fact, ...] = (), without: tuple[Fact, ...] = ()) -> Problem:
    facts = tuple(fact for fact in (*FACTS, *more) if fact not in without)
    return Problem(TYPES, facts, sexpr.parse(goal, "goal"))


def game(goal: str = GOAL, more: tuple[Fact, ...] = (), without: tuple[Fact, ...] = ()) -> Game:
    grammar = read_grammar(write_grammar("put a hot apple in cabinet"))
    return compile_game(problem(goal, more, without), grammar, split="train", file="test")


def world(goal: str = GOAL, more: tuple[Fact, ...] = (), without: tuple[Fact, ...] = ()) -> World:
    return World(game(goal, more, without))
