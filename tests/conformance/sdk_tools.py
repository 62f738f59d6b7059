"""How the fixture's tools on the bare SDK are written: a coroutine each, advertised by its name and docstring."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext

Context = ServerRequestContext[Any, Any]
ToolAnswer = types.CallToolResult | types.InputRequiredResult
Run = Callable[[Context, types.CallToolRequestParams], Awaitable[ToolAnswer]]


@dataclass(frozen=True, slots=True)
class SdkTool:
    """What is listed of a tool, and what runs when it is called."""

    advertised: types.Tool
    run: Run


def sdk_tool(*takes: str) -> Callable[[Run], SdkTool]:
    """Make a coroutine a tool; `takes` names its arguments, which are texts and required."""
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in takes}, "required": list(takes)}

    def declare(run: Run) -> SdkTool:
        name = getattr(run, "__name__", "")
        return SdkTool(types.Tool(name=name, description=run.__doc__, input_schema=schema), run)

    return declare


def answer(*content: types.ContentBlock | str) -> types.CallToolResult:
    """A tool's result; a bare string is a text block."""
    return types.CallToolResult(
        content=[types.TextContent(text=block) if isinstance(block, str) else block for block in content]
    )
