"""Every Gymnasium id of Palaestra. Importing `palaestra` calls `register_all`; calling it again changes nothing."""

from __future__ import annotations

from typing import Any

import gymnasium

ENVIRONMENTS: dict[str, dict[str, Any]] = {}
"""id -> keyword arguments of `gymnasium.register`; entry points are strings, so registering imports nothing heavy."""


def register_all() -> None:
    """Register every id that is not registered yet. Idempotent; never warns."""
    for env_id, spec in ENVIRONMENTS.items():
        if env_id not in gymnasium.registry:
            gymnasium.register(id=env_id, **spec)
