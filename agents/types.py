"""The nouns of the agent layer: Sampling, Completion, Rollout, RolloutGroup.

Tokens are stored once, exactly as sampled, with their log-probabilities; nothing is ever re-tokenised on the way to
the loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from palaestra.envs.core.types import Task, Trajectory


@dataclass(frozen=True, slots=True)
class Sampling:
    """The law tokens are drawn from: softmax(logits / temperature), then top-k, then top-p; temperature 0 is greedy.

    Training rows need top_p = 1 and top_k = 0 unless mismatch correction is on.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_new_tokens: int = 64
    seed: int = 0


class FinishReason(StrEnum):
    """Why a completion ended."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True, slots=True)
class Completion:
    """One model turn, token-in/token-out.

    Attributes:
        prompt_ids: tokens the model had not seen before this turn. If `continues`, the model conditioned on the
            whole stream of the episode's earlier completions (prompt and sampled tokens) followed by these;
            otherwise on these alone.
        token_ids: sampled tokens, the stop token included.
        logprobs: nats, of each sampled token under the law it was drawn from; same length as token_ids.
        entropies: nats, of that law at each sampled position; empty if not measured.
        policy_version: version of the weights.
        proposed, accepted: draft tokens proposed and accepted per draft depth; empty without drafting.
    """

    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: FinishReason
    continues: bool = False
    entropies: tuple[float, ...] = ()
    policy_version: int = 0
    sampling: Sampling = field(default_factory=Sampling)
    proposed: tuple[int, ...] = ()
    accepted: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RolloutFailure:
    """An error that ended an episode, as data: where it happened and what it was."""

    stage: str
    type: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """One episode of one policy: what happened, and the tokens it was made of.

    `completions` has one entry per model turn, in step order; empty for scripted policies. `group` and `member`
    say which rollout of which group it is; `rollout_id` is unique in a run and repeats when the run is repeated.
    """

    rollout_id: str
    group: str
    member: int
    trajectory: Trajectory
    completions: tuple[Completion, ...] = ()
    failure: RolloutFailure | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RolloutGroup:
    """The rollouts of one task; members that failed travel along with their failure."""

    group_id: str
    task: Task
    rollouts: Sequence[Rollout]

    @property
    def valid(self) -> tuple[Rollout, ...]:
        """Members that ended without an error."""
        return tuple(r for r in self.rollouts if r.failure is None)
