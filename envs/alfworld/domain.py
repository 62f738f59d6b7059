"""The rules as PDDL, for the game files we write: our own wording of what the state machine does.

The original plays a game by the domain in its file, so an exported game needs one. Costs are left out (every command
costs a step), and so are predicates that nothing depends on.
"""

from __future__ import annotations

from typing import Final

from palaestra.envs.alfworld.problem import TYPES

_PREDICATES: Final = """
    (atLocation ?a - agent ?l - location) (receptacleAtLocation ?r - receptacle ?l - location)
    (objectAtLocation ?o - object ?l - location) (inReceptacle ?o - object ?r - receptacle)
    (inReceptacleObject ?inner - object ?outer - object) (isReceptacleObject ?o - object)
    (receptacleType ?r - receptacle ?t - rtype) (objectType ?o - object ?t - otype)
    (canContain ?rt - rtype ?ot - otype) (openable ?r - receptacle) (opened ?r - receptacle)
    (holds ?a - agent ?o - object) (holdsAny ?a - agent) (pickupable ?o - object)
    (cleanable ?o - object) (isClean ?o - object) (heatable ?o - object) (isHot ?o - object)
    (coolable ?o - object) (isCool ?o - object) (toggleable ?o - object) (isToggled ?o - object)
    (sliceable ?o - object) (isSliced ?o - object)
    (looked ?l - location) (asked ?a - agent) (examinedReceptacle ?r - receptacle) (examinedObject ?o - object)"""

_HERE: Final = "(atLocation ?a ?l) (receptacleAtLocation ?r ?l)"
_REACHABLE: Final = "(or (not (openable ?r)) (opened ?r))"
_AGENT: Final = "?a - agent ?l - location"
_HOLDING: Final = f"{_AGENT} ?r - receptacle ?o - object"

# action -> (parameters, precondition, effect). Order of parameters is no matter; their names are those of the grammar.
_ACTIONS: Final = {
    "GotoLocation": (
        "?a - agent ?lStart - location ?lEnd - location ?r - receptacle",
        "(atLocation ?a ?lStart) (receptacleAtLocation ?r ?lEnd)",
        "(not (atLocation ?a ?lStart)) (atLocation ?a ?lEnd)",
    ),
    "OpenObject": (f"{_AGENT} ?r - receptacle", f"{_HERE} (openable ?r) (not (opened ?r))", "(opened ?r)"),
    "CloseObject": (f"{_AGENT} ?r - receptacle", f"{_HERE} (openable ?r) (opened ?r)", "(not (opened ?r))"),
    "PickupObject": (
        _HOLDING,
        f"{_HERE} (pickupable ?o) (inReceptacle ?o ?r) (not (holdsAny ?a)) {_REACHABLE}",
        "(holds ?a ?o) (holdsAny ?a) (not (inReceptacle ?o ?r)) (not (objectAtLocation ?o ?l))",
    ),
    "PutObject": (
        f"{_HOLDING} ?ot - otype ?rt - rtype",
        f"{_HERE} (holds ?a ?o) {_REACHABLE} (objectType ?o ?ot) (receptacleType ?r ?rt) (canContain ?rt ?ot)",
        "(inReceptacle ?o ?r) (objectAtLocation ?o ?l) (not (holds ?a ?o)) (not (holdsAny ?a))",
    ),
    "ToggleObject": (_HOLDING, f"{_HERE} (toggleable ?o) (inReceptacle ?o ?r)", "(isToggled ?o)"),
    "HeatObject": (
        _HOLDING,
        f"{_HERE} (heatable ?o) (holds ?a ?o) (receptacleType ?r MicrowaveType)",
        "(isHot ?o) (not (isCool ?o))",
    ),
    "CoolObject": (
        _HOLDING,
        f"{_HERE} (coolable ?o) (holds ?a ?o) (receptacleType ?r FridgeType)",
        "(isCool ?o) (not (isHot ?o))",
    ),
    "CleanObject": (
        _HOLDING,
        f"{_HERE} (cleanable ?o) (holds ?a ?o) (receptacleType ?r SinkBasinType)",
        "(isClean ?o)",
    ),
    "SliceObject": (
        f"{_AGENT} ?co - object ?ko - object",
        "(atLocation ?a ?l) (objectAtLocation ?co ?l) (sliceable ?co) (holds ?a ?ko)"
        " (or (objectType ?ko KnifeType) (objectType ?ko ButterKnifeType))",
        "(isSliced ?co)",
    ),
    "examineReceptacle": (f"{_AGENT} ?r - receptacle", _HERE, "(examinedReceptacle ?r)"),
    "examineObject": ("?a - agent ?o - object", "(holds ?a ?o)", "(examinedObject ?o)"),
    "look": (_AGENT, "(atLocation ?a ?l)", "(looked ?l)"),
    "inventory": ("?a - agent", "", "(asked ?a)"),
    "help": ("?a - agent", "", "(asked ?a)"),
}


def _write_domain() -> str:
    lines = [
        "(define (domain alfred)",
        "  (:requirements :adl :typing)",
        f"  (:types {' '.join(TYPES)})",
        f"  (:predicates{_PREDICATES})",
    ]
    for name, (parameters, condition, effect) in _ACTIONS.items():
        lines += [
            f"  (:action {name}",
            f"    :parameters ({parameters})",
            f"    :precondition {f'(and {condition})' if condition else '()'}",
            f"    :effect (and {effect}))",
        ]
    return "\n".join([*lines, ")"]) + "\n"


DOMAIN: Final = _write_domain()
"""The text of the domain."""
