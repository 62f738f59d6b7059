"""What tool calls are measured beside: a trivial tool on the SDK's own in-memory path, and on OpenEnv."""

from __future__ import annotations

import importlib
import statistics
import time
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import mcp_types as types
from mcp import Client
from mcp.server.lowlevel import Server

Rate = dict[str, float]


def trivial_server() -> Server[dict[str, Any]]:
    """One tool that says "ok", on the SDK's low-level server: no state, no validation."""
    schema = {"type": "object", "properties": {"account_id": {"type": "string"}}, "required": ["account_id"]}

    async def list_tools(ctx: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[types.Tool(name="echo", input_schema=schema)])

    async def call_tool(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        return types.CallToolResult(content=[types.TextContent(text=(params.arguments or {})["account_id"])])

    return Server("peer", on_list_tools=list_tools, on_call_tool=call_tool)


def sdk_in_memory(calls: int, repeats: int) -> Rate:
    """Calls per CPU-second of the trivial tool through a connected in-memory client."""

    async def run() -> Rate:
        async with Client(trivial_server()) as client:
            await client.list_tools()

            async def some() -> int:
                for _ in range(calls):
                    await client.call_tool("echo", {"account_id": "acc_1"})
                return calls

            return await async_cpu_rate(some, repeats)

    return anyio.run(run)


def openenv_in_process(calls: int, repeats: int) -> Rate | str:
    """Calls per CPU-second of a trivial tool of an OpenEnv MCP environment in a held session; or why there are none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            environments: Any = importlib.import_module("openenv.core.env_server.mcp_environment")
            actions: Any = importlib.import_module("openenv.core.env_server.mcp_types")
            states: Any = importlib.import_module("openenv.core.env_server.types")
            fastmcp: Any = importlib.import_module("fastmcp")
    except ImportError as error:
        return f"openenv-core is not installed ({error}); pip install palaestra[bench]"
    server = fastmcp.FastMCP("peer")

    def echo(account_id: str) -> str:
        return account_id

    server.tool(echo)

    class Environment(environments.MCPEnvironment):  # type: ignore[misc]
        """The smallest environment OpenEnv allows."""

        def reset(self, seed: int | None = None, episode_id: str | None = None, **_: Any) -> Any:
            return states.Observation(done=False)

        def _step_impl(self, action: Any, timeout_s: float | None = None, **_: Any) -> Any:
            return states.Observation(done=False)

        @property
        def state(self) -> Any:
            return states.State()

    async def run() -> Rate:
        env = Environment(server)
        action = actions.CallToolAction(tool_name="echo", arguments={"account_id": "acc_1"})
        async with env.mcp_session():

            async def some() -> int:
                for _ in range(calls):
                    observation = await env.step_async(action)
                    assert observation.error is None
                return calls

            return await async_cpu_rate(some, repeats)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return anyio.run(run)


async def async_cpu_rate(fn: Callable[[], Awaitable[int]], repeats: int) -> Rate:
    """`cpu_rate` inside a running event loop: the work is awaited between two readings of the same clock."""
    await fn()
    rates = []
    for _ in range(repeats):
        started = time.process_time()
        done = await fn()
        rates.append(done / max(time.process_time() - started, 1e-9))
    return {"median": statistics.median(rates), "min": min(rates), "max": max(rates)}
