"""What happens to rows before they become a batch: overlong penalty, invalid rows, groups without a signal.

Nothing is lost silently: every dropped group and row is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from palaestra.mcp_servers.errors import ConfigError
from palaestra.trainers.batch import TrainBatch
from palaestra.trainers.objectives.config import ObjectiveConfig
from palaestra.trainers.objectives.gigpo import similar
from palaestra.trainers.rows import Kind, Row


@dataclass(frozen=True, slots=True)
class GroupCounts:
    """Groups seen, dropped for fewer than two valid members, dropped for equal outcomes; invalid rows dropped."""

    groups: int
    groups_invalid: int
    groups_zero_signal: int
    rows_invalid: int


def overlong_penalty(length: int, horizon: int, buffer: int, factor: float) -> float:
    """0 up to horizon - buffer tokens, then falling linearly to -factor at the horizon, and on beyond it.

    Source: DAPO, arXiv 2503.14476 eq. 13. Differs: unclipped past the horizon, as in verl.

    >>> overlong_penalty(90, 100, 20, 1.0)
    -0.5
    """
    return min(-(length - (horizon - buffer)) / buffer * factor, 0.0)


def shape_rewards(rows: Sequence[Row], config: ObjectiveConfig) -> list[Row]:
    """Add the overlong penalty: to a step row's own reward, and to the return of a trajectory or reflection, where it
    falls on the row's last turn.

    A trajectory of several rows gets the penalty of its worst row, so that its rows still agree on one return.
    """
    if not config.overlong.enable:
        return list(rows)
    horizon, settings = config.horizon or 0, config.overlong
    penalty = [overlong_penalty(len(row.response_ids), horizon, settings.len, settings.penalty_factor) for row in rows]
    worst: dict[tuple[str, str], float] = {}
    for row, value in zip(rows, penalty, strict=True):
        key = (row.group_key, row.traj_id)
        worst[key] = min(worst.get(key, 0.0), value)
    return [
        replace(row, step_reward=row.step_reward + value)
        if row.kind is Kind.STEP
        else replace(row, traj_return=row.traj_return + worst[row.group_key, row.traj_id], turns=_last(row, value))
        for row, value in zip(rows, penalty, strict=True)
    ]


def _last(row: Row, penalty: float) -> tuple[tuple[int, float], ...]:
    """The row's turns with the penalty on the last one."""
    if not row.turns:
        return ()
    *others, (tokens, reward) = row.turns
    return (*others, (tokens, reward + penalty))


def mask_truncated(batch: TrainBatch) -> TrainBatch:
    """The batch without the tokens of responses cut by a length limit (TRL `mask_truncated_completions`)."""
    return batch.replace(mask_BT=batch.mask_BT & ~batch.truncated_B.unsqueeze(1))


def filter_groups(rows: Sequence[Row], config: ObjectiveConfig) -> tuple[list[Row], GroupCounts]:
    """Drop invalid rows, and groups that can give no gradient; the rows that stay keep their order.

    A group gives none if it has fewer than two valid members, or if its outcomes (`filter_groups.metric`) are all
    equal and, for estimators that look at steps, all its step cells are flat as well. Estimators whose baseline is
    the batch compare across groups, so only invalid rows are dropped for them. With `filter_groups.enable=False`
    everything stays and nothing is counted as dropped.
    Source: dynamic sampling of DAPO, arXiv 2503.14476 eq. 11.
    """
    groups: dict[tuple[Kind, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.kind, row.uid), []).append(row)
    if not config.filter_groups.enable:
        return list(rows), GroupCounts(len(groups), 0, 0, 0)
    kept: dict[tuple[Kind, str], bool] = {}
    invalid = zero_signal = 0
    for key, members in groups.items():
        valid = [row for row in members if row.valid]
        needed = 1 if _batch_baseline(members[0], config) else 2
        if len({row.traj_id for row in valid}) < needed:
            invalid += 1
        elif not has_signal(valid, config):
            zero_signal += 1
        else:
            kept[key] = True
    stay = [row for row in rows if row.valid and (row.kind, row.uid) in kept]
    rows_invalid = sum(not row.valid for row in rows)
    return stay, GroupCounts(len(groups), invalid, zero_signal, rows_invalid)


def has_signal(rows: Sequence[Row], config: ObjectiveConfig) -> bool:
    """True if the estimator can give the valid rows of one group a non-zero advantage."""
    if _batch_baseline(rows[0], config):
        return True
    if rows[0].scored_turns and config.adv_estimator == "step_return":
        by_step = config.step_norm == "group_step"
        turns = _turns(rows, config.gamma)
        return _varies([step if by_step else 0 for step, _ in turns], [value for _, value in turns])
    if len({_metric(row, config.filter_groups.metric) for row in rows}) > 1:
        return True
    if rows[0].kind is not Kind.STEP or config.adv_estimator != "gigpo":
        return False
    penalties = [float(row.extras.get("row_penalty", 0.0)) for row in rows]
    if any(penalties):
        return True
    return config.gigpo.step_advantage_w > 0 and _varies(_anchors(rows, config), _returns_to_go(rows, config.gamma))


def _batch_baseline(row: Row, config: ObjectiveConfig) -> bool:
    if config.adv_estimator == "step_return":
        return bool(row.scored_turns) and config.step_norm == "batch"
    return config.adv_estimator == "reinforce_plus_plus"


def _metric(row: Row, name: str) -> float:
    if name == "traj_return":
        return row.traj_return
    if name not in row.extras:
        raise ConfigError("filter_metric", f"filter_groups.metric={name!r} is neither 'traj_return' nor in row.extras")
    return float(row.extras[name])


def _turns(rows: Sequence[Row], gamma: float) -> list[tuple[int, float]]:
    """(step, discounted return-to-go) of every rewarded turn, for rows that are not packed yet; see `step_return`."""
    found: list[tuple[int, float]] = []
    following: dict[str, tuple[int, float]] = {}
    for row in sorted(rows, key=lambda row: -row.step):
        for number, (_, reward) in reversed(list(enumerate(row.scored_turns, row.step))):
            step, value = following.get(row.traj_id, (number, 0.0))
            following[row.traj_id] = number, reward + gamma ** (step - number) * value
            found.append(following[row.traj_id])
    return found


def _returns_to_go(rows: Sequence[Row], gamma: float) -> list[float]:
    """As `advantages.discounted_step_returns`, for rows that are not packed yet."""
    result = [0.0] * len(rows)
    following: dict[str, tuple[int, float]] = {}
    for index in sorted(range(len(rows)), key=lambda i: -rows[i].step):
        row = rows[index]
        step, value = following.get(row.traj_id, (row.step, 0.0))
        result[index] = row.step_reward + gamma ** (step - row.step) * value
        following[row.traj_id] = (row.step, result[index])
    return result


def _anchors(rows: Sequence[Row], config: ObjectiveConfig) -> list[int]:
    """Cell number of each row, as GiGPO numbers them."""
    numbers: dict[str, int] = {}
    order = sorted(range(len(rows)), key=lambda i: (rows[i].traj_id, rows[i].step))
    anchors = [numbers.setdefault(rows[i].anchor_key or "", len(numbers)) for i in order]
    if config.gigpo.enable_similarity:
        anchors = similar(anchors, list(numbers), config.gigpo.similarity_thresh)
    cells = [0] * len(rows)
    for index, anchor in zip(order, anchors, strict=True):
        cells[index] = anchor
    return cells


def _varies(cells: Sequence[int], values: Sequence[float]) -> bool:
    first: dict[int, float] = {}
    return any(value != first.setdefault(cell, value) for cell, value in zip(cells, values, strict=True))
