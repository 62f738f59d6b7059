"""Leases: an episode nobody calls is reaped, a live one never evicted.

Lease time is the store's monotonic clock, not the episode's. The limits are those of one process.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt

MonotonicClock = Callable[[], float]


class Limits(BaseModel):
    """What one process grants; every breach has its own typed answer.

    Attributes:
        ttl_s: lease of an episode, renewed by every call.
        lifetime_s: hard end of an episode, whatever it does.
        reaper_period_s: how often expired episodes are looked for.
        remember_s: how long an expired handle answers `expired_episode` rather than `unknown_episode`.
        episodes, episodes_per_principal: open at once; beyond, `open` answers `unavailable`.
        calls: per episode; beyond, `quota`.
        waiting: concurrent calls of one episode that may queue; beyond, `quota`.
        snapshots: kept per episode.
        result_bytes: of one result.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ttl_s: PositiveFloat = 900.0
    lifetime_s: PositiveFloat = 4 * 3600.0
    reaper_period_s: PositiveFloat = 5.0
    remember_s: PositiveFloat = 600.0
    episodes: PositiveInt = 2048
    episodes_per_principal: PositiveInt = 2048
    calls: PositiveInt = 512
    waiting: PositiveInt = 32
    snapshots: PositiveInt = 8
    result_bytes: PositiveInt = 256 * 1024


@dataclass(slots=True)
class Lease:
    """The time an episode has left."""

    opened: float
    ttl_s: float
    lifetime_s: float
    renewed: float

    def renew(self, now: float) -> None:
        """Start the lease anew."""
        self.renewed = now

    def expired(self, now: float) -> bool:
        """Whether the lease or the lifetime is over."""
        return now - self.renewed >= self.ttl_s or now - self.opened >= self.lifetime_s


class Reaper:
    """A daemon thread that calls `reap` every period until it is stopped or its store is gone."""

    def __init__(self, reap: weakref.WeakMethod[Callable[[], int]], period_s: float) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=_reap_until, args=(reap, period_s, self._stop), name="episode-reaper", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stop.set()
        self._thread.join()


def _reap_until(reap: weakref.WeakMethod[Callable[[], int]], period_s: float, stop: threading.Event) -> None:
    while not stop.wait(period_s):
        method = reap()
        if method is None:
            return
        method()
        del method  # a local would keep the store alive through the next wait
