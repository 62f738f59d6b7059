"""From tool servers to the Model Context Protocol: one adapter for the in-memory, stdio and HTTP doors, both revisions.

It stands on the SDK's low-level server, which hands over arguments as they came; validation is the dispatch door's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.requests import Request

from palaestra.mcp_servers.framework.carriers import EPISODE_HEADER as EPISODE_HEADER
from palaestra.mcp_servers.framework.carriers import EPISODE_KEY as EPISODE_KEY
from palaestra.mcp_servers.framework.carriers import PRINCIPAL, SESSION_HEADER, Carriers, LegacySessions, SignedUrls
from palaestra.mcp_servers.framework.dispatch import dispatch, failed
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.faults import Fault, ToolResult
from palaestra.mcp_servers.framework.spec import Effect, ToolSpec
from palaestra.version import VERSION

_Context = ServerRequestContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """One call as a door saw it, for logs and metrics: nothing that opens an episode, no text of the caller's.

    Attributes:
        spec: the tool; None if there is none of the name that was called.
        code: "ok", or the fault's.
    """

    principal: str
    spec: ToolSpec | None
    code: str
    seconds: float


Observer = Callable[[Seen], None]


class _Adapter:
    """The handlers of one protocol server."""

    def __init__(self, carriers: Carriers, servers: Sequence[str], observe: Observer | None) -> None:
        known = carriers.store.servers
        self._carriers = carriers
        self._servers = tuple(servers) or tuple(known)
        self._observe = observe
        self._specs = {name: spec for server in self._servers for name, spec in known[server].tools.items()}
        self._advertised: dict[str, types.Tool] = {}

    def input_schema(self, name: str) -> dict[str, Any] | None:
        """What the SDK's header validation asks for: no tool of ours takes arguments from headers, so there is none.

        Without this it would list all tools, or search the tool's schema, at every call.
        """
        return None

    async def list_tools(self, ctx: _Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        """What the episode may see; everything if the request names none, as the SDK's own listings do not."""
        episode = self._episode(ctx)
        if isinstance(episode, Fault):
            return types.ListToolsResult(tools=[*map(self._tool, self._specs)], ttl_ms=0, cache_scope="private")
        shown = [self._tool(spec.name) for spec in episode.visible_tools() if spec.name in self._specs]
        return types.ListToolsResult(tools=shown, ttl_ms=0, cache_scope="private")

    def _tool(self, name: str) -> types.Tool:
        """A tool's advertisement, made when it is first listed: some 0.8 ms each, and servers have hundreds."""
        if name not in self._advertised:
            self._advertised[name] = _advertise(self._specs[name])
        return self._advertised[name]

    async def call_tool(self, ctx: _Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        """Run the call inline: nothing awaits inside a transaction."""
        started = time.perf_counter()
        found = self._episode(ctx)
        arguments = {} if params.arguments is None else params.arguments
        result = failed(found) if isinstance(found, Fault) else dispatch(found, params.name, arguments, self._servers)
        if self._observe is not None:
            code = "ok" if result.fault is None else result.fault.code.value
            spec = self._specs.get(params.name)
            self._observe(Seen(_principal(ctx), spec, code, time.perf_counter() - started))
        return to_wire(result)

    def _episode(self, ctx: _Context) -> Episode | Fault:
        request = ctx.request if isinstance(ctx.request, Request) else None
        # Only the 2025-11-25 revision has sessions: on any other request the header is the caller's invention.
        has_session = (
            request is not None
            and ctx.protocol_version in HANDSHAKE_PROTOCOL_VERSIONS
            and SESSION_HEADER in request.headers
        )
        return self._carriers.find(ctx.meta, request, _principal(ctx), has_session=has_session)


def _principal(ctx: _Context) -> str:
    return str(ctx.request.scope.get(PRINCIPAL, "")) if isinstance(ctx.request, Request) else ""


def build_protocol_server(
    store: EpisodeStore,
    *,
    servers: Sequence[str] = (),
    default_handle: str | None = None,
    legacy: LegacySessions | None = None,
    urls: SignedUrls | None = None,
    observe: Observer | None = None,
) -> Server[dict[str, Any]]:
    """A protocol server for some of a store's tool servers (all by default).

    Args:
        store: whose episodes it serves.
        servers: names.
        default_handle: of one episode shared by every caller that names none; says so in its instructions.
        legacy: gives 2025-11-25 sessions over HTTP an episode each.
        urls: whose signed URL parameters it accepts.
        observe: told of every call.
    """
    adapter = _Adapter(Carriers(store, default_handle, legacy, urls), servers, observe)
    shared = "Callers that name no episode share one. " if default_handle is not None else ""
    return Server(
        "palaestra",
        version=VERSION,
        instructions=f"{shared}Every tool works on the state of one episode.",
        on_list_tools=adapter.list_tools,
        on_call_tool=adapter.call_tool,
        get_tool_input_schema=adapter.input_schema,
    )


def _advertise(spec: ToolSpec) -> types.Tool:
    return types.Tool(
        name=spec.name,
        description=spec.description,
        input_schema=spec.input_schema(),
        output_schema=spec.output_schema(),
        annotations=types.ToolAnnotations(read_only_hint=spec.effect is Effect.READ, open_world_hint=False),
    )


def to_wire(result: ToolResult) -> types.CallToolResult:
    """A result as the protocol has it: the object, and the same as one text."""
    return types.CallToolResult(
        content=[types.TextContent(text=result.text)], structured_content=result.content, is_error=result.is_error
    )
