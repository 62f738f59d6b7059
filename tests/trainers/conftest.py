"""Factories for rows and batches, and one tiny float64 causal language model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from palaestra.agents.types import Completion, FinishReason, Rollout, Sampling
from palaestra.envs.core.types import Action, Step, StopReason, Task, Trajectory
from palaestra.trainers.batch import TrainBatch
from palaestra.trainers.pack import pack
from palaestra.trainers.rows import Kind, Row

VOCABULARY = 23


@pytest.fixture
def make_row() -> Callable[..., Row]:
    """A row whose tokens follow from its id; `length` response tokens, any field can be given."""

    def make(row_id: int = 0, *, length: int = 3, prompt: int = 4, **fields: Any) -> Row:
        rng = np.random.default_rng(row_id)
        given: dict[str, Any] = {
            "kind": Kind.TRAJECTORY,
            "uid": "task",
            "traj_id": f"t{row_id}",
            "prompt_ids": tuple(rng.integers(1, VOCABULARY, prompt).tolist()),
            "response_ids": tuple(rng.integers(1, VOCABULARY, length).tolist()),
            "sampled_mask": (1,) * length,
            "behaviour_logprobs": tuple((-rng.uniform(0.1, 3.0, length)).tolist()),
            "traj_return": 0.0,
        }
        return Row(row_id=row_id, **{**given, **fields})

    return make


@pytest.fixture
def trajectories(make_row: Callable[..., Row]) -> Callable[..., list[Row]]:
    """Trajectory rows of one group with the given returns."""

    def make(returns: Sequence[float], uid: str = "task", first_id: int = 0, **fields: Any) -> list[Row]:
        return [
            make_row(first_id + i, uid=uid, traj_id=f"{uid}-{i}", traj_return=value, **fields)
            for i, value in enumerate(returns)
        ]

    return make


@pytest.fixture
def steps(make_row: Callable[..., Row]) -> Callable[..., list[Row]]:
    """Step rows of one group: `rewards[i][t]` of trajectory i at step t, with optional anchors of the same shape."""

    def make(
        rewards: Sequence[Sequence[float]],
        anchors: Sequence[Sequence[str]] | None = None,
        uid: str = "task",
        first_id: int = 0,
        returns: Sequence[float] | None = None,
        **fields: Any,
    ) -> list[Row]:
        rows: list[Row] = []
        for i, trajectory in enumerate(rewards):
            for t, reward in enumerate(trajectory):
                row = make_row(
                    first_id + len(rows),
                    kind=Kind.STEP,
                    uid=uid,
                    traj_id=f"{uid}-{i}",
                    step=t,
                    step_reward=reward,
                    traj_return=sum(trajectory) if returns is None else returns[i],
                    anchor_key=f"{i}:{t}" if anchors is None else anchors[i][t],
                    **fields,
                )
                rows.append(row)
        return rows

    return make


@pytest.fixture
def packed() -> Callable[..., TrainBatch]:
    """Pack rows sampled at the default law."""
    return lambda rows, **options: pack(rows, Sampling(), **options)


@pytest.fixture
def make_rollout() -> Callable[..., Rollout]:
    """A rollout of `turns` completions; turn k answers with two tokens, `continues` holds for all but the first."""

    def make(turns: int = 3, *, continues: bool = False, failure: Any = None, **fields: Any) -> Rollout:
        completions = tuple(
            Completion(
                prompt_ids=(10 + t, 11 + t),
                token_ids=(1 + t, 2 + t),
                logprobs=(-0.5, -0.25 * (t + 1)),
                finish_reason=FinishReason.STOP,
                continues=continues and t > 0,
                policy_version=5 + t,
            )
            for t in range(turns)
        )
        made = tuple(
            Step(f"view {t}", "answer", Action("up"), 1.0, t == turns - 1, False, {"anchor": f"a{t + 1}"})
            for t in range(turns)
        )
        trajectory = Trajectory(Task("env", 0), made, StopReason.TERMINATED, "end", True, 1.0, {"anchor": "a0"})
        given: dict[str, Any] = {"rollout_id": "r7", "group": "g1", "member": 0, "trajectory": trajectory}
        return Rollout(**{**given, "completions": completions, "failure": failure, **fields})

    return make


@pytest.fixture(scope="session")
def tiny_model() -> nn.Module:
    """Qwen3 with random float64 weights: 2 layers of 16."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=64,
        initializer_range=0.5,
        attn_implementation="sdpa",
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: nn.Module = Qwen3ForCausalLM(config)
    return model.double().eval()
