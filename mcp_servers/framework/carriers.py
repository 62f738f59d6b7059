"""Which episode a request is for: the protocol has no sessions, so every request carries it, in one of several ways.

In order of precedence: the request's `_meta` under `palaestra/episode`, the HTTP header `X-Palaestra-Episode`, a
signed URL parameter, the session id of a 2025-11-25 client over HTTP, the default episode. The first three are
explicit: those that name different episodes are refused together.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request

from palaestra.mcp_servers.errors import ToolError
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore, expired_episode
from palaestra.mcp_servers.framework.faults import Fault, FaultCode
from palaestra.mcp_servers.framework.tokens import same

EPISODE_KEY: Final = "palaestra/episode"
EPISODE_HEADER: Final = "x-palaestra-episode"
EPISODE_PARAMETER: Final = "palaestra_episode"
SESSION_HEADER: Final = "mcp-session-id"
PRINCIPAL: Final = "palaestra.principal"
"""Key of the ASGI scope under which the door notes whose bearer token a request carries."""

_NO_EPISODE: Final = Fault(
    FaultCode.NO_EPISODE,
    f"say which episode: send its handle in the request's _meta under {EPISODE_KEY!r} or in the HTTP header "
    f"{EPISODE_HEADER!r}; the control plane opens episodes",
)
_DISAGREE: Final = Fault(FaultCode.UNKNOWN_EPISODE, "the request names two different episodes; name one")
_BAD_URL: Final = Fault(
    FaultCode.UNKNOWN_EPISODE, f"the URL's {EPISODE_PARAMETER} is not signed by this process or is too old; get another"
)


class LegacySessions:
    """Episodes of ordinary 2025-11-25 clients over HTTP: one per session id, each opened with the same seed.

    Session ids are the SDK's (122 random bits). An episode ends with its session or its lease, whichever is first;
    a session that outlives its episode is told so and never given another one.
    """

    def __init__(self, store: EpisodeStore, servers: Sequence[str], seed: int, profile: str = "default") -> None:
        self._store = store
        self._servers = tuple(servers)
        self._seed, self._profile = seed, profile
        self._handles: dict[tuple[str, str], str] = {}

    def find(self, session_id: str, principal: str) -> Episode | Fault:
        """A session's episode, opened now if the session is new; `unavailable` if there is no room for it."""
        key = (session_id, principal)
        if key not in self._handles:
            try:
                opened = self._store.open(self._servers, seed=self._seed, profile=self._profile, principal=principal)
            except ToolError as error:
                return Fault(FaultCode.UNAVAILABLE, error.message)
            self._forget_some()
            self._handles[key] = opened[0]
        return self._store.find(self._handles[key], principal)

    def end(self, session_id: str, principal: str) -> None:
        """End a session's episode, if it has one."""
        handle = self._handles.pop((session_id, principal), None)
        if handle is not None:
            self._store.end(handle)

    def _forget_some(self) -> None:
        """Keep the table bounded: of the older half, drop what ended; the SDK ended those sessions long ago."""
        if len(self._handles) >= 4 * self._store.limits.episodes:
            for key in list(self._handles)[: len(self._handles) // 2]:
                if isinstance(self._store.find(self._handles[key], key[1]), Fault):
                    del self._handles[key]


class SignedUrls:
    """URL parameters that name an episode, for clients that can send neither `_meta` nor headers.

    URLs reach logs and histories, so a parameter holds no handle: the episode's name, who may use it, a deadline, and
    a signature (HMAC-SHA256) under a key that this process drew and never shows.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._episodes: weakref.WeakValueDictionary[str, Episode] = weakref.WeakValueDictionary()

    def sign(self, episode: Episode, expires_s: float) -> str:
        """A parameter's value that names the episode for some seconds."""
        self._episodes[episode.episode_id] = episode
        deadline = int(episode.clock() + expires_s)
        return f"{episode.episode_id}.{deadline}.{self._signature(episode.episode_id, deadline, episode.principal)}"

    def find(self, value: str, principal: str) -> Episode | Fault:
        """The episode a value names, or why there is none."""
        name, _, rest = value.partition(".")
        deadline, _, signature = rest.partition(".")
        episode = self._episodes.get(name)
        if episode is None or not (deadline.isascii() and deadline.isdigit() and len(deadline) < 20):
            return _BAD_URL
        if not same(signature, self._signature(name, int(deadline), principal)) or int(deadline) <= episode.clock():
            return _BAD_URL
        return expired_episode() if episode.closed or episode.lease.expired(episode.clock()) else episode

    def _signature(self, name: str, deadline: int, principal: str) -> str:
        return hmac.new(self._key, f"{name}.{deadline}.{principal}".encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class Carriers:
    """The ways a door accepts.

    Attributes:
        default_handle: of the episode of requests that name none.
        legacy: gives 2025-11-25 sessions over HTTP an episode each.
        urls: whose signed URL parameters are accepted.
    """

    store: EpisodeStore
    default_handle: str | None = None
    legacy: LegacySessions | None = None
    urls: SignedUrls | None = None

    def find(
        self, meta: Mapping[str, Any] | None, request: Request | None, principal: str, *, has_session: bool
    ) -> Episode | Fault:
        """The episode of a request, or why there is none. `has_session`: its session id is one the SDK gave out."""
        named = None if meta is None else meta.get(EPISODE_KEY)
        if request is None:
            return self._default(principal) if named is None else self.store.find(str(named), principal)
        header = request.headers.get(EPISODE_HEADER)
        if named is not None and header is not None and named != header:
            return _DISAGREE
        handle = header if named is None else named
        found = None if handle is None else self.store.find(str(handle), principal)
        value = None if self.urls is None else request.query_params.get(EPISODE_PARAMETER)
        if self.urls is not None and value is not None:
            signed = self.urls.find(value, principal)
            return signed if found is None or found is signed else _DISAGREE
        if found is not None:
            return found
        if has_session and self.legacy is not None:
            return self.legacy.find(request.headers[SESSION_HEADER], principal)
        return self._default(principal)

    def _default(self, principal: str) -> Episode | Fault:
        return _NO_EPISODE if self.default_handle is None else self.store.find(self.default_handle, principal)
