"""Reading the store: light records to list, whole episodes to look at, sums per iteration.

Lists are paged by row number, each page a transaction of its own: a reader neither holds up the writer nor the
truncation of SQLite's write-ahead log, however long it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypedDict

from sqlalchemy import ColumnElement, Connection, Integer, Table, case, cast, func, select

from palaestra.agents.store.reward_rows import decode_reward
from palaestra.agents.store.rows import Row, decode_rollout
from palaestra.agents.store.schema import completions, errors, rewards, rollouts, steps, tasks
from palaestra.agents.types import Rollout
from palaestra.mcp_servers.errors import StoreError, nearest
from palaestra.rewards.compose import Reward


class Filters(TypedDict, total=False):
    """Which rollouts; several are joined by AND, none means all."""

    run_id: str
    iteration: int
    phase: str
    rollout_id: str
    group: str
    task_key: str
    env_id: str
    stop_reason: str
    won: bool
    failed: bool


@dataclass(frozen=True, slots=True)
class RolloutRecord:
    """One line of a list of rollouts; nothing here needs the episode's content.

    Attributes:
        number: order of arrival, to page with.
        stop_reason: value of a `StopReason`.
        reward, reward_invalid: total, or why there is none; both None if it was not scored.
        tokens: sampled tokens.
        error_code: of the failure that ended the episode, if any.
    """

    number: int
    run_id: str
    iteration: int
    phase: str
    rollout_id: str
    group: str
    member: int
    task_key: str
    env_id: str
    stop_reason: str
    won: bool
    score: float
    native_return: float
    reward: float | None
    reward_invalid: str | None
    steps: int
    tokens: int
    error_code: str | None
    digest: str


@dataclass(frozen=True, slots=True)
class StoredRollout:
    """A whole episode with where it belongs and what it was rewarded with."""

    record: RolloutRecord
    rollout: Rollout
    reward: Reward | None


@dataclass(frozen=True, slots=True)
class IterationSummary:
    """Sums over the rollouts of one iteration and phase; means are over all of them, failed ones included,
    but `mean_reward` is over the valid rewards (None if there is none).
    """

    run_id: str
    iteration: int
    phase: str
    rollouts: int
    won: int
    failed: int
    steps: int
    tokens: int
    mean_score: float
    mean_return: float
    mean_reward: float | None
    invalid_rewards: int


_COLUMNS: dict[str, ColumnElement[Any]] = {
    "number": rollouts.c.id,
    "group": rollouts.c.group_id,
    "env_id": tasks.c.env_id,
    "steps": rollouts.c.n_steps,
    "tokens": rollouts.c.n_tokens,
    "error_code": errors.c.code,
}


def _column(name: str) -> ColumnElement[Any]:
    return _COLUMNS[name] if name in _COLUMNS else rollouts.c[name]


_RECORD = [_column(f.name).label(f.name) for f in fields(RolloutRecord)]


def conditions(filters: Filters) -> list[ColumnElement[bool]]:
    """The SQL of the filters; StoreError "unknown_filter" names the nearest."""
    known = Filters.__annotations__
    for name in filters:
        if name not in known:
            raise StoreError("unknown_filter", f"cannot filter rollouts by {name!r}; {nearest(name, known)}")
    return [_column(name) == value for name, value in filters.items()]


def records(
    connection: Connection, filters: Filters, *, after: int | None, limit: int, newest_first: bool
) -> list[RolloutRecord]:
    """At most `limit` records beyond number `after`, in order of arrival or its reverse."""
    number = rollouts.c.id
    wanted = conditions(filters)
    if after is not None:
        wanted.append(number < after if newest_first else number > after)
    joined = rollouts.join(tasks).outerjoin(errors)
    order = number.desc() if newest_first else number
    query = select(*_RECORD).select_from(joined).where(*wanted).order_by(order).limit(limit)
    return [RolloutRecord(**row) for row in connection.execute(query).mappings()]


def load(connection: Connection, wanted: Sequence[RolloutRecord]) -> list[StoredRollout]:
    """The whole episodes of some records, in their order; six queries however many there are."""
    numbers = [record.number for record in wanted]
    main = {row["id"]: row for row in _rows(connection, rollouts, rollouts.c.id, numbers)}
    keys = list(dict.fromkeys(record.task_key for record in wanted))
    of_task = {row["key"]: row for row in _rows(connection, tasks, tasks.c.key, keys)}
    parts = {
        table.name: _by_rollout(_rows(connection, table, table.c.rollout, numbers))
        for table in (steps, completions, rewards, errors)
    }
    found = []
    for record in wanted:
        step_rows, completion_rows, reward_rows, error_rows = (part.get(record.number, []) for part in parts.values())
        error = error_rows[0] if error_rows else None
        rollout = decode_rollout(main[record.number], of_task[record.task_key], step_rows, completion_rows, error)
        found.append(StoredRollout(record, rollout, decode_reward(reward_rows)))
    return found


def _rows(connection: Connection, table: Table, column: ColumnElement[Any], values: Sequence[Any]) -> list[Row]:
    query = select(table).where(column.in_(values)).order_by(*table.primary_key.columns)
    return [dict(row) for row in connection.execute(query).mappings()]


def _by_rollout(rows: Sequence[Row]) -> dict[int, list[Row]]:
    grouped: dict[int, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row["rollout"], []).append(row)
    return grouped


def summarise(connection: Connection, run_id: str | None) -> list[IterationSummary]:
    """One line per run, iteration and phase; reads an index only, so 10^5 rollouts take a fraction of a second."""
    c = rollouts.c
    keys = (c.run_id, c.iteration, c.phase)

    def count(flag: ColumnElement[bool]) -> ColumnElement[int]:
        return cast(func.sum(case((flag, 1), else_=0)), Integer)

    query = select(
        *keys,
        func.count().label("rollouts"),
        count(c.won).label("won"),
        count(c.failed).label("failed"),
        func.sum(c.n_steps).label("steps"),
        func.sum(c.n_tokens).label("tokens"),
        func.avg(c.score).label("mean_score"),
        func.avg(c.native_return).label("mean_return"),
        func.avg(c.reward).label("mean_reward"),
        func.count(c.reward_invalid).label("invalid_rewards"),
    )
    query = query.group_by(*keys).order_by(*keys)
    if run_id is not None:
        query = query.where(c.run_id == run_id)
    return [IterationSummary(**row) for row in connection.execute(query).mappings()]
