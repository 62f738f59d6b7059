"""The RL loop's one iteration: roll out, score, turn into rows, update, hand the new weights to the engine.

    tasks -> groups -> rewards -> rows -> filter -> batch -> advantages -> mini-batches -> weights

Everything random is a pure function of (seed, iteration), so a run continues bit for bit from weights, optimiser and
iteration number alone. Cost of an iteration: tasks x generations x turns model calls, batched `max_live` at a time,
then `mini_batches` optimiser steps over one row per turn (or per trajectory).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from palaestra.agents.policies.model import ModelPolicy
from palaestra.agents.rollout import Deadlines, collect
from palaestra.agents.types import Rollout, RolloutGroup, Sampling
from palaestra.envs.core.seeding import derive_seed, stream
from palaestra.envs.core.types import ActionStatus, Task
from palaestra.mcp_servers.errors import TrainingError
from palaestra.rewards.compose import Invalid, Reward
from palaestra.trainers.batch import TrainBatch
from palaestra.trainers.config import TrainConfig
from palaestra.trainers.forward import token_scores
from palaestra.trainers.objectives.objective import Objective
from palaestra.trainers.objectives.shaping import filter_groups, shape_rewards
from palaestra.trainers.old_pass import behaviour_as_old, old_pass, reference_pass
from palaestra.trainers.pack import pack
from palaestra.trainers.rows import Row, step_rows, trajectory_rows
from palaestra.trainers.schedule import learning_rate, make_optimizer, set_learning_rate


@dataclass(frozen=True, slots=True)
class Iteration:
    """What one iteration did: its rollouts, their rewards by rollout id, and JSON-ready metrics."""

    groups: Sequence[RolloutGroup]
    rewards: Mapping[str, Reward]
    metrics: dict[str, Any]


class Trainer:
    """Owns the model, its optimiser, the objective and the weight average; `policy` samples from the same weights."""

    def __init__(
        self, model: nn.Module, policy: ModelPolicy, config: TrainConfig, reference: nn.Module | None = None
    ) -> None:
        self.model = model
        self.policy = policy
        self.config = config
        self.objective = Objective(config.objective)
        self.optimizer = make_optimizer(model, config.rl.optimizer)
        self.average = copied(model.state_dict())
        self._reference = reference
        self._reward = config.reward.build()
        if self.objective.needs_reference and reference is None:
            raise TrainingError("no_reference", "objective.beta > 0 needs a frozen reference model")

    def iterate(self, number: int) -> Iteration:
        """Do iteration `number` (0-based).

        Raises: TrainingError "non_finite", "invalid_rewards", "no_completions"; a bad rollout is data, not an error.
        """
        started = time.perf_counter()
        groups = self._collect(number)
        rewards = {r.rollout_id: self._reward(r.trajectory) for group in groups for r in group.rollouts}
        rolled = time.perf_counter()
        check_rollouts(groups, rewards, self.config.objective.max_invalid_fraction)
        rows = shape_rewards(self._rows(groups, rewards), self.config.objective)
        rows, counts = filter_groups(rows, self.config.objective)
        metrics: dict[str, Any] = {
            **describe_rollouts(groups, rewards),
            "groups": counts.groups,
            "groups_invalid": counts.groups_invalid,
            "groups_zero_signal": counts.groups_zero_signal,
            "rows": len(rows),
        }
        if rows:
            batch = self._prepare(rows, metrics)
            scored = time.perf_counter()
            metrics |= self._update(batch, number)
        else:
            scored = time.perf_counter()
        self._publish()
        done = time.perf_counter()
        metrics["seconds"] = {"rollout": rolled - started, "old_pass": scored - rolled, "update": done - scored}
        return Iteration(groups, rewards, metrics)

    def _collect(self, number: int) -> list[RolloutGroup]:
        rl = self.config.rl
        self.policy.sampling = Sampling(
            temperature=rl.temperature,
            max_new_tokens=self.config.protocol.response_tokens,
            seed=derive_seed(self.config.seed, "sampling", number) >> 1,
        )
        return collect(
            rl_tasks(self.config, number),
            self.policy,
            group_size=self.config.objective.num_generations,
            protocol=self.config.protocol,
            max_live=rl.max_live,
            deadlines=Deadlines(episode_s=rl.episode_deadline_s),
            prefix=f"rl{number}-",
            stop_at_dead_end=rl.stop_at_dead_end,
        )

    def _rows(self, groups: Sequence[RolloutGroup], rewards: Mapping[str, Reward]) -> list[Row]:
        make = step_rows if self.config.rl.rows == "step" else trajectory_rows
        rows: list[Row] = []
        for rollout in (r for group in groups for r in group.rollouts if r.completions):
            reward = rewards[rollout.rollout_id]
            steps = None if isinstance(reward, Invalid) else reward.steps_S[: len(rollout.completions)]
            rows += make(rollout, _per_completion(rollout, steps), first_id=len(rows))
        return rows

    def _prepare(self, rows: Sequence[Row], metrics: dict[str, Any]) -> TrainBatch:
        rl = self.config.rl
        sampling = Sampling(temperature=rl.temperature)
        batch = pack(rows, sampling, corrected=self.config.objective.rollout_correction is not None)
        if rl.old_logprobs == "recompute" or self.objective.needs_entropy:
            batch = old_pass(self.model, batch, rl.temperature, micro_rows=rl.micro_rows)
        else:
            batch = behaviour_as_old(batch)
        if self._reference is not None and self.objective.needs_reference:
            batch = reference_pass(self._reference, batch, rl.temperature, micro_rows=rl.micro_rows)
        batch, prepared = self.objective.prepare(batch)
        metrics["tokens"] = int(batch.mask_BT.sum())
        metrics |= {name.replace("/", "_"): value for name, value in prepared.items()}
        return batch

    def _update(self, batch: TrainBatch, number: int) -> dict[str, float]:
        rl, settings = self.config.rl, self.config.rl.optimizer
        minis = batch.mini_batches(min(rl.mini_batches, len(batch)), stream(self.config.seed, "mini_batches", number))
        sums: dict[str, float] = {}
        for index, mini in enumerate(minis):
            rate = learning_rate(settings, (number + index / len(minis)) / max(rl.iterations, 1))
            set_learning_rate(self.optimizer, rate)
            self.optimizer.zero_grad(set_to_none=True)
            denominators = mini.denominators(self.config.objective.horizon or 1)
            for micro in mini.micro_batches(rl.micro_rows):
                scores = token_scores(self.model, micro, rl.temperature, entropy_grad=self.objective.needs_entropy_grad)
                output = self.objective.loss(scores.logprobs_BT, scores.entropy_BT, micro, denominators)
                torch.autograd.backward([output.loss])
                _add(sums, {"loss": float(output.loss.detach()), **output.metrics})
            norm = nn.utils.clip_grad_norm_(self.model.parameters(), settings.max_grad_norm)
            if not bool(norm.isfinite()):
                raise TrainingError("non_finite", f"iteration {number}: gradient norm {float(norm)}; lower the rate")
            self.optimizer.step()
            _add(sums, {"grad_norm": float(norm)})
        means = {name.replace("/", "_"): value / len(minis) for name, value in sums.items()}
        return {**means, "kl_old": means.get("approx_kl", 0.0), "lr": rate}

    def _publish(self) -> None:
        """Fold the new weights into the average and give them to the engine."""
        decay = self.config.rl.weight_average
        done: list[Tensor] = []
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                mean = self.average[name]
                if any(mean is other for other in done):
                    continue  # tied weights stand under two names and move once
                done.append(mean)
                if value.is_floating_point():
                    mean.lerp_(value, 1.0 - decay)
                else:
                    mean.copy_(value)
        self.policy.engine.update_weights(self.model)

    def averaged_model(self) -> dict[str, Tensor]:
        """The weights to evaluate and keep: the average (a live view), or the raw ones where averaging is off."""
        return self.average


def _add(sums: dict[str, float], more: Mapping[str, float]) -> None:
    for name, value in more.items():
        sums[name] = sums.get(name, 0.0) + value


def copied(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A copy of a state dict in which tied weights stay one tensor."""
    copies: dict[int, Tensor] = {}
    return {name: copies.setdefault(value.data_ptr(), value.clone()) for name, value in weights.items()}


