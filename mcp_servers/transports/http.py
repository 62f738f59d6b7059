"""The HTTP door: `/mcp` for all servers, `/mcp/<server>` for one, `/healthz`; both protocol revisions, JSON answers.

Bound to loopback unless there are bearer tokens. Host and Origin are always checked, against DNS rebinding. State
lives in this process: to grow, run several services, each with its own episodes.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import AsyncIterator, Mapping

from mcp.server.transport_security import TransportSecuritySettings
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from palaestra.mcp_servers.errors import ConfigError
from palaestra.mcp_servers.framework.episodes import EpisodeStore
from palaestra.mcp_servers.framework.mcp_adapter import PRINCIPAL, LegacySessions, build_protocol_server
from palaestra.mcp_servers.framework.tokens import same

_LOCAL = ("127.0.0.1:*", "localhost:*", "[::1]:*")


class HttpSettings(BaseModel):
    """Settings of the HTTP door.

    Attributes:
        tokens: principal -> bearer token; empty = no token asked for, allowed on loopback only.
        allowed_hosts, allowed_origins: "name:port", the port may be `*`.
        legacy_seed: seed of the episode each 2025-11-25 session gets; None = sessions get none.
        default_handle: of one episode for callers that name none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: NonNegativeInt = 0
    tokens: Mapping[str, str] = Field(default_factory=dict)
    allowed_hosts: tuple[str, ...] = _LOCAL
    allowed_origins: tuple[str, ...] = tuple(f"http://{host}" for host in _LOCAL)
    legacy_seed: int | None = None
    default_handle: str | None = None


def build_http_app(store: EpisodeStore, settings: HttpSettings) -> Starlette:
    """The application, to be run by any ASGI server in a single process.

    Raises: ConfigError "exposed" for an address other than loopback without tokens, "shared_default" for a default
    episode with more than one principal.
    """
    if not settings.tokens and not _is_loopback(settings.host):
        raise ConfigError("exposed", f"{settings.host} is reachable by others: set bearer tokens or bind 127.0.0.1")
    if settings.default_handle is not None and len(settings.tokens) > 1:
        raise ConfigError("shared_default", "a default episode would be shared by several principals; give one token")
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=list(settings.allowed_hosts),
        allowed_origins=list(settings.allowed_origins),
    )
    routes: list[Route] = [Route("/healthz", _healthz)]
    protocol_servers = []
    for path, names in [("/mcp", tuple(store.servers)), *((f"/mcp/{name}", (name,)) for name in store.servers)]:
        legacy = None if settings.legacy_seed is None else LegacySessions(store, names, settings.legacy_seed)
        server = build_protocol_server(store, servers=names, default_handle=settings.default_handle, legacy=legacy)
        app = server.streamable_http_app(streamable_http_path=path, json_response=True, transport_security=security)
        protocol_servers.append(server)
        routes += [route for route in app.routes if isinstance(route, Route)]

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            for server in protocol_servers:
                await stack.enter_async_context(server.session_manager.run())
            yield

    app = Starlette(routes=routes, lifespan=lifespan)
    if settings.tokens:
        app.add_middleware(BearerTokens, tokens=dict(settings.tokens))
    return app


class BearerTokens:
    """Lets only requests with a known bearer token through, and says whose it is."""

    def __init__(self, app: ASGIApp, tokens: Mapping[str, str]) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or scope["path"] == "/healthz":
            await self._app(scope, receive, send)
            return
        given = Request(scope).headers.get("authorization", "")
        # Every token is compared, so that the time taken tells nothing.
        known = [who for who, token in self._tokens.items() if same(given, f"Bearer {token}")]
        if not known:
            refusal = PlainTextResponse("a bearer token is needed", 401, {"www-authenticate": "Bearer"})
            await refusal(scope, receive, send)
            return
        await self._app({**scope, PRINCIPAL: known[0]}, receive, send)


async def _healthz(_: Request) -> Response:
    return PlainTextResponse("ok")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
