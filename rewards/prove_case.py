"""One episode of tool use laid out for judging: its calls, the gold steps, and which call stands for which step.

Only evidence of what was really called is read, never a word the model wrote around it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, Literal

from pydantic import Field

from palaestra.envs.core.config import Settings
from palaestra.envs.tools.evidence import CallEvidence, StepEvidence
from palaestra.envs.tools.records import GoldCall, TaskRecord
from palaestra.mcp_servers.errors import RolloutError
from palaestra.mcp_servers.framework.faults import FaultCode
from palaestra.rewards import matching
from palaestra.rewards.equality import UNKNOWN, Parameters, catalogue_parameters

UNPARSABLE: Final = "unparsable"
_INFRASTRUCTURE: Final = frozenset(code.value for code in FaultCode if code.is_infrastructure)


class Rules(Settings):
    """How an episode is laid out and judged; the defaults are those of the preset "palaestra".

    Attributes:
        alpha: weight of the calls beyond the budget, in Efficiency.
        beta: share of calls beyond the gold ones that is free; the budget is n + ceil(beta n).
        turn_policy: which gold steps a call may stand for: those of its own turn, of its own or an earlier turn, any.
        matching: as well as it can be done, or each gold step in order by the earliest call that fits.
        beam: how many partial matchings are kept at most.
        defaults: whether arguments left out count as given with the schema's default.
        extra_keys: whether unknown keys make a call unfit for its schema.
        gate: whether acting in turns that need no call takes from the other terms.
        state_at: whether the world is judged at the end of every turn, or of the last one only.
    """

    alpha: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    beta: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    turn_policy: Literal["exact", "not_early", "any"] = "exact"
    matching: Literal["optimal", "first_fit"] = "optimal"
    beam: int = Field(default=512, ge=1)
    defaults: bool = True
    extra_keys: Literal["refuse", "ignore"] = "refuse"
    gate: bool = True
    state_at: Literal["turns", "end"] = "turns"


@dataclass(frozen=True, slots=True)
class Case:
    """An episode ready to be judged.

    Attributes:
        turns: user turn of each call.
        arguments: of each call as they are compared: defaults filled in if the rules say so; None if unreadable.
        names: every tool name in the gold steps.
        pairs: gold step -> call, both as positions.
        covered: gold steps matched after all of their direct predecessors.
        agreement: gold step -> share of its argument values that agree.
        exact: whether the matching is surely the best one.
    """

    record: TaskRecord
    steps: Sequence[StepEvidence]
    rules: Rules
    parameters: Mapping[str, Parameters]
    golds: tuple[GoldCall, ...]
    calls: tuple[CallEvidence, ...]
    turns: tuple[int, ...]
    arguments: tuple[Mapping[str, Any] | None, ...]
    names: frozenset[str]
    pairs: Mapping[int, int]
    covered: tuple[int, ...]
    agreement: Mapping[int, Fraction]
    exact: bool

    @property
    def budget(self) -> int:
        """How many calls are free of charge."""
        return budget(len(self.golds), self.rules.beta)


@lru_cache(maxsize=1024)
def budget(golds: int, beta: float) -> int:
    """The free calls for n gold ones, n + ceil(beta n); beta is taken as the decimal it
    is written as: in binary, ceil(0.07 * 100) is 8.

    >>> [budget(n, 0.5) for n in range(1, 7)], budget(100, 0.07)
    ([2, 3, 5, 6, 8, 9], 107)
    """
    return golds + math.ceil(Fraction(str(beta)) * golds)


def lay_out(
    record: TaskRecord,
    steps: Sequence[StepEvidence],
    rules: Rules,
    parameters: Mapping[str, Parameters] | None = None,
) -> Case:
    """The case of an episode; `parameters` default to those of the record's servers in the catalogue.

    Raises: RolloutError "timeout" or "tool_server_lost" if the infrastructure failed, "episode_incomplete" if the
        agent never replied.
    Cost: calls times gold steps of one name, and what `matching.optimal` costs.
    """
    check_infrastructure(steps)
    known = catalogue_parameters(record.env.servers) if parameters is None else parameters
    placed = [(step.turn, call) for step in steps for call in step.calls]
    golds = record.gold_calls
    arguments = tuple(_compared(call, rules, known) for _, call in placed)
    problem = _problem(golds, placed, arguments, rules, known)
    found = matching.optimal(problem, rules.beam) if rules.matching == "optimal" else matching.first_fit(problem)
    return Case(
        record=record,
        steps=steps,
        rules=rules,
        parameters=known,
        golds=tuple(gold for _, gold in golds),
        calls=tuple(call for _, call in placed),
        turns=tuple(turn for turn, _ in placed),
        arguments=arguments,
        names=frozenset(gold.tool for _, gold in golds),
        pairs=found.pairs,
        covered=matching.covered(found.pairs, problem.before),
        agreement={g: Fraction(problem.fits[call][g], problem.units) for g, call in found.pairs.items()},
        exact=found.exact,
    )


def check_infrastructure(steps: Sequence[StepEvidence]) -> None:
    """Raises: RolloutError, with the reason as its code, if what happened says nothing about the agent."""
    if not steps:
        raise RolloutError("episode_incomplete", "the agent never replied; there is nothing to judge")
    for number, step in enumerate(steps):
        codes = [call.fault for call in step.calls if call.fault in _INFRASTRUCTURE]
        for code in [*codes, *([step.lost] if step.lost is not None else [])]:
            reason = "timeout" if code == FaultCode.TIMEOUT else "tool_server_lost"
            raise RolloutError(reason, f"the tools failed with {code!r} in step {number}, turn {step.turn}")


def _compared(call: CallEvidence, rules: Rules, known: Mapping[str, Parameters]) -> Mapping[str, Any] | None:
    if call.arguments is None or not rules.defaults:
        return call.arguments
    if call.tool in known:
        return known[call.tool].filled(call.arguments)
    return call.arguments if call.defaulted is None else call.defaulted


def _problem(
    golds: Sequence[tuple[int, GoldCall]],
    placed: Sequence[tuple[int, CallEvidence]],
    arguments: Sequence[Mapping[str, Any] | None],
    rules: Rules,
    known: Mapping[str, Parameters],
) -> matching.Problem:
    """Which call could stand for which gold step: same tool, all of its keys, the same outcome, a turn that counts."""
    at = {gold.id: index for index, (_, gold) in enumerate(golds)}
    before = [sum(1 << at[earlier] for earlier in set(gold.after) if earlier in at) for _, gold in golds]
    wanted = [
        known.get(gold.tool, UNKNOWN).filled(gold.arguments) if rules.defaults else gold.arguments for _, gold in golds
    ]
    units = math.lcm(*(len(values) or 1 for values in wanted))
    by_tool: dict[str, list[int]] = {}
    for index, (_, gold) in enumerate(golds):
        by_tool.setdefault(gold.tool, []).append(index)
    fits: list[dict[int, int]] = []
    for (turn, call), given in zip(placed, arguments, strict=True):
        same = known.get(call.tool, UNKNOWN).same
        fits.append({})
        for index in by_tool.get(call.tool, ()):
            gold_turn, gold = golds[index]
            values = wanted[index]
            if given is None or call.fault != gold.expects_fault or not _in_time(turn, gold_turn, rules):
                continue
            if values.keys() <= given.keys():
                agreeing = sum(same(name, given[name], value) for name, value in values.items())
                fits[-1][index] = units * agreeing // len(values) if values else units
    return matching.Problem(fits, before, units)


def _in_time(turn: int, gold_turn: int, rules: Rules) -> bool:
    match rules.turn_policy:
        case "exact":
            return turn == gold_turn
        case "not_early":
            return turn >= gold_turn
        case _:
            return True
