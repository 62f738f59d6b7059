"""The generation protocol: a batch of turns in, sampled tokens with their log-probabilities out.

A session is one growing token stream (prompt and sampled tokens of an episode's earlier turns). Naming it again
continues it, so only what is new is handed over; how an engine remembers the past (KV cache, re-prefill, a server's
prefix cache) is its own business and never changes the law tokens are drawn from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from palaestra.agents.types import FinishReason, Sampling
from palaestra.mcp_servers.errors import RolloutError

Weights = nn.Module | Mapping[str, Tensor]
"""A model or its state dict, with the names of its directory's safetensors."""


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One row of a batch.

    Attributes:
        row_id: with `turn` and `Sampling.seed` the key of the row's random numbers.
        new_ids: tokens the model has not seen in this session; at least one.
        session: stream to continue or to begin; None = nothing is remembered.
        turn: 0-based.
    """

    row_id: str
    new_ids: tuple[int, ...]
    session: str | None = None
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Generation:
    """What was sampled for one row.

    Attributes:
        token_ids: sampled tokens, the stop token included; empty if `context_full`.
        logprobs, entropies: float32 nats of the law each token was drawn from (temperature and filters applied).
        finish_reason: STOP if the last token is a stop token, else LENGTH.
        policy_version: version of the weights.
        context_full: the stream and `new_ids` leave no room for one more token; the session is as before the call.
        proposed, accepted: draft tokens per depth; empty without drafting.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    entropies: tuple[float, ...]
    finish_reason: FinishReason
    policy_version: int
    context_full: bool = False
    proposed: tuple[int, ...] = ()
    accepted: tuple[int, ...] = ()


class GenerationEngine(Protocol):
    """What a model policy needs of whatever runs the model."""

    @property
    def policy_version(self) -> int:
        """Version of the weights: 0 at first, one more after every update."""
        ...

    def generate(self, requests: Sequence[GenerationRequest], sampling: Sampling) -> list[Generation]:
        """Sample one turn for every request, in order.

        A row's random numbers depend on (sampling.seed, row_id, turn, token index) alone, never on its neighbours.

        Raises: RolloutError "bad_request" (nothing was generated) for an empty or out-of-vocabulary `new_ids` or a
            session named twice; "non_finite_logits" if the weights are broken.
        """
        ...

    def release(self, session: str) -> None:
        """Forget a session; unknown names are ignored."""
        ...

    def update_weights(self, weights: Weights) -> int:
        """Take over new weights and return the new policy version; sessions live on under the new weights.

        Raises: TrainingError "weights" if a tensor is missing or has another shape; the old weights stay.
        """
        ...


def check_requests(requests: Sequence[GenerationRequest], vocab_size: int) -> None:
    """Refuse a batch that cannot be generated, before anything is changed.

    Raises: RolloutError "bad_request" naming the row, what is wrong with it and the fix.
    """
    seen: dict[str, str] = {}
    for request in requests:
        problem = ""
        if not request.new_ids:
            problem = "new_ids is empty: hand over at least one token"
        elif not 0 <= min(request.new_ids) <= max(request.new_ids) < vocab_size:
            problem = f"new_ids must lie in 0..{vocab_size - 1}: encode them with this model's own tokenizer"
        elif request.session is not None and request.session in seen:
            problem = f"session {request.session!r} is also row {seen[request.session]!r}: one turn per call"
        if problem:
            raise RolloutError("bad_request", f"row {request.row_id!r}: {problem}")
        if request.session is not None:
            seen[request.session] = request.row_id
