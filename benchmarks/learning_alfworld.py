"""Does the policy learn household tasks: unseen layouts, before and after, by type of task; see `learning.py`."""

from __future__ import annotations

from typing import Any, Final

from palaestra.benchmarks.learning import Arms, measure

ARMS: Final[Arms] = {"recipe": ()}


def run(quick: bool, seed: int) -> dict[str, Any]:
    """Cost: three runs of some fifteen minutes of CPU each."""
    return measure("learning-alfworld", "alfworld", ARMS, 10.0, quick, seed)
