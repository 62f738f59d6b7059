"""Advantage estimators over distinct trajectories: how much better an episode went than its comparison.

Every estimator takes (batch, config) and returns advantages_BT, float32 [B, T], 0 outside the mask. A trajectory's
return counts once, however many rows it has; invalid trajectories are part of no mean and no deviation and get 0.
Groups are (kind, uid), so steps, whole trajectories and reflections never mix. R = return, mean and std (unbiased)
over the group. All cost time linear in rows (reinforce_plus_plus: in tokens).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from palaestra.mcp_servers.errors import TrainingError
from palaestra.trainers.batch import KINDS, TrainBatch
from palaestra.trainers.objectives.config import ObjectiveConfig
from palaestra.trainers.objectives.registry import advantages, kls

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Trajectories:
    """The N distinct (group, trajectory) pairs of a batch; `of_row_B` says which one each row belongs to."""

    of_row_B: Ints
    returns_N: Floats
    group_N: Ints
    valid_N: Bools

    @classmethod
    def of(cls, batch: TrainBatch, config: ObjectiveConfig) -> Trajectories:
        """Find them; returns have the KL penalty of all their tokens taken off if `use_kl_in_reward`."""
        key_B = batch.group_B.numpy() * len(batch.names) + batch.traj_B.numpy()
        _, first_N, of_row_B = np.unique(key_B, return_index=True, return_inverse=True)
        returns_N = batch.traj_return_B.numpy()[first_N]
        if (penalty_BT := kl_penalty(batch, config)) is not None:
            returns_N = returns_N - np.bincount(of_row_B, penalty_BT.sum(1).numpy(), len(first_N))
        return cls(of_row_B, returns_N, batch.group_B.numpy()[first_N], batch.valid_B.numpy()[first_N])


def moments(values_N: Floats, group_N: Ints, valid_N: Bools) -> tuple[Floats, Floats, Ints]:
    """Mean, unbiased std (0 for one member) and count of the valid members of each item's group."""
    _, inverse_N = np.unique(group_N, return_inverse=True)
    size = int(inverse_N.max(initial=-1)) + 1
    weight_N = valid_N.astype(np.float64)
    count = np.bincount(inverse_N, weight_N, size)
    mean_N = (np.bincount(inverse_N, weight_N * values_N, size) / np.maximum(count, 1))[inverse_N]
    squares = np.bincount(inverse_N, weight_N * np.square(values_N - mean_N), size)
    std = np.sqrt(squares / np.maximum(count - 1, 1))
    return mean_N, std[inverse_N], count[inverse_N].astype(np.int64)


def centred(
    values_N: Floats, group_N: Ints, valid_N: Bools, config: ObjectiveConfig, *, divide: bool, singleton: str = ""
) -> Floats:
    """(value - mean) [/ (std + eps)]; a single member gives its value ("raw") or 0 ("zero"); invalid ones give 0."""
    mean_N, std_N, count_N = moments(values_N, group_N, valid_N)
    result_N = values_N - mean_N
    if divide:
        result_N = result_N / (std_N + config.eps)
    alone_N = values_N if (singleton or config.singleton_group) == "raw" else np.zeros_like(values_N)
    result_N = np.where(count_N < 2, alone_N, result_N)
    return np.where(valid_N, result_N, 0.0)


def on_tokens(batch: TrainBatch, values_B: Floats) -> Tensor:
    """One number per row, spread over its model tokens."""
    return torch.where(batch.mask_BT, torch.from_numpy(values_B).float().unsqueeze(1), 0.0)


@advantages.register("grpo")
def grpo(batch: TrainBatch, config: ObjectiveConfig) -> Tensor:
    """(R - mean) / (std + eps); `scale_rewards` takes the std over the group, the batch (of one kind) or not at all.

    Source: arXiv 2402.03300 eq. 1. Differs: over distinct trajectories, group sizes may vary.
    """
    return on_tokens(batch, grpo_by_row(batch, config))


def grpo_by_row(batch: TrainBatch, config: ObjectiveConfig) -> Floats:
    """The GRPO advantage of each row's trajectory, [B]."""
    found = Trajectories.of(batch, config)
    result_N = centred(found.returns_N, found.group_N, found.valid_N, config, divide=config.scale_rewards == "group")
    if config.scale_rewards == "batch":
        kind_N = np.empty(len(found.returns_N), np.int64)
        kind_N[found.of_row_B] = batch.kind_B.numpy()
        result_N = result_N / (moments(found.returns_N, kind_N, found.valid_N)[1] + config.eps)
    return result_N[found.of_row_B]


