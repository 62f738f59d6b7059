"""Indices for looking at a run: a summary that never reads an episode, and look-ups by id, group, task and error."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create them; takes time in proportion to the number of rollouts."""
    summary = ["run_id", "iteration", "phase", "won", "failed", "score", "native_return", "reward", "reward_invalid"]
    summary += ["n_steps", "n_tokens"]
    op.create_index("ix_rollouts_summary", "rollouts", summary)
    op.create_index("ix_rollouts_rollout_id", "rollouts", ["rollout_id"])
    op.create_index("ix_rollouts_group", "rollouts", ["run_id", "group_id"])
    op.create_index("ix_rollouts_task", "rollouts", ["task_key"])
    op.create_index("ix_errors_code", "errors", ["code"])
