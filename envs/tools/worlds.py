"""Where a task's calls go: an episode of the tool servers, in this process or behind a control plane.

An environment sees a `Session` and does not know which. Episodes of one process share one store, so that a world is
seeded once however many environments play in it.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Any, Final, Protocol

from palaestra.envs.core.types import canonical_json
from palaestra.envs.tools.outcome import changes_of, created_ids
from palaestra.envs.tools.records import Cell, TaskRecord
from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.errors import TaskError
from palaestra.mcp_servers.framework.episodes import EpisodeStore
from palaestra.mcp_servers.framework.faults import ToolResult
from palaestra.mcp_servers.framework.leases import Limits
from palaestra.mcp_servers.framework.spec import ToolSpec
from palaestra.mcp_servers.transports.local import LocalDoor

LOCAL: Final = "local"
_DAY_S: Final = 86_400.0
# The environment ends its episodes itself; a lease only catches those that were never closed.
_LIMITS: Final = Limits(ttl_s=_DAY_S, lifetime_s=7 * _DAY_S, episodes=1 << 20, episodes_per_principal=1 << 20)


class Session(Protocol):
    """One episode of the tool servers as an environment uses it.

    Raises, from every method: ToolError if the servers or the episode are gone.
    """

    def begin_turn(self, turn: int, visible: Collection[str]) -> None:
        """Say which user turn follows, and which tools may be called in it."""
        ...

    def call(self, tool: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Call a tool; what goes wrong with the call is a fault in the result."""
        ...

    def changes(self) -> dict[str, tuple[Cell, ...]]:
        """The canonical change set since the seed."""
        ...

    def digests(self) -> dict[str, str]:
        """The goal digest of every server."""
        ...

    def created(self) -> frozenset[str]:
        """Keys of the rows made in the episode."""
        ...

    def close(self) -> None:
        """End the episode; never raises, closing twice is harmless."""
        ...


class LocalSession:
    """An episode in this process."""

    def __init__(self, record: TaskRecord) -> None:
        world = record.env
        store = _store()
        for name in world.servers:
            if name not in store.servers:
                store.servers[name] = load_server(name)
        handle, self._episode = store.open(
            world.servers, seed=world.seed, profile=world.profile, reference_time=world.reference_time
        )
        self._end = weakref.finalize(self, store.end, handle)  # also for an environment nobody closed
        self._end.atexit = False
        self._door = LocalDoor(self._episode)

    def begin_turn(self, turn: int, visible: Collection[str]) -> None:
        """As in `Session`."""
        self._episode.begin_turn(turn)
        self._episode.set_visible_tools(visible)

    def call(self, tool: str, arguments: Mapping[str, Any]) -> ToolResult:
        """As in `Session`."""
        return self._door.call(tool, arguments)

    def changes(self) -> dict[str, tuple[Cell, ...]]:
        """As in `Session`."""
        return changes_of(self._episode)

    def digests(self) -> dict[str, str]:
        """As in `Session`."""
        return self._episode.digests()

    def created(self) -> frozenset[str]:
        """As in `Session`."""
        return created_ids(self._episode)

    def close(self) -> None:
        """As in `Session`."""
        self._end()


@cache
def _store() -> EpisodeStore:
    """The store of this process; servers are added when a task first needs them."""
    return EpisodeStore([], limits=_LIMITS)


def open_session(record: TaskRecord, door: str = LOCAL) -> Session:
    """An episode in the world of a record, checked to be that world.

    Raises: TaskError "other_world" naming the server whose seeded world or tools are not those of the record;
        ConfigError for a server or a control plane that does not exist; ToolError if none can be opened.

    Cost: O(1) after the first episode in the same world, which seeds it (some milliseconds per server).
    """
    _check_tools(record)
    if door == LOCAL:
        session: Session = LocalSession(record)
    else:
        from palaestra.envs.tools.remote import RemoteSession  # only then are an event loop and a client needed

        session = RemoteSession(record, door)
    try:
        _check_world(record, session)
    except BaseException:
        session.close()
        raise
    return session


def _check_tools(record: TaskRecord) -> None:
    wanted = record.env.catalog_digest
    if wanted and wanted != (found := catalog_digest(record.env.servers)):
        raise TaskError(
            "other_world",
            f"record {record.id} was made for other tools of {', '.join(record.env.servers)}: catalog digest {wanted},"
            f" here {found}; make it again",
        )


def _check_world(record: TaskRecord, session: Session) -> None:
    wanted = record.env.image_digests
    found = session.digests() if wanted else {}
    for server, digest in wanted.items():
        if found.get(server) != digest:
            raise TaskError(
                "other_world",
                f"record {record.id} was made for another world of {server!r}: digest {digest}, here "
                f"{found.get(server)} for seed {record.env.seed}, profile {record.env.profile!r}; make it again",
            )


def catalog_digest(servers: Iterable[str]) -> str:
    """A digest of everything the tools of these servers promise: names, texts, effects and schemas.

    Raises: ConfigError "unknown_server".
    """
    return _catalog_digest(tuple(sorted(servers)))


@cache
def _catalog_digest(servers: tuple[str, ...]) -> str:
    tools = [_promise(spec) for name in servers for spec in load_server(name).tools.values()]
    return hashlib.blake2b(canonical_json(tools).encode(), digest_size=16).hexdigest()


def _promise(spec: ToolSpec) -> list[Any]:
    rules = [condition.rule for condition in spec.requires]
    return [spec.server, spec.name, spec.description, spec.effect, rules, spec.input_schema(private=True),
            spec.output_schema()]  # fmt: skip


def tools_of(servers: Iterable[str]) -> dict[str, ToolSpec]:
    """Every tool of these servers by name. Raises: ConfigError "unknown_server"."""
    return {name: spec for server in servers for name, spec in load_server(server).tools.items()}
