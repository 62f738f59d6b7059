"""The fixture's tools and prompt that need input first: they answer with questions, and are called again (2026-07-28).

Their state goes through the client, sealed by the SDK's `RequestStateBoundary`: here it is always what was sent.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from tests.conformance.everything_content import get_prompt, list_prompts
from tests.conformance.everything_talk import form
from tests.conformance.sdk_tools import Context, ToolAnswer, answer, sdk_tool

Given = TypeVar("Given", types.ElicitResult, types.CreateMessageResult, types.ListRootsResult)
PROMPT: Final = "test_input_required_result_prompt"


def _form(message: str, field: str, kind: str = "string") -> types.ElicitRequest:
    asked = form({field: {"type": kind}})
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=asked))


def _sample(prompt: str) -> types.CreateMessageRequest:
    message = types.SamplingMessage(role="user", content=types.TextContent(text=prompt))
    return types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=[message], max_tokens=100))


def _ask(requests: types.InputRequests, state: str | None = None) -> types.InputRequiredResult:
    return types.InputRequiredResult(input_requests=requests, request_state=state)


def _given(params: types.InputResponseRequestParams, key: str, kind: type[Given]) -> Given | None:
    """The client's answer to a question; None if there is none, or one to another kind of question."""
    found = (params.input_responses or {}).get(key)
    return found if isinstance(found, kind) else None


def _filled(params: types.InputResponseRequestParams, key: str, field: str) -> Any:
    """A field of a form the user filled in; None if they did not."""
    said = _given(params, key, types.ElicitResult)
    return None if said is None or said.action != "accept" else (said.content or {}).get(field)


@sdk_tool()
async def test_input_required_result_elicitation(ctx: Context, params: types.CallToolRequestParams) -> ToolAnswer:
    """Ask for a name and greet."""
    name = _filled(params, "user_name", "name")
    return _ask({"user_name": _form("What is your name?", "name")}) if name is None else answer(f"Hello, {name}!")


@sdk_tool()
async def test_input_required_result_sampling(ctx: Context, params: types.CallToolRequestParams) -> ToolAnswer:
    """Ask the client's model a question and repeat what it said."""
    said = _given(params, "capital_question", types.CreateMessageResult)
    if said is None or not isinstance(said.content, types.TextContent):
        return _ask({"capital_question": _sample("What is the capital of France?")})
    return answer(said.content.text)


@sdk_tool()
async def test_input_required_result_list_roots(ctx: Context, params: types.CallToolRequestParams) -> ToolAnswer:
    """Ask for the client's roots and repeat them."""
    said = _given(params, "client_roots", types.ListRootsResult)
    if said is None:
        return _ask({"client_roots": types.ListRootsRequest()})
    return answer(*(str(root.uri) for root in said.roots))


async def _confirm(params: types.CallToolRequestParams) -> ToolAnswer:
    if params.request_state is None:
        return _ask({"confirm": _form("Please confirm", "ok", "boolean")}, "asked")
    if params.request_state != "asked" or _filled(params, "confirm", "ok") is not True:
        raise MCPError(types.INVALID_PARAMS, "not confirmed")
    return answer("state-ok")


@sdk_tool()
async def test_input_required_result_request_state(ctx: Context, params: types.CallToolRequestParams) -> ToolAnswer:
    """Ask for a confirmation, and know when called again that it was asked for."""
    return await _confirm(params)


@sdk_tool()
async def test_input_required_result_tampered_state(ctx: Context, params: types.CallToolRequestParams) -> ToolAnswer:
    """The same; a state that was not sent never gets here."""
    return await _confirm(params)


@sdk_tool()
async def test_input_required_result_multiple_inputs(ctx: Context, params: types.CallToolRequestParams) -> ToolAnswer:
    """Ask user, model and client at once."""
    name = _filled(params, "user_name", "name")
    greeting = _given(params, "greeting", types.CreateMessageResult)
    roots = _given(params, "client_roots", types.ListRootsResult)
    if name is not None and greeting is not None and roots is not None:
        return answer(f"{name}, {len(roots.roots)} roots")
    requests: types.InputRequests = {
        "user_name": _form("What is your name?", "name"),
        "greeting": _sample("Generate a greeting"),
        "client_roots": types.ListRootsRequest(),
    }
    return _ask(requests, "asked")


@sdk_tool()
async def test_input_required_result_multi_round(ctx: Context, params: types.CallToolRequestParams) -> ToolAnswer:
    """Ask for a name, then for a colour; the name is kept in the state."""
    _, _, name = (params.request_state or "").partition(":")
    name = name or _filled(params, "step1", "name")
    if not name:
        return _ask({"step1": _form("Step 1: What is your name?", "name")}, "step1:")
    colour = _filled(params, "step2", "color")
    if colour is None:
        return _ask({"step2": _form("Step 2: What is your favorite color?", "color")}, f"step2:{name}")
    return answer(f"{name} likes {colour}")


@sdk_tool()
async def test_input_required_result_capabilities(ctx: Context, params: types.CallToolRequestParams) -> ToolAnswer:
    """Ask in whatever ways the client can be asked."""
    can = ctx.session.client_capabilities or types.ClientCapabilities()
    requests: types.InputRequests = {}
    if can.sampling is not None:
        requests["model"] = _sample("Say something")
    if can.elicitation is not None:
        requests["user"] = _form("Say something", "text")
    return _ask(requests) if requests else answer("There is nobody to ask.")


@sdk_tool()
async def test_streaming_elicitation(ctx: Context, params: types.CallToolRequestParams) -> ToolAnswer:
    """Ask the user, in the answer and not beside it."""
    return _ask({"user": _form("Say something", "text")})


@sdk_tool()
async def test_missing_capability(ctx: Context, params: types.CallToolRequestParams) -> ToolAnswer:
    """Work only for clients with a model."""
    needed = types.ClientCapabilities(sampling=types.SamplingCapability())
    if not ctx.session.check_client_capability(needed):
        data = {"requiredCapabilities": needed.model_dump(by_alias=True, exclude_none=True)}
        raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, "the client has no model to sample", data)
    return answer("The client has a model.")


ROUND_TOOLS: Final = (
    test_input_required_result_elicitation, test_input_required_result_sampling,
    test_input_required_result_list_roots, test_input_required_result_request_state,
    test_input_required_result_tampered_state, test_input_required_result_multiple_inputs,
    test_input_required_result_multi_round, test_input_required_result_capabilities, test_streaming_elicitation,
    test_missing_capability,
)  # fmt: skip


async def _list_prompts(ctx: Context, params: types.PaginatedRequestParams) -> types.ListPromptsResult:
    listed = await list_prompts(ctx, params)
    asking = types.Prompt(name=PROMPT, description="A prompt about what the user says it is about.")
    return listed.model_copy(update={"prompts": [*listed.prompts, asking]})


async def _get_prompt(
    ctx: Context, params: types.GetPromptRequestParams
) -> types.GetPromptResult | types.InputRequiredResult:
    if params.name != PROMPT:
        return await get_prompt(ctx, params)
    context = _filled(params, "user_context", "context")
    if context is None:
        return _ask({"user_context": _form("What context should the prompt use?", "context")})
    message = types.PromptMessage(role="user", content=types.TextContent(text=f"Use this context: {context}"))
    return types.GetPromptResult(messages=[message])


def add_rounds(server: Server[dict[str, Any]]) -> None:
    """Register the prompt that asks back, beside the others."""
    server.add_request_handler("prompts/list", types.PaginatedRequestParams, _list_prompts)
    server.add_request_handler("prompts/get", types.GetPromptRequestParams, _get_prompt)
