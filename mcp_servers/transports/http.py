"""The HTTP door: `/mcp` for all servers, `/mcp/<server>` for one, `/metrics`, `/healthz`; both protocol revisions.

Bound to loopback unless there are bearer tokens; Host and Origin are always checked. Bodies above 4 MiB are refused.
State lives in this process: to grow, run several services, each with its own episodes.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from mcp.server.lowlevel import Server
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from palaestra.mcp_servers.errors import ConfigError
from palaestra.mcp_servers.framework.carriers import PRINCIPAL, SESSION_HEADER, LegacySessions, SignedUrls
from palaestra.mcp_servers.framework.episodes import EpisodeStore
from palaestra.mcp_servers.framework.mcp_adapter import build_protocol_server
from palaestra.mcp_servers.framework.server import Profile
from palaestra.mcp_servers.transports.gate import HEALTH, LOCAL_HOSTS, Gate, answer_health, is_loopback
from palaestra.mcp_servers.transports.observing import Metrics

Extend = Callable[[Server[dict[str, Any]]], None]


class HttpSettings(BaseModel):
    """Settings of the HTTP door.

    Attributes:
        tokens: principal -> bearer token; empty = no token asked for, allowed on loopback only.
        allowed_hosts: names by which clients reach it, besides those of loopback: of the service in a compose file.
        legacy_seed: seed of the episode each 2025-11-25 session gets; None = sessions get none.
        legacy_profile: of those episodes.
        default_handle: of one episode for callers that name none.
        log_calls: write a line per call to the logger `palaestra.calls`.
        streams: answer in event streams, which carry progress, log messages and questions to the client. The tools of
            this package send none of them, and plain JSON is quicker: it is for what `extend` adds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: NonNegativeInt = 0
    tokens: Mapping[str, str] = Field(default_factory=dict)
    allowed_hosts: tuple[str, ...] = ()
    legacy_seed: int | None = None
    legacy_profile: Profile = "default"
    default_handle: str | None = None
    log_calls: bool = False
    streams: bool = False


def build_http_app(
    store: EpisodeStore, settings: HttpSettings, urls: SignedUrls | None = None, extend: Extend | None = None
) -> ASGIApp:
    """The application, to be run by any ASGI server in a single process.

    Args:
        store: whose episodes it serves.
        settings: see there.
        urls: whose signed URL parameters it accepts; None = none.
        extend: called with every protocol server before it serves, to add what is no tool of a tool server: prompts,
            resources, completion, middleware.

    Raises: ConfigError "exposed" for an address other than loopback without tokens, "shared_default" for a default
    episode with more than one principal, "weak_token" or "shared_token".
    """
    if not settings.tokens and not is_loopback(settings.host):
        raise ConfigError("exposed", f"{settings.host} is reachable by others: set bearer tokens or bind 127.0.0.1")
    if settings.default_handle is not None and len(settings.tokens) > 1:
        raise ConfigError("shared_default", "a default episode would be shared by several principals; give one token")
    metrics = Metrics(store)
    routes = [Route(HEALTH, answer_health), Route("/metrics", metrics.answer)]
    protocol_servers: list[Server[dict[str, Any]]] = []
    for path, names in [("/mcp", tuple(store.servers)), *((f"/mcp/{name}", (name,)) for name in store.servers)]:
        seed, profile = settings.legacy_seed, settings.legacy_profile
        legacy = None if seed is None else LegacySessions(store, names, seed, profile)
        server = build_protocol_server(
            store, servers=names, default_handle=settings.default_handle, legacy=legacy, urls=urls,
            observe=metrics.count_and_log if settings.log_calls else metrics.count,
        )  # fmt: skip
        if extend is not None:
            extend(server)
        app = server.streamable_http_app(
            streamable_http_path=path, json_response=not settings.streams, session_idle_timeout=store.limits.ttl_s,
            max_sessions=store.limits.episodes,
            # The gate has checked Host and Origin, for every route and not only for these.
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )  # fmt: skip
        protocol_servers.append(server)
        routes += [Route(path, _Sessions(route.endpoint, legacy)) for route in app.routes if isinstance(route, Route)]

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            for server in protocol_servers:
                await stack.enter_async_context(server.session_manager.run())
            yield

    hosts = (*LOCAL_HOSTS, *settings.allowed_hosts)
    return Gate(Starlette(routes=routes, lifespan=lifespan), hosts=hosts, tokens=settings.tokens)


class _Sessions:
    """What the SDK leaves to us about 2025-11-25 sessions: their episodes, and requests they end under.

    A request in flight when its session is ended by another gets 500 from the SDK; the revision says 404.
    """

    def __init__(self, app: ASGIApp, legacy: LegacySessions | None) -> None:
        self._app, self._legacy = app, legacy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        session = Request(scope).headers.get(SESSION_HEADER)
        if session is None:
            await self._app(scope, receive, send)
            return
        held: Message | None = None

        async def watch(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and message["status"] == 500:
                held = message  # the body says why
                return
            if held is not None:
                ended = b"Session terminated" in message.get("body", b"")
                await send({**held, "status": 404 if ended else 500})
                held = None
            if scope["method"] == "DELETE" and message.get("status") == 200 and self._legacy is not None:
                self._legacy.end(session, str(scope.get(PRINCIPAL, "")))
            await send(message)

        await self._app(scope, receive, watch)
