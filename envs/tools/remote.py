"""Tool servers behind control planes: the same session over HTTP, through the official client.

One event loop in a thread of its own serves every session of the process; a connection to an endpoint is made once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from typing import Any, Final

from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client

from palaestra.envs.tools.outcome import canonical_changes, new_keys
from palaestra.envs.tools.records import Cell, TaskRecord
from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.errors import PalaestraError, ToolError, boundary
from palaestra.mcp_servers.framework.faults import ToolResult
from palaestra.mcp_servers.framework.images import ImageCache
from palaestra.mcp_servers.framework.sql import Row, RowKey
from palaestra.mcp_servers.transports.control_pool import ControlPool
from palaestra.mcp_servers.transports.wire import connect

CONTROL_TOKEN: Final = "PALAESTRA_CONTROL_TOKEN"  # noqa: S105 - the variable's name
"""Environment variable with the token of the control planes."""
TOKEN: Final = "PALAESTRA_TOKEN"  # noqa: S105 - the variable's name
"""Environment variable with the bearer token of the tools; needed only if the service asks for one."""
PRINCIPAL: Final = "PALAESTRA_PRINCIPAL"
"""Environment variable that says whose bearer token that is."""

_IMAGES: Final = ImageCache(64)
Changes = dict[str, dict[RowKey, Row | None]]


class Doors:
    """The services behind some control planes, and the connections to them."""

    def __init__(self, urls: str) -> None:
        self._stack = ExitStack()
        self.portal: BlockingPortal = self._stack.enter_context(start_blocking_portal())
        self.pool = ControlPool(urls.split(","), os.environ.get(CONTROL_TOKEN, ""))
        self._clients: dict[str, Client] = {}

    def client(self, endpoint: str) -> Client:
        """A client connected to an endpoint. Raises: ToolError "unavailable"."""
        if endpoint not in self._clients:
            connection = self.portal.wrap_async_context_manager(connect(endpoint, os.environ.get(TOKEN)))
            with boundary("unavailable", ToolError):
                self._clients[endpoint] = self._stack.enter_context(connection)
        return self._clients[endpoint]

    def forget(self, endpoint: str) -> None:
        """Connect anew next time: the service behind this endpoint was lost."""
        self._clients.pop(endpoint, None)

    def close(self) -> None:
        """Close every connection and end the event loop."""
        self._stack.close()


@cache
def doors(urls: str) -> Doors:
    """The doors of these control planes, shared by the process."""
    return Doors(urls)


class RemoteSession:
    """An episode of a service, by its control plane and its tools' endpoint; see `Session`."""

    def __init__(self, record: TaskRecord, urls: str) -> None:
        self._doors = doors(urls)
        self._world = record.env
        self._closed = False
        self._calls = 0
        self._episode = self._run(
            self._doors.pool.open, list(record.env.servers), seed=record.env.seed, profile=record.env.profile,
            reference_time=record.env.reference_time, principal=os.environ.get(PRINCIPAL, ""),
        )  # fmt: skip
        self._door = self._episode.door(self._doors.client(self._episode.endpoint))

    def _run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a coroutine function in the loop. Raises: what it raises, ToolError "unavailable" for what is foreign."""
        with boundary("unavailable", ToolError):
            return self._doors.portal.call(lambda: function(*args, **kwargs))

    def begin_turn(self, turn: int, visible: Collection[str]) -> None:
        """As in `Session`."""
        self._run(self._episode.begin_turn, turn)
        self._run(self._episode.set_visible_tools, sorted(visible))

    def call(self, tool: str, arguments: Mapping[str, Any]) -> ToolResult:
        """As in `Session`; two round trips: the wire carries no digests, the journal does."""
        try:
            result: ToolResult = self._run(self._door.call, tool, arguments)
            journal = self._run(self._episode.journal, self._calls)
        except ToolError:
            self._doors.forget(self._episode.endpoint)
            raise
        self._calls += len(journal)
        if not journal:
            return result
        return replace(result, digest_before=journal[-1]["digest_before"], digest_after=journal[-1]["digest_after"])

    def changes(self) -> dict[str, tuple[Cell, ...]]:
        """As in `Session`."""
        changed = self._changes()
        servers = {name: load_server(name) for name in changed}
        return canonical_changes(changed, servers, {name: self._seeded(name) for name in changed})

    def digests(self) -> dict[str, str]:
        """As in `Session`."""
        found: dict[str, str] = self._run(self._episode.digests)
        return found

    def created(self) -> frozenset[str]:
        """As in `Session`."""
        changed = self._changes()
        return new_keys(changed, {name: self._seeded(name) for name in changed})

    def close(self) -> None:
        """As in `Session`."""
        if self._closed:
            return
        self._closed = True
        try:
            self._run(self._doors.pool.close, self._episode)
        except PalaestraError:
            return  # gone already; its lease ends what is left of it

    def _changes(self) -> Changes:
        found = self._run(self._episode.changes)
        return {server: {(row["entity"], row["key"]): row["row"] for row in rows} for server, rows in found.items()}

    def _seeded(self, server: str) -> Mapping[RowKey, tuple[Any, ...]]:
        """The rows of the seed, made here again: a seeded world is a function of its arguments."""
        world = self._world
        return _IMAGES.get(load_server(server), world.seed, world.profile, world.reference_time).seeded
