"""The State term: is the world, turn by turn, as the gold calls leave it, and was what had to be read really read."""

from __future__ import annotations

from collections.abc import Sequence

from palaestra.envs.tools.evidence import StepEvidence
from palaestra.envs.tools.outcome import turn_outcomes
from palaestra.envs.tools.records import TaskRecord


def applies(record: TaskRecord) -> bool:
    """Whether the record knows what its world should look like; servers that are not ours keep no digests."""
    return any(turn.goal_digests for turn in record.turns)


def final_state(record: TaskRecord, steps: Sequence[StepEvidence], *, only_end: bool = False) -> tuple[float, str]:
    """Mean of the turns' outcomes, or the last one's, and those that fall short in words.

    A turn that changes the world is judged by the change set since the seed, one that only reads also by whether the
    agent has seen the answers. Linear in the cells changed.
    """
    if not applies(record):
        return 0.0, "not applicable: the record holds no digests of its world"
    outcomes = turn_outcomes(record, steps)
    if only_end:
        return outcomes[-1], f"at the end: {outcomes[-1]:.3g}"
    short = [f"turn {turn}: {outcome:.3g}" for turn, outcome in enumerate(outcomes) if outcome < 1.0]
    return sum(outcomes) / len(outcomes), "; ".join(short) or "as the gold calls leave it, in every turn"
