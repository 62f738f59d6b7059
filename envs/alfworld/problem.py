"""A PDDL problem: entities with their types, the facts that hold at the start, and the goal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from palaestra.envs.alfworld import sexpr
from palaestra.envs.core.errors import TaskError

Fact = tuple[str, ...]
"""A predicate and its arguments, in lower case."""

TYPES: Final = ("agent", "location", "receptacle", "object", "rtype", "otype")

SIGNATURES: Final[Mapping[str, tuple[str, ...]]] = {
    "atlocation": ("agent", "location"),
    "receptacleatlocation": ("receptacle", "location"),
    "objectatlocation": ("object", "location"),
    **dict.fromkeys(("inreceptacle", "wasinreceptacle"), ("object", "receptacle")),
    "inreceptacleobject": ("object", "object"),
    "receptacletype": ("receptacle", "rtype"),
    "objecttype": ("object", "otype"),
    "cancontain": ("rtype", "otype"),
    "holds": ("agent", "object"),
    **dict.fromkeys(("holdsany", "holdsanyreceptacleobject"), ("agent",)),
    **dict.fromkeys(("openable", "opened", "full"), ("receptacle",)),
    "examined": ("location",),
    "checked": ("",),
    **dict.fromkeys(
        (
            "isreceptacleobject", "isreceptacleobjectfull", "isclean", "cleanable", "ishot", "heatable", "iscool",
            "coolable", "pickupable", "moveable", "toggleable", "ison", "istoggled", "sliceable", "issliced",
        ),
        ("object",),
    ),
}  # fmt: skip
"""The types of every predicate's arguments; "" is any."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One game's entities, facts and goal, all in lower case.

    Attributes:
        types: entity -> its type.
        facts: in the order of the file, each once.
        goal: the goal as an expression.
    """

    types: Mapping[str, str]
    facts: tuple[Fact, ...]
    goal: sexpr.Expr

    def having(self, predicate: str) -> Iterator[Fact]:
        """The facts with this predicate."""
        return (fact for fact in self.facts if fact[0] == predicate)


def read_problem(text: str) -> Problem:
    """Read `(define (problem ...) ...)`; linear in the text. Distances and costs are passed over.

    Raises: TaskError "bad_pddl" naming the section, fact or entity at fault.
    """
    sections: dict[str, list[sexpr.Expr]] = {}
    for part in sexpr.parse(text, "pddl_problem"):
        if isinstance(part, list) and part and isinstance(part[0], str):
            sections[part[0]] = part[1:]
    for name in (":objects", ":init", ":goal"):
        if name not in sections:
            raise TaskError("bad_pddl", f"pddl_problem has no section {name}")
    if len(sections[":goal"]) != 1:
        raise TaskError("bad_pddl", f"pddl_problem: :goal holds {len(sections[':goal'])} expressions, expected one")
    types = dict(read_typed(sections[":objects"], ":objects"))
    facts = dict.fromkeys(fact for part in sections[":init"] if (fact := _fact(part, types)) is not None)
    return Problem(types, tuple(facts), sections[":goal"][0])


def read_typed(words: Sequence[sexpr.Expr], where: str) -> Iterator[tuple[str, str]]:
    """(name, type) of a list such as `a b - object c - location`."""
    waiting: list[str] = []
    parts = iter(words)
    for word in parts:
        if not isinstance(word, str):
            raise TaskError("bad_pddl", f"{where}: {sexpr.write(word)!r} stands where a name should")
        if word not in ("-", "#"):
            waiting.append(word)
            continue
        kind = next(parts, None)
        if kind not in TYPES:
            raise TaskError("bad_pddl", f"{where}: unknown type {kind!r} of {waiting[:1]}; known: {', '.join(TYPES)}")
        yield from ((name, str(kind)) for name in waiting)
        waiting.clear()
    if waiting:
        raise TaskError("bad_pddl", f"{where}: {waiting[0]!r} has no type")


def _fact(part: sexpr.Expr, types: Mapping[str, str]) -> Fact | None:
    """The fact, or None for a cost."""
    if isinstance(part, list) and part and part[0] == "=":
        return None
    if not isinstance(part, list) or not part or not all(isinstance(word, str) for word in part):
        raise TaskError("bad_pddl", f":init: {sexpr.write(part)!r} is no fact")
    fact = tuple(str(word) for word in part)
    signature = SIGNATURES.get(fact[0], ())
    if not signature or len(signature) != len(fact) - 1:
        raise TaskError("bad_pddl", f":init: {sexpr.write(part)!r} is no fact of the domain")
    for name, wanted in zip(fact[1:], signature, strict=True):
        if name not in types:
            raise TaskError("bad_pddl", f":init: {sexpr.write(part)!r} names {name!r}, which :objects does not declare")
        if wanted not in ("", types[name]):
            raise TaskError(
                "bad_pddl", f":init: {sexpr.write(part)!r}: {name!r} is of type {types[name]}, not {wanted}"
            )
    return fact


def write_problem(problem: Problem, name: str) -> str:
    """The text that `read_problem` reads back to an equal problem."""
    lines = [f"(define (problem {name})", "  (:domain alfred)", "  (:objects"]
    lines += [f"    {entity} - {kind}" for entity, kind in problem.types.items()]
    lines += ["  )", "  (:init"]
    lines += [f"    {sexpr.write(fact)}" for fact in problem.facts]
    lines += ["  )", f"  (:goal {sexpr.write(problem.goal)})", ")"]
    return "\n".join(lines) + "\n"
