"""Episodes and the store that opens, finds, forks and ends them: the control plane, out of every tool's reach.

A server's database is forked from its seeded image at the first use, so an episode costs what it touches.
"""

from __future__ import annotations

import hashlib
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from palaestra.mcp_servers.errors import ConfigError, ToolError, nearest
from palaestra.mcp_servers.framework.faults import Fault, FaultCode
from palaestra.mcp_servers.framework.forks import Forks
from palaestra.mcp_servers.framework.images import Image
from palaestra.mcp_servers.framework.journal import Journal
from palaestra.mcp_servers.framework.leases import Lease, Limits, MonotonicClock, Reaper
from palaestra.mcp_servers.framework.server import Profile, ToolServer, check_profile
from palaestra.mcp_servers.framework.sources import IdSource
from palaestra.mcp_servers.framework.spec import ToolSpec
from palaestra.mcp_servers.framework.sql import Row, RowKey
from palaestra.mcp_servers.framework.state import ServerState, StateSnapshot
from palaestra.mcp_servers.framework.tokens import new_token, same, token_hash

REFERENCE_TIME: Final = 1_772_442_000
"""2026-03-02T09:00:00Z, a Monday."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An episode at one moment: the state of every server used so far, and how much of the journal was written."""

    states: Mapping[str, StateSnapshot]
    waited: int
    calls: int
    turn: int
    visible: frozenset[str] | None


class Episode:
    """One isolated world: some servers, their state, and the log of what was called.

    Attributes:
        episode_id: a name for logs and records; opens nothing.
        turn: of the calls that follow.
        visible: names of the tools the agent may call; None = all.
    """

    def __init__(
        self, episode_id: str, servers: Mapping[str, ToolServer], tools: Mapping[str, ToolSpec], *, forks: Forks,
        seed: int, profile: Profile, reference_time: int, visible: frozenset[str] | None, limits: Limits,
        lease: Lease, principal: str, clock: MonotonicClock,
    ) -> None:  # fmt: skip
        self.episode_id = episode_id
        self.servers = servers
        self.tools = tools
        self.seed, self.profile, self.reference_time = seed, profile, reference_time
        self.visible = visible
        self.limits = limits
        self.lease, self.principal, self.clock = lease, principal, clock
        self.turn = 0
        self.journal = Journal()
        self.closed = False
        self.waiting = 0
        self.lock = threading.RLock()
        self._forks = forks
        self._states: dict[str, ServerState] = {}
        self._waited = 0

    def state(self, server: str) -> ServerState:
        """The state of a server, forked from its seeded image now if this is its first use.

        Raises: ConfigError "unknown_server" naming the nearest.
        """
        found = self._states.get(server)
        if found is None:
            if server not in self.servers:
                raise ConfigError("unknown_server", f"no server {server!r} here; {nearest(server, self.servers)}")
            found = self._forks.take(self._image(server))
            if self._waited:
                found.advance_clock(self._waited)
            self._states[server] = found
        return found

    def _image(self, server: str) -> Image:
        return self._forks.image(self.servers[server], self.seed, self.profile, self.reference_time)

    def tool(self, name: str) -> ToolSpec | None:
        """The tool of this name if there is one and the agent may call it now."""
        return self.tools.get(name) if self.visible is None or name in self.visible else None

    def visible_tools(self) -> tuple[ToolSpec, ...]:
        """What the agent may call now, in server order."""
        return tuple(tool for name, tool in self.tools.items() if self.visible is None or name in self.visible)

    def set_visible_tools(self, names: Iterable[str] | None) -> None:
        """Show only these tools from now on; None shows all. Raises: ConfigError "unknown_tool" naming the nearest."""
        self.visible = check_visible(self.tools, names)

    def begin_turn(self, turn: int) -> None:
        """Say which turn the following calls belong to. Raises: ConfigError "bad_turn" if it would run backwards."""
        if turn < self.turn:
            raise ConfigError("bad_turn", f"turn {turn} comes after turn {self.turn}; turns only go up")
        self.turn = turn

    def advance_clock(self, seconds: int) -> None:
        """Let time pass on every server; one not used yet finds out at its first use.

        Raises: ValueError if it would run backwards.
        """
        with self.lock:
            for state in self._states.values():
                state.advance_clock(seconds)
            if seconds < 0:
                raise ValueError(f"the clock cannot go back by {seconds} s")
            self._waited += seconds

    def digests(self) -> dict[str, str]:
        """The goal digest of every server, used or not."""
        with self.lock:
            return {
                name: self._states[name].digest if name in self._states else format(self._image(name).digest, "064x")
                for name in self.servers
            }

    def digest(self) -> str:
        """One goal digest over all servers: SHA-256 of their names and digests, in name order."""
        lines = "".join(f"{name}={found}\n" for name, found in sorted(self.digests().items()))
        return hashlib.sha256(lines.encode()).hexdigest()

    def full_digest(self) -> str:
        """One full digest over all servers, clocks and id counters included. Linear in their databases."""
        with self.lock:
            lines = "".join(f"{name}={self.state(name).full_digest()}\n" for name in sorted(self.servers))
        return hashlib.sha256(lines.encode()).hexdigest()

    def changes(self) -> dict[str, dict[RowKey, Row | None]]:
        """Per used server, the rows that differ from the seed; see `ServerState.changes`."""
        with self.lock:
            return {name: state.changes() for name, state in self._states.items()}

    def snapshot(self) -> Snapshot:
        """The episode now, to go back to or to fork from."""
        with self.lock:
            states = {name: state.snapshot() for name, state in self._states.items()}
            return Snapshot(states, self._waited, len(self.journal), self.turn, self.visible)

    def restore(self, snapshot: Snapshot) -> None:
        """Back to a snapshot of this episode, as if it had never been left. Raises: ToolError "unknown_snapshot"."""
        with self.lock:
            if snapshot.calls > len(self.journal):
                raise ToolError(
                    "unknown_snapshot", "the snapshot is not of this episode's past; restore an earlier one"
                )
            for name in [name for name in self._states if name not in snapshot.states]:
                self._forks.give(self._states.pop(name))
            self._waited = snapshot.waited
            for name, state in snapshot.states.items():
                self.state(name).restore(state)
            self.journal.rewind(snapshot.calls)
            self.turn, self.visible = snapshot.turn, snapshot.visible

    def reset(self) -> None:
        """Back to the seed with an empty journal, under the same handle. Costs what was written since."""
        with self.lock:
            for state in self._states.values():
                state.reset()
            self._waited = 0
            self.journal = Journal()
            self.turn = 0

    def adopt(self, source: Episode, snapshot: Snapshot) -> None:
        """Become the twin of another episode at a snapshot; for `EpisodeStore.fork`."""
        self.journal = source.journal.copy()
        self.restore(snapshot)

    def close(self) -> None:
        """End the episode and free its databases; later calls get `expired_episode`."""
        with self.lock:
            self.closed = True
            states, self._states = self._states, {}
            for state in states.values():
                self._forks.give(state)


