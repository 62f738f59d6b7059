"""One process, its episodes, and the doors to them, from settings to a clean end: what `palaestra serve` runs."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import anyio
from mcp.server.lowlevel import Server

from palaestra.mcp_servers.catalog import CATALOG, load_server
from palaestra.mcp_servers.framework.carriers import SignedUrls
from palaestra.mcp_servers.framework.control import ControlPlane
from palaestra.mcp_servers.framework.episodes import EpisodeStore
from palaestra.mcp_servers.framework.leases import Lease
from palaestra.mcp_servers.framework.mcp_adapter import build_protocol_server
from palaestra.mcp_servers.transports import state_file
from palaestra.mcp_servers.transports.control_app import build_control_app
from palaestra.mcp_servers.transports.gate import LOCAL_HOSTS
from palaestra.mcp_servers.transports.http import HttpSettings, build_http_app
from palaestra.mcp_servers.transports.listening import Listener, bind_port, bound_path, serve, stop_on_signals
from palaestra.mcp_servers.transports.observing import log_call, log_to
from palaestra.mcp_servers.transports.serve_settings import ServeSettings
from palaestra.mcp_servers.transports.stdio import end_with_parent, serve_stdio

DEFAULT_CALLS: Final = 100_000
"""Calls of a default episode until it is reset or its process ends; an ordinary episode has fewer."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What is being served, for whoever tells the user.

    Attributes:
        url: of the MCP endpoint; empty over stdio.
        control: where the control plane listens; empty = nowhere.
        tools: how many.
    """

    settings: ServeSettings
    servers: tuple[str, ...]
    tools: int
    url: str
    control: str


def run(settings: ServeSettings, announce: Callable[[Serving], None]) -> None:
    """Serve until SIGINT, SIGTERM, or over stdio the end of the input; then save the state, if it is kept.

    Raises: ConfigError, StoreError for what cannot be served, before anything is; `announce` is called when it is.
    """
    settings = settings.resolved()
    with ExitStack() as stack:
        door = None
        if settings.transport == "http":
            door = stack.enter_context(bind_port(settings.host, settings.port))
        control, control_url = _bind_control(settings, stack)
        store = stack.enter_context(
            EpisodeStore([load_server(name) for name in settings.servers or CATALOG], limits=settings.limits)
        )
        handle = _open_default(store, settings, stack) if settings.default_episode else None
        url = "" if door is None else f"{_public(settings, door)}/mcp"
        urls = SignedUrls() if settings.signed_urls else None
        listeners = []
        if control is not None:
            app = build_control_app(ControlPlane(store, url, urls), settings.control_token, _hosts(settings))
            listeners.append(Listener(app, control))
        tools = sum(len(server.tools) for server in store.servers.values())
        serving = Serving(settings, tuple(store.servers), tools, url, control_url)
        log_to(calls=settings.log_calls)
        if settings.with_parent or settings.transport == "stdio":
            end_with_parent()
        if door is not None:
            listeners.append(Listener(build_http_app(store, _http_settings(settings, handle), urls), door))
            anyio.run(_serve_http, listeners, lambda: announce(serving))
        else:
            observe = log_call if settings.log_calls else None
            server = build_protocol_server(store, default_handle=handle, observe=observe)
            anyio.run(_serve_stdio, server, listeners, lambda: announce(serving))


async def _serve_http(listeners: list[Listener], ready: Callable[[], None]) -> None:
    stop = anyio.Event()
    async with anyio.create_task_group() as group:
        await group.start(stop_on_signals, stop)
        ready()  # the sockets listen already: whoever connects now is served in a moment
        await serve(listeners, stop)
        group.cancel_scope.cancel()


async def _serve_stdio(server: Server[dict[str, Any]], listeners: list[Listener], ready: Callable[[], None]) -> None:
    stop = anyio.Event()

    async def talk() -> None:
        await serve_stdio(server)
        stop.set()

    async with anyio.create_task_group() as group:
        await group.start(stop_on_signals, stop)
        group.start_soon(talk)
        ready()
        await serve(listeners, stop)
        group.cancel_scope.cancel()


def _open_default(store: EpisodeStore, settings: ServeSettings, stack: ExitStack) -> str:
    """The handle of an episode that lives as long as the process, and longer if its state is kept."""
    principal = next(iter(settings.tokens), "")
    handle, episode = store.open(seed=settings.seed, profile=settings.profile, principal=principal)
    now = episode.clock()
    episode.lease = Lease(now, math.inf, math.inf, now)
    episode.limits = episode.limits.model_copy(update={"calls": max(DEFAULT_CALLS, episode.limits.calls)})
    if settings.state is not None:
        stack.enter_context(state_file.held(settings.state))
        if settings.state.exists():
            state_file.load(episode, settings.state)
        stack.callback(state_file.save, episode, settings.state)
    return handle


def _bind_control(settings: ServeSettings, stack: ExitStack) -> tuple[socket.socket | None, str]:
    if settings.control_socket is not None:
        return stack.enter_context(bound_path(settings.control_socket)), f"unix:{settings.control_socket}"
    if settings.control_port is not None:
        bound = stack.enter_context(bind_port(settings.control_host, settings.control_port))
        return bound, f"http://{settings.control_host}:{bound.getsockname()[1]}"
    return None, ""


def _http_settings(settings: ServeSettings, handle: str | None) -> HttpSettings:
    return HttpSettings(
        host=settings.host, port=settings.port, tokens=settings.tokens, allowed_hosts=settings.allowed_hosts,
        legacy_seed=settings.seed if settings.legacy_sessions else None, legacy_profile=settings.profile,
        default_handle=handle, log_calls=settings.log_calls,
    )  # fmt: skip


def _hosts(settings: ServeSettings) -> tuple[str, ...]:
    return (*LOCAL_HOSTS, *settings.allowed_hosts)


def _public(settings: ServeSettings, door: socket.socket) -> str:
    """The address clients are told: the first allowed host where the bound address is none (0.0.0.0)."""
    wildcard = settings.host in ("0.0.0.0", "::", "")  # noqa: S104 - recognised, not bound
    host = (settings.allowed_hosts or ("127.0.0.1",))[0] if wildcard else settings.host
    return f"http://{f'[{host}]' if ':' in host else host}:{door.getsockname()[1]}"
