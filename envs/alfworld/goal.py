"""Goals: PDDL expressions compiled to a test of the world, and recognised as one of the six tasks.

goal = and of clauses; clause = exists variables: facts
test = for every variable, try the entities whose unchanging facts fit (few); then ask the world for the rest
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, Protocol

from palaestra.envs.alfworld import sexpr
from palaestra.envs.alfworld.problem import SIGNATURES, Fact, Problem, read_typed
from palaestra.envs.core.errors import TaskError

CHANGING: Final = frozenset(
    {
        "atlocation", "opened", "inreceptacle", "objectatlocation", "holds", "holdsany", "ishot", "iscool", "isclean",
        "issliced", "istoggled",
    }
)  # fmt: skip
"""Predicates whose facts actions change; of all others the start decides."""

_UNTRACKED: Final = ("checked", "ison")
"""Predicates that actions change too, but which no reply, precondition or task depends on."""

_TREATED: Final = {
    "isclean": "pick_clean_then_place_in_recep",
    "ishot": "pick_heat_then_place_in_recep",
    "iscool": "pick_cool_then_place_in_recep",
}


class Facts(Protocol):
    """Whatever knows which changing facts hold now."""

    def holds_fact(self, fact: Fact) -> bool:
        """Whether the fact holds."""
        ...


Chosen = dict[str, str]
Test = Callable[[Facts, Chosen], bool]


@dataclass(frozen=True, slots=True)
class Clause:
    """One `exists`: variables with the entities that may stand for them, and what must hold of a choice.

    Attributes:
        choices: variable -> entities; those that unchanging facts rule out are left out.
        tests: per variable, what can be tested once it and those before it are chosen; one more list stands first,
            of what needs no choice.
        facts: the facts asked for that `choices` does not already make sure of, with variables in them.
        plain: whether the clause is the conjunction of `facts` and of inequalities, nothing more involved.
    """

    choices: Mapping[str, tuple[str, ...]]
    tests: tuple[tuple[Test, ...], ...]
    facts: tuple[Fact, ...]
    plain: bool

    def holds(self, world: Facts) -> bool:
        """Whether some choice fits; cost grows with the choices that pass the tests on the way."""
        return self._fits(world, tuple(self.choices.items()), {}, 0)

    def _fits(self, world: Facts, choices: Sequence[tuple[str, tuple[str, ...]]], chosen: Chosen, depth: int) -> bool:
        for test in self.tests[depth]:
            if not test(world, chosen):
                return False
        if depth == len(choices):
            return True
        name, entities = choices[depth]
        return any(self._fits(world, choices, chosen | {name: entity}, depth + 1) for entity in entities)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A goal as one of the six tasks: what a planner needs to know.

    Attributes:
        task_type: the task's name in ALFWorld.
        objects: ids of the objects of which one (or two) must be moved or looked at.
        places: ids of the receptacles to put them in, or of the lamps to look under.
    """

    task_type: str
    objects: tuple[str, ...]
    places: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Goal:
    """A compiled goal; `pattern` is None if it is none of the six tasks."""

    clauses: tuple[Clause, ...]
    pattern: Pattern | None

    def reached(self, world: Facts) -> bool:
        """Whether the goal holds."""
        return all(clause.holds(world) for clause in self.clauses)


def compile_goal(problem: Problem) -> Goal:
    """Compile the problem's goal.

    Raises: TaskError "bad_goal" for an expression that is not understood, or asks for a fact nobody keeps track of.
    """
    compiler = _Compiler(problem)
    clauses = tuple(compiler.clause(part) for part in _conjuncts(problem.goal))
    return Goal(clauses, _recognise(clauses))


def _conjuncts(expression: sexpr.Expr) -> list[sexpr.Expr]:
    """The parts of nested `and`s."""
    if isinstance(expression, list) and expression[:1] == ["and"]:
        return [part for inner in expression[1:] for part in _conjuncts(inner)]
    return [expression]


