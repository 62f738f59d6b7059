"""Whether a record's own solution earns the full reward: the last filter of task synthesis."""

from __future__ import annotations

import math
from typing import Final

from palaestra.envs.tools.calls import AskedCall
from palaestra.envs.tools.records import TaskRecord
from palaestra.rewards.compose import Invalid
from palaestra.rewards.prove import PRESETS, best_reward
from palaestra.rewards.prove import score as prove_score
from palaestra.rewards.replay import perform

SCORE: Final = "palaestra.rewards.gold:earns_the_most"
"""How `earns_the_most` is named where the layer below is told what to call."""


def earns_the_most(record: TaskRecord) -> bool:
    """Whether the gold calls, played through the environment, earn the full reward under both presets.

    Cost: opening an episode of the record's world, and its calls.
    """
    steps = perform(
        record, [[AskedCall(call.tool, dict(call.arguments)) for call in turn.gold] for turn in record.turns]
    )
    for settings in PRESETS.values():
        earned = prove_score(record, steps, settings)
        if isinstance(earned, Invalid) or not math.isclose(earned.total, best_reward(record, settings), abs_tol=1e-9):
            return False
    return True
