"""Every Gymnasium id of Palaestra. Importing `palaestra` calls `register_all`; calling it again changes nothing."""

from __future__ import annotations

from typing import Any

import gymnasium

_SOKOBAN: dict[str, Any] = {
    "entry_point": "palaestra.envs.sokoban.env:SokobanEnv",
    "vector_entry_point": "palaestra.envs.sokoban.vector:SokobanVectorEnv",
    "max_episode_steps": None,  # the limit is the environment's own, so that single and batched episodes agree
}

ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "palaestra/Sokoban-v0": _SOKOBAN,
    "palaestra/SokobanGrid-v0": _SOKOBAN | {"kwargs": {"actions": "push4", "obs": "symbol", "info": "numeric"}},
    "palaestra/SokobanReference-v0": _SOKOBAN
    | {
        "kwargs": {
            "generator": "reference",
            "actions": "full9",
            "obs": "rgb",
            "size": (10, 10),
            "boxes": 4,
            "max_steps": 120,
        }
    },
}
"""id -> keyword arguments of `gymnasium.register`; entry points are strings, so registering imports nothing heavy."""


def register_all() -> None:
    """Register every id that is not registered yet. Idempotent; never warns."""
    for env_id, spec in ENVIRONMENTS.items():
        if env_id not in gymnasium.registry:
            gymnasium.register(id=env_id, **spec)
