"""The trajectory store: append-only, committed before acknowledged, read lazily.

One `append` is one transaction. When it returns, its rollouts survive the death of the process; when it raises,
nothing of it is stored. A rollout is identified by (run, iteration, rollout id), so repeating an append whose
acknowledgement was lost changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

from sqlalchemy import Engine, Table, delete, func, select

from palaestra.agents.store import writing
from palaestra.agents.store.database import Durability, open_engine, prepare, transaction
from palaestra.agents.store.query import (
    Filters,
    IterationSummary,
    RolloutRecord,
    StoredRollout,
    load,
    records,
    summarise,
)
from palaestra.agents.store.rows import encode_groups, pack_json, unpack_json
from palaestra.agents.store.schema import completions, errors, rewards, rollouts, runs, steps, tasks
from palaestra.agents.types import Rollout, RolloutGroup
from palaestra.mcp_servers.errors import StoreError
from palaestra.mcp_servers.framework.sources import Clock, system_clock, timestamp
from palaestra.rewards.compose import Reward

_TABLES: tuple[Table, ...] = (runs, tasks, rollouts, steps, completions, rewards, errors)
_PAGE = 128  # rollouts read at a time


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a committed append did: rollouts it stored, and rollouts that were already there with the same content."""

    stored: int
    repeated: int


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run as stored."""

    run_id: str
    created_at: str
    config: Mapping[str, Any]


class Store:
    """An open store; share it between threads, not across a fork."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self.engine = engine
        self._clock = clock

    @classmethod
    def open(
        cls,
        address: str | Path,
        *,
        create: bool = True,
        read_only: bool = False,
        durability: Durability = "process",
        lock_timeout_s: float = 30.0,
        clock: Clock = system_clock,
    ) -> Self:
        """Open the store at a path or database URL; builds it if absent and `create`.

        Raises: StoreError "bad_address", "no_store", "not_a_store", "old_schema", "new_schema", "locked", "corrupt",
            "missing_driver", "unreachable".
        """
        create = create and not read_only
        engine = open_engine(
            address, create=create, read_only=read_only, durability=durability, lock_timeout_s=lock_timeout_s
        )
        try:
            prepare(engine, create=create)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, clock)

    def close(self) -> None:
        """Give the connections back; the store stays as it is."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def add_run(self, run_id: str, config: Mapping[str, Any] | None = None, *, created_at: str | None = None) -> None:
        """Register a run before its rollouts; repeating it with the same config changes nothing.

        Raises: StoreError "run_exists" if it is there with another config; "not_json".
        """
        packed = pack_json(dict(config or {}), f"config of run {run_id!r}")
        row = {"run_id": run_id, "created_at": created_at or timestamp(self._clock), "config": packed}
        with transaction(self.engine, writes=True) as connection:
            writing.insert_absent(connection, runs, [row])
            stored = connection.execute(select(runs.c.config).where(runs.c.run_id == run_id)).scalar_one()
        if stored != packed:
            raise StoreError("run_exists", f"run {run_id!r} is stored with another config; choose another run id")

    def append(
        self,
        groups: Iterable[RolloutGroup],
        *,
        run_id: str,
        iteration: int,
        phase: str,
        rewards: Mapping[str, Reward] | None = None,
    ) -> Receipt:
        """Store every rollout of the groups in one transaction; they are durable when this returns.

        Args:
            groups: rollouts with the group they were sampled in, failed members included.
            run_id: of a run that `add_run` registered.
            iteration: training step the rollouts belong to.
            phase: "train", "eval" or any word that tells kinds of rollouts apart.
            rewards: by rollout id; leave out what is not scored.
        Raises: StoreError "unknown_run", "bad_rollout", "bad_reward", "not_json", "unknown_rollout" (a reward without
            its rollout), "rollout_exists" (same identity, other content), "disk_full", "locked".
        Cost: linear in tokens and characters, whatever the store already holds.
        """
        encoded = encode_groups(groups)
        reward_rows = writing.encode_rewards(rewards or {}, {e.rollout_id for e in encoded})
        with transaction(self.engine, writes=True) as connection:
            writing.require_run(connection, run_id)
            fresh = writing.not_yet_stored(connection, run_id, iteration, encoded)
            writing.insert_rollouts(connection, run_id, iteration, phase, fresh, reward_rows)
        return Receipt(stored=len(fresh), repeated=len(encoded) - len(fresh))

    def set_rewards(self, run_id: str, iteration: int, scored: Mapping[str, Reward]) -> None:
        """Replace the stored rewards of the named rollouts, all or none; to repair invalid rewards afterwards.

        Raises: StoreError "unknown_run", "unknown_rollout", "bad_reward".
        """
        with transaction(self.engine, writes=True) as connection:
            writing.require_run(connection, run_id)
            there = writing.stored(connection, run_id, iteration, list(scored))
            numbers = {name: number for name, (number, _) in there.items()}
            writing.replace_rewards(connection, writing.encode_rewards(scored, numbers), numbers)

    def rewind(self, run_id: str, iteration: int) -> int:
        """Delete a run's rollouts of this and later iterations, before they are sampled again from a checkpoint.

        Returns: how many.  Raises: StoreError "unknown_run".
        """
        with transaction(self.engine, writes=True) as connection:
            writing.require_run(connection, run_id)
            later = (rollouts.c.run_id == run_id) & (rollouts.c.iteration >= iteration)
            return connection.execute(delete(rollouts).where(later)).rowcount

    def runs(self) -> tuple[RunRecord, ...]:
        """All runs, oldest first."""
        with transaction(self.engine) as connection:
            found = connection.execute(select(runs).order_by(runs.c.created_at, runs.c.run_id)).mappings().all()
        return tuple(RunRecord(row["run_id"], row["created_at"], unpack_json(row["config"])) for row in found)

    def find(
        self, *, after: int | None = None, limit: int = 100, newest_first: bool = False, **filters: Unpack[Filters]
    ) -> list[RolloutRecord]:
        """A page of light records; pass the last one's `number` as `after` for the next page.

        Raises: StoreError "unknown_filter".
        """
        with transaction(self.engine) as connection:
            return records(connection, filters, after=after, limit=limit, newest_first=newest_first)

    def rollouts(self, **filters: Unpack[Filters]) -> Iterator[StoredRollout]:
        """Whole episodes in order of arrival, read lazily page by page; what arrives meanwhile is included.

        Raises: StoreError "unknown_filter", "corrupt_rollout".
        """
        after: int | None = None
        while True:
            with transaction(self.engine) as connection:
                page = records(connection, filters, after=after, limit=_PAGE, newest_first=False)
                found = load(connection, page)
            if not page:
                return
            yield from found
            after = page[-1].number

    def stored(self, rollout_id: str, *, run_id: str | None = None, iteration: int | None = None) -> StoredRollout:
        """One whole episode with its place and rewards; run and iteration tell apart equal ids.

        Raises: StoreError "unknown_rollout", "ambiguous_rollout", "corrupt_rollout".
        """
        filters: Filters = {"rollout_id": rollout_id}
        if run_id is not None:
            filters["run_id"] = run_id
        if iteration is not None:
            filters["iteration"] = iteration
        with transaction(self.engine) as connection:
            found = records(connection, filters, after=None, limit=2, newest_first=False)
            if not found:
                raise StoreError("unknown_rollout", f"no rollout {rollout_id!r} here; `Store.find` lists what there is")
            if len(found) > 1:
                places = " and ".join(f"run_id={r.run_id!r}, iteration={r.iteration}" for r in found)
                raise StoreError("ambiguous_rollout", f"rollout {rollout_id!r} is in {places}; say which")
            return load(connection, found)[0]

    def get(self, rollout_id: str, *, run_id: str | None = None, iteration: int | None = None) -> Rollout:
        """The episode exactly as it was stored; raises as `stored`."""
        return self.stored(rollout_id, run_id=run_id, iteration=iteration).rollout

    def summary(self, run_id: str | None = None) -> list[IterationSummary]:
        """Counts and means per run, iteration and phase; 10^5 rollouts take a fraction of a second."""
        with transaction(self.engine) as connection:
            return summarise(connection, run_id)

    def counts(self) -> dict[str, int]:
        """Number of rows of every table."""
        with transaction(self.engine) as connection:
            return {
                table.name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
                for table in _TABLES
            }
