"""Training batches: rows packed into tensors, checked, split and saved.

    input_ids_BL = [ pad ... prompt | response ... pad ],   L = P + T

Per-row numbers are tensors too, so one index selects everything. Statistics (denominators here, advantages and
weights elsewhere) are taken over the whole batch before it is split, so no loss depends on the split.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from palaestra.mcp_servers.errors import StoreError, TrainingError
from palaestra.trainers.rows import Kind

KINDS: tuple[Kind, ...] = tuple(Kind)
_STEP, _REFLECT = KINDS.index(Kind.STEP), KINDS.index(Kind.REFLECT)


@dataclass(frozen=True, slots=True)
class Denominator:
    """What the losses of one kind are divided by: model tokens, rows that have any, and the horizon in tokens."""

    tokens: int
    rows: int
    horizon: int


@dataclass(frozen=True, slots=True)
class Denominators:
    """Forward rows (trajectories and steps) and reflection rows are averaged separately."""

    forward: Denominator
    reflect: Denominator

    @property
    def tokens(self) -> int:
        """Model tokens of both."""
        return self.forward.tokens + self.reflect.tokens


@dataclass(frozen=True, slots=True)
class TrainBatch:
    """B rows with prompts padded left to P and responses padded right to T.

    Attributes:
        input_ids_BL: int64 [B, P + T].
        prompt_lengths_B, response_lengths_B: int64 [B], without padding; at least 1.
        mask_BT: bool [B, T]; True = sampled by the model, of a valid row.
        behaviour_logprobs_BT: float32 [B, T], nats, under the law really used; 0 outside the mask.
        row_id_B, kind_B, uid_B, traj_B, step_B, anchor_B, group_B, policy_version_B: int64 [B]; uid, traj and anchor
            index `names` (anchor -1 = none); group numbers the distinct (kind, uid).
        traj_return_B, step_reward_B, row_penalty_B: float64 [B].
        valid_B, terminated_B, truncated_B: bool [B].
        turn_tokens_BN, turn_reward_BN: int64 and float64 [B, N]; model tokens and reward of each of up to N turns of a
            row that are rewarded by themselves, in order; -1 tokens where there is none.
        names: the strings behind uid, traj and anchor.
        extras: one JSON-ready mapping per row.
        old_logprobs_BT, ref_logprobs_BT, entropy_BT: nats; h_BTH: last hidden state; advantages_BT; weights_BT (product
            of token weights); is_weights_BT (sampler mismatch): None until computed.
    Raises: TrainingError "batch_shape", "batch_mask", "behaviour_logprobs", "trajectory_return", "step_order",
        "duplicate_row", "turns".
    """

    input_ids_BL: Tensor
    prompt_lengths_B: Tensor
    response_lengths_B: Tensor
    mask_BT: Tensor
    behaviour_logprobs_BT: Tensor
    row_id_B: Tensor
    kind_B: Tensor
    uid_B: Tensor
    traj_B: Tensor
    group_B: Tensor
    anchor_B: Tensor
    step_B: Tensor
    policy_version_B: Tensor
    traj_return_B: Tensor
    step_reward_B: Tensor
    row_penalty_B: Tensor
    valid_B: Tensor
    terminated_B: Tensor
    truncated_B: Tensor
    turn_tokens_BN: Tensor
    turn_reward_BN: Tensor
    names: tuple[str, ...]
    extras: tuple[Mapping[str, Any], ...]
    old_logprobs_BT: Tensor | None = None
    ref_logprobs_BT: Tensor | None = None
    entropy_BT: Tensor | None = None
    h_BTH: Tensor | None = None
    advantages_BT: Tensor | None = None
    weights_BT: Tensor | None = None
    is_weights_BT: Tensor | None = None

    def __post_init__(self) -> None:
        _check_shapes(self)
        _check_values(self)

    def __len__(self) -> int:
        return int(self.input_ids_BL.shape[0])

    @property
    def response_width(self) -> int:
        """T."""
        return int(self.mask_BT.shape[1])

    @property
    def prompt_width(self) -> int:
        """P."""
        return int(self.input_ids_BL.shape[1]) - self.response_width

    @property
    def response_ids_BT(self) -> Tensor:
        """int64 [B, T]; padding holds 0."""
        return self.input_ids_BL[:, self.prompt_width :]

    @property
    def response_mask_BT(self) -> Tensor:
        """True = not padding (sampled or observed)."""
        return torch.arange(self.response_width) < self.response_lengths_B[:, None]

    @property
    def attention_mask_BL(self) -> Tensor:
        """True = not padding."""
        prompt_BP = torch.arange(self.prompt_width) >= self.prompt_width - self.prompt_lengths_B[:, None]
        return torch.cat([prompt_BP, self.response_mask_BT], dim=1)

    @property
    def position_ids_BL(self) -> Tensor:
        """int64 [B, P + T]; the first real token has position 0, padding before it too."""
        return (self.attention_mask_BL.cumsum(1) - 1).clamp(min=0)

    @property
    def is_step_B(self) -> Tensor:
        """True for step rows."""
        return self.kind_B == _STEP

    @property
    def is_reflect_B(self) -> Tensor:
        """True for reflection rows."""
        return self.kind_B == _REFLECT

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked again."""
        return replace(self, **changes)

    def select(self, index: Tensor) -> Self:
        """The rows at `index` (int64), in that order."""
        changes: dict[str, Any] = {name: value[index] for name, value in _tensors(self).items()}
        return replace(self, **changes, extras=tuple(self.extras[i] for i in index.tolist()))

    def trim(self, multiple_of: int = 1) -> Self:
        """Drop columns that are padding in every row, keeping P and T multiples of `multiple_of`."""
        width_P = min(round_up(int(self.prompt_lengths_B.max()), multiple_of), self.prompt_width)
        width_T = min(round_up(int(self.response_lengths_B.max()), multiple_of), self.response_width)
        left = self.prompt_width - width_P
        changes: dict[str, Any] = {
            name: value[:, :width_T] for name, value in _tensors(self).items() if name.endswith(("_BT", "_BTH"))
        }
        changes["input_ids_BL"] = self.input_ids_BL[:, left : self.prompt_width + width_T]
        return replace(self, **changes)

    def denominators(self, horizon: int = 1) -> Denominators:
        """Global counts to divide losses by; take them of the whole optimiser step, before micro-batching."""
        tokens_B = self.mask_BT.sum(1)
        reflect_B = self.is_reflect_B
        return Denominators(*(
            Denominator(int(tokens_B[kind_B].sum()), int((tokens_B[kind_B] > 0).sum()), horizon)
            for kind_B in (~reflect_B, reflect_B)
        ))  # fmt: skip

    def mini_batches(self, count: int, rng: np.random.Generator | None = None) -> list[Self]:
        """Split into `count` optimiser steps of near-equal row counts, in an order drawn from `rng` if given."""
        if not 1 <= count <= len(self):
            raise TrainingError("split", f"mini_batches={count} for {len(self)} rows; use 1..{len(self)}")
        if count == 1 and rng is None:
            return [self]
        order = torch.arange(len(self)) if rng is None else torch.from_numpy(rng.permutation(len(self)))
        return [self.select(index) for index in torch.tensor_split(order, count)]

    def micro_batches(self, max_rows: int, multiple_of: int = 1) -> list[Self]:
        """Split by length into chunks of at most `max_rows`, each trimmed to its own longest prompt and response."""
        if max_rows < 1:
            raise TrainingError("split", f"micro-batch of {max_rows} rows; use at least 1")
        order = torch.argsort(self.prompt_lengths_B + self.response_lengths_B, stable=True)
        return [self.select(index).trim(multiple_of) for index in torch.split(order, max_rows)]

    def save(self, path: Path) -> None:
        """Write one .npz file; `load` gives back an equal batch. No pickle."""
        text = json.dumps({"names": self.names, "extras": [dict(e) for e in self.extras]}, allow_nan=False)
        arrays: dict[str, Any] = {name: value.numpy() for name, value in _tensors(self).items()}
        try:
            with path.open("wb") as file:
                np.savez(file, text=np.frombuffer(text.encode(), dtype=np.uint8), **arrays)
        except OSError as error:
            raise StoreError("batch_write", f"cannot write batch {path}: {error}") from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote. Raises: StoreError "batch_read"."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            text = json.loads(arrays.pop("text").tobytes())
            tensors = {name: torch.from_numpy(value) for name, value in arrays.items()}
            return cls(**tensors, names=tuple(text["names"]), extras=tuple(text["extras"]))
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise StoreError("batch_read", f"{path} is not a batch file: {error}") from error


