"""The terms of the tool-use reward: pure functions of a case that give a number and the reason in words.

    Validity     mean over the calls of (L1 + L2 + L3) / 3                         shown, fits its schema, succeeded
    Coverage     share of gold steps matched after all of their direct predecessors
    Efficiency   -alpha max(0, N - B) / B,  B = n + ceil(beta n)
    Name         share of calls whose tool occurs among the gold steps
    Argument     mean over matched steps of the share of argument values that agree
    State        mean over the turns of how far the world is as it should be
    Repeat       -(calls that repeat one in an unchanged world) / N
    Abstention   1 if there was nothing to call and nothing was called

Without any call every term but State is 0; without gold calls every term but Abstention is.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final, NamedTuple

from palaestra.envs.tools.evidence import CallEvidence
from palaestra.rewards import final_state
from palaestra.rewards.equality import UNKNOWN
from palaestra.rewards.prove_case import UNPARSABLE, Case

_SHOWN: Final = 8
_LEVELS: Final = (
    "is no call of a tool shown",
    "its arguments do not fit the schema shown",
    "it failed",
)


class Term(NamedTuple):
    """A term's value, and why it is not better."""

    value: float
    words: str


def validity(case: Case) -> Term:
    """How far the calls got, a third per level: shown, fits the schema shown, succeeded."""
    if not case.calls:
        return Term(0.0, "no calls")
    expected = {call for step, call in case.pairs.items() if case.golds[step].expects_fault is not None}
    reached = [_level(case, call, number in expected) for number, call in enumerate(case.calls)]
    short = [(number, _LEVELS[level]) for number, level in enumerate(reached) if level < len(_LEVELS)]
    words = _list(f"{_call(case, number)}: {why}{_fault(case.calls[number])}" for number, why in short)
    return Term(sum(reached) / (3 * len(reached)), words or "every call succeeded")


def _level(case: Case, call: CallEvidence, expected: bool) -> int:
    if _unparsable(call) or not call.shown:
        return 0
    if not (call.fits if case.rules.extra_keys == "refuse" else call.fits_loose):
        return 1
    return 3 if call.fault is None or expected else 2


def _unparsable(call: CallEvidence) -> bool:
    return not call.tool or call.fault == UNPARSABLE


def coverage(case: Case) -> Term:
    """Gold steps done, each after what it depends on."""
    done = set(case.covered)
    words = []
    for step, gold in enumerate(case.golds):
        if step not in case.pairs:
            words.append(f"{gold.id} {gold.tool} not done")
        else:
            early = "" if step in done else ", before what it depends on"
            words.append(f"{gold.id} by call {case.pairs[step]}{early}")
    if not case.exact:
        words.append("beam: a better matching may exist")
    return Term(len(case.covered) / len(case.golds), _list(words, 64))


def efficiency(case: Case) -> Term:
    """The price of calls beyond the budget."""
    calls, free = len(case.calls), case.budget
    return Term(-case.rules.alpha * max(0, calls - free) / free, f"{calls} calls, {free} free")


def name(case: Case) -> Term:
    """Share of calls of a tool that is needed somewhere in the task."""
    if not case.calls:
        return Term(0.0, "no calls")
    strange = [n for n, call in enumerate(case.calls) if call.tool not in case.names]
    words = _list(f"{_call(case, n)}: not needed" for n in strange)
    return Term(1 - len(strange) / len(case.calls), words or "every tool is needed")


def argument(case: Case) -> Term:
    """How many argument values of the matched steps agree; a step without arguments agrees wholly."""
    if not case.pairs:
        return Term(0.0, "nothing matched")
    words = _list(
        f"{case.golds[step].id}: {float(share):.3g} of its values agree"
        for step, share in sorted(case.agreement.items())
        if share < 1
    )
    return Term(float(sum(case.agreement.values()) / len(case.pairs)), words or "every value agrees")


def state(case: Case) -> Term:
    """Is the world as it should be, turn by turn."""
    return Term(*final_state.final_state(case.record, case.steps, only_end=case.rules.state_at == "end"))


def repeat(case: Case) -> Term:
    """The share of calls made for nothing, gold ones left out: repeats, and WRITEs that no gold call asks for.

    A change that was undone or overwritten leaves no trace in the final state, nor does a WRITE of what stands there
    already, and within the budget they would be free.

    Of calls that follow each other with the same tool and equal arguments, and no change of any server's goal between
    the end of one and the next, all but one are repeats; but none that stands for a gold step is.
    """
    matched = set(case.pairs.values())
    runs: list[list[int]] = []
    ended: list[int] = []  # per run: how often the world had changed when its last call was over
    changes = 0
    for number, call in enumerate(case.calls):
        before = changes
        changes += call.changed
        if _unparsable(call):
            continue
        run = next((r for r, found in enumerate(runs) if ended[r] == before and _says_same(case, found[0], number)), -1)
        if run < 0:
            runs.append([number])
            ended.append(changes)
        else:
            runs[run].append(number)
            ended[run] = changes
    wrote = [n for n, call in enumerate(case.calls) if call.changed or (call.writes and call.fault is None)]
    why = {n: "a change nobody asked for" for n in wrote if n not in matched}
    why |= {n: "a repeat" for run in runs for n in _left_over(run, matched)}
    words = _list(f"{_call(case, n)}: {why[n]}" for n in sorted(why))
    return Term(-len(why) / max(1, len(case.calls)), words or "no repeats")


def _says_same(case: Case, one: int, other: int) -> bool:
    left, right = case.arguments[one], case.arguments[other]
    if case.calls[one].tool != case.calls[other].tool or left is None or right is None or left.keys() != right.keys():
        return False
    same = case.parameters.get(case.calls[one].tool, UNKNOWN).same
    return all(same(key, value, right[key]) for key, value in left.items())


def _left_over(run: list[int], matched: set[int]) -> list[int]:
    others = [number for number in run if number not in matched]
    return others if len(others) < len(run) else others[1:]


def abstention(case: Case) -> Term:
    """Where nothing can be done: 1 for calling nothing."""
    return Term(float(not case.calls), f"{len(case.calls)} calls where none is right")


def gate(case: Case) -> Term:
    """1, less the share of turns without gold calls in which the agent acted; looking things up is no act."""
    idle = [number for number, turn in enumerate(case.record.turns) if not turn.gold]
    if not case.rules.gate or not idle or not case.golds:
        return Term(1.0, "")
    acted = {turn for turn, call in zip(case.turns, case.calls, strict=True) if _acts(call)}
    bad = [turn for turn in idle if turn in acted]
    return Term(1 - len(bad) / len(idle), _list(f"acted in turn {turn}, which needs no call" for turn in bad))


def _acts(call: CallEvidence) -> bool:
    return _unparsable(call) or call.fault is not None or call.writes is not False


def _call(case: Case, number: int) -> str:
    return f"call {number} {case.calls[number].tool[:64] or '?'} (turn {case.turns[number]})"


def _fault(call: CallEvidence) -> str:
    return "" if call.fault is None else f" [{call.fault}]"


def _list(words: Iterable[str], most: int = _SHOWN) -> str:
    every = list(words)
    left = len(every) - most
    return "; ".join(islice(every, most)) + (f"; and {left} more" if left > 0 else "")
