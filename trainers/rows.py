"""Rows: the unit of training data, one (prompt, response) pair with its reward and where it came from.

A whole append-only episode (`trajectory_rows`), one environment step (`step_rows`) and one retrospection sample are
all rows. Tokens are copied from the rollout exactly as sampled; nothing is tokenised again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from palaestra.agents.types import Completion, FinishReason, Rollout, Sampling
from palaestra.envs.core.types import StopReason
from palaestra.mcp_servers.errors import TrainingError

_NO_EXTRAS: Mapping[str, Any] = MappingProxyType({})


class Kind(StrEnum):
    """What a row is made of; the position in this list is its number in a batch."""

    TRAJECTORY = "trajectory"
    STEP = "step"
    REFLECT = "reflect"


class Behaviour(StrEnum):
    """How the tokens were drawn: from the model's own law, from an altered law, or as PIPO pairs."""

    EXACT = "exact"
    LOSSY = "lossy"
    PIPO = "pipo"


@dataclass(frozen=True, slots=True)
class Row:
    """One (prompt, response) pair of the policy.

    Attributes:
        row_id: unique in the batch; breaks ties in top-k selections.
        uid: the task instance, that is the group of rollouts the row belongs to.
        traj_id: the trajectory; a reflection row has one of its own.
        prompt_ids: everything the model conditioned on before the response.
        response_ids: sampled tokens and, in a multi-turn trajectory, the tokens of observations between them.
        sampled_mask: 1 exactly where the model generated the token; same length as `response_ids`.
        behaviour_logprobs: nats, under the law the token was drawn from; 0 where `sampled_mask` is 0.
        traj_return: outcome of the whole trajectory, equal on all its rows and counted once.
        step: 0-based environment step (for a trajectory row, the turn it starts at).
        step_reward: reward of this step alone; 0 for trajectory and reflection rows.
        anchor_key: identity of the observation before the step, without history.
        valid: False if the reward could not be computed: no advantage, no loss, part of no statistic.
        terminated: the episode ended by the environment's rules in this row.
        truncated: the response was cut by a token or context limit (an environment's step limit does not count).
        turns: (model tokens, reward) of every turn of a trajectory row, in order; empty for other kinds.
        extras: free metadata; `row_penalty` (>= 0) is subtracted from the row's own score by GiGPO.
    """

    row_id: int
    kind: Kind
    uid: str
    traj_id: str
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    sampled_mask: tuple[int, ...]
    behaviour_logprobs: tuple[float, ...]
    traj_return: float
    step: int = 0
    step_reward: float = 0.0
    anchor_key: str | None = None
    valid: bool = True
    terminated: bool = False
    truncated: bool = False
    sampling: Sampling = field(default_factory=Sampling)
    policy_version: int = 0
    behaviour: Behaviour = Behaviour.EXACT
    turns: tuple[tuple[int, float], ...] = ()
    extras: Mapping[str, Any] = field(default_factory=lambda: _NO_EXTRAS)

    @property
    def scored_turns(self) -> tuple[tuple[int, float], ...]:
        """(model tokens, reward) of every turn in the row that has a reward of its own: a step row is one turn."""
        return ((sum(self.sampled_mask), self.step_reward),) if self.kind is Kind.STEP else self.turns

    @property
    def group_key(self) -> str:
        """The group whose returns this row's trajectory is compared with; reflections form their own."""
        return f"{self.uid}:reflect" if self.kind is Kind.REFLECT else self.uid


def step_rows(
    rollout: Rollout,
    rewards: Sequence[float] | None,
    *,
    episode_return: float | None = None,
    first_id: int = 0,
    penalties: Sequence[float] | None = None,
) -> list[Row]:
    """One row per model turn: the context the model saw, its answer and that step's reward.

    Args:
        rollout: one finished episode with its completions.
        rewards: one per completion (environment plus shaping); None marks every row invalid, as does a failed rollout.
        episode_return: outcome of the episode; None = sum of `rewards`.
        first_id: id of the first row; the following rows count up.
        penalties: one per completion, >= 0, kept as `extras["row_penalty"]`.
    Raises: TrainingError "reward_length" if a sequence does not have one entry per completion; "non_finite_reward".
    Cost: linear in the tokens of the rows; with continuing completions a row repeats all earlier tokens, so an
        episode of S turns costs S times its length.
    """
    completions = rollout.completions
    shared = _shared(rollout, rewards, episode_return)
    step_rewards: Sequence[float] = rewards if rewards is not None else (0.0,) * len(completions)
    if penalties is not None:
        _check_rewards(rollout, penalties, "penalties")
    steps, anchor = rollout.trajectory.steps, rollout.trajectory.start.get("anchor")
    stream: tuple[int, ...] = ()
    rows = []
    for turn, done in enumerate(completions):
        prompt = stream + done.prompt_ids if done.continues else done.prompt_ids
        stream = prompt + done.token_ids
        step = steps[turn] if turn < len(steps) else None
        rows.append(
            Row(
                row_id=first_id + turn,
                kind=Kind.STEP,
                prompt_ids=prompt,
                response_ids=done.token_ids,
                sampled_mask=(1,) * len(done.token_ids),
                behaviour_logprobs=done.logprobs,
                step=turn,
                step_reward=float(step_rewards[turn]),
                anchor_key=None if anchor is None else str(anchor),
                terminated=step is not None and step.terminated,
                truncated=done.finish_reason is FinishReason.LENGTH,
                sampling=done.sampling,
                policy_version=done.policy_version,
                extras=_NO_EXTRAS if penalties is None else {"row_penalty": float(penalties[turn])},
                **shared,
            )
        )
        anchor = None if step is None else step.info.get("anchor")
    return rows


