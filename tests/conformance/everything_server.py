"""The server that the official conformance suite is run against: it has the tools, prompts and resources it asks for.

The door is the product's, and so are the tools of `SERVER`. What the product adds nothing to (other content than text,
prompts, resources, questions to the client) is registered with the SDK, on the same protocol server, by `extend`.

    python -m tests.conformance.everything_server       # prints its address, serves until SIGTERM
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any, Final

import anyio
import mcp_types as types
import numpy as np
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPDeprecationWarning
from sqlalchemy.orm import DeclarativeBase, Mapped

from palaestra.mcp_servers.framework.columns import Entity, identifier, text
from palaestra.mcp_servers.framework.crud import crud
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.episodes import EpisodeStore
from palaestra.mcp_servers.framework.faults import conflict
from palaestra.mcp_servers.framework.server import Profile, ToolServer
from palaestra.mcp_servers.framework.spec import NoArgs, query, view
from palaestra.mcp_servers.framework.sql import Database, Row
from palaestra.mcp_servers.transports.http import HttpSettings, build_http_app
from palaestra.mcp_servers.transports.listening import Listener, bind_port, serve, stop_on_signals
from tests.conformance.everything_content import CONTENT_TOOLS, add_content
from tests.conformance.everything_rounds import ROUND_TOOLS, add_rounds
from tests.conformance.everything_talk import TALK_TOOLS, add_talk
from tests.conformance.sdk_tools import Context, ToolAnswer


class Base(Entity, DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "note"
    note_id: Mapped[str] = identifier("not")
    text: Mapped[str] = text(100)


@query(returns=view(Note))
def test_simple_text(db: Database, sources: EpisodeSources, args: NoArgs) -> Row:
    """Read the first note."""
    return db.every(Note)[0]


@query(returns=view(Note))
def test_error_handling(db: Database, sources: EpisodeSources, args: NoArgs) -> Row:
    """Fail, always."""
    raise conflict("This tool intentionally returns an error for testing")


def seed(db: Database, sources: EpisodeSources, rng: np.random.Generator, profile: Profile) -> None:
    """Two notes."""
    db.insert(Note, text="This is a simple text response for testing.")
    db.insert(Note, text="This note is here to be changed.")


SERVER: Final = ToolServer(
    "everything", "Notes.", models=[Note], seed=seed,
    tools=[*crud(Note, "get list create update delete"), test_simple_text, test_error_handling],
)  # fmt: skip
SDK_TOOLS: Final = {tool.advertised.name: tool for tool in (*CONTENT_TOOLS, *TALK_TOOLS, *ROUND_TOOLS)}


def extend(server: Server[dict[str, Any]]) -> None:
    """Add to a protocol server of ours what the suite asks for beyond it."""
    listing, calling = server.get_request_handler("tools/list"), server.get_request_handler("tools/call")
    assert listing is not None
    assert calling is not None
    ours, call_ours = listing.handler, calling.handler
    theirs = [tool.advertised for tool in SDK_TOOLS.values()]

    async def list_tools(ctx: Context, params: types.PaginatedRequestParams) -> types.ListToolsResult:
        listed = await ours(ctx, params)
        assert isinstance(listed, types.ListToolsResult)
        return listed.model_copy(update={"tools": [*listed.tools, *theirs]})

    async def call_tool(ctx: Context, params: types.CallToolRequestParams) -> ToolAnswer:
        tool = SDK_TOOLS.get(params.name)
        answer = await (call_ours(ctx, params) if tool is None else tool.run(ctx, params))
        assert isinstance(answer, types.CallToolResult | types.InputRequiredResult)
        return answer

    server.add_request_handler("tools/list", types.PaginatedRequestParams, list_tools)
    server.add_request_handler("tools/call", types.CallToolRequestParams, call_tool)
    server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=server.name))
    add_content(server)
    add_talk(server)
    add_rounds(server)


async def _serve(store: EpisodeStore, settings: HttpSettings) -> None:
    bound = bind_port(settings.host, settings.port)
    stop = anyio.Event()
    async with anyio.create_task_group() as group:
        await group.start(stop_on_signals, stop)
        print(f"http://127.0.0.1:{bound.getsockname()[1]}/mcp", flush=True)
        await serve([Listener(build_http_app(store, settings, extend=extend), bound)], stop)
        group.cancel_scope.cancel()


def main() -> None:
    """Serve until SIGTERM: one shared episode for 2026-07-28, one per session for 2025-11-25."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 = any free one")
    parser.add_argument("--plain", action="store_true", help="answer in plain JSON, as the product does by default")
    words = parser.parse_args()
    # The later revision deprecates logging and sampling; the earlier one, which is tested too, has them.
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    with EpisodeStore([SERVER]) as store:
        handle, _ = store.open(seed=1)
        settings = HttpSettings(port=words.port, default_handle=handle, legacy_seed=1, streams=not words.plain)
        anyio.run(_serve, store, settings)


if __name__ == "__main__":
    main()