def rl_tasks(config: TrainConfig, number: int) -> list[Task]:
    """The tasks of one iteration, a pure function of (seed, number)."""
    return [
        Task(
            config.env.id,
            derive_seed(config.seed, "rl", number, index) >> 33,
            env_kwargs=config.env.kwargs,
            reset_options={"split": "train"},
        )
        for index in range(config.rl.tasks_per_step)
    ]


def check_rollouts(groups: Sequence[RolloutGroup], rewards: Mapping[str, Reward], max_invalid_fraction: float) -> None:
    """Refuse to learn from what is left when too much went wrong.

    Raises: TrainingError "invalid_rewards" if more than the given share of rollouts has no valid reward, episodes that
        failed before the first turn among them; "no_completions" if no model was asked at all.
    """
    rollouts = [r for group in groups for r in group.rollouts]
    found = [(rewards[r.rollout_id], r.failure) for r in rollouts]
    invalid = [(reward, failure) for reward, failure in found if isinstance(reward, Invalid)]
    share = len(invalid) / len(rollouts)
    if share > max_invalid_fraction:
        reward, failure = invalid[0]
        cause = f"{failure.stage}: {failure.message}" if failure else f"{reward.reason}: {reward.detail}"
        raise TrainingError(
            "invalid_rewards",
            f"{share:.0%} of {len(rollouts)} rollouts have no valid reward (limit {max_invalid_fraction:.0%}), "
            f"first: {cause}; repair that or raise objective.max_invalid_fraction",
        )
    if not any(r.completions for r in rollouts):
        raise TrainingError(
            "no_completions", "the first prompt of every episode leaves no room to answer; raise engine.max_len"
        )


