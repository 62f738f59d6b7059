"""Every Gymnasium id of Palaestra. Importing `palaestra` calls `register_all`; calling it again changes nothing."""

from __future__ import annotations

from typing import Any

import gymnasium

_SOKOBAN: dict[str, Any] = {
    "entry_point": "palaestra.envs.sokoban.env:SokobanEnv",
    "vector_entry_point": "palaestra.envs.sokoban.vector:SokobanVectorEnv",
    "max_episode_steps": None,  # the limit is the environment's own, so that single and batched episodes agree
}

_WEBSHOP: dict[str, Any] = {
    "entry_point": "palaestra.envs.webshop.env:WebShopEnv",
    "vector_entry_point": "palaestra.envs.webshop.vector:WebShopVectorEnv",
    "max_episode_steps": None,
}

_TOOLS: dict[str, Any] = {
    "entry_point": "palaestra.envs.tools.env:ToolEnv",
    "vector_entry_point": "palaestra.envs.tools.vector:ToolVectorEnv",
    "max_episode_steps": None,
}
# The catalog's names, written here because importing it takes a second.
TOOL_SERVERS = (
    "banking", "trading", "payments", "calendar", "email", "filesystem", "shopping", "marketplace", "retail_chain",
    "travel_booking", "maps", "social_media", "team_chat", "iot_devices", "vehicle", "crm", "issue_tracker", "budget",
    "food_delivery", "video_meeting",
)  # fmt: skip


def tools_id(server: str) -> str:
    """The id of the environment about one tool server.

    >>> tools_id("food_delivery")
    'palaestra/Tools-FoodDelivery-v0'
    """
    return f"palaestra/Tools-{server.title().replace('_', '')}-v0"


_ALFWORLD: dict[str, Any] = {
    "entry_point": "palaestra.envs.alfworld.env:ALFWorldEnv",
    "vector_entry_point": "palaestra.envs.alfworld.vector:ALFWorldVectorEnv",
    "max_episode_steps": None,
}

ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "palaestra/ALFWorld-v0": _ALFWORLD,
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
    "palaestra/WebShop-v0": _WEBSHOP,
    "palaestra/Tools-v0": _TOOLS,
    "palaestra/ToolsMixed-v0": _TOOLS | {"kwargs": {"mixed": True}},
    **{tools_id(server): _TOOLS | {"kwargs": {"servers": (server,)}} for server in TOOL_SERVERS},
}
"""id -> keyword arguments of `gymnasium.register`; entry points are strings, so registering imports nothing heavy."""


OPTIONAL: dict[str, dict[str, Any]] = {
    "palaestra/BFCL-MultiTurn-v0": {
        "entry_point": "palaestra.envs.tools.bfcl.env:BfclEnv",
        "vector_entry_point": "palaestra.envs.tools.bfcl.vector:BfclVectorEnv",
        "max_episode_steps": None,
    },
}
"""Environments that need a package nobody else needs; making one without it says what to install."""


def register_all() -> None:
    """Register every id that is not registered yet. Idempotent; never warns."""
    for env_id, spec in (ENVIRONMENTS | OPTIONAL).items():
        if env_id not in gymnasium.registry:
            gymnasium.register(id=env_id, **spec)
