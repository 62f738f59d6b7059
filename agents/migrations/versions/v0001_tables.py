"""The tables: runs, tasks, rollouts, steps, completions, rewards, errors."""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
)

revision = "0001"
down_revision = None

_ROW_ID = BigInteger().with_variant(Integer, "sqlite")


def _part_of_rollout() -> Column[int]:
    return Column("rollout", _ROW_ID, ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True)


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "runs",
        Column("run_id", String, primary_key=True),
        Column("created_at", String, nullable=False, comment="ISO 8601, UTC"),
        Column("config", Text, nullable=False, comment="JSON"),
    )
    op.create_table(
        "tasks",
        Column("key", String, primary_key=True, comment="Task.key"),
        Column("env_id", String, nullable=False),
        Column("data", Text, nullable=False, comment="JSON of Task.to_dict()"),
    )
    _create_rollouts()
    _create_parts()


def _create_rollouts() -> None:
    op.create_table(
        "rollouts",
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


def _create_parts() -> None:
    op.create_table(
        "steps",
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
    op.create_table(
        "completions",
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
    op.create_table(
        "rewards",
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
    op.create_table(
        "errors",
        _part_of_rollout(),
        Column("stage", String, nullable=False),
        Column("type", String, nullable=False),
        Column("code", String, nullable=False),
        Column("message", Text, nullable=False),
    )
