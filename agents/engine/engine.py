"""Batched generation that keeps keys and values across the turns of an episode.

One call: bring the batch's streams together, prefill only what each has not seen, then decode all rows in step until
every one met a stop token or its budget. Rows that end early are left in place until a quarter of the batch has
ended; then the live ones close ranks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from palaestra.agents.engine.base import Generation, GenerationRequest, Weights, check_requests
from palaestra.agents.engine.forward import Qwen3Forward, Qwen3Shape
from palaestra.agents.engine.sampling import check_sampling, stream_keys
from palaestra.agents.engine.streams import RowTable, Stream
from palaestra.agents.engine.turn import Turn
from palaestra.agents.types import FinishReason, Sampling

_COMPACT_BELOW = 0.75
"""Share of rows still live at which the finished are moved out: a move costs a row copy, a dead row a forward."""


class EngineConfig(BaseModel):
    """Limits and number format of the decode engine.

    Attributes:
        max_slots: streams in memory at once and rows per forward; more sessions than this are prefilled again when
            they come back.
        max_len: tokens per stream, prompt and samples.
        dtype: of weights, keys and values; log-probabilities are float32 either way.
        device: torch device.
        stale_kv: after a weight update, "drop" recomputes keys and values from the tokens, "keep" goes on with the
            old ones (faster; the law then mixes two policies).
        prefill_tokens: prompt tokens per forward, padding included; bounds memory, and small pieces stay in cache.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_slots: int = Field(default=256, ge=1)
    max_len: int = Field(default=1024, ge=2)
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "cpu"
    stale_kv: Literal["drop", "keep"] = "drop"
    prefill_tokens: int = Field(default=2048, ge=1)


@dataclass(slots=True, eq=False)
class _Job:
    """One row of a call: what is to be prefilled and how many tokens may follow."""

    index: int
    request: GenerationRequest
    stream: Stream
    pending: list[int]
    length: int
    budget: int


