"""GiGPO: episode-level and step-level advantages, steps compared where the same observation was met.

    A_E = (R - pen - mean_uid) / F        episode part, over distinct trajectories (or rows)
    G_t = r_t + gamma G_(t+1) - pen_t     pen is taken off the row's own G only, not passed back
    A_S = (G - mean_cell) / F             cell = (uid, identical anchor); alone in a cell -> 0
    A   = A_E + w A_S
    F   = std + eps ("mean_std_norm") or 1 ("mean_norm")

Source: arXiv 2505.10978; option names of verl-agent. Differs: the episode mean is over trajectories by default
(`episode_stats="steps"` gives the published code's row mean, the penalty included). Rows of other kinds get their
GRPO advantage.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from palaestra.mcp_servers.errors import TrainingError
from palaestra.trainers.advantages import (
    Floats,
    Ints,
    Trajectories,
    centred,
    discounted_step_returns,
    grpo_by_row,
    moments,
    on_tokens,
)
from palaestra.trainers.batch import TrainBatch
from palaestra.trainers.objectives.config import GigpoConfig, ObjectiveConfig
from palaestra.trainers.objectives.registry import advantages


@advantages.register("gigpo")
def gigpo(batch: TrainBatch, config: ObjectiveConfig) -> Tensor:
    """A_E + w A_S on step rows, [B, T]. Raises: TrainingError "no_anchor" if w > 0 and a step row has none.

    Cost: one pass over the rows; with similarity grouping, rows times cells of a task.
    """
    is_step_B = batch.is_step_B.numpy()
    result_B = _episode_part(batch, config)
    if config.gigpo.step_advantage_w > 0:
        result_B = result_B + config.gigpo.step_advantage_w * _step_part(batch, config)
    others_B = result_B if is_step_B.all() else grpo_by_row(batch, config)
    return on_tokens(batch, np.where(is_step_B, result_B, others_B))


def _episode_part(batch: TrainBatch, config: ObjectiveConfig) -> Floats:
    found = Trajectories.of(batch, config)
    divide = config.gigpo.mode == "mean_std_norm"
    valid_B = batch.valid_B.numpy()
    scores_B = found.returns_N[found.of_row_B] - batch.row_penalty_B.numpy()
    if config.gigpo.episode_stats == "steps":
        return centred(scores_B, batch.group_B.numpy(), valid_B, config, divide=divide)
    mean_N, std_N, count_N = moments(found.returns_N, found.group_N, found.valid_N)
    mean_B, std_B, count_B = (x[found.of_row_B] for x in (mean_N, std_N, count_N))
    result_B = (scores_B - mean_B) / (std_B + config.eps if divide else 1.0)
    alone_B = scores_B if config.singleton_group == "raw" else np.zeros_like(scores_B)
    return np.where(valid_B, np.where(count_B < 2, alone_B, result_B), 0.0)


def _step_part(batch: TrainBatch, config: ObjectiveConfig) -> Floats:
    is_step_B = batch.is_step_B.numpy()
    returns_B = discounted_step_returns(batch, config.gamma) - batch.row_penalty_B.numpy()
    valid_B = batch.valid_B.numpy() & is_step_B
    divide = config.gigpo.mode == "mean_std_norm"
    return centred(returns_B, _cells(batch, config.gigpo), valid_B, config, divide=divide, singleton="zero")


def _cells(batch: TrainBatch, config: GigpoConfig) -> Ints:
    """The number of each row's cell; rows that are not steps share cell -1."""
    is_step_B, anchor_B, group_B = (x.numpy() for x in (batch.is_step_B, batch.anchor_B, batch.group_B))
    if (missing_B := is_step_B & (anchor_B < 0)).any():
        row_id = int(batch.row_id_B[int(missing_B.argmax())])
        raise TrainingError("no_anchor", f"step row {row_id} has no anchor_key; set it or gigpo.step_advantage_w=0")
    if config.enable_similarity:
        anchor_B = _merged(batch, config.similarity_thresh)
    cells_B: Ints = np.where(is_step_B, group_B * (len(batch.names) + 1) + anchor_B, -1)
    return cells_B


def _merged(batch: TrainBatch, threshold: float) -> Ints:
    """Anchor numbers after merging similar texts within a group, rows taken by (group, trajectory, step)."""
    group_B, traj_B, step_B, anchor_B = (x.numpy() for x in (batch.group_B, batch.traj_B, batch.step_B, batch.anchor_B))
    order_B = np.lexsort((step_B, traj_B, group_B))
    merged_B = anchor_B.copy()
    for group in np.unique(group_B):
        rows = order_B[(group_B[order_B] == group) & (anchor_B[order_B] >= 0)]
        merged_B[rows] = similar(anchor_B[rows].tolist(), batch.names, threshold)
    return merged_B


def similar(anchors: Sequence[int], names: Sequence[str], threshold: float) -> list[int]:
    """Each anchor's representative: the first earlier one whose text has a difflib ratio >= threshold, or itself.

    >>> similar([0, 1, 2], ["you see a red door", "you see a red doors", "nothing"], 0.95)
    [0, 0, 2]
    """
    representative: dict[int, int] = {}
    heads: list[int] = []
    for anchor in anchors:
        if anchor in representative:
            continue
        matcher = difflib.SequenceMatcher(b=names[anchor], autojunk=False)
        for head in heads:
            matcher.set_seq1(names[head])
            if matcher.quick_ratio() >= threshold and matcher.ratio() >= threshold:
                representative[anchor] = head
                break
        else:
            heads.append(anchor)
            representative[anchor] = anchor
    return [representative[anchor] for anchor in anchors]
