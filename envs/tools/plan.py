"""Following a record's gold calls: is an episode still on course, and which replies are left of the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from palaestra.envs.core.types import canonical_json
from palaestra.envs.tools.calls import AskedCall, CallFormat, Schemas
from palaestra.envs.tools.evidence import CallEvidence, StepEvidence
from palaestra.envs.tools.records import GoldCall, TaskRecord

REPLIES: Final[Mapping[str, str]] = {
    "act": "Done.",
    "clarify": "I need to know more before I can do that. Could you tell me?",
    "abstain": "I have no tool that can do that.",
}
"""What a good assistant says at the end of a turn, if the record does not say it."""


@dataclass(slots=True)
class Course:
    """Where an episode stands on the way of its gold calls.

    Attributes:
        turn, done: the turn it is in, and how many of that turn's gold calls were made.
        lost: something was changed, or a turn ended, that the gold calls would not have.
    """

    record: TaskRecord
    turn: int = 0
    done: int = 0
    lost: bool = False

    def follow(self, step: StepEvidence) -> None:
        """Take note of one reply. Calls that change nothing are no detour."""
        if self.turn >= len(self.record.turns):
            return
        gold = self.record.turns[self.turn].gold
        for call in step.calls:
            if self.done < len(gold) and _is(call, gold[self.done]):
                self.done += 1
            elif call.changed or (call.writes and call.fault is None):
                self.lost = True
        if step.turn_over:
            self.lost |= self.done < len(gold)
            self.turn, self.done = self.turn + 1, 0

    def replies(self, how: CallFormat, schemas: Schemas) -> list[str] | None:
        """The replies that are left; None if the course is lost."""
        if self.lost:
            return None
        found: list[str] = []
        for number, turn in enumerate(self.record.turns[self.turn :]):
            gold = turn.gold[self.done :] if number == 0 else turn.gold
            found += [how.write([_asked(call) for call in together], schemas) for together in _parallel(gold)]
            found.append(turn.reply or REPLIES[turn.kind])
        return found


def _asked(call: GoldCall) -> AskedCall:
    return AskedCall(call.tool, dict(call.arguments))


def _is(call: CallEvidence, gold: GoldCall) -> bool:
    if call.tool != gold.tool or call.fault != gold.expects_fault or call.arguments is None:
        return False
    return canonical_json(call.arguments) == canonical_json(gold.arguments)


def _parallel(gold: Sequence[GoldCall]) -> list[list[GoldCall]]:
    """The calls in order, those that do not wait for each other in one reply."""
    replies: list[list[GoldCall]] = []
    for call in gold:
        if not replies or any(earlier.id in call.after for earlier in replies[-1]):
            replies.append([])
        replies[-1].append(call)
    return replies