def describe_rollouts(groups: Sequence[RolloutGroup], rewards: Mapping[str, Reward]) -> dict[str, Any]:
    """What the rollouts of an iteration were like: success, returns, lengths, stop reasons, malformed answers."""
    rollouts = [r for group in groups for r in group.rollouts]
    valid = [reward.total for reward in rewards.values() if not isinstance(reward, Invalid)]
    steps = [step for r in rollouts for step in r.trajectory.steps]
    entropies = [value for r in rollouts for c in r.completions for value in c.entropies]
    read = (ActionStatus.OK, ActionStatus.INADMISSIBLE)
    return {
        "success": float(np.mean([r.trajectory.won for r in rollouts])),
        "reward_mean": float(np.mean(valid)) if valid else 0.0,
        "rewards_invalid": len(rewards) - len(valid),
        "return_mean": float(np.mean([r.trajectory.native_return for r in rollouts])),
        "length_mean": float(np.mean([len(r.trajectory.steps) for r in rollouts])),
        "malformed": sum(step.action.status not in read for step in steps) / max(len(steps), 1),
        "rollout_entropy": float(np.mean(entropies)) if entropies else 0.0,
        "stop_reasons": dict(sorted(Counter(str(r.trajectory.stop_reason) for r in rollouts).items())),
    }


def _per_completion(rollout: Rollout, steps: Sequence[float] | None) -> list[float] | None:
    """Step rewards by completion; a completion whose step never happened (the environment failed) gets 0."""
    if steps is None:
        return None
    return [*steps, *(0.0 for _ in range(len(rollout.completions) - len(steps)))]
