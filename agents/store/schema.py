"""The tables of the trajectory store, in the order data arrives: runs, tasks, rollouts, then what a rollout is made of.

`agents/migrations` builds them; a test holds the two equal. Episode parts hang off `rollouts.id`, a number the
database gives in order of arrival, so that a step row does not repeat three long keys; the identity of an episode is
the unique (run_id, iteration, rollout_id).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

SCHEMA_VERSION = "0002"
"""The newest revision in `agents/migrations/versions`."""

metadata = MetaData()
_ROW_ID = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only for INTEGER


def _part_of_rollout() -> Column[int]:
    return Column("rollout", _ROW_ID, ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True)


runs = Table(
    "runs",
    metadata,
    Column("run_id", String, primary_key=True),
    Column("created_at", String, nullable=False, comment="ISO 8601, UTC"),
    Column("config", Text, nullable=False, comment="JSON"),
)

tasks = Table(
    "tasks",
    metadata,
    Column("key", String, primary_key=True, comment="Task.key"),
    Column("env_id", String, nullable=False),
    Column("data", Text, nullable=False, comment="JSON of Task.to_dict()"),
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    Column("run_id", String, ForeignKey("runs.run_id"), nullable=False),
    Column("iteration", BigInteger, nullable=False),
    Column("rollout_id", String, nullable=False),
    Column("phase", String, nullable=False, comment="train, eval, ..."),
    Column("group_id", String, nullable=False),
    Column("member", Integer, nullable=False),
    Column("task_key", String, ForeignKey("tasks.key"), nullable=False),
    Column("stop_reason", String, nullable=False),
    Column("won", Boolean, nullable=False),
    Column("failed", Boolean, nullable=False, comment="has a row in errors"),
    Column("score", Double, nullable=False),
    Column("native_return", Double, nullable=False),
    Column("reward", Double, comment="total, NULL if invalid or not scored"),
    Column("reward_invalid", String, comment="reason, NULL if valid or not scored"),
    Column("n_steps", Integer, nullable=False),
    Column("n_tokens", Integer, nullable=False, comment="sampled tokens"),
    Column("final_observation", Text, nullable=False),
    Column("start", Text, nullable=False, comment="JSON"),
    Column("extras", Text, nullable=False, comment="JSON"),
    Column("digest", String, nullable=False, comment="content hash of the whole episode"),
    UniqueConstraint("run_id", "iteration", "rollout_id", name="uq_rollouts_identity"),
)

# Holds every column `Store.summary` reads, so that a summary never touches the episodes themselves.
Index(
    "ix_rollouts_summary",
    rollouts.c.run_id,
    rollouts.c.iteration,
    rollouts.c.phase,
    rollouts.c.won,
    rollouts.c.failed,
    rollouts.c.score,
    rollouts.c.native_return,
    rollouts.c.reward,
    rollouts.c.reward_invalid,
    rollouts.c.n_steps,
    rollouts.c.n_tokens,
)
Index("ix_rollouts_rollout_id", rollouts.c.rollout_id)
Index("ix_rollouts_group", rollouts.c.run_id, rollouts.c.group_id)
Index("ix_rollouts_task", rollouts.c.task_key)

steps = Table(
    "steps",
    metadata,
    _part_of_rollout(),
    Column("step", Integer, primary_key=True),
    Column("observation", Text, nullable=False),
    Column("response", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("action_status", String, nullable=False),
    Column("action_parts", Text, nullable=False, comment="JSON: think, calls, failure"),
    Column("reward", Double, nullable=False),
    Column("terminated", Boolean, nullable=False),
    Column("truncated", Boolean, nullable=False),
    Column("info", Text, nullable=False, comment="JSON"),
)

completions = Table(
    "completions",
    metadata,
    _part_of_rollout(),
    Column("turn", Integer, primary_key=True),
    Column("prompt_ids", LargeBinary, nullable=False, comment="int32, little-endian"),
    Column("token_ids", LargeBinary, nullable=False, comment="int32, little-endian"),
    Column("logprobs", LargeBinary, nullable=False, comment="float32, or float64 where float32 is not exact"),
    Column("entropies", LargeBinary, nullable=False, comment="as logprobs; empty if not measured"),
    Column("finish_reason", String, nullable=False),
    Column("continues", Boolean, nullable=False),
    Column("policy_version", BigInteger, nullable=False),
    Column("sampling", Text, nullable=False, comment="JSON"),
    Column("proposed", LargeBinary, nullable=False, comment="int32, little-endian"),
    Column("accepted", LargeBinary, nullable=False, comment="int32, little-endian"),
)

rewards = Table(
    "rewards",
    metadata,
    _part_of_rollout(),
    Column("position", Integer, primary_key=True, comment="0, 1, ...: components; -1: their sum"),
    Column("name", String, nullable=False),
    Column("weight", Double, comment="NULL for the sum"),
    Column("value", Double, comment="sum over the steps; NULL if invalid or not finite"),
    Column("raw_S", LargeBinary, nullable=False, comment="float64 per step; empty for the sum"),
    Column("value_S", LargeBinary, nullable=False, comment="float64 per step; empty if invalid"),
    Column("invalid", String, comment="reason, NULL if valid"),
    Column("evidence", Text, nullable=False),
)

errors = Table(
    "errors",
    metadata,
    _part_of_rollout(),
    Column("stage", String, nullable=False),
    Column("type", String, nullable=False),
    Column("code", String, nullable=False, index=True),
    Column("message", Text, nullable=False),
)