@advantages.register("dr_grpo")
def dr_grpo(batch: TrainBatch, config: ObjectiveConfig) -> Tensor:
    """R - mean; meant for the aggregation "seq-mean-token-sum-norm". Source: arXiv 2503.20783."""
    found = Trajectories.of(batch, config)
    return on_tokens(
        batch, centred(found.returns_N, found.group_N, found.valid_N, config, divide=False)[found.of_row_B]
    )


@advantages.register("rloo")
def rloo(batch: TrainBatch, config: ObjectiveConfig) -> Tensor:
    """R - mean of the other members = G / (G - 1) (R - mean). Source: arXiv 2402.14740."""
    found = Trajectories.of(batch, config)
    count_N = moments(found.returns_N, found.group_N, found.valid_N)[2]
    result_N = centred(found.returns_N, found.group_N, found.valid_N, config, divide=False)
    factor_N = np.where(count_N > 1, count_N / np.maximum(count_N - 1, 1), 1.0)
    return on_tokens(batch, (factor_N * result_N)[found.of_row_B])


@advantages.register("max_rl")
def max_rl(batch: TrainBatch, config: ObjectiveConfig) -> Tensor:
    """(R - mean) / mean, for returns >= 0; a group whose mean is 0 has only zeros and gives 0.

    Source: prime-rl `max_rl`. Raises: TrainingError "negative_return".
    """
    found = Trajectories.of(batch, config)
    if (found.returns_N[found.valid_N] < 0).any():
        raise TrainingError("negative_return", "max_rl divides by the mean return; returns must be >= 0")
    mean_N = moments(found.returns_N, found.group_N, found.valid_N)[0]
    result_N = centred(found.returns_N, found.group_N, found.valid_N, config, divide=False)
    return on_tokens(batch, np.where(mean_N > 0, result_N / np.where(mean_N > 0, mean_N, 1.0), 0.0)[found.of_row_B])


@advantages.register("reinforce_plus_plus")
def reinforce_plus_plus(batch: TrainBatch, config: ObjectiveConfig) -> Tensor:
    """Discounted return-to-go per model token, whitened over all model tokens of the kind.

    The return stands on a row's last model token, the KL penalty (if in the reward) on every one; observation tokens
    are skipped, they neither discount nor reset the sum. Source: arXiv 2501.03262. Differs: every row of a trajectory
    is a token stream of its own that ends in the trajectory's return.
    """
    mask_BT = batch.mask_BT
    last_B = mask_BT.shape[1] - 1 - mask_BT.flip(1).int().argmax(1)
    rewards_BT = torch.zeros(mask_BT.shape, dtype=torch.float64)
    rewards_BT[torch.arange(len(batch)), last_B] = batch.traj_return_B
    if (penalty_BT := kl_penalty(batch, config)) is not None:
        rewards_BT = rewards_BT - penalty_BT
    returns_BT = torch.zeros_like(rewards_BT)
    running_B = torch.zeros(len(batch), dtype=torch.float64)
    for t in reversed(range(mask_BT.shape[1])):
        running_B = torch.where(mask_BT[:, t], rewards_BT[:, t] + config.gamma * running_B, running_B)
        returns_BT[:, t] = running_B
    return _whitened(batch, returns_BT)


@advantages.register("reinforce_plus_plus_baseline")
def reinforce_plus_plus_baseline(batch: TrainBatch, config: ObjectiveConfig) -> Tensor:
    """R - group mean, then whitened over all model tokens of the kind. Source: arXiv 2501.03262."""
    found = Trajectories.of(batch, config)
    result_N = centred(found.returns_N, found.group_N, found.valid_N, config, divide=False)
    values_B1 = torch.from_numpy(result_N[found.of_row_B]).unsqueeze(1)
    return _whitened(batch, values_B1.expand(batch.mask_BT.shape))


