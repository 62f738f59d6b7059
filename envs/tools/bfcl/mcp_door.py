"""BFCL's tasks over the Model Context Protocol: one server for any number of episodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server

from palaestra.envs.tools.bfcl.session import BfclSession
from palaestra.envs.tools.bfcl.tools import BACKENDS, BfclTool, backend_tools
from palaestra.mcp_servers.errors import ToolError
from palaestra.mcp_servers.framework.dispatch import failed
from palaestra.mcp_servers.framework.faults import Fault, FaultCode
from palaestra.mcp_servers.framework.mcp_adapter import EPISODE_KEY, to_wire
from palaestra.version import VERSION

_Context = ServerRequestContext[Any, Any]
_UNKNOWN = Fault(
    FaultCode.UNKNOWN_EPISODE, f"no episode has this handle; name one in the request's _meta, {EPISODE_KEY!r}"
)


def protocol_server(sessions: Mapping[str, BfclSession]) -> Server[dict[str, Any]]:
    """A protocol server for these episodes by handle; the mapping may change while it serves."""

    def find(ctx: _Context) -> BfclSession | None:
        return sessions.get(str((ctx.meta or {}).get(EPISODE_KEY, "")))

    async def list_tools(ctx: _Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        session = find(ctx)
        # The SDK's own listings name no episode; without a list it would ask again at every call.
        tools = _every_tool() if session is None else session.shown()
        return types.ListToolsResult(tools=[*map(_advertise, tools)], ttl_ms=0, cache_scope="private")

    async def call_tool(ctx: _Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        session = find(ctx)
        if session is None:
            return to_wire(failed(_UNKNOWN))
        try:
            return to_wire(session.call(params.name, params.arguments or {}))
        except ToolError as error:
            return to_wire(failed(Fault(FaultCode(error.code), error.message)))

    return Server(
        "palaestra-bfcl",
        version=VERSION,
        instructions="Every tool works on the state of one episode.",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        get_tool_input_schema=lambda name: None,
    )


def _every_tool() -> list[BfclTool]:
    return [tool for backend in BACKENDS for tool in backend_tools(backend).values()]


def _advertise(tool: BfclTool) -> types.Tool:
    return types.Tool(name=tool.name, description=tool.description, input_schema=dict(tool.schema))
