"""Warm-up: behaviour cloning on expert episodes, so that RL starts from a policy that knows the format and some moves.

    loss = - mean over the expert's tokens of log pi(token | context)

The data are ordinary rows (`rows.py`) made from the expert's rollouts, so whatever an environment and a protocol can
express can be cloned. Order is a pure function of (seed, epoch): a resume needs only the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import AdamW

from palaestra.agents.chat import Chat
from palaestra.agents.policies.expert import ExpertPolicy
from palaestra.agents.policies.tokenised import TokenisedPolicy
from palaestra.agents.rollout import iter_groups
from palaestra.agents.types import RolloutGroup, Sampling
from palaestra.envs.core.seeding import derive_seed, stream
from palaestra.envs.core.types import Task
from palaestra.mcp_servers.errors import TrainingError
from palaestra.trainers.batch import TrainBatch
from palaestra.trainers.config import TrainConfig
from palaestra.trainers.forward import token_scores
from palaestra.trainers.pack import pack
from palaestra.trainers.rows import Row, step_rows, trajectory_rows
from palaestra.trainers.schedule import learning_rate, make_optimizer, set_learning_rate


def warmup_tasks(config: TrainConfig) -> list[Task]:
    """The training tasks the expert plays; a pure function of the seed."""
    return [
        Task(
            config.env.id,
            derive_seed(config.seed, "warmup", number) >> 33,
            env_kwargs=config.env.kwargs,
            reset_options={"split": "train"},
        )
        for number in range(config.warmup.tasks)
    ]


def expert_groups(config: TrainConfig, chat: Chat) -> list[RolloutGroup]:
    """The expert's episodes, written down in the policy's tokens.

    Raises: TrainingError "warmup" if an episode failed, quoting the first failure.
    """
    expert = TokenisedPolicy(
        ExpertPolicy(config.seed, config.protocol, haste=config.warmup.haste, random_ties=True), chat
    )
    groups = list(iter_groups(warmup_tasks(config), expert, protocol=config.protocol, prefix="warmup-"))
    failures = [r.failure for group in groups for r in group.rollouts if r.failure is not None]
    if failures:
        raise TrainingError("warmup", f"{len(failures)} of {len(groups)} expert episodes failed, first: {failures[0]}")
    return groups


def warmup_rows(groups: Sequence[RolloutGroup], config: TrainConfig) -> list[Row]:
    """Rows of won expert episodes, of all if the expert is hasty, in the shape RL will use.

    Raises: TrainingError "warmup" if there are none.
    """
    make = step_rows if config.rl.rows == "step" else trajectory_rows
    rows: list[Row] = []
    for group in groups:
        for rollout in group.rollouts:
            if rollout.trajectory.won or config.warmup.haste:
                rows += make(rollout, [0.0] * len(rollout.completions), first_id=len(rows))
    if not rows:
        raise TrainingError("warmup", "the expert won no episode; check env.kwargs")
    return rows


@dataclass(frozen=True, slots=True)
class CloneStep:
    """What one update saw: mean negative log-likelihood (nats per token), gradient norm, learning rate."""

    loss: float
    grad_norm: float
    lr: float


class Cloner:
    """Behaviour cloning of a model on packed rows, one optimiser step at a time."""

    def __init__(self, model: nn.Module, rows: Sequence[Row], config: TrainConfig) -> None:
        self.model = model
        self.optimizer: AdamW = make_optimizer(model, config.warmup.optimizer)
        self._settings = config.warmup
        self._micro_rows = config.rl.micro_rows
        self._seed = config.seed
        self._batch: TrainBatch = pack(rows, Sampling())
        self.per_epoch = max(1, len(rows) // config.warmup.batch_rows)
        self.total = self.per_epoch * config.warmup.num_train_epochs

    def step(self, number: int) -> CloneStep:
        """Do update `number` (0-based) of `total`. Raises: TrainingError "non_finite"."""
        epoch, index = divmod(number, self.per_epoch)
        order = stream(self._seed, "warmup", epoch).permutation(len(self._batch))
        rows = self._settings.batch_rows
        mini = self._batch.select(torch.from_numpy(order[index * rows : (index + 1) * rows]))
        rate = learning_rate(self._settings.optimizer, number / self.total)
        set_learning_rate(self.optimizer, rate)
        self.optimizer.zero_grad(set_to_none=True)
        tokens = int(mini.mask_BT.sum())
        total = 0.0
        for micro in mini.micro_batches(self._micro_rows):
            scores = token_scores(self.model, micro, 1.0)
            loss = -(scores.logprobs_BT * micro.mask_BT).sum() / tokens
            torch.autograd.backward([loss])
            total += float(loss.detach())
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self._settings.optimizer.max_grad_norm)
        if not bool(norm.isfinite()):
            raise TrainingError("non_finite", f"warm-up update {number}: gradient norm {float(norm)}; lower the rate")
        self.optimizer.step()
        return CloneStep(total, float(norm), rate)
