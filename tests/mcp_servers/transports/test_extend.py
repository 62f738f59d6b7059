"""What may be added to the HTTP door beside tools: prompts, resources, and tools that report progress in a stream."""

from __future__ import annotations

import anyio
import mcp_types as types
import pytest
from mcp import Client
from mcp.client import ClientRequestContext

from palaestra import __version__
from palaestra.mcp_servers.framework.episodes import EpisodeStore
from palaestra.mcp_servers.transports.http import HttpSettings, build_http_app
from tests.conformance.everything_server import SERVER, extend
from tests.mcp_servers.transports.conftest import Run


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("streams", [False, True], ids=["plain", "streams"])
def test_extras_stand_beside_the_tools(run: Run, mode: str, streams: bool) -> None:
    steps: list[tuple[float, float | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        steps.append((progress, total))

    async def use(url: str) -> None:
        async with Client(url, mode=mode) as client:
            assert client.server_info is not None
            assert (client.server_info.name, client.server_info.version) == ("palaestra", __version__)
            listed = [tool.name for tool in (await client.list_tools()).tools]
            assert listed[: len(SERVER.tools)] == list(SERVER.tools)
            assert "test_image_content" in listed
            assert "test_simple_prompt" in [prompt.name for prompt in (await client.list_prompts()).prompts]
            read = await client.read_resource("test://static-text")
            assert isinstance(read.contents[0], types.TextResourceContents)
            picture = await client.call_tool("test_image_content")
            assert isinstance(picture.content[0], types.ImageContent)
            await client.call_tool("test_tool_with_progress", progress_callback=note)
            (first,) = (await client.call_tool("list_notes", {"limit": 1})).structured_content["items"]
            await client.call_tool("update_note", {"note_id": first["note_id"], "text": "changed"})
            assert (await client.call_tool("test_simple_text")).structured_content["text"] == "changed"
            assert (await client.call_tool("test_error_handling")).structured_content["code"] == "conflict"

    with EpisodeStore([SERVER]) as store:
        settings = HttpSettings(default_handle=store.open(seed=1)[0], legacy_seed=1, streams=streams)
        anyio.run(use, f"{run(build_http_app(store, settings, extend=extend))}/mcp")
    assert steps == ([(0, 100), (50, 100), (100, 100)] if streams else [])


@pytest.mark.parametrize(
    ("mode", "tool", "arguments"),
    [("legacy", "test_elicitation", {"message": "Who?"}), ("auto", "test_input_required_result_elicitation", {})],
)
def test_a_tool_asks_the_client_while_its_call_waits(run: Run, mode: str, tool: str, arguments: dict[str, str]) -> None:
    async def fill_in(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        assert isinstance(params, types.ElicitRequestFormParams)
        return types.ElicitResult(action="accept", content=dict.fromkeys(params.requested_schema["properties"], "Ada"))

    async def use(url: str) -> None:
        with anyio.fail_after(20):
            async with Client(url, mode=mode, elicitation_callback=fill_in) as client:
                (said,) = (await client.call_tool(tool, arguments)).content
                assert isinstance(said, types.TextContent)
                assert "Ada" in said.text

    with EpisodeStore([SERVER]) as store:
        anyio.run(use, f"{run(build_http_app(store, HttpSettings(streams=True), extend=extend))}/mcp")
