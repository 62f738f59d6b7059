"""What a run writes down while it happens: metrics, episodes and the time spent, and where that stood at a checkpoint.

A run that goes on from a checkpoint first takes its journal back to that moment, so that nothing is told twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from palaestra.agents.store import Store
from palaestra.agents.types import RolloutGroup
from palaestra.rewards.compose import Reward
from palaestra.trainers.run_directory import RunDirectory

Listener = Callable[[Mapping[str, Any]], None]


def ignore(_: Mapping[str, Any]) -> None:
    """The listener of a run nobody watches."""


class Journal:
    """The metrics file, the store and the stopwatch of one run; everything logged also goes to a listener."""

    def __init__(self, folder: RunDirectory, store: Store, listener: Listener = ignore) -> None:
        self._folder = folder
        self._store = store
        self._listener = listener
        self._started = _clocks()
        self._earlier = (0.0, 0.0)
        self._phases: dict[str, dict[str, float]] = {}
        self._open: tuple[str, float, float] | None = None

    def log(self, **record: Any) -> None:
        """One event, with the seconds the run has taken so far, pauses between processes left out."""
        wall, cpu = self._elapsed()
        event = {**record, "wall_s": round(wall, 3), "cpu_s": round(cpu, 3)}
        self._folder.log_metrics(event)
        self._listener(event)

    def keep(
        self,
        groups: Sequence[RolloutGroup],
        iteration: int,
        phase: str,
        rewards: Mapping[str, Reward] | None = None,
    ) -> None:
        """Episodes into the store."""
        self._store.append(groups, run_id=self._folder.name, iteration=iteration, phase=phase, rewards=rewards)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Announce a phase and measure the time until the block ends; phases do not nest."""
        self._listener({"phase": name, "event": "begin"})
        self._open = (name, *_clocks())
        try:
            yield
        finally:
            self._phases = self.phases()
            self._open = None

    def phases(self) -> dict[str, dict[str, float]]:
        """Seconds spent in every phase so far, the one under way included."""
        spent = {name: dict(seconds) for name, seconds in self._phases.items()}
        if self._open is not None:
            name, *began = self._open
            earlier = spent.get(name, {})
            spent[name] = {
                clock: earlier.get(clock, 0.0) + now - then
                for clock, now, then in zip(("wall_s", "cpu_s"), _clocks(), began, strict=True)
            }
        return spent

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold so that `rewind` finds this moment again."""
        return {
            "elapsed": list(self._elapsed()),
            "phases": self.phases(),
            "metrics_bytes": self._folder.metrics_length(),
        }

    def rewind(self, state: Mapping[str, Any] | None, iteration: int) -> None:
        """Go back to the moment of `state` (None: the beginning), and to before `iteration` in the store.

        Raises: StoreError "metrics_mismatch" if the metrics were changed since.
        """
        self._folder.rewind_metrics(0 if state is None else state["metrics_bytes"])
        self._store.rewind(self._folder.name, iteration)
        if state is None:
            return
        now = self._elapsed()
        self._earlier = (state["elapsed"][0] + now[0], state["elapsed"][1] + now[1])
        self._started = _clocks()
        self._phases = {name: dict(seconds) for name, seconds in state["phases"].items()}

    def _elapsed(self) -> tuple[float, float]:
        (wall, cpu), now = self._started, _clocks()
        return (self._earlier[0] + now[0] - wall, self._earlier[1] + now[1] - cpu)


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()
