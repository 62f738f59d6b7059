"""The client's side of every wire: the official client, speaking for one episode, gives the in-process results."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import anyio
import httpx2
import mcp_types as types
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from palaestra.mcp_servers.errors import ToolError, boundary
from palaestra.mcp_servers.framework.dispatch import failed
from palaestra.mcp_servers.framework.faults import Fault, FaultCode, ToolResult
from palaestra.mcp_servers.framework.mcp_adapter import EPISODE_KEY

DEADLINE_S: Final = 10.0
CONNECT_S: Final = 60.0
_GOODBYE_S: Final = 5.0


@asynccontextmanager
async def connect(
    server: str | StdioServerParameters, token: str | None = None, *, mode: str = "auto", deadline_s: float = CONNECT_S
) -> AsyncIterator[Client]:
    """A connected client, for the doors of any number of episodes.

    Args:
        server: URL of `/mcp` or `/mcp/<server>`, or what to start for stdio.
        token: bearer token of the principal, over HTTP.
        mode: as `mcp.Client`'s: "auto", a revision, or "legacy".
        deadline_s: for the connection; a stdio server starts meanwhile.

    A server that dies takes the client with it but nobody else: calls then answer "unavailable". Raises: ToolError
    "unavailable" if the server cannot be reached, "timeout" past the deadline.
    """
    ready, stop = asyncio.Event(), asyncio.Event()
    found: list[Client] = []

    async def hold() -> None:
        # In a task of its own: when its transport breaks, the SDK cancels the task that connected, whatever it does.
        try:
            with boundary("unavailable", ToolError):
                async with _http(token) as http:
                    source = streamable_http_client(server, http_client=http) if isinstance(server, str) else server
                    async with Client(source, mode=mode) as client:
                        found.append(client)
                        ready.set()
                        await stop.wait()
        finally:
            ready.set()

    task = asyncio.get_running_loop().create_task(hold())
    try:
        with anyio.move_on_after(deadline_s):
            await ready.wait()
        if not ready.is_set():
            raise ToolError("timeout", f"the tool server did not answer within {deadline_s} s", retryable=True)
        if not found:
            await task
        yield found[0]
    finally:
        stop.set()
        if not ready.is_set():
            task.cancel()
        with anyio.move_on_after(_GOODBYE_S, shield=True):
            await asyncio.wait([task])
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # whoever called meanwhile was told


def _http(token: str | None) -> httpx2.AsyncClient:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    limits = httpx2.Limits(max_connections=64, max_keepalive_connections=64)
    # Longer than any call's deadline: a call that is given up must not break the connection of the others.
    return httpx2.AsyncClient(headers=headers, limits=limits, timeout=httpx2.Timeout(DEADLINE_S, read=600.0))


class WireDoor:
    """Calls the tools of one episode through a connected `mcp.Client`.

    Args:
        client: connected, by whatever transport and protocol revision.
        handle: of the episode; None for a server's default episode.
        deadline_s: per call; passing it is a `timeout` fault.
    """

    def __init__(self, client: Client, handle: str | None, deadline_s: float = DEADLINE_S) -> None:
        self._client = client
        self.handle = handle
        self._meta: Any = None if handle is None else {EPISODE_KEY: handle}
        self._deadline_s = deadline_s

    async def list_tools(self) -> list[dict[str, Any]]:
        """Name, description and input schema of every tool the agent may call now.

        Raises: ToolError "timeout" or "unavailable".
        """
        with _told(), anyio.move_on_after(self._deadline_s):
            listed = await self._client.list_tools(meta=self._meta)
            return [
                {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema}
                for tool in listed.tools
            ]
        raise ToolError("timeout", f"no list of tools within {self._deadline_s} s", retryable=True)

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Call a tool. Raises: ToolError if the server or the episode is gone; anything else is in the result."""
        try:
            with _told():
                got = await self._client.call_tool(
                    tool, dict(arguments), read_timeout_seconds=self._deadline_s, meta=self._meta
                )
        except TimeoutError:
            return failed(Fault(FaultCode.TIMEOUT, f"no answer within {self._deadline_s} s"))
        return from_wire(got).raise_if_lost()


@contextmanager
def _told() -> Iterator[None]:
    """What the official client raises, told as ours. Raises: TimeoutError, ToolError "unavailable"."""
    try:
        yield
    except MCPError as error:
        if error.code == types.REQUEST_TIMEOUT:
            raise TimeoutError from error
        raise ToolError("unavailable", f"the tool server is gone or refused: {error}", retryable=True) from error
    except (anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
        raise ToolError("unavailable", "the connection to the tool server is closed", retryable=True) from error


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
