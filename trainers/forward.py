"""Scoring response tokens with gradient: our forward for Qwen3-shaped models, the model's own for any other.

For the tiny policies a training step is bound by small operations, and most of a row is prompt that the loss never
looks at. So for a plain Qwen3 model the last layer is computed at the response positions alone (its keys and values
still see the whole row), and the output layer too. Parameters are the module's own, so gradients, optimisers and
checkpoints do not know the difference. With R of L positions scored, the last layer costs R / L of a full one.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen3ForCausalLM

from palaestra.mcp_servers.errors import TrainingError
from palaestra.trainers.batch import TrainBatch
from palaestra.trainers.old_pass import TokenScores, left_aligned, score_tokens, scores_of_logits


def token_scores(model: nn.Module, batch: TrainBatch, temperature: float, *, entropy_grad: bool = False) -> TokenScores:
    """Log-probability and entropy of every response token, differentiable in the model's parameters.

    Args, Returns, Raises: as `old_pass.score_tokens`; equal to it within float32 rounding (a test holds it to 1e-4).
    """
    if not _is_plain_qwen3(model):
        return score_tokens(model, batch, temperature, entropy_grad=entropy_grad)
    if not temperature > 0:
        raise TrainingError("temperature", f"temperature={temperature}; log-probabilities need temperature > 0")
    ids_BL, at_BT = left_aligned(batch)
    h_BTH = _hidden_at(model, ids_BL, at_BT)
    logits_BTV = _logits(model, h_BTH)
    return scores_of_logits(logits_BTV, h_BTH, batch, temperature, entropy_grad=entropy_grad)


def _logits(model: Any, h_BTH: Tensor) -> Tensor:
    return F.linear(h_BTH, model.get_output_embeddings().weight)


def _is_plain_qwen3(model: Any) -> bool:
    """True for the unaltered class, without biases, dropout, sliding windows or a stretched context."""
    if type(model) is not Qwen3ForCausalLM:
        return False
    config = model.config
    rope = config.rope_parameters or {}
    return (
        rope.get("rope_type", "default") == "default"
        and not config.attention_dropout
        and not config.attention_bias
        and not config.use_sliding_window
        and config.hidden_act == "silu"
    )


def _hidden_at(model: Any, ids_BL: Tensor, at_BT: Tensor) -> Tensor:
    """Final-normed hidden states at positions `at_BT` of every row, [B, T, H]."""
    config, body = model.config, model.model
    length = ids_BL.shape[1]
    cos_LD, sin_LD = _rotation(config, length, body.embed_tokens.weight)
    x_BLH = F.embedding(ids_BL, body.embed_tokens.weight)
    last = len(body.layers) - 1
    seen_BTL = torch.arange(length) <= at_BT.unsqueeze(-1)
    even = bool((at_BT == at_BT[:1]).all())  # equal prompts and responses: slices and one mask instead of gathers
    for index, layer in enumerate(body.layers):
        attention = layer.self_attn
        u_BLH = _normed(x_BLH, layer.input_layernorm)
        k_BLKD = _rotated(_heads(u_BLH, attention.k_proj, attention.k_norm, config), cos_LD, sin_LD)
        v_BLKD = _heads(u_BLH, attention.v_proj, None, config)
        if index < last:
            q_BLQD = _rotated(_heads(u_BLH, attention.q_proj, attention.q_norm, config), cos_LD, sin_LD)
            mixed = _attend(q_BLQD, k_BLKD, v_BLKD, None)
        else:
            cos, sin = (cos_LD[at_BT[0]], sin_LD[at_BT[0]]) if even else (cos_LD[at_BT], sin_LD[at_BT])
            u_BTH, x_BLH = _at(u_BLH, at_BT, even), _at(x_BLH, at_BT, even)
            q_BTQD = _rotated(_heads(u_BTH, attention.q_proj, attention.q_norm, config), cos, sin)
            mixed = _attend(q_BTQD, k_BLKD, v_BLKD, seen_BTL[0] if even else seen_BTL.unsqueeze(1))
        x_BLH = x_BLH + F.linear(mixed, attention.o_proj.weight)
        u_BLH = _normed(x_BLH, layer.post_attention_layernorm)
        gated = F.silu(F.linear(u_BLH, layer.mlp.gate_proj.weight)) * F.linear(u_BLH, layer.mlp.up_proj.weight)
        x_BLH = x_BLH + F.linear(gated, layer.mlp.down_proj.weight)
    return _normed(x_BLH, body.norm)


def _rotation(config: Any, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine tables [L, D]; the sign of the rotated half sits in the sine, so rotating is a roll."""
    theta = (config.rope_parameters or {}).get("rope_theta") or config.rope_theta
    # In this order of operations the frequencies are transformers' own to the last bit.
    frequency = 1.0 / theta ** (torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim)
    angle = torch.outer(torch.arange(length, dtype=torch.float32), frequency)
    cos, sin = torch.cat((angle.cos(), angle.cos()), -1), torch.cat((-angle.sin(), angle.sin()), -1)
    return cos.to(like), sin.to(like)


def _heads(u_BLH: Tensor, projection: Any, norm: Any, config: Any) -> Tensor:
    flat = F.linear(u_BLH, projection.weight)
    heads = flat.view(*flat.shape[:-1], -1, config.head_dim)
    return heads if norm is None else _normed(heads, norm)


def _normed(x: Tensor, norm: Any) -> Tensor:
    return F.rms_norm(x, (x.shape[-1],), norm.weight, norm.variance_epsilon)


def _rotated(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return heads * cos.unsqueeze(-2) + heads.roll(heads.shape[-1] // 2, dims=-1) * sin.unsqueeze(-2)


def _at(x_BLH: Tensor, at_BT: Tensor, even: bool) -> Tensor:
    if even:
        return x_BLH[:, int(at_BT[0, 0]) : int(at_BT[0, -1]) + 1]
    return x_BLH.gather(1, at_BT.unsqueeze(-1).expand(-1, -1, x_BLH.shape[-1]))


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=True)
    return mixed.transpose(1, 2).flatten(2)
