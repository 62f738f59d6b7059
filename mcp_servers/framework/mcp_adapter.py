"""From tool servers to the Model Context Protocol: one adapter for the in-memory, stdio and HTTP doors, both revisions.

It stands on the SDK's low-level server, which hands over arguments as they came; validation is the dispatch door's.
The protocol has no sessions, so every call says which episode it is for. In order of precedence: the request's
`_meta` under `palaestra/episode`, the HTTP header `X-Palaestra-Episode`, the session id of a 2025-11-25 client over
HTTP if that is switched on, the default episode if there is one. Handles that disagree are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from starlette.requests import Request

from palaestra.mcp_servers.framework.dispatch import dispatch, failed
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.faults import Fault, FaultCode, ToolResult
from palaestra.mcp_servers.framework.spec import Effect, ToolSpec

EPISODE_KEY: Final = "palaestra/episode"
EPISODE_HEADER: Final = "x-palaestra-episode"
SESSION_HEADER: Final = "mcp-session-id"
PRINCIPAL: Final = "palaestra.principal"

_NO_EPISODE: Final = Fault(
    FaultCode.NO_EPISODE,
    f"say which episode: send its handle in the request's _meta under {EPISODE_KEY!r} or in the HTTP header "
    f"{EPISODE_HEADER!r}; the control plane opens episodes",
)
_DISAGREE: Final = Fault(FaultCode.UNKNOWN_EPISODE, "the request carries two different episode handles; send one")

_Context = ServerRequestContext[Any, Any]


class LegacySessions:
    """Episodes of ordinary 2025-11-25 clients over HTTP: one per session id, each opened with the same seed.

    Session ids are the SDK's (122 random bits) and end with the episode's lease.
    """

    def __init__(self, store: EpisodeStore, servers: Sequence[str], seed: int) -> None:
        self._store = store
        self._servers = tuple(servers)
        self._seed = seed
        self._handles: dict[tuple[str, str], str] = {}

    def handle(self, session_id: str, principal: str) -> str:
        """The handle of a session's episode, opened now if the session is new. Raises: ToolError "unavailable"."""
        key = (session_id, principal)
        if key not in self._handles:
            self._handles[key] = self._store.open(self._servers, seed=self._seed, principal=principal)[0]
        return self._handles[key]


class _Adapter:
    """The handlers of one protocol server."""

    def __init__(
        self, store: EpisodeStore, servers: Sequence[str], default_handle: str | None, legacy: LegacySessions | None
    ) -> None:
        self._store = store
        self._servers = tuple(servers) or tuple(store.servers)
        self._default = default_handle
        self._legacy = legacy
        specs = [tool for name in self._servers for tool in store.servers[name].tools.values()]
        self._tools = {spec.name: _advertise(spec) for spec in specs}

    def input_schema(self, name: str) -> dict[str, Any] | None:
        """What the SDK's header validation asks for, without a listing per request."""
        tool = self._tools.get(name)
        return None if tool is None else tool.input_schema

    async def list_tools(self, ctx: _Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        """What the episode may see; everything if the request names none, as the SDK's own listings do not."""
        episode = self._episode(ctx)
        if isinstance(episode, Fault):
            return types.ListToolsResult(tools=list(self._tools.values()), ttl_ms=0, cache_scope="private")
        shown = [self._tools[spec.name] for spec in episode.visible_tools() if spec.name in self._tools]
        return types.ListToolsResult(tools=shown, ttl_ms=0, cache_scope="private")

    async def call_tool(self, ctx: _Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        """Run the call inline: nothing awaits inside a transaction."""
        episode = self._episode(ctx)
        arguments = {} if params.arguments is None else params.arguments
        if isinstance(episode, Fault):
            return to_wire(failed(episode))
        return to_wire(dispatch(episode, params.name, arguments, self._servers))

    def _episode(self, ctx: _Context) -> Episode | Fault:
        request = ctx.request if isinstance(ctx.request, Request) else None
        principal = "" if request is None else str(request.scope.get(PRINCIPAL, ""))
        meta: dict[str, Any] = dict(ctx.meta or {})
        explicit = [meta.get(EPISODE_KEY), None if request is None else request.headers.get(EPISODE_HEADER)]
        handles = [handle for handle in explicit if handle is not None]
        if len(handles) == 2 and handles[0] != handles[1]:
            return _DISAGREE
        if handles:
            return self._store.find(str(handles[0]), principal)
        session = None if request is None else request.headers.get(SESSION_HEADER)
        if session is not None and self._legacy is not None:
            return self._store.find(self._legacy.handle(session, principal), principal)
        return _NO_EPISODE if self._default is None else self._store.find(self._default, principal)


def build_protocol_server(
    store: EpisodeStore,
    *,
    servers: Sequence[str] = (),
    default_handle: str | None = None,
    legacy: LegacySessions | None = None,
) -> Server[dict[str, Any]]:
    """A protocol server for some of a store's tool servers (all by default).

    Args:
        store: whose episodes it serves.
        servers: names.
        default_handle: of one episode shared by every caller that names none; says so in its instructions.
        legacy: gives 2025-11-25 sessions over HTTP an episode each.
    """
    adapter = _Adapter(store, servers, default_handle, legacy)
    shared = "Callers that name no episode share one. " if default_handle is not None else ""
    return Server(
        "palaestra",
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
