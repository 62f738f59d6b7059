"""What the rows of one call have sampled so far, and which of them still run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from palaestra.agents.engine.sampling import draw, entropy, law, uniforms
from palaestra.agents.types import Sampling
from palaestra.mcp_servers.errors import RolloutError


class Turn:
    """The record of one batch: `tokens`, `logprobs`, `entropies`, `counts` by job, arrays with suffix _B by row.

    All rows start together, so the n-th token of every row is drawn in the n-th call of `sample`.

    Args:
        lengths: tokens before the first sampled one.
        budgets: most tokens each job may sample, at least 1.
        keys_B: identity of each job's random numbers.
        stop_ids: tokens that end a job.
        sampling: the law.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        budgets: Sequence[int],
        keys_B: NDArray[np.uint64],
        stop_ids: NDArray[np.int64],
        sampling: Sampling,
    ) -> None:
        count, width = len(lengths), max(budgets)
        self._sampling, self._stop_ids, self._keys_B, self._step = sampling, stop_ids, keys_B, 0
        self._budgets = np.array(budgets)
        self.tokens = np.zeros((count, width), dtype=np.int64)
        self.logprobs = np.zeros((count, width), dtype=np.float32)
        self.entropies = np.zeros((count, width), dtype=np.float32)
        self.counts = np.zeros(count, dtype=np.int64)
        self.rows_B = np.arange(count)
        self.positions_B = np.array(lengths)
        self.live_B = np.ones(count, dtype=np.bool_)
        self.last_B = np.zeros(count, dtype=np.int64)

    def sample(self, logits_BV: Tensor) -> bool:
        """Draw one token for every row and record those of live rows; True while any row goes on.

        Raises: RolloutError "non_finite_logits" if a row has no law.
        """
        logprobs_BV = law(logits_BV, self._sampling)
        probabilities_BV = logprobs_BV.exp()
        uniforms_B = torch.from_numpy(uniforms(self._keys_B[self.rows_B], self._step)).to(logits_BV.device)
        tokens_B1 = draw(probabilities_BV, uniforms_B).clamp_(max=logits_BV.shape[1] - 1).unsqueeze(-1)
        logprobs_B = logprobs_BV.gather(1, tokens_B1).squeeze(-1).cpu().numpy()
        if not np.isfinite(logprobs_B).all():
            raise RolloutError("non_finite_logits", "the model's logits are not finite: its weights are broken")
        self.last_B = tokens_B1.squeeze(-1).cpu().numpy()
        jobs = self.rows_B[self.live_B]
        self.tokens[jobs, self._step] = self.last_B[self.live_B]
        self.logprobs[jobs, self._step] = logprobs_B[self.live_B]
        self.entropies[jobs, self._step] = entropy(probabilities_BV, logprobs_BV).cpu().numpy()[self.live_B]
        self._step += 1
        self.counts[jobs] = self._step
        self.live_B &= ~np.isin(self.last_B, self._stop_ids) & (self._step < self._budgets[self.rows_B])
        return bool(self.live_B.any())

    def keep(self, order: NDArray[np.int64]) -> None:
        """Go on with the live rows alone, in this order."""
        self.rows_B = self.rows_B[self.live_B][order]
        self.positions_B = self.positions_B[self.live_B][order]
        self.last_B = self.last_B[self.live_B][order]
        self.live_B = np.ones(len(order), dtype=np.bool_)
