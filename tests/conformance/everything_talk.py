"""What the fixture tells and asks its client while it works: progress, log messages, questions, changed lists."""

from __future__ import annotations

from typing import Any, Final

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, PromptsListChanged, ToolsListChanged
from mcp.shared.exceptions import MCPError

from palaestra.mcp_servers.framework.carriers import SESSION_HEADER
from tests.conformance.sdk_tools import Context, ToolAnswer, answer, sdk_tool

LEVELS: Final[tuple[types.LoggingLevel, ...]] = (
    "debug", "info", "notice", "warning", "error", "critical", "alert", "emergency",
)  # fmt: skip
CHANGES: Final = InMemorySubscriptionBus()
DEFAULTS: Final = {
    "name": {"type": "string", "default": "John Doe"},
    "age": {"type": "integer", "default": 30},
    "score": {"type": "number", "default": 95.5},
    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "default": True},
}
OPTIONS: Final = ["option1", "option2", "option3"]
TITLED: Final = [{"const": f"value{n}", "title": f"{word} Option"} for n, word in enumerate(("First", "Second"), 1)]
CHOICES: Final = {
    "untitledSingle": {"type": "string", "enum": OPTIONS},
    "titledSingle": {"type": "string", "oneOf": TITLED},
    "legacyEnum": {"type": "string", "enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]},
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": OPTIONS}},
    "titledMulti": {"type": "array", "items": {"anyOf": TITLED}},
}


def form(properties: dict[str, Any]) -> dict[str, Any]:
    """A form all of whose fields are to be filled in."""
    return {"type": "object", "properties": properties, "required": list(properties)}


@sdk_tool()
async def test_tool_with_progress(ctx: Context, params: types.CallToolRequestParams) -> ToolAnswer:
    """Report progress three times."""
    for done in (0, 50, 100):
        await ctx.session.report_progress(done, 100)
    return answer("Three steps done.")


async def _log(ctx: Context, *lines: str) -> None:
    wanted = _levels.get(_session(ctx), "debug")
    if LEVELS.index("info") >= LEVELS.index(wanted):
        for line in lines:
            await ctx.session.send_log_message("info", line, related_request_id=ctx.request_id)


@sdk_tool()
async def test_tool_with_logging(ctx: Context, params: types.CallToolRequestParams) -> ToolAnswer:
    """Write three log messages."""
    await _log(ctx, "Tool execution started", "Tool processing data", "Tool execution completed")
    return answer("Three messages written.")


@sdk_tool()
async def test_logging_tool(ctx: Context, params: types.CallToolRequestParams) -> ToolAnswer:
    """Write a log message, which is sent only to who asked for some."""
    await _log(ctx, "Tool called")
    return answer("A message written.")


@sdk_tool("prompt")
async def test_sampling(ctx: Context, params: types.CallToolRequestParams) -> ToolAnswer:
    """Have the client's model answer."""
    prompt = types.TextContent(text=(params.arguments or {})["prompt"])
    sampled = await ctx.session.create_message(
        [types.SamplingMessage(role="user", content=prompt)], max_tokens=100, related_request_id=ctx.request_id
    )
    return answer(f"LLM response: {sampled.content.text if isinstance(sampled.content, types.TextContent) else ''}")


async def _elicit(ctx: Context, message: str, properties: dict[str, Any]) -> ToolAnswer:
    said = await ctx.session.elicit_form(message, form(properties), ctx.request_id)
    return answer(f"Elicitation completed: action={said.action}, content={said.content}")


@sdk_tool("message")
async def test_elicitation(ctx: Context, params: types.CallToolRequestParams) -> ToolAnswer:
    """Ask the user for a name and an address."""
    fields = {name: {"type": "string", "description": f"the user's {name}"} for name in ("username", "email")}
    return await _elicit(ctx, (params.arguments or {})["message"], fields)


@sdk_tool()
async def test_elicitation_sep1034_defaults(ctx: Context, params: types.CallToolRequestParams) -> ToolAnswer:
    """Ask with a default for every kind of field."""
    return await _elicit(ctx, "Who are you?", DEFAULTS)


@sdk_tool()
async def test_elicitation_sep1330_enums(ctx: Context, params: types.CallToolRequestParams) -> ToolAnswer:
    """Ask with every kind of choice."""
    return await _elicit(ctx, "Which do you take?", CHOICES)


@sdk_tool()
async def test_trigger_tool_change(ctx: Context, params: types.CallToolRequestParams) -> ToolAnswer:
    """Say that the list of tools changed."""
    await CHANGES.publish(ToolsListChanged())
    return answer("Said so.")


@sdk_tool()
async def test_trigger_prompt_change(ctx: Context, params: types.CallToolRequestParams) -> ToolAnswer:
    """Say that the list of prompts changed."""
    await CHANGES.publish(PromptsListChanged())
    return answer("Said so.")


TALK_TOOLS: Final = (
    test_tool_with_progress, test_tool_with_logging, test_logging_tool, test_sampling, test_elicitation,
    test_elicitation_sep1034_defaults, test_elicitation_sep1330_enums, test_trigger_tool_change,
    test_trigger_prompt_change,
)  # fmt: skip

_levels: dict[str, types.LoggingLevel] = {}
_watched: set[tuple[str, str]] = set()


def _session(ctx: Context) -> str:
    return "" if ctx.request is None else str(ctx.request.headers.get(SESSION_HEADER, ""))


async def set_level(ctx: Context, params: types.SetLevelRequestParams) -> types.EmptyResult:
    """Send this session nothing below a level."""
    _levels[_session(ctx)] = params.level
    return types.EmptyResult()


async def subscribe(ctx: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
    """Watch a resource."""
    _watched.add((_session(ctx), params.uri))
    return types.EmptyResult()


async def unsubscribe(ctx: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
    """Watch it no more; it has to be watched."""
    if (_session(ctx), params.uri) not in _watched:
        raise MCPError(types.INVALID_PARAMS, "not subscribed", {"uri": params.uri})
    _watched.remove((_session(ctx), params.uri))
    return types.EmptyResult()


def add_talk(server: Server[dict[str, Any]]) -> None:
    """Register all of it, except the tools."""
    server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, set_level)
    server.add_request_handler("resources/subscribe", types.SubscribeRequestParams, subscribe)
    server.add_request_handler("resources/unsubscribe", types.UnsubscribeRequestParams, unsubscribe)
    listen = ListenHandler(CHANGES)
    server.add_request_handler("subscriptions/listen", types.SubscriptionsListenRequestParams, listen)
