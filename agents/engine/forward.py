"""A tight forward pass over Qwen3-shaped weights.

What makes it faster than a general implementation: query/key/value and gate/up projections are one matrix each, keys
and values are written into preallocated memory and read through views, one normalisation and one rotation serve query
and key heads together, and query heads that share a key head are folded into the query axis of the attention kernel,
so keys are never repeated. The result equals the reference forward up to floating-point rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from palaestra.agents.engine.kv import KVCache
from palaestra.mcp_servers.errors import ConfigError, TrainingError


@dataclass(frozen=True, slots=True)
class Qwen3Shape:
    """The numbers of a config.json this forward depends on."""

    layers: int
    hidden: int
    mlp: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    rms_eps: float
    rope_theta: float
    tied: bool

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Qwen3Shape:
        """Read a config.json.

        Raises: ConfigError "architecture" for a model this forward cannot run exactly, naming the setting.
        """
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        needs = {
            "model_type": (config.get("model_type"), "qwen3"),
            "attention_bias": (bool(config.get("attention_bias")), False),
            "use_sliding_window": (bool(config.get("use_sliding_window")), False),
            "hidden_act": (config.get("hidden_act", "silu"), "silu"),
            "rope_type": (rope.get("rope_type", "default"), "default"),
        }
        for key, (value, needed) in needs.items():
            if value != needed:
                raise ConfigError(
                    "architecture", f"{key}={value!r}, this engine needs {needed!r}: use TransformersEngine"
                )
        return cls(
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            mlp=config["intermediate_size"],
            heads=config["num_attention_heads"],
            kv_heads=config["num_key_value_heads"],
            head_dim=config["head_dim"],
            vocab_size=config["vocab_size"],
            rms_eps=config["rms_norm_eps"],
            rope_theta=rope.get("rope_theta") or config["rope_theta"],
            tied=bool(config.get("tie_word_embeddings")),
        )


@dataclass(frozen=True, slots=True)
class _Layer:
    qkv: Tensor
    qk_norm: Tensor
    out: Tensor
    gate_up: Tensor
    down: Tensor
    norm_in: Tensor
    norm_mlp: Tensor


class Qwen3Forward:
    """The weights, fused once per weight update, and the forward over them.

    Args:
        weights: tensors under their names in the model directory.
        max_len: longest stream; rotation tables are built up to it.
    Raises: TrainingError "weights" if a tensor is missing or has another shape.
    """

    def __init__(
        self, shape: Qwen3Shape, weights: Mapping[str, Tensor], max_len: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.shape = shape
        reader = _Reader(weights, dtype, device)
        self._embedding = reader("model.embed_tokens.weight", shape.vocab_size, shape.hidden)
        self._head = (
            self._embedding if shape.tied else reader("lm_head.weight", shape.vocab_size, shape.hidden)
        )  # fmt: skip
        self._norm = reader("model.norm.weight", shape.hidden)
        self._layers = [_fuse(shape, reader, layer) for layer in range(shape.layers)]
        frequency = shape.rope_theta ** (-torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim)
        angle = torch.outer(torch.arange(max_len + 1, dtype=torch.float32), frequency)
        # The sign of the rotated half sits in the sine table, so rotating is a roll and no negation.
        self._cos = torch.cat((angle.cos(), angle.cos()), dim=-1).to(device, dtype)
        self._sin = torch.cat((-angle.sin(), angle.sin()), dim=-1).to(device, dtype)

    def new_cache(self) -> KVCache:
        """An empty key/value cache for this model."""
        shape = self.shape
        return KVCache(shape.layers, shape.kv_heads, shape.head_dim, self._norm.dtype, self._norm.device)

    def hidden(self, ids_BT: Tensor, starts: int | Tensor, cache: KVCache, first_row: int) -> Tensor:
        """Final-normed hidden states of T new tokens per row; their keys and values go into the cache.

        Row b is cache row first_row + b. Its lane t stands at position start + t and sees every column up to its own.
        Padding lanes at the end of a row are harmless: they write behind the row's last token, where the next call
        overwrites them, or into the scratch column.

        Args:
            ids_BT: int64 [B, T].
            starts: one start position for all rows (uniform: no gather, at most a shared mask), or int64 [B] (ragged).
            cache: has room for every row up to its last token; the positions' columns are overwritten.
            first_row: cache row of row 0 of the batch.
        Returns: [B, T, H] in the weights' type.
        Cost: B * T * (2 * parameters + attention over the columns in use); a ragged call with T > 1 builds a mask
            [B, groups * T, columns].
        """
        lanes = _lanes(ids_BT, starts, cache, self._cos, self._sin, self.shape)
        x_BTH = F.embedding(ids_BT, self._embedding)
        for index, layer in enumerate(self._layers):
            x_BTH = x_BTH + self._attention(self._normed(x_BTH, layer.norm_in), layer, index, lanes, cache, first_row)
            gate_BTM, up_BTM = F.linear(self._normed(x_BTH, layer.norm_mlp), layer.gate_up).chunk(2, dim=-1)
            x_BTH = x_BTH + F.linear(F.silu(gate_BTM).mul_(up_BTM), layer.down)
        return self._normed(x_BTH, self._norm)

    def logits(self, hidden_BH: Tensor) -> Tensor:
        """Float32 logits [..., V] of final-normed hidden states."""
        return F.linear(hidden_BH, self._head).float()

    def _normed(self, x_BTH: Tensor, weight_H: Tensor) -> Tensor:
        return F.rms_norm(x_BTH, (self.shape.hidden,), weight_H, self.shape.rms_eps)

    def _attention(
        self, x_BTH: Tensor, layer: _Layer, index: int, lanes: _Lanes, cache: KVCache, first_row: int
    ) -> Tensor:
        shape = self.shape
        batch, width, _ = x_BTH.shape
        heads_BTND = F.linear(x_BTH, layer.qkv).view(batch, width, -1, shape.head_dim)
        qk_BTND, v_BTKD = torch.split(heads_BTND, [shape.heads + shape.kv_heads, shape.kv_heads], dim=2)
        qk_BTND = F.rms_norm(qk_BTND, (shape.head_dim,), None, shape.rms_eps) * layer.qk_norm
        qk_BTND = (qk_BTND * lanes.cos).addcmul_(qk_BTND.roll(shape.head_dim // 2, dims=-1), lanes.sin)
        q_BTQD, k_BTKD = torch.split(qk_BTND, [shape.heads, shape.kv_heads], dim=2)
        rows = slice(first_row, first_row + batch)
        keys, values = cache.keys[index][rows], cache.values[index][rows]
        lanes.write(keys, k_BTKD)
        lanes.write(values, v_BTKD)
        if lanes.fresh:
            attended = F.scaled_dot_product_attention(
                q_BTQD.transpose(1, 2), k_BTKD.transpose(1, 2), v_BTKD.transpose(1, 2), is_causal=True, enable_gqa=True
            )
            return F.linear(attended.transpose(1, 2).reshape(batch, width, -1), layer.out)
        groups = shape.heads // shape.kv_heads
        q_BTKGD = q_BTQD.reshape(batch, width, shape.kv_heads, groups, shape.head_dim)
        folded = q_BTKGD.permute(0, 2, 3, 1, 4).flatten(2, 3)
        attended = F.scaled_dot_product_attention(
            folded, keys[:, :, : lanes.columns], values[:, :, : lanes.columns], attn_mask=lanes.mask
        )
        attended = attended.view(batch, shape.kv_heads, groups, width, -1).permute(0, 3, 1, 2, 4)
        return F.linear(attended.reshape(batch, width, -1), layer.out)


@dataclass(frozen=True, slots=True)
class _Lanes:
    """Where the lanes of one call stand: the same for every layer."""

    start: int
    positions_BT: Tensor | None
    columns: int
    fresh: bool
    cos: Tensor
    sin: Tensor
    mask: Tensor | None

    def write(self, store: Tensor, new_BTKD: Tensor) -> None:
        if self.positions_BT is None:
            store[:, :, self.start : self.start + new_BTKD.shape[1]] = new_BTKD.transpose(1, 2)
        else:
            rows_B1 = torch.arange(len(new_BTKD), device=store.device).unsqueeze(-1)
            store[rows_B1, :, self.positions_BT] = new_BTKD


def _lanes(ids_BT: Tensor, starts: int | Tensor, cache: KVCache, cos: Tensor, sin: Tensor, shape: Qwen3Shape) -> _Lanes:
    width = ids_BT.shape[1]
    groups = shape.heads // shape.kv_heads
    offset_T = torch.arange(width, device=ids_BT.device)
    if isinstance(starts, int):
        end = starts + width
        mask = None
        if width > 1 and starts > 0:
            mask = torch.arange(end, device=ids_BT.device) <= (starts + offset_T).repeat(groups).unsqueeze(-1)
        table = slice(starts, end)
        return _Lanes(starts, None, end, starts == 0, cos[table].unsqueeze(1), sin[table].unsqueeze(1), mask)
    scratch = cache.columns - 1
    positions_BT = (starts.unsqueeze(-1) + offset_T).clamp_(max=scratch)
    columns = min(int(starts.max()) + width, scratch)
    seen_BTS = torch.arange(columns, device=ids_BT.device) <= positions_BT.unsqueeze(-1)
    mask = seen_BTS.repeat(1, groups, 1).unsqueeze(1)
    table_BT = positions_BT.clamp(max=len(cos) - 1)
    return _Lanes(0, positions_BT, columns, False, cos[table_BT].unsqueeze(2), sin[table_BT].unsqueeze(2), mask)


class _Reader:
    """Reads named tensors, checks their shapes and converts them."""

    def __init__(self, weights: Mapping[str, Tensor], dtype: torch.dtype, device: torch.device) -> None:
        self._weights, self._dtype, self._device = weights, dtype, device

    def __call__(self, name: str, *shape: int) -> Tensor:
        tensor = self._weights.get(name)
        found = None if tensor is None else tuple(tensor.shape)
        if tensor is None or found != shape:
            raise TrainingError("weights", f"{name}: shape {found}, config.json says {shape}: not this model's weights")
        # A copy even where type and device agree: an optimiser step must not change weights under a rollout.
        return tensor.detach().to(self._device, self._dtype, copy=True)


def _fuse(shape: Qwen3Shape, reader: _Reader, layer: int) -> _Layer:
    prefix = f"model.layers.{layer}."
    q_width, kv_width = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    attention = prefix + "self_attn."
    q_norm, k_norm = (reader(f"{attention}{kind}_norm.weight", shape.head_dim) for kind in "qk")
    return _Layer(
        qkv=torch.cat(
            [
                reader(attention + "q_proj.weight", q_width, shape.hidden),
                reader(attention + "k_proj.weight", kv_width, shape.hidden),
                reader(attention + "v_proj.weight", kv_width, shape.hidden),
            ]
        ),
        qk_norm=torch.cat([q_norm.expand(shape.heads, -1), k_norm.expand(shape.kv_heads, -1)]),
        out=reader(attention + "o_proj.weight", shape.hidden, q_width),
        gate_up=torch.cat(
            [reader(f"{prefix}mlp.{kind}_proj.weight", shape.mlp, shape.hidden) for kind in ("gate", "up")]
        ),
        down=reader(prefix + "mlp.down_proj.weight", shape.hidden, shape.mlp),
        norm_in=reader(prefix + "input_layernorm.weight", shape.hidden),
        norm_mlp=reader(prefix + "post_attention_layernorm.weight", shape.hidden),
    )
