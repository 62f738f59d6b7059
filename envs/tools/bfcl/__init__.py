"""BFCL v4 multi-turn, played with the backends and judged by the checkers of the installed `bfcl-eval`.

Importing this needs nothing but Gymnasium; making the environment needs bfcl-eval, and says how to install it.
"""

from __future__ import annotations

from typing import Any, Final

import gymnasium

ENV_ID: Final = "palaestra/BFCL-MultiTurn-v0"
REGISTRATION: Final[dict[str, Any]] = {
    "entry_point": "palaestra.envs.tools.bfcl.env:BfclEnv",
    "vector_entry_point": "palaestra.envs.tools.bfcl.vector:BfclVectorEnv",
    "max_episode_steps": None,
}


def register() -> str:
    """Make the environment known to Gymnasium and return its id; calling it again changes nothing."""
    if ENV_ID not in gymnasium.registry:
        gymnasium.register(id=ENV_ID, **REGISTRATION)
    return ENV_ID