def trajectory_rows(
    rollout: Rollout, rewards: Sequence[float] | None, *, episode_return: float | None = None, first_id: int = 0
) -> list[Row]:
    """The episode as one append-only token string, observations masked out; a fresh context starts another row.

    Args and errors as `step_rows`; additionally TrainingError "mixed_sampling" if the turns of one string were
    sampled at different settings. Cost: linear in the tokens of the episode.
    """
    shared = _shared(rollout, rewards, episode_return)
    starts = [i for i, done in enumerate(rollout.completions) if i == 0 or not done.continues]
    bounds = [*starts, len(rollout.completions)]
    return [
        _stream_row(rollout, first, bounds[number + 1], first_id + number, rewards, shared)
        for number, first in enumerate(starts)
    ]


def _stream_row(
    rollout: Rollout, first: int, end: int, row_id: int, rewards: Sequence[float] | None, shared: dict[str, Any]
) -> Row:
    turns: Sequence[Completion] = rollout.completions[first:end]
    response: list[int] = []
    mask: list[int] = []
    logprobs: list[float] = []
    for turn in turns:
        between = () if turn is turns[0] else turn.prompt_ids
        response += [*between, *turn.token_ids]
        mask += [0] * len(between) + [1] * len(turn.token_ids)
        logprobs += [0.0] * len(between) + list(turn.logprobs)
    if len({law_of(turn.sampling) for turn in turns}) > 1:
        raise TrainingError("mixed_sampling", f"rollout {rollout.rollout_id!r}: turns sampled at different settings")
    last_row = end == len(rollout.completions)
    trajectory = rollout.trajectory
    return Row(
        row_id=row_id,
        kind=Kind.TRAJECTORY,
        prompt_ids=turns[0].prompt_ids,
        response_ids=tuple(response),
        sampled_mask=tuple(mask),
        behaviour_logprobs=tuple(logprobs),
        step=first,
        terminated=last_row and trajectory.stop_reason is StopReason.TERMINATED,
        truncated=turns[-1].finish_reason is FinishReason.LENGTH
        or (last_row and trajectory.stop_reason is StopReason.CONTEXT_LIMIT),
        sampling=turns[0].sampling,
        policy_version=min(turn.policy_version for turn in turns),
        turns=()
        if rewards is None
        else tuple(zip((len(turn.token_ids) for turn in turns), map(float, rewards[first:end]), strict=True)),
        **shared,
    )


def law_of(sampling: Sampling) -> tuple[float, float, int]:
    """What must agree between sampler and trainer: (temperature, top_p, top_k)."""
    return (sampling.temperature, sampling.top_p, sampling.top_k)


def _shared(rollout: Rollout, rewards: Sequence[float] | None, episode_return: float | None) -> dict[str, Any]:
    """The fields every row of a rollout has in common, checked once."""
    if rewards is not None:
        _check_rewards(rollout, rewards, "rewards")
    total = math.fsum(rewards or ()) if episode_return is None else float(episode_return)
    if not math.isfinite(total):
        raise TrainingError("non_finite_reward", f"rollout {rollout.rollout_id!r}: episode_return is {total}")
    return {
        "uid": rollout.group,
        "traj_id": rollout.rollout_id,
        "traj_return": total,
        "valid": rewards is not None and rollout.failure is None,
        "behaviour": Behaviour(rollout.extras.get("behaviour", Behaviour.EXACT)),
    }


def _check_rewards(rollout: Rollout, values: Sequence[float], name: str) -> None:
    if len(values) != len(rollout.completions):
        raise TrainingError(
            "reward_length",
            f"rollout {rollout.rollout_id!r}: {len(values)} {name} for {len(rollout.completions)} completions; "
            "give one per completion, or None if the rewards are invalid",
        )
    if not all(map(math.isfinite, values)):
        raise TrainingError("non_finite_reward", f"rollout {rollout.rollout_id!r}: {name} {list(values)}")