def check_visible(tools: Mapping[str, ToolSpec], names: Iterable[str] | None) -> frozenset[str] | None:
    """The names as a set. Raises: ConfigError "unknown_tool" naming the nearest."""
    if names is None:
        return None
    wanted = tuple(names)
    for name in wanted:
        if name not in tools:
            raise ConfigError("unknown_tool", f"no tool {name!r} on these servers; {nearest(name, tools)}")
    return frozenset(wanted)


class EpisodeStore:
    """Every open episode of one process, by handle.

    Args:
        servers: what episodes can be opened on.
        ids: names episodes; handles are random whatever it is.
        clock: monotonic seconds for leases.
        images, resting: how many seeded images and how many databases of ended episodes are kept for the next ones.

    Cost: opening is O(1); a server's fork follows at its first use. A live episode is never evicted.
    """

    def __init__(
        self, servers: Iterable[ToolServer], *, limits: Limits | None = None, ids: IdSource | None = None,
        clock: MonotonicClock = time.monotonic, new_handle: Callable[[], str] = new_token, images: int = 512,
        resting: int = 64,
    ) -> None:  # fmt: skip
        self.servers: dict[str, ToolServer] = {server.name: server for server in servers}
        self.limits = limits or Limits()
        self._forks = Forks(images, resting)
        self._ids = ids or IdSource(0, "episodes")
        self._clock = clock
        self._new_handle = new_handle
        self._open: dict[bytes, Episode] = {}
        self._gone: dict[bytes, float] = {}
        self._per_principal: dict[str, int] = {}
        self._catalogs: dict[tuple[str, ...], tuple[dict[str, ToolServer], dict[str, ToolSpec]]] = {}
        self._lock = threading.RLock()
        self._reaper: Reaper | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._open)

    def open(
        self, servers: Sequence[str] = (), *, seed: int = 0, profile: str = "default",
        reference_time: int = REFERENCE_TIME, visible_tools: Iterable[str] | None = None, ttl_s: float | None = None,
        principal: str = "",
    ) -> tuple[str, Episode]:  # fmt: skip
        """A new episode and its handle.

        Args:
            servers: names; empty = all of the store's.
            seed: fixes the world; equal seeds give equal worlds.
            profile: how large a world: "small", "default" or "large".
            reference_time: what the episode's clock starts at, seconds since the epoch.
            visible_tools: what the agent may call; None = all.
            ttl_s: lease, if not the store's.
            principal: who may use the handle.

        Raises: ConfigError for an unknown name or profile; ToolError "unavailable" at capacity.
        """
        names, tools = self._catalog(tuple(servers))
        shown = check_visible(tools, visible_tools)
        checked = check_profile(profile)
        handle = self._new_handle()
        with self._lock:
            self._check_capacity(principal)
            now = self._clock()
            lease = Lease(now, ttl_s or self.limits.ttl_s, self.limits.lifetime_s, now)
            episode = Episode(
                self._ids("ep"), names, tools, forks=self._forks, seed=seed, profile=checked,
                reference_time=reference_time, visible=shown, limits=self.limits, lease=lease, principal=principal,
                clock=self._clock,
            )  # fmt: skip
            self._open[token_hash(handle)] = episode
            self._per_principal[principal] = self._per_principal.get(principal, 0) + 1
            if self._reaper is None:
                self._reaper = Reaper(weakref.WeakMethod(self.reap), self.limits.reaper_period_s)
        return handle, episode

    def fork(self, source: Episode, snapshot: Snapshot | None = None) -> tuple[str, Episode]:
        """A new episode that continues from another one's snapshot (by default: from now)."""
        with source.lock:
            taken = snapshot or source.snapshot()
            handle, twin = self.open(
                tuple(source.servers), seed=source.seed, profile=source.profile, reference_time=source.reference_time,
                ttl_s=source.lease.ttl_s, principal=source.principal,
            )  # fmt: skip
            twin.adopt(source, taken)
        return handle, twin

    def find(self, handle: str, principal: str = "") -> Episode | Fault:
        """The episode of a handle, or why there is none; a handle of another principal is unknown."""
        key = token_hash(handle)
        with self._lock:
            episode = self._open.get(key)
            gone = self._gone.get(key)
        if episode is not None and same(episode.principal, principal):
            return expired_episode() if episode.closed or episode.lease.expired(self._clock()) else episode
        if episode is None and gone is not None and self._clock() - gone < self.limits.remember_s:
            return expired_episode()
        return Fault(FaultCode.UNKNOWN_EPISODE, "no episode has this handle; open one through the control plane")

    def end(self, handle: str) -> None:
        """Close the episode of a handle; one that is not open is left alone."""
        self._end(token_hash(handle))

    def reap(self) -> int:
        """End every episode whose lease is over and that no call is using; returns how many."""
        now = self._clock()
        with self._lock:
            ended = [key for key, episode in self._open.items() if episode.lease.expired(now)]
            self._gone = {key: at for key, at in self._gone.items() if now - at < self.limits.remember_s}
        return sum(self._end(key, only_idle=True) for key in ended)

    def _end(self, key: bytes, *, only_idle: bool = False) -> bool:
        episode = self._open.get(key)
        if episode is None or not episode.lock.acquire(blocking=not only_idle):
            return False
        try:
            episode.close()
        finally:
            episode.lock.release()
        with self._lock:
            if self._open.pop(key, None) is not None:
                self._gone[key] = self._clock()
                self._per_principal[episode.principal] -= 1
                if not self._per_principal[episode.principal]:
                    del self._per_principal[episode.principal]
        return True

    def close(self) -> None:
        """End every episode and the reaper."""
        for key in list(self._open):
            self._end(key)
        self._forks.close()
        if self._reaper is not None:
            self._reaper.stop()
            self._reaper = None

    def stats(self) -> dict[str, int]:
        """How many episodes are open and how many ended handles are remembered."""
        return {"open": len(self._open), "remembered": len(self._gone)}

    def _check_capacity(self, principal: str) -> None:
        full = len(self._open) >= self.limits.episodes
        if (full or self._per_principal.get(principal, 0) >= self.limits.episodes_per_principal) and not self.reap():
            raise ToolError(
                FaultCode.UNAVAILABLE.value,
                f"{len(self._open)} episodes are open, the limit; close some or start another service",
                retryable=True,
            )

    def _catalog(self, names: tuple[str, ...]) -> tuple[dict[str, ToolServer], dict[str, ToolSpec]]:
        if names not in self._catalogs:
            for name in names:
                if name not in self.servers:
                    raise ConfigError("unknown_server", f"no server {name!r}; {nearest(name, self.servers)}")
            servers = {name: self.servers[name] for name in names or self.servers}
            tools: dict[str, ToolSpec] = {}
            for server in servers.values():
                for tool in server.tools.values():
                    if tool.name in tools:
                        raise ConfigError(
                            "bad_server", f"{tool.name} is a tool of {tools[tool.name].server} and of {server.name}"
                        )
                    tools[tool.name] = tool
            self._catalogs[names] = (servers, tools)
        return self._catalogs[names]


def expired_episode() -> Fault:
    """The answer to calls on an episode that ended."""
    return Fault(FaultCode.EXPIRED_EPISODE, "the episode is closed or its lease ran out; open another one")