class _Compiler:
    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._facts = frozenset(problem.facts)
        self._of_type: dict[str, list[str]] = {}
        for entity, kind in problem.types.items():
            self._of_type.setdefault(kind, []).append(entity)

    def clause(self, expression: sexpr.Expr) -> Clause:
        """Pull the `exists` of a conjunction to the front and let unchanging facts narrow the choices."""
        kinds: dict[str, str] = {}
        parts: list[sexpr.Expr] = []
        waiting = [expression]
        while waiting:
            part = waiting.pop(0)
            if isinstance(part, list) and part[:1] == ["exists"]:
                waiting[:0] = [self._body(part, kinds)]
            elif isinstance(part, list) and part[:1] == ["and"]:
                waiting[:0] = part[1:]
            else:
                parts.append(part)
        choices = {name: tuple(self._of_type.get(kind, ())) for name, kind in kinds.items()}
        left = [part for part in parts if not self._narrow(part, choices)]
        facts = tuple(tuple(map(str, part)) for part in left if isinstance(part, list) and part[0] in SIGNATURES)
        unequal = sum(isinstance(part, list) and part[0] == "not" and _is_equality(part[1:]) for part in left)
        return Clause(choices, self._by_depth(left, list(kinds)), facts, len(facts) + unequal == len(left))

    def _by_depth(self, parts: Sequence[sexpr.Expr], names: Sequence[str]) -> tuple[tuple[Test, ...], ...]:
        """The tests of the parts, each as soon as the variables in it are chosen."""
        tests: list[list[Test]] = [[] for _ in range(len(names) + 1)]
        for part in parts:
            words = sexpr.tokens(sexpr.write(part))
            depth = max((i for i, name in enumerate(names, start=1) if name in words), default=0)
            tests[depth].append(self.test(part, frozenset(names)))
        return tuple(map(tuple, tests))

    def _body(self, part: list[sexpr.Expr], kinds: dict[str, str]) -> sexpr.Expr:
        if len(part) != 3 or not isinstance(part[1], list):
            raise _not_understood(part)
        names = [word.rstrip(",") if isinstance(word, str) else word for word in part[1]]
        for name, kind in read_typed(names, ":goal"):
            if name in kinds:
                raise TaskError("bad_goal", f":goal: the variable {name} is declared twice")
            kinds[name] = kind
        return part[2]

    def _narrow(self, part: sexpr.Expr, choices: dict[str, tuple[str, ...]]) -> bool:
        """Apply an unchanging fact about a single variable; False if this is something else."""
        if not isinstance(part, list) or not part or part[0] in CHANGING or part[0] not in SIGNATURES:
            return False
        fact = self._fact(part, frozenset(choices))
        variables = [word for word in fact[1:] if word in choices]
        if len(variables) != 1:
            return False
        name = variables[0]
        choices[name] = tuple(
            entity
            for entity in choices[name]
            if tuple(entity if word == name else word for word in fact) in self._facts
        )
        return True

    def _fact(self, part: sexpr.Expr, variables: frozenset[str]) -> Fact:
        fact = tuple(word for word in part if isinstance(word, str))
        signature = SIGNATURES.get(fact[0], ()) if fact and fact[0] not in _UNTRACKED else ()
        if not signature or len(fact) != len(part) or len(part) != len(signature) + 1:
            raise _not_understood(part)
        for word in fact[1:]:
            if word not in variables and word not in self._problem.types:
                raise TaskError("bad_goal", f":goal: {sexpr.write(part)!r} names {word!r}, which is not declared")
        return fact

    def test(self, part: sexpr.Expr, variables: frozenset[str]) -> Test:
        """A function that says whether the expression holds of the world and a choice of entities."""
        if not isinstance(part, list) or not part or not isinstance(part[0], str):
            raise _not_understood(part)
        head, rest = part[0], part[1:]
        if head in ("and", "or"):
            tests = [self.test(inner, variables) for inner in rest]
            return _all(tests) if head == "and" else _any(tests)
        if head == "not" and len(rest) == 1:
            inner = self.test(rest[0], variables)
            return lambda world, chosen: not inner(world, chosen)
        if head == "=" and len(rest) == 2:
            left, right = map(str, rest)
            return lambda world, chosen: chosen.get(left, left) == chosen.get(right, right)
        if head == "exists":
            return self._exists(part, variables)
        return self._test_fact(self._fact(part, variables))

    def _exists(self, part: list[sexpr.Expr], variables: frozenset[str]) -> Test:
        kinds: dict[str, str] = {}
        inner = self.test(self._body(part, kinds), variables | kinds.keys())
        entities = [self._of_type.get(kind, []) for kind in kinds.values()]
        names = list(kinds)
        return lambda world, chosen: any(
            inner(world, chosen | dict(zip(names, found, strict=True))) for found in product(*entities)
        )

    def _test_fact(self, fact: Fact) -> Test:
        name, arguments, known = fact[0], fact[1:], self._facts
        if name in CHANGING:
            return lambda world, chosen: world.holds_fact((name, *[chosen.get(word, word) for word in arguments]))
        return lambda world, chosen: (name, *[chosen.get(word, word) for word in arguments]) in known


def _is_equality(parts: Sequence[sexpr.Expr]) -> bool:
    return len(parts) == 1 and isinstance(parts[0], list) and parts[0][:1] == ["="]


def _all(tests: Sequence[Test]) -> Test:
    return lambda world, chosen: all(test(world, chosen) for test in tests)


def _any(tests: Sequence[Test]) -> Test:
    return lambda world, chosen: any(test(world, chosen) for test in tests)


def _not_understood(part: sexpr.Expr) -> TaskError:
    return TaskError("bad_goal", f":goal: {sexpr.write(part)[:80]!r} is not understood")


def _recognise(clauses: Sequence[Clause]) -> Pattern | None:
    if not all(clause.plain for clause in clauses):
        return None
    if len(clauses) == 1:
        return _put(clauses[0])
    shapes = [sorted(fact[0] for fact in clause.facts) for clause in clauses]
    light, hold = ["atlocation", "inreceptacle", "istoggled", "receptacleatlocation"], ["holds"]
    if sorted(shapes) != [light, hold]:
        return None
    under, held = clauses if shapes[0] == light else reversed(clauses)
    lamp = next(fact[1] for fact in under.facts if fact[0] == "istoggled")
    return Pattern("look_at_obj_in_light", held.choices[held.facts[0][2]], under.choices[lamp])


def _put(clause: Clause) -> Pattern | None:
    """The pattern of a goal that asks for objects in a receptacle."""
    inside = [fact for fact in clause.facts if fact[0] == "inreceptacle"]
    wanted = [fact for fact in clause.facts if fact[0] != "inreceptacle"]
    items, places = {fact[1] for fact in inside}, {fact[2] for fact in inside}
    if len(places) != 1 or len(items) != len(inside) or not items | places <= clause.choices.keys():
        return None
    place = clause.choices[places.pop()]
    if len(items) == 2 and not wanted:
        first, second = (clause.choices[item] for item in items)
        return Pattern("pick_two_obj_and_place", first, place) if first == second else None
    if len(items) != 1 or len(clause.choices) != 2 or any(fact[1] not in items for fact in wanted):
        return None
    objects = clause.choices[items.pop()]
    states = [fact[0] for fact in wanted]
    if not states:
        return Pattern("pick_and_place_simple", objects, place)
    return Pattern(_TREATED[states[0]], objects, place) if len(states) == 1 and states[0] in _TREATED else None
