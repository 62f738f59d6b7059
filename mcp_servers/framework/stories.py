"""Stories: short scenes that exercise a server through its tools, written once and used everywhere.

A story is a function of a `Teller`. Conformance runs it to see every tool work and every precondition refuse; the
doors are compared on the calls it makes; a new server is tested by the stories it comes with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from palaestra.mcp_servers.errors import ToolError
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode
from palaestra.mcp_servers.framework.faults import FaultCode, ToolResult
from palaestra.mcp_servers.framework.sql import Model, Row


@dataclass(frozen=True, slots=True)
class Told:
    """One call of a story and what came of it."""

    tool: str
    arguments: dict[str, Any]
    result: ToolResult


class Teller:
    """Tells a story on an episode: makes the calls and holds them to what the story expects."""

    def __init__(self, episode: Episode, server: str) -> None:
        self.episode = episode
        self.server = server
        self.told: list[Told] = []

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """A call that must succeed; its value. Raises: ToolError "story_failed" naming what it got instead."""
        result = self._tell(tool, arguments)
        if result.value is None:
            raise ToolError("story_failed", f"{tool}({arguments}) should succeed, got {result.text}")
        return result.value

    def items(self, tool: str, **arguments: Any) -> list[dict[str, Any]]:
        """The items of a list that must succeed: of every page, or of the first if a `limit` is named."""
        page = self.call(tool, **arguments)
        found: list[dict[str, Any]] = page["items"]
        while "limit" not in arguments and page.get("next_cursor"):
            page = self.call(tool, **arguments, cursor=page["next_cursor"])
            found = [*found, *page["items"]]
        return found

    def refused(self, expected: str, tool: str, **arguments: Any) -> None:
        """A call that must be refused, by the precondition or the fault code of this name.

        Raises: ToolError "story_failed" naming what it got instead.
        """
        fault = self._tell(tool, arguments).fault
        found = "" if fault is None else fault.details.get("precondition", fault.code.value)
        if found != expected:
            raise ToolError("story_failed", f"{tool}({arguments}) should meet {expected}, got {found or 'a result'}")

    def known(self, model: Model) -> list[Row]:
        """Rows as the user knows them, for what no tool shows: a passphrase, say."""
        return self.episode.state(self.server).database.every(model)

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.episode.advance_clock(seconds)

    def _tell(self, tool: str, arguments: dict[str, Any]) -> ToolResult:
        result = dispatch(self.episode, tool, arguments)
        if result.fault is not None and result.fault.code is FaultCode.INTERNAL:
            raise ToolError("story_failed", f"{tool}({arguments}): {self.episode.journal.records[-1].incident}")
        self.told.append(Told(tool, arguments, result))
        return result
