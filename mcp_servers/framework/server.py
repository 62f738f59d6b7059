"""A tool server: models, a seed and tools, checked once when it is built."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from palaestra.mcp_servers.errors import ConfigError, nearest
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.spec import ToolSpec
from palaestra.mcp_servers.framework.sql import Database, Model, Schema

if TYPE_CHECKING:
    from palaestra.mcp_servers.framework.stories import Teller

Profile = Literal["small", "default", "large"]
PROFILES: tuple[Profile, ...] = ("small", "default", "large")
Story = Callable[["Teller"], None]
Seed = Callable[[Database, EpisodeSources, np.random.Generator, Profile], None]


class ToolServer:
    """One simulated service: `ToolServer("banking", "...", models=[Account, Card], seed=seed, tools=[...])`.

    Args:
        name: snake case, unique.
        description: one paragraph: what it simulates and its business rules.
        models: every table, a referenced one before those that refer to it.
        seed: fills an empty database as a function of (rng, profile) alone.
        tools: generated and hand-written.
        stories: scenes that use every tool and meet every precondition, false and true; see framework/stories.py.
        chains: small tasks whose calls succeed in one order only; see framework/chains.py.

    Raises: ConfigError "bad_server" if two tools share a name or there is no tool, "bad_model" for a bad table.
    """

    def __init__(
        self,
        name: str,
        description: str,
        *,
        models: Sequence[Model],
        seed: Seed,
        tools: Iterable[ToolSpec],
        stories: Iterable[Story] = (),
        chains: Iterable[Story] = (),
    ) -> None:
        self.name = name
        self.description = description
        self.schema = Schema(models)
        self.seed = seed
        self.stories = tuple(stories)
        self.chains = tuple(chains)
        keys = self.schema.keys()
        self.tools: dict[str, ToolSpec] = {}
        for tool in tools:
            if tool.name in self.tools:
                raise ConfigError("bad_server", f"server {name} has two tools named {tool.name}; rename one")
            self.tools[tool.name] = tool.of_server(name, keys)
        if not self.tools:
            raise ConfigError("bad_server", f"server {name} has no tools")

    def tool(self, name: str) -> ToolSpec:
        """Raises: ConfigError "unknown_tool" naming the nearest."""
        if name not in self.tools:
            raise ConfigError("unknown_tool", f"{self.name} has no tool {name!r}; {nearest(name, self.tools)}")
        return self.tools[name]


def check_profile(profile: str) -> Profile:
    """Raises: ConfigError "unknown_profile" naming the nearest."""
    for known in PROFILES:
        if profile == known:
            return known
    raise ConfigError("unknown_profile", f"no profile {profile!r}; {nearest(profile, PROFILES)}")
