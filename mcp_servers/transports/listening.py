"""Sockets and the servers on them: bound before anything starts, patient with slow clients only for so long."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import anyio
import h11
import uvicorn
from anyio.abc import TaskStatus
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from palaestra.mcp_servers.errors import ConfigError

HEADER_S: Final = 5.0
IDLE_S: Final = 30
CONNECTIONS: Final = 1024
GRACE_S: Final = 1


@dataclass(frozen=True, slots=True)
class Listener:
    """An application and the bound socket it is served on."""

    app: ASGIApp
    socket: socket.socket


class _WholeAnswers:
    """A transport that sends what was written in one step of the event loop at once.

    uvicorn writes an answer's headers and body one after the other: two system calls and two packets.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._written: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._written:
            self._loop.call_soon(self._send)
        self._written.append(data)

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._written:
            whole = b"".join(self._written)
            self._written.clear()
            self._transport.write(whole)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that closes a connection whose headers take more than 5 s, or whose body pauses for 30 s.

    uvicorn bounds only the time between two requests, so half a request would hold a connection for ever.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected, and has to say what it wants."""
        super().connection_made(cast(asyncio.Transport, _WholeAnswers(transport, self.loop)))
        self._timer = self.loop.call_later(HEADER_S, self._give_up)

    def data_received(self, data: bytes) -> None:
        """Some bytes came: of headers, which have one deadline, or of a body, where each part has its own."""
        super().data_received(data)
        state = self.conn.their_state
        if state is h11.IDLE and self._timer is not None:
            return
        self._stop_timer()
        if state is h11.IDLE:
            self._timer = self.loop.call_later(HEADER_S, self._give_up)
        elif state is h11.SEND_BODY:
            self._timer = self.loop.call_later(IDLE_S, self._give_up)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, also in the middle of a body whose request is being answered already."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        self._stop_timer()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        self.transport.close()


class _Server(uvicorn.Server):
    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()  # `serve` listens to signals once for all servers


def make_server(app: ASGIApp, **settings: Any) -> uvicorn.Server:
    """A server of one application, with this package's limits."""
    config = uvicorn.Config(
        app, http=PatientProtocol, ws="none", log_config=None, access_log=False, server_header=False, date_header=False,
        proxy_headers=False, timeout_keep_alive=IDLE_S, timeout_graceful_shutdown=GRACE_S,
        limit_concurrency=CONNECTIONS, **settings,
    )  # fmt: skip
    return _Server(config)


async def serve(listeners: Sequence[Listener], stop: anyio.Event) -> None:
    """Serve all of them in one event loop until `stop` is set; then they have a second to finish."""
    servers = [(make_server(listener.app), listener.socket) for listener in listeners]
    async with anyio.create_task_group() as group:
        for server, bound in servers:
            group.start_soon(server.serve, [bound])
        await stop.wait()
        for server, _ in servers:
            server.should_exit = True


async def stop_on_signals(stop: anyio.Event, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
    """Set `stop` at the first SIGINT or SIGTERM; started when it listens."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            stop.set()
            return


def bind_port(host: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises: ConfigError "port_taken", "bad_address"."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        bound = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"port {port} of {host} is taken; stop what uses it, or give another --port (0 = any free one)"
            raise ConfigError("port_taken", message) from error
        raise ConfigError("bad_address", f"cannot listen on {host} port {port}: {error}") from error
    # Headers and body of an answer leave in two packets; with Nagle's algorithm the second waits 40 ms for the client.
    # Accepted sockets inherit this, where asyncio's own setting passes over them.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound


@contextlib.contextmanager
def bound_path(path: Path) -> Iterator[socket.socket]:
    """A listening Unix socket that only this user may open; its file is removed at the end.

    Raises: ConfigError "socket_taken" if a process listens there or the file is no socket, "bad_address".
    """
    bound = socket.socket(socket.AF_UNIX)
    try:
        _clear_stale(path)
        mask = os.umask(0o177)
        try:
            bound.bind(str(path))
        finally:
            os.umask(mask)
        bound.listen(256)
    except OSError as error:
        bound.close()
        raise ConfigError("bad_address", f"cannot listen on {path}: {error}") from error
    except ConfigError:
        bound.close()
        raise
    try:
        yield bound
    finally:
        bound.close()
        path.unlink(missing_ok=True)


def _clear_stale(path: Path) -> None:
    """Remove the socket of a process that was killed."""
    if not path.exists():
        return
    if path.is_socket():
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
                return
    raise ConfigError("socket_taken", f"{path} is in use or is no socket; give another --control-socket")