class DecodeEngine:
    """The engine for Qwen3-shaped models; implements `GenerationEngine`.

    Args:
        shape, weights: the model, tensors under their names in its directory; they are copied.
        stop_ids: tokens that end a turn.
    Raises: TrainingError "weights" if the weights do not fit the shape.
    """

    def __init__(
        self, shape: Qwen3Shape, weights: Weights, stop_ids: Sequence[int], config: EngineConfig | None = None
    ) -> None:
        self.config = config or EngineConfig()
        self.shape = shape
        self._stop_ids = np.array(sorted(stop_ids), dtype=np.int64)
        self._device = torch.device(self.config.device)
        self._model = self._fused(weights)
        self._cache = self._model.new_cache()
        self._table = RowTable(self.config.max_slots)
        self._sessions: dict[str, Stream] = {}
        self._version = 0

    @property
    def policy_version(self) -> int:
        """Number of weight updates so far."""
        return self._version

    @torch.inference_mode()
    def generate(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> list[Generation]:
        """See `GenerationEngine.generate`; requests beyond `max_slots` run as further batches, in order.

        Cost: 2 * parameters * (new prompt tokens + sampled tokens) plus attention over the streams' lengths.
        """
        check_sampling(sampling)
        check_requests(requests, self.shape.vocab_size)
        results: list[Generation] = []
        for first in range(0, len(requests), self.config.max_slots):
            results.extend(self._generate_batch(requests[first : first + self.config.max_slots], sampling))
        return results

    def release(self, session: str) -> None:
        """Forget a session and free its row."""
        stream = self._sessions.pop(session, None)
        if stream is not None:
            self._table.release(stream)

    @torch.inference_mode()
    def update_weights(self, weights: Weights) -> int:
        """Take over new weights; keys and values are dropped or kept as `stale_kv` says."""
        self._model = self._fused(weights)
        self._version += 1
        if self.config.stale_kv == "drop":
            self._table.drop_all()
        return self._version

    def _fused(self, weights: Weights) -> Qwen3Forward:
        tensors: Mapping[str, Tensor] = weights.state_dict() if isinstance(weights, nn.Module) else weights
        dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[self.config.dtype]
        return Qwen3Forward(self.shape, tensors, self.config.max_len, dtype, self._device)

    def _generate_batch(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> list[Generation]:
        jobs: list[_Job] = []
        results = [Generation((), (), (), FinishReason.LENGTH, self._version, context_full=True) for _ in requests]
        for index, request in enumerate(requests):
            stream = Stream() if request.session is None else self._sessions.get(request.session, Stream())
            length = len(stream.tokens) + len(request.new_ids)
            pending = stream.tokens[stream.cached :] + list(request.new_ids)
            budget = min(sampling.max_new_tokens, self.config.max_len - length)
            if budget > 0:
                jobs.append(_Job(index, request, stream, pending, length, budget))
        if not jobs:
            return results
        try:
            turn = self._run(jobs, sampling)
        except BaseException:
            # Rows may be half written, or hold NaN that a mask does not hide (0 * NaN): begin with clean memory.
            # No stream's tokens were touched, so all are simply prefilled again.
            self._table.drop_all()
            self._cache = self._model.new_cache()
            raise
        for row, job in enumerate(jobs):
            results[job.index] = self._commit(job, row, turn)
        return results

    def _run(self, jobs: list[_Job], sampling: Sampling) -> Turn:
        # Similar lengths side by side waste the least padding; draws do not depend on the order.
        jobs.sort(key=lambda job: len(job.pending))
        self._table.gather([job.stream for job in jobs], self._cache)
        jobs.sort(key=lambda job: job.stream.row or 0)
        self._cache.reserve(len(jobs), max(job.length + min(job.budget, 16) for job in jobs))
        turn = Turn(
            lengths=[job.length for job in jobs],
            budgets=[job.budget for job in jobs],
            keys_B=stream_keys(sampling.seed, [(job.request.row_id, job.request.turn) for job in jobs]),
            stop_ids=self._stop_ids,
            sampling=sampling,
        )
        hidden_BH = self._prefill(jobs)
        while turn.sample(self._model.logits(hidden_BH)):
            if turn.live_B.mean() <= _COMPACT_BELOW:
                self._close_ranks(jobs, turn)
            self._cache.reserve(len(turn.rows_B), int(turn.positions_B.max()) + 1)
            tokens_B1 = torch.from_numpy(turn.last_B).to(self._device).unsqueeze(-1)
            hidden_BH = self._model.hidden(tokens_B1, self._starts(turn), self._cache, 0)[:, 0]
            turn.positions_B += turn.live_B
        return turn

    def _prefill(self, jobs: Sequence[_Job]) -> Tensor:
        """Final hidden state of every row's last prompt token, [B, H]."""
        parts: list[Tensor] = []
        first = 0
        while first < len(jobs):
            last, width = first, 0
            while last < len(jobs):
                wider = max(width, len(jobs[last].pending))
                if last > first and wider * (last + 1 - first) > self.config.prefill_tokens:
                    break
                last, width = last + 1, wider
            part = jobs[first:last]
            ids_BT = np.zeros((len(part), width), dtype=np.int64)
            for row, job in enumerate(part):
                ids_BT[row, : len(job.pending)] = job.pending
            begin_B = np.array([job.stream.cached for job in part])
            starts = int(begin_B[0]) if (begin_B == begin_B[0]).all() else torch.from_numpy(begin_B).to(self._device)
            hidden_BTH = self._model.hidden(torch.from_numpy(ids_BT).to(self._device), starts, self._cache, first)
            ends_B = torch.tensor([len(job.pending) - 1 for job in part], device=self._device)
            parts.append(hidden_BTH[torch.arange(len(part), device=self._device), ends_B])
            first = last
        return torch.cat(parts)

    def _starts(self, turn: Turn) -> int | Tensor:
        live = turn.positions_B[turn.live_B]
        start = int(live[0])
        # In the uniform path a finished row is written at the same column: it must lie behind what that row keeps.
        if (live == start).all() and int(turn.positions_B.max()) <= start:
            return start
        return torch.from_numpy(turn.positions_B).to(self._device)

    def _close_ranks(self, jobs: Sequence[_Job], turn: Turn) -> None:
        live_jobs: list[_Job] = []
        for row, position, live in zip(
            turn.rows_B.tolist(), turn.positions_B.tolist(), turn.live_B.tolist(), strict=True
        ):
            job = jobs[row]
            job.stream.cached = position
            if live:
                live_jobs.append(job)
            elif job.request.session is None:
                self._table.release(job.stream)
        self._table.gather([job.stream for job in live_jobs], self._cache)
        turn.keep(np.argsort([job.stream.row or 0 for job in live_jobs]))

    def _commit(self, job: _Job, row: int, turn: Turn) -> Generation:
        count = int(turn.counts[row])
        tokens = turn.tokens[row, :count].tolist()
        stream = job.stream
        if job.request.session is None:
            self._table.release(stream)
        else:
            stream.tokens.extend((*job.request.new_ids, *tokens))
            stream.cached = len(stream.tokens) - 1 if stream.row is not None else 0
            self._sessions[job.request.session] = stream
        return Generation(
            token_ids=tuple(tokens),
            logprobs=tuple(turn.logprobs[row, :count].tolist()),
            entropies=tuple(turn.entropies[row, :count].tolist()),
            finish_reason=FinishReason.STOP if tokens[-1] in self._stop_ids else FinishReason.LENGTH,
            policy_version=self._version,
        )
