"""What the fixture says: pictures, sounds and resources in results, prompts, resources to read, completions."""

from __future__ import annotations

import base64
import io
import json
import re
import wave
from collections.abc import Callable
from typing import Any, Final

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from tests.conformance.sdk_tools import Context, ToolAnswer, answer, sdk_tool

PNG: Final = (  # one red pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC"
)
IMAGE: Final = types.ImageContent(data=PNG, mime_type="image/png")
RESOURCES: Final[dict[str, types.TextResourceContents | types.BlobResourceContents]] = {
    "test://static-text": types.TextResourceContents(
        uri="test://static-text", mime_type="text/plain", text="This is the content of the static text resource."
    ),
    "test://static-binary": types.BlobResourceContents(uri="test://static-binary", mime_type="image/png", blob=PNG),
    "test://watched-resource": types.TextResourceContents(
        uri="test://watched-resource", mime_type="text/plain", text="This resource can be watched."
    ),
}
TEMPLATE: Final = "test://template/{id}/data"
_TEMPLATE_URI = re.compile(r"test://template/([^/]+)/data")


def _silence() -> str:
    """A hundredth of a second of it."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(160))
    return base64.b64encode(file.getvalue()).decode()


def _embedded(uri: str, text: str, mime_type: str = "text/plain") -> types.EmbeddedResource:
    return types.EmbeddedResource(resource=types.TextResourceContents(uri=uri, mime_type=mime_type, text=text))


@sdk_tool()
async def test_image_content(ctx: Context, params: types.CallToolRequestParams) -> ToolAnswer:
    """Show a red pixel."""
    return answer(IMAGE)


@sdk_tool()
async def test_audio_content(ctx: Context, params: types.CallToolRequestParams) -> ToolAnswer:
    """Play some silence."""
    return answer(types.AudioContent(data=_silence(), mime_type="audio/wav"))


@sdk_tool()
async def test_embedded_resource(ctx: Context, params: types.CallToolRequestParams) -> ToolAnswer:
    """Hand over a resource."""
    return answer(_embedded("test://embedded-resource", "This is an embedded resource content."))


@sdk_tool()
async def test_multiple_content_types(ctx: Context, params: types.CallToolRequestParams) -> ToolAnswer:
    """Hand over a text, a picture and a resource."""
    data = json.dumps({"test": "data", "value": 123})
    resource = _embedded("test://mixed-content-resource", data, "application/json")
    return answer("Multiple content types test:", IMAGE, resource)


CONTENT_TOOLS: Final = (
    test_image_content, test_audio_content, test_embedded_resource, test_multiple_content_types,
)  # fmt: skip


def _message(content: types.ContentBlock | str) -> types.PromptMessage:
    return types.PromptMessage(role="user", content=answer(content).content[0])


PROMPTS: Final[dict[str, tuple[tuple[str, ...], Callable[[dict[str, str]], list[types.PromptMessage]]]]] = {
    "test_simple_prompt": ((), lambda _: [_message("This is a simple prompt for testing.")]),
    "test_prompt_with_arguments": (
        ("arg1", "arg2"),
        lambda given: [_message(f"Prompt with arguments: arg1='{given['arg1']}', arg2='{given['arg2']}'")],
    ),
    "test_prompt_with_embedded_resource": (
        ("resourceUri",),
        lambda given: [
            _message(_embedded(given["resourceUri"], "Embedded resource content for testing.")),
            _message("Please process the embedded resource above."),
        ],
    ),
    "test_prompt_with_image": ((), lambda _: [_message(IMAGE), _message("Please analyze the image above.")]),
}


async def list_prompts(ctx: Context, params: types.PaginatedRequestParams) -> types.ListPromptsResult:
    """Every prompt but the one that asks back."""
    return types.ListPromptsResult(
        prompts=[
            types.Prompt(
                name=name,
                description=f"The prompt {name}.",
                arguments=[types.PromptArgument(name=key, required=True) for key in takes],
            )
            for name, (takes, _) in PROMPTS.items()
        ]
    )


async def get_prompt(ctx: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    """One of them, filled in."""
    if params.name not in PROMPTS:
        raise MCPError(types.INVALID_PARAMS, f"there is no prompt {params.name!r}")
    takes, fill = PROMPTS[params.name]
    given = params.arguments or {}
    if missing := [key for key in takes if key not in given]:
        raise MCPError(types.INVALID_PARAMS, f"prompt {params.name} needs {', '.join(missing)}")
    return types.GetPromptResult(messages=fill(given))


async def list_resources(ctx: Context, params: types.PaginatedRequestParams) -> types.ListResourcesResult:
    """Every resource with an address of its own."""
    return types.ListResourcesResult(
        resources=[
            types.Resource(name=uri.rpartition("/")[2], uri=uri, description=f"At {uri}.", mime_type=found.mime_type)
            for uri, found in RESOURCES.items()
        ]
    )


async def list_templates(ctx: Context, params: types.PaginatedRequestParams) -> types.ListResourceTemplatesResult:
    """The one pattern of addresses."""
    template = types.ResourceTemplate(name="data", uri_template=TEMPLATE, mime_type="application/json")
    return types.ListResourceTemplatesResult(resource_templates=[template])


async def read_resource(ctx: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    """A resource, or data made for an address that fits the pattern."""
    found = RESOURCES.get(params.uri)
    if found is None and (fits := _TEMPLATE_URI.fullmatch(params.uri)):
        data = {"id": fits[1], "templateTest": True, "data": f"Data for ID: {fits[1]}"}
        found = types.TextResourceContents(uri=params.uri, mime_type="application/json", text=json.dumps(data))
    if found is None:
        raise MCPError(types.INVALID_PARAMS, "Resource not found", {"uri": params.uri})
    return types.ReadResourceResult(contents=[found])


async def complete(ctx: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
    """The names that begin with what was typed."""
    values = [name for name in ("paris", "park", "party", "test") if name.startswith(params.argument.value)]
    return types.CompleteResult(completion=types.Completion(values=values, total=len(values), has_more=False))


def add_content(server: Server[dict[str, Any]]) -> None:
    """Register all of it, except the tools."""
    server.add_request_handler("prompts/list", types.PaginatedRequestParams, list_prompts)
    server.add_request_handler("prompts/get", types.GetPromptRequestParams, get_prompt)
    server.add_request_handler("resources/list", types.PaginatedRequestParams, list_resources)
    server.add_request_handler("resources/templates/list", types.PaginatedRequestParams, list_templates)
    server.add_request_handler("resources/read", types.ReadResourceRequestParams, read_resource)
    server.add_request_handler("completion/complete", types.CompleteRequestParams, complete)
