"""Does the policy learn to use tools: worlds nobody trained on, before and after, by server; see `learning.py`."""

from __future__ import annotations

from typing import Any, Final

from palaestra.benchmarks.learning import Arms, measure

ARMS: Final[Arms] = {"recipe": ()}


def run(quick: bool, seed: int) -> dict[str, Any]:
    """Cost: three runs of some thirteen minutes of CPU each."""
    return measure("learning-tools", "tools", ARMS, 10.0, quick, seed)