@advantages.register("step_return")
def step_return(batch: TrainBatch, config: ObjectiveConfig) -> Tensor:
    """Discounted return-to-go of the turns' own rewards, compared with other turns.

    G_t = r_t + gamma G_(t+1);   A = (G - mean) / (std + eps), without std if scale_rewards="none"

    A step row is one turn, a trajectory row holds several; each gives its advantage to its own model tokens.
    `step_norm` says over what: "group" all turns of the task, "group_step" those with the same step index (a turn
    nobody else reached gives 0), "batch" all turns of the batch. Rows without rewarded turns (reflections) get their
    GRPO advantage. Source: ours; "group_step" is the time-dependent baseline of REINFORCE.
    """
    tokens_BN, reward_BN = batch.turn_tokens_BN.numpy(), batch.turn_reward_BN.numpy()
    row_N, turn_N = np.nonzero(tokens_BN >= 0)
    group_N, step_N = batch.group_B.numpy()[row_N], batch.step_B.numpy()[row_N] + turn_N
    cell_N = {
        "group": group_N,
        "group_step": group_N * (int(step_N.max(initial=0)) + 1) + step_N,
        "batch": np.zeros_like(group_N),
    }[config.step_norm]
    returns_N = _returns(group_N, batch.traj_B.numpy()[row_N], step_N, reward_BN[row_N, turn_N], config.gamma)
    valid_N, divide = batch.valid_B.numpy()[row_N], config.scale_rewards != "none"
    result_N = centred(returns_N, cell_N, valid_N, config, divide=divide, singleton="zero")
    turned_B = (tokens_BN >= 0).any(1)
    whole_B = np.zeros(len(batch)) if turned_B.all() else grpo_by_row(batch, config)
    result_BT = on_tokens(batch, np.where(turned_B, 0.0, whole_B))
    tokens_N = np.where(batch.mask_BT.any(1).numpy()[row_N], tokens_BN[row_N, turn_N], 0)
    spread = torch.from_numpy(np.repeat(result_N, tokens_N)).float()
    result_BT[batch.mask_BT & torch.from_numpy(turned_B).unsqueeze(1)] = spread
    return result_BT


def discounted_step_returns(batch: TrainBatch, gamma: float) -> Floats:
    """G_t = r_t + gamma^(t' - t) G_t' with t' the trajectory's next row, [B]; works for rows in any order."""
    group_B, traj_B, step_B = (x.numpy() for x in (batch.group_B, batch.traj_B, batch.step_B))
    return _returns(group_B, traj_B, step_B, batch.step_reward_B.numpy(), gamma)


def _returns(group_N: Ints, traj_N: Ints, step_N: Ints, reward_N: Floats, gamma: float) -> Floats:
    order_N = np.lexsort((-step_N, traj_N, group_N))
    columns: Any = (group_N[order_N], traj_N[order_N], step_N[order_N], reward_N[order_N])
    result, running, previous = [], 0.0, (-1, -1, 0)
    for group, traj, step, reward in zip(*(column.tolist() for column in columns), strict=True):
        same = previous[:2] == (group, traj)
        running = reward + (gamma ** (previous[2] - step) * running if same else 0.0)
        previous = (group, traj, step)
        result.append(running)
    returns_N = np.empty(len(reward_N))
    returns_N[order_N] = result
    return returns_N


def kl_penalty(batch: TrainBatch, config: ObjectiveConfig) -> Tensor | None:
    """The penalty beta * KL of each model token, float64 [B, T], for `use_kl_in_reward`; None if it is off.

    Raises: TrainingError "no_reference" if old or reference log-probabilities are missing.
    """
    if not config.use_kl_in_reward or config.beta == 0:
        return None
    if batch.old_logprobs_BT is None or batch.ref_logprobs_BT is None:
        raise TrainingError("no_reference", "use_kl_in_reward needs old_pass and reference_pass before advantages")
    kl_BT = kls.get(config.kl_estimator)(batch.old_logprobs_BT.double(), batch.ref_logprobs_BT.double(), config)
    return torch.where(batch.mask_BT, config.beta * kl_BT, 0.0)


def _whitened(batch: TrainBatch, values_BT: Tensor) -> Tensor:
    """(x - mean) / sqrt(var + 1e-8) over the model tokens of each kind."""
    result_BT = torch.zeros(values_BT.shape, dtype=torch.float64)
    for kind in range(len(KINDS)):
        chosen_BT = batch.mask_BT & (batch.kind_B == kind).unsqueeze(1)
        values_N = values_BT[chosen_BT]
        if len(values_N) > 0:
            var = (values_N - values_N.mean()).square().sum() / max(len(values_N) - 1, 1)
            result_BT[chosen_BT] = (values_N - values_N.mean()) / (var + 1e-8).sqrt()
    return result_BT.float()
