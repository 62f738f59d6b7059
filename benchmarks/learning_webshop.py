"""Does the policy learn to shop: goals of the corner shop nobody trained on, before and after; see `learning.py`."""

from __future__ import annotations

from typing import Any, Final

from palaestra.benchmarks.learning import Arms, measure

ARMS: Final[Arms] = {"recipe": ()}


def run(quick: bool, seed: int) -> dict[str, Any]:
    """Cost: three runs of some eight minutes of CPU each."""
    return measure("learning-webshop", "webshop", ARMS, 10.0, quick, seed)