def round_up(size: int, multiple: int) -> int:
    """The least multiple of `multiple` that is at least `size`."""
    return -(-size // multiple) * multiple


_SHAPES = {field.name: field.name.rsplit("_", 1)[-1] for field in fields(TrainBatch) if "_B" in field.name}


def _tensors(batch: TrainBatch) -> dict[str, Tensor]:
    return {name: value for name in _SHAPES if (value := getattr(batch, name)) is not None}


def _check_shapes(batch: TrainBatch) -> None:
    count, width_T = batch.mask_BT.shape
    width_H = 0 if batch.h_BTH is None else batch.h_BTH.shape[-1]
    width_N = batch.turn_tokens_BN.shape[-1]
    sizes = {"B": count, "T": width_T, "L": batch.input_ids_BL.shape[-1], "H": width_H, "N": width_N}
    for name, value in _tensors(batch).items():
        wanted = tuple(sizes[letter] for letter in _SHAPES[name])
        if tuple(value.shape) != wanted:
            raise TrainingError("batch_shape", f"{name} has shape {tuple(value.shape)}; the batch needs {wanted}")
    if len(batch.extras) != count:
        raise TrainingError("batch_shape", f"{len(batch.extras)} extras for {count} rows")


def _check_values(batch: TrainBatch) -> None:
    if bool((batch.mask_BT & ~batch.response_mask_BT).any()):
        raise TrainingError("batch_mask", "mask_BT is set on padding; it must be a subset of the response tokens")
    logprobs_N = batch.behaviour_logprobs_BT[batch.mask_BT]
    # One float32 rounding step above 0 is what a sampler may give for a certain token; more is a wrong number.
    if not bool(((logprobs_N <= 1e-6) & logprobs_N.isfinite()).all()):
        raise TrainingError("behaviour_logprobs", "behaviour_logprobs_BT must be finite and <= 0 where mask_BT is set")
    rewards = batch.traj_return_B, batch.step_reward_B, batch.turn_reward_BN
    if not all(bool(values.isfinite().all()) for values in rewards):
        raise TrainingError("non_finite_reward", "traj_return_B, step_reward_B and turn_reward_BN must be finite")
    _check_turns(batch)
    if len(np.unique(batch.row_id_B.numpy())) != len(batch):
        raise TrainingError("duplicate_row", "row_id must be unique in a batch; pass first_id=len(rows)")
    _check_trajectories(batch)


def _check_turns(batch: TrainBatch) -> None:
    """The tokens of a row's turns are all its model tokens, unless it has no turns or is masked out as a whole."""
    tokens_B, found_B = batch.turn_tokens_BN.clamp(min=0).sum(1), batch.mask_BT.sum(1)
    wrong_B = (found_B > 0) & (batch.turn_tokens_BN >= 0).any(1) & (tokens_B != found_B)
    if bool(wrong_B.any()):
        row = int(wrong_B.int().argmax())
        number, tokens, found = int(batch.row_id_B[row]), int(tokens_B[row]), int(found_B[row])
        raise TrainingError("turns", f"row {number}: its turns have {tokens} model tokens and its mask has {found}")


def _check_trajectories(batch: TrainBatch) -> None:
    """One return and one validity per (group, trajectory); one row per step of it."""
    group_B, traj_B, step_B = (x.numpy() for x in (batch.group_B, batch.traj_B, batch.step_B))
    order = np.lexsort((step_B, traj_B, group_B))
    same_N = (np.diff(group_B[order]) == 0) & (np.diff(traj_B[order]) == 0)
    pairs = [(batch.traj_return_B, "trajectory_return"), (batch.valid_B.double(), "trajectory_return")]
    for values_B, code in pairs:
        bad_N = same_N & (np.diff(values_B.numpy()[order]) != 0)
        if bad_N.any():
            name = batch.names[int(traj_B[order][1:][bad_N][0])]
            raise TrainingError(code, f"trajectory {name!r}: its rows disagree on traj_return or valid")
    if (repeated_N := same_N & (np.diff(step_B[order]) == 0)).any():
        name = batch.names[int(traj_B[order][1:][repeated_N][0])]
        raise TrainingError("step_order", f"trajectory {name!r} has two rows of one step; steps must increase")
