"""Scoring sampled tokens with a causal language model: the differentiable forward and the no-grad old pass.

Two choices make it fast for small models and right for any Hugging Face causal model:
- Rows are moved to the left edge before the forward. Padding then stands only behind real tokens, which causal
  attention never sees, so neither mask nor position ids are passed and SDPA takes its `is_causal` kernel.
- The output layer sees only the T positions that predict response tokens: a pre-hook on it picks them, so whatever a
  model does after its output layer (soft caps, scaling) stays in place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from palaestra.mcp_servers.errors import TrainingError
from palaestra.trainers.batch import TrainBatch


class TokenScores(NamedTuple):
    """What one forward says about the response tokens; values at padding are finite and meaningless."""

    logprobs_BT: Tensor
    entropy_BT: Tensor
    h_BTH: Tensor


def token_logprobs(
    model: nn.Module, batch: TrainBatch, temperature: float, *, entropy_grad: bool = False
) -> tuple[Tensor, Tensor]:
    """Log-probability of every response token and entropy of its law, with gradient to the model.

    logprob = log softmax(logits / temperature)[token],   entropy = -sum_v p_v log p_v

    Args:
        model: a Hugging Face causal language model (`get_output_embeddings`, `.logits`).
        batch: rows to score; only tokens and lengths are read.
        temperature: > 0, the sampling temperature.
        entropy_grad: also differentiate the entropy (needed by an entropy bonus only).
    Returns: logprobs_BT, entropy_BT, float32 [B, T] (float64 for a float64 model), nats.
    Raises: TrainingError "temperature", "non_finite".
    Cost: one forward over B * max(prompt + response) tokens, plus B * T * V for the output layer.
    """
    scores = score_tokens(model, batch, temperature, entropy_grad=entropy_grad)
    return scores.logprobs_BT, scores.entropy_BT


def old_pass(
    model: nn.Module, batch: TrainBatch, temperature: float, *, micro_rows: int = 64, hidden: bool = False
) -> TrainBatch:
    """The batch with `old_logprobs_BT` and `entropy_BT` (and `h_BTH`) under the model's present weights.

    Runs in evaluation mode without gradient, `micro_rows` at a time, longest rows last; restores the model's mode.
    Args and errors as `token_logprobs`; `hidden` keeps the last hidden state (B * T * H floats).
    """
    fields = _scored(model, batch, temperature, micro_rows, hidden)
    return batch.replace(old_logprobs_BT=fields[0], entropy_BT=fields[1], h_BTH=fields[2] if hidden else batch.h_BTH)


def reference_pass(model: nn.Module, batch: TrainBatch, temperature: float, *, micro_rows: int = 64) -> TrainBatch:
    """The batch with `ref_logprobs_BT` under a frozen reference model; otherwise as `old_pass`."""
    return batch.replace(ref_logprobs_BT=_scored(model, batch, temperature, micro_rows, False)[0])


def behaviour_as_old(batch: TrainBatch) -> TrainBatch:
    """The batch with the sampler's own log-probabilities as `old_logprobs_BT`: saves the old pass.

    Right only if every row was sampled exactly, by the weights about to be trained; differences are then those of
    floating point. The entropy stays unknown.
    """
    return batch.replace(old_logprobs_BT=batch.behaviour_logprobs_BT)


def score_tokens(model: nn.Module, batch: TrainBatch, temperature: float, *, entropy_grad: bool = False) -> TokenScores:
    """As `token_logprobs`, with the last hidden state that predicted each token."""
    if not temperature > 0:
        raise TrainingError("temperature", f"temperature={temperature}; log-probabilities need temperature > 0")
    ids_BL, at_BT = left_aligned(batch)
    with _output_at(model, at_BT) as picked:
        logits_BTV = model(input_ids=ids_BL, use_cache=False).logits
    return scores_of_logits(logits_BTV, picked["h_BTH"], batch, temperature, entropy_grad=entropy_grad)


def scores_of_logits(
    logits_BTV: Tensor, h_BTH: Tensor, batch: TrainBatch, temperature: float, *, entropy_grad: bool
) -> TokenScores:
    """Scores of the response tokens from the logits that predict them. Raises: TrainingError "non_finite"."""
    logits_BTV = logits_BTV if logits_BTV.dtype == torch.float64 else logits_BTV.float()
    if temperature != 1.0:
        logits_BTV = logits_BTV / temperature
    all_logprobs_BTV = logits_BTV.log_softmax(-1)
    logprobs_BT = all_logprobs_BTV.gather(-1, batch.response_ids_BT.unsqueeze(-1)).squeeze(-1)
    if not bool(logprobs_BT.detach()[batch.mask_BT].isfinite().all()):
        raise TrainingError("non_finite", "the model gives a sampled token a non-finite log-probability")
    with torch.set_grad_enabled(entropy_grad and torch.is_grad_enabled()):
        entropy_BT = -(all_logprobs_BTV.exp() * all_logprobs_BTV).sum(-1)
    return TokenScores(logprobs_BT, entropy_BT, h_BTH)


def _scored(
    model: nn.Module, batch: TrainBatch, temperature: float, micro_rows: int, hidden: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Scores of all rows in batch order, 0 at padding."""
    order_B = torch.argsort(batch.prompt_lengths_B + batch.response_lengths_B, stable=True)
    blank_BT = torch.zeros(batch.mask_BT.shape)
    results: list[Tensor] = []
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for index in torch.split(order_B, micro_rows):
                micro = batch.select(index).trim()
                scores = score_tokens(model, micro, temperature)
                if not results:
                    results = [_blank(blank_BT, part) for part in (scores if hidden else scores[:2])]
                for whole, part in zip(results, scores, strict=False):
                    real = micro.response_mask_BT.view(*part.shape[:2], *([1] * (part.dim() - 2)))
                    whole[index, : part.shape[1]] = torch.where(real, part, 0.0)
    finally:
        model.train(was_training)
    return results[0], results[1], results[2] if hidden else None


def _blank(blank_BT: Tensor, part: Tensor) -> Tensor:
    return blank_BT.new_zeros((*blank_BT.shape, *part.shape[2:]), dtype=part.dtype)


def left_aligned(batch: TrainBatch) -> tuple[Tensor, Tensor]:
    """Token ids with each row moved to the left edge, and where the logits of each response token stand.

    Positions behind a row's last token hold a copy of some token; causal attention keeps them unseen.
    """
    lengths_B = batch.prompt_lengths_B + batch.response_lengths_B
    width = int(lengths_B.max())
    start_B = batch.prompt_width - batch.prompt_lengths_B
    source_BL = (torch.arange(width) + start_B[:, None]).clamp(max=batch.input_ids_BL.shape[1] - 1)
    at_BT = torch.arange(batch.response_width) + batch.prompt_lengths_B[:, None] - 1
    return batch.input_ids_BL.gather(1, source_BL), at_BT.clamp(max=width - 1)


@contextmanager
def _output_at(model: Any, at_BT: Tensor) -> Iterator[dict[str, Tensor]]:
    """While open, the model's output layer computes logits only at positions `at_BT`; yields what it was given."""
    picked: dict[str, Tensor] = {}

    def pick(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        h_BLH = inputs[0]
        picked["h_BTH"] = h_BLH.gather(1, at_BT.unsqueeze(-1).expand(-1, -1, h_BLH.shape[-1]))
        return (picked["h_BTH"], *inputs[1:])

    handle = model.get_output_embeddings().register_forward_pre_hook(pick)
    try:
        yield picked
    finally:
        handle.remove()
