"""The in-process door, for training and tests: the dispatch door itself, no protocol objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode
from palaestra.mcp_servers.framework.faults import ToolResult


class LocalDoor:
    """Calls the tools of one episode."""

    def __init__(self, episode: Episode) -> None:
        self._episode = episode

    def list_tools(self) -> list[dict[str, Any]]:
        """Name, description and input schema of every tool the agent may call now."""
        return [
            {"name": spec.name, "description": spec.description, "input_schema": spec.input_schema()}
            for spec in self._episode.visible_tools()
        ]

    def call(self, tool: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Call a tool. Raises: ToolError if the episode is gone; every other failure is a fault in the result."""
        return dispatch(self._episode, tool, dict(arguments)).raise_if_lost()
