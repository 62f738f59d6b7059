"""The statements of a write transaction: what is already there, and multi-row inserts of what is not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, bindparam, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from palaestra.agents.store.reward_rows import encode_reward
from palaestra.agents.store.rows import EncodedRollout, Row
from palaestra.agents.store.schema import completions, errors, rewards, rollouts, runs, steps, tasks
from palaestra.mcp_servers.errors import StoreError, nearest
from palaestra.rewards.compose import Reward

_CHUNK = 5_000  # values of one IN list; every database takes this many parameters


def require_run(connection: Connection, run_id: str) -> None:
    """Raise StoreError "unknown_run" unless the run is registered."""
    if connection.execute(select(runs.c.run_id).where(runs.c.run_id == run_id)).first() is None:
        hint = nearest(run_id, connection.execute(select(runs.c.run_id)).scalars())
        raise StoreError("unknown_run", f"run {run_id!r} is not registered, call add_run first; {hint}")


def stored(
    connection: Connection, run_id: str, iteration: int, rollout_ids: Sequence[str]
) -> dict[str, tuple[int, str]]:
    """Number and digest, by id, of those of the rollouts that are there."""
    c = rollouts.c
    query = select(c.rollout_id, c.id, c.digest).where(c.run_id == run_id, c.iteration == iteration)
    found: dict[str, tuple[int, str]] = {}
    for chunk in _chunks(rollout_ids):
        for name, number, digest in connection.execute(query.where(c.rollout_id.in_(chunk))):
            found[name] = (number, digest)
    return found


def not_yet_stored(
    connection: Connection, run_id: str, iteration: int, encoded: Sequence[EncodedRollout]
) -> list[EncodedRollout]:
    """The rollouts that are new, in order, each once.

    Raises: StoreError "rollout_exists" if one has the identity of another with different content.
    """
    there = stored(connection, run_id, iteration, [e.rollout_id for e in encoded])
    digests = {name: digest for name, (_, digest) in there.items()}
    fresh = []
    for candidate in encoded:
        name, digest = candidate.rollout_id, candidate.rollout["digest"]
        if name not in digests:
            digests[name] = digest
            fresh.append(candidate)
        elif digests[name] != digest:
            fix = "ids must be unique in a run; to sample an iteration again call rewind first"
            raise StoreError("rollout_exists", f"{name!r} of {run_id!r}, iteration {iteration}, differs; {fix}")
    return fresh


def insert_rollouts(
    connection: Connection,
    run_id: str,
    iteration: int,
    phase: str,
    fresh: Sequence[EncodedRollout],
    reward_rows: Mapping[str, Sequence[Row]],
) -> None:
    """Insert new rollouts with everything that belongs to them."""
    if not fresh:
        return
    insert_absent(connection, tasks, list({e.task["key"]: e.task for e in fresh}.values()))
    place = {"run_id": run_id, "iteration": iteration, "phase": phase}
    returning = insert(rollouts).returning(rollouts.c.rollout_id, rollouts.c.id)
    none = {"value": None, "invalid": None}
    rows = []
    for e in fresh:
        whole = next(iter(reward_rows.get(e.rollout_id, ())), none)
        rows.append({**e.rollout, **place, "reward": whole["value"], "reward_invalid": whole["invalid"]})
    inserted = connection.execute(returning, rows)
    numbers: dict[str, int] = {name: number for name, number in inserted}
    for table, rows_of in ((steps, "steps"), (completions, "completions")):
        parts = [{**row, "rollout": numbers[e.rollout_id]} for e in fresh for row in getattr(e, rows_of)]
        _insert(connection, table, parts)
    failures = [{**e.error, "rollout": numbers[e.rollout_id]} for e in fresh if e.error is not None]
    _insert(connection, errors, failures)
    _insert_rewards(connection, reward_rows, numbers)  # those of repeated rollouts are already there


def encode_rewards(scored: Mapping[str, Reward], rollout_ids: Collection[str]) -> dict[str, list[Row]]:
    """Reward rows by rollout id.

    Raises: StoreError "unknown_rollout" for a reward without its rollout, "bad_reward".
    """
    for name in scored:
        if name not in rollout_ids:
            hint = nearest(name, rollout_ids)
            raise StoreError("unknown_rollout", f"a reward is given for {name!r}, which is not there; {hint}")
    return {name: encode_reward(reward, name) for name, reward in scored.items()}


def replace_rewards(
    connection: Connection, reward_rows: Mapping[str, Sequence[Row]], numbers: Mapping[str, int]
) -> None:
    """Put these rewards in the place of what is stored for their rollouts."""
    if not reward_rows:
        return
    whole = [
        {"number": numbers[name], "reward": own[0]["value"], "reward_invalid": own[0]["invalid"]}
        for name, own in reward_rows.items()
    ]
    connection.execute(delete(rewards).where(rewards.c.rollout == bindparam("number")), whole)
    connection.execute(update(rollouts).where(rollouts.c.id == bindparam("number")), whole)
    _insert_rewards(connection, reward_rows, numbers)


def _insert_rewards(
    connection: Connection, reward_rows: Mapping[str, Sequence[Row]], numbers: Mapping[str, int]
) -> None:
    rows = [{**row, "rollout": numbers[name]} for name, own in reward_rows.items() if name in numbers for row in own]
    _insert(connection, rewards, rows)


def insert_absent(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows whose primary key is not there yet."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(dialect.insert(table).on_conflict_do_nothing(), list(rows))


def _insert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    if rows:
        connection.execute(insert(table), list(rows))


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]
