"""The control plane: what a program may do with episodes it did not open in its own process. No tool reaches it.

Every operation is a request model and a function of it; `ControlPlane.run` takes and returns JSON-ready data, so that
any transport can carry it. Each operation on an episode renews its lease: an environment that looks is alive.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from palaestra.mcp_servers.errors import ConfigError, ToolError, nearest
from palaestra.mcp_servers.framework.carriers import EPISODE_PARAMETER, SignedUrls
from palaestra.mcp_servers.framework.episodes import (
    REFERENCE_TIME,
    Episode,
    EpisodeStore,
    Snapshot,
    expired_episode,
)
from palaestra.mcp_servers.framework.faults import Fault, FaultCode

Seconds = Annotated[float, Field(gt=0, le=7 * 86_400, allow_inf_nan=False)]


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Stats(_Request):
    """How many episodes are open, and what can be opened."""


class Open(_Request):
    """A new episode; the arguments are those of `EpisodeStore.open`. `principal` is who will use the handle."""

    servers: tuple[str, ...] = ()
    seed: int = Field(0, ge=-(2**63), lt=2**63)
    profile: str = "default"
    reference_time: int = Field(REFERENCE_TIME, ge=0, le=253_402_300_799)
    visible_tools: tuple[str, ...] | None = None
    ttl_s: Seconds | None = None
    principal: str = ""


class Of(_Request):
    """An operation on one episode, without arguments of its own."""

    handle: str
    principal: str = ""


class Fork(Of):
    """A new episode that continues from a snapshot of another; from now if none is named."""

    snapshot: str | None = None


class Restore(Of):
    """Back to a snapshot; those taken after it are forgotten, because their past is."""

    snapshot: str


class Digest(Of):
    """Goal digests; `full` adds the full one: clocks and id counters included, linear in the databases."""

    full: bool = False


class ReadJournal(Of):
    """The calls from `since` on."""

    since: NonNegativeInt = 0


class BeginTurn(Of):
    """Which turn the following calls belong to."""

    turn: int = Field(ge=0, lt=2**31)


class SetVisibleTools(Of):
    """What the agent may call from now on; null = all."""

    names: tuple[str, ...] | None


class AdvanceClock(Of):
    """Let time pass on every server."""

    seconds: int = Field(ge=0, le=10 * 366 * 86_400)


class SignUrl(Of):
    """A URL for clients that can send neither `_meta` nor headers."""

    expires_s: Seconds = 3600.0


class ControlPlane:
    """The operations on one store.

    Args:
        store: whose episodes it runs.
        endpoint: where the episodes' tools are called; empty if there is no such URL (stdio).
        urls: signs URL parameters; None = not offered.

    Cost: an operation costs what it costs in the store; `open` is O(1), snapshots copy the databases in use.
    """

    def __init__(self, store: EpisodeStore, endpoint: str = "", urls: SignedUrls | None = None) -> None:
        self._store = store
        self._endpoint = endpoint
        self._urls = urls
        self._numbers = itertools.count(1)  # of this process: a forgotten name is never given to another snapshot
        self._snapshots: weakref.WeakKeyDictionary[Episode, dict[str, Snapshot]] = weakref.WeakKeyDictionary()

    def run(self, operation: str, body: bytes) -> dict[str, Any]:
        """Perform one operation; `body` is its request as JSON.

        Raises: ConfigError "unknown_operation", "bad_request" naming each wrong key, or what the arguments deserve;
            ToolError "unknown_episode", "expired_episode", "unknown_snapshot", "quota", "unavailable" at capacity.
        """
        if operation not in OPERATIONS:
            raise ConfigError("unknown_operation", f"no operation {operation!r}; {nearest(operation, OPERATIONS)}")
        model, perform = OPERATIONS[operation]
        try:
            request = model.model_validate_json(body or b"{}")
        except ValidationError as error:
            wrong = [
                f"{'.'.join(map(str, found['loc'])) or 'body'}: {found['msg']}"
                for found in error.errors(include_url=False, include_context=False, include_input=False)
            ]
            raise ConfigError("bad_request", f"{operation}: {'; '.join(wrong)}") from None  # the cause holds the input
        return perform(self, request)

    @contextmanager
    def _episode(self, request: Of) -> Iterator[Episode]:
        found = self._store.find(request.handle, request.principal)
        if isinstance(found, Fault):
            raise _lost(found)
        with found.lock:
            if found.closed:
                raise _lost(expired_episode())
            found.lease.renew(found.clock())
            yield found

    def _stats(self, _: Stats) -> dict[str, Any]:
        limits = self._store.limits.model_dump()
        return {**self._store.stats(), "servers": list(self._store.servers), "limits": limits}

    def _open(self, request: Open) -> dict[str, Any]:
        handle, episode = self._store.open(
            request.servers, seed=request.seed, profile=request.profile, reference_time=request.reference_time,
            visible_tools=request.visible_tools, ttl_s=request.ttl_s, principal=request.principal,
        )  # fmt: skip
        return self._opened(handle, episode)

    def _opened(self, handle: str, episode: Episode) -> dict[str, Any]:
        names = tuple(episode.servers)
        one_of_several = len(names) == 1 and len(self._store.servers) > 1
        endpoint = f"{self._endpoint}/{names[0]}" if self._endpoint and one_of_several else self._endpoint
        return {"handle": handle, "endpoint": endpoint, "episode": episode.episode_id, "servers": list(names)}

    def _renew(self, request: Of) -> dict[str, Any]:
        with self._episode(request) as episode:
            return {"ttl_s": episode.lease.ttl_s}

    def _close(self, request: Of) -> dict[str, Any]:
        with self._episode(request):
            self._store.end(request.handle)
        return {}

    def _reset(self, request: Of) -> dict[str, Any]:
        with self._episode(request) as episode:
            episode.reset()
            self._snapshots.pop(episode, None)
        return {}

    def _fork(self, request: Fork) -> dict[str, Any]:
        with self._episode(request) as episode:
            taken = None if request.snapshot is None else self._snapshot_of(episode, request.snapshot)
            return self._opened(*self._store.fork(episode, taken))

    def _snapshot(self, request: Of) -> dict[str, Any]:
        with self._episode(request) as episode:
            kept = self._snapshots.setdefault(episode, {})
            limit = episode.limits.snapshots
            if len(kept) >= limit:
                raise ToolError(
                    FaultCode.QUOTA.value,
                    f"{limit} snapshots of this episode are kept, the limit; restore an early one, or fork",
                )
            name = f"snapshot-{next(self._numbers)}"
            kept[name] = episode.snapshot()
            return {"snapshot": name}

    def _restore(self, request: Restore) -> dict[str, Any]:
        with self._episode(request) as episode:
            episode.restore(self._snapshot_of(episode, request.snapshot))
            kept = self._snapshots[episode]
            for later in list(kept)[list(kept).index(request.snapshot) + 1 :]:
                del kept[later]
        return {}

    def _snapshot_of(self, episode: Episode, name: str) -> Snapshot:
        kept = self._snapshots.get(episode, {})
        if name not in kept:
            raise ToolError(
                "unknown_snapshot", f"the episode has no snapshot {name[:64]!r}; {nearest(name[:64], kept)}"
            )
        return kept[name]

    def _digest(self, request: Digest) -> dict[str, Any]:
        with self._episode(request) as episode:
            found = {"digest": episode.digest(), "servers": episode.digests(), "calls": len(episode.journal)}
            return {**found, "full": episode.full_digest()} if request.full else found

    def _changes(self, request: Of) -> dict[str, Any]:
        with self._episode(request) as episode:
            return {
                "changes": {
                    server: [{"entity": key[0], "key": key[1], "row": row} for key, row in changed.items()]
                    for server, changed in episode.changes().items()
                }
            }

    def _journal(self, request: ReadJournal) -> dict[str, Any]:
        with self._episode(request) as episode:
            return {"calls": [record.to_dict() for record in episode.journal.records[request.since :]]}

    def _begin_turn(self, request: BeginTurn) -> dict[str, Any]:
        with self._episode(request) as episode:
            episode.begin_turn(request.turn)
        return {}

    def _set_visible_tools(self, request: SetVisibleTools) -> dict[str, Any]:
        with self._episode(request) as episode:
            episode.set_visible_tools(request.names)
        return {}

    def _advance_clock(self, request: AdvanceClock) -> dict[str, Any]:
        with self._episode(request) as episode:
            episode.advance_clock(request.seconds)
        return {}

    def _sign_url(self, request: SignUrl) -> dict[str, Any]:
        if self._urls is None or not self._endpoint:
            raise ConfigError("no_signed_urls", "this service signs no URLs; start it with --signed-urls, over http")
        with self._episode(request) as episode:
            return {"url": f"{self._endpoint}?{EPISODE_PARAMETER}={self._urls.sign(episode, request.expires_s)}"}


def _lost(fault: Fault) -> ToolError:
    return ToolError(fault.code.value, fault.message, retryable=fault.code.retryable)


# Each model goes with the method that takes it; a table of pairs cannot say so to a type checker.
OPERATIONS: Final[Mapping[str, tuple[type[_Request], Callable[[ControlPlane, Any], dict[str, Any]]]]] = {
    "stats": (Stats, ControlPlane._stats),
    "open": (Open, ControlPlane._open),
    "renew": (Of, ControlPlane._renew),
    "close": (Of, ControlPlane._close),
    "reset": (Of, ControlPlane._reset),
    "fork": (Fork, ControlPlane._fork),
    "snapshot": (Of, ControlPlane._snapshot),
    "restore": (Restore, ControlPlane._restore),
    "digest": (Digest, ControlPlane._digest),
    "changes": (Of, ControlPlane._changes),
    "journal": (ReadJournal, ControlPlane._journal),
    "begin_turn": (BeginTurn, ControlPlane._begin_turn),
    "set_visible_tools": (SetVisibleTools, ControlPlane._set_visible_tools),
    "advance_clock": (AdvanceClock, ControlPlane._advance_clock),
    "sign_url": (SignUrl, ControlPlane._sign_url),
}
