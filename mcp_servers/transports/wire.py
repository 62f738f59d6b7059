"""The client's side of every wire: the official client, speaking for one episode, gives the in-process results."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import mcp_types as types
from mcp import Client, MCPError

from palaestra.mcp_servers.errors import ToolError
from palaestra.mcp_servers.framework.dispatch import failed
from palaestra.mcp_servers.framework.faults import Fault, FaultCode, ToolResult
from palaestra.mcp_servers.framework.mcp_adapter import EPISODE_KEY

DEADLINE_S: Final = 10.0


class WireDoor:
    """Calls the tools of one episode through a connected `mcp.Client`.

    Args:
        client: connected, by whatever transport and protocol revision.
        handle: of the episode; None for a server's default episode.
        deadline_s: per call; passing it is a `timeout` fault.
    """

    def __init__(self, client: Client, handle: str | None, deadline_s: float = DEADLINE_S) -> None:
        self._client = client
        self._meta: Any = None if handle is None else {EPISODE_KEY: handle}
        self._deadline_s = deadline_s

    async def list_tools(self) -> list[dict[str, Any]]:
        """Name, description and input schema of every tool the agent may call now."""
        listed = await self._client.list_tools(meta=self._meta)
        return [
            {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema}
            for tool in listed.tools
        ]

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Call a tool. Raises: ToolError if the server or the episode is gone; anything else is in the result."""
        try:
            got = await self._client.call_tool(
                tool, dict(arguments), read_timeout_seconds=self._deadline_s, meta=self._meta
            )
        except MCPError as error:
            if error.code == types.REQUEST_TIMEOUT:
                return failed(Fault(FaultCode.TIMEOUT, f"no answer within {self._deadline_s} s"))
            raise ToolError("unavailable", f"the tool server refused the request: {error}", retryable=True) from error
        return from_wire(got).raise_if_lost()


def from_wire(got: types.CallToolResult) -> ToolResult:
    """A result of the protocol as the in-process door would have given it, without the state's digests.

    Raises: ToolError "bad_result" if the server is not one of ours.
    """
    if len(got.content) != 1 or not isinstance(got.content[0], types.TextContent):
        raise ToolError("bad_result", "expected one text block; the server is not a Palaestra tool server")
    text = got.content[0].text
    digest = hashlib.sha256(text.encode()).hexdigest()
    body: dict[str, Any] = got.structured_content
    if not got.is_error:
        return ToolResult(body, None, text, digest)
    try:
        fault = Fault(FaultCode(body["code"]), body["message"], body["details"])
    except (KeyError, TypeError, ValueError) as error:
        raise ToolError("bad_result", f"not a fault of a Palaestra tool server: {text[:200]}") from error
    return ToolResult(None, fault, text, digest)
