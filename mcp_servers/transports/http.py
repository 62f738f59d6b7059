"""The HTTP door: `/mcp` for all servers, `/mcp/<server>` for one, `/metrics`, `/healthz`; both protocol revisions.

Bound to loopback unless there are bearer tokens; Host and Origin are always checked. Bodies above 4 MiB are refused.
State lives in this process: to grow, run several services, each with its own episodes.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

from mcp.server.lowlevel import Server
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt
from starlette.applications import Starlette
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

_SESSION: Final = SESSION_HEADER.encode()


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
    doors: dict[str, ASGIApp] = {}
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
        (route,) = (route for route in app.routes if isinstance(route, Route))
        doors[path] = _Sessions(route.endpoint, legacy, takes_turns=not settings.streams)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            for server in protocol_servers:
                await stack.enter_async_context(server.session_manager.run())
            yield

    hosts = (*LOCAL_HOSTS, *settings.allowed_hosts)
    others = Starlette(routes=[Route(HEALTH, answer_health), Route("/metrics", metrics.answer)], lifespan=lifespan)
    return Gate(_Doors(doors, others), hosts=hosts, tokens=settings.tokens)


class _Doors:
    """Straight to the SDK's application of a path; a framework's routing and error pages cost more than a tool call."""

    def __init__(self, doors: Mapping[str, ASGIApp], others: ASGIApp) -> None:
        self._doors, self._others = doors, others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the lifespan of the process."""
        app = self._doors.get(scope["path"], self._others) if scope["type"] == "http" else self._others
        await app(scope, receive, send)


class _Sessions:
    """What the SDK leaves to us about 2025-11-25 sessions: their episodes end with them, their requests take turns.

    The SDK answers 500 to two requests of one session that have the same id, and to one whose session another ends.
    Not in streams, which begin with 200, and must not take turns: one may be waiting for what the client sends next.
    """

    def __init__(self, app: ASGIApp, legacy: LegacySessions | None, *, takes_turns: bool) -> None:
        self._app, self._legacy, self._takes_turns = app, legacy, takes_turns
        self._turns: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        named = [value for name, value in scope["headers"] if name == _SESSION]
        if not named or scope["method"] == "GET":  # a stream, which stays open
            await self._app(scope, receive, send)
            return
        session = named[0].decode("latin-1")
        turn = self._turns.setdefault(session, asyncio.Lock()) if self._takes_turns else contextlib.nullcontext()

        async def watch(message: Message) -> None:
            if message.get("status") == 200 and scope["method"] == "DELETE" and self._legacy is not None:
                self._legacy.end(session, str(scope.get(PRINCIPAL, "")))
            await send(message)

        async with turn:
            await self._app(scope, receive, watch)
