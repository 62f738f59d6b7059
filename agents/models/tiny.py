"""The embedded tiny policy: an ordinary model directory, built from nothing in a second.

The directory is what AutoModelForCausalLM, AutoTokenizer and serving engines load: Qwen3 weights in safetensors, our
own tokenizer, a chat template without prose. Everything is a function of (size, seed, vocab_size): the same call
writes the same bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file
from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

from palaestra.agents.models.corpus import tiny_corpus
from palaestra.agents.models.tokenizer import CONTROL_TOKENS, END, PAD, train_tokenizer
from palaestra.agents.models.tool_corpus import tool_corpus
from palaestra.mcp_servers.errors import ConfigError, nearest
from palaestra.mcp_servers.framework.sources import derive_seed

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@dataclass(frozen=True, slots=True)
class TinySize:
    """The shape of a tiny policy; query width is heads * head_dim, embeddings are tied."""

    hidden: int
    layers: int
    mlp: int
    heads: int
    kv_heads: int
    head_dim: int
    rope_theta: float = 10_000.0
    max_len: int = 4096


SIZES: dict[str, TinySize] = {
    "XS": TinySize(hidden=128, layers=2, mlp=512, heads=4, kv_heads=2, head_dim=32),
    "S": TinySize(hidden=128, layers=4, mlp=384, heads=4, kv_heads=2, head_dim=32),
    "M": TinySize(hidden=256, layers=4, mlp=768, heads=4, kv_heads=2, head_dim=64),
    "L": TinySize(hidden=512, layers=8, mlp=1536, heads=8, kv_heads=4, head_dim=64),
}
"""With a vocabulary of 512: XS 0.56 M, S 0.85 M, M 3.3 M, L 25.4 M parameters."""


def build_tiny(
    directory: str | Path, size: str = "S", seed: int = 0, vocab_size: int = 512,
    corpus: Literal["worlds", "tools"] = "worlds",
) -> Path:  # fmt: skip
    """Write a randomly initialised tiny policy to `directory` (made if missing) and return its path.

    Weights ~ N(0, 0.02^2), norms 1, each tensor from its own random stream, so a longer model shares the tensors of
    a shorter one by name. The tokenizer is trained on what the worlds say, or on what tools and their users say.

    Raises: ConfigError "size" for an unknown size; "vocab_size" or "corpus" from the tokenizer; "directory" if
        another model already stands there.
    """
    if size not in SIZES:
        raise ConfigError("size", f"unknown size {size!r}: {nearest(size, SIZES)}")
    path = Path(directory)
    if (path / "config.json").exists():
        raise ConfigError("directory", f"{path} already holds a model: choose another directory or delete it first")
    tools = corpus == "tools"
    tokenizer = train_tokenizer(tool_corpus() if tools else tiny_corpus(), vocab_size, ids=tools)
    path.mkdir(parents=True, exist_ok=True)
    config = _config(SIZES[size], vocab_size, pad=CONTROL_TOKENS.index(PAD), end=CONTROL_TOKENS.index(END))
    save_file(_initial_weights(config, seed), path / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(path)
    GenerationConfig(
        do_sample=True, temperature=1.0, top_k=0, top_p=1.0, eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
    ).save_pretrained(path)  # fmt: skip
    tokenizer.save(str(path / "tokenizer.json"))
    (path / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "eos_token": END,
                "pad_token": PAD,
                "additional_special_tokens": [token for token in CONTROL_TOKENS if token not in (PAD, END)],
                "chat_template": CHAT_TEMPLATE,
                "clean_up_tokenization_spaces": False,
                "model_max_length": SIZES[size].max_len,
            },
            indent=2,
        )
        + "\n"
    )
    return path


def _config(size: TinySize, vocab_size: int, *, pad: int, end: int) -> Qwen3Config:
    return Qwen3Config(
        architectures=["Qwen3ForCausalLM"],
        vocab_size=vocab_size,
        hidden_size=size.hidden,
        intermediate_size=size.mlp,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
        head_dim=size.head_dim,
        max_position_embeddings=size.max_len,
        rope_parameters={"rope_type": "default", "rope_theta": size.rope_theta},
        tie_word_embeddings=True,
        attention_bias=False,
        use_sliding_window=False,
        pad_token_id=pad,
        eos_token_id=end,
        bos_token_id=None,
        dtype="float32",
    )


def _initial_weights(config: Qwen3Config, seed: int) -> dict[str, torch.Tensor]:
    with torch.device("meta"):  # shapes and names only: building for real would draw from the global generator
        model = Qwen3ForCausalLM(config)
    weights: dict[str, torch.Tensor] = {}
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            weights[name] = torch.ones(parameter.shape)
        else:
            generator = torch.Generator().manual_seed(derive_seed(seed, name) >> 1)
            weights[name] = torch.empty(parameter.shape).normal_(0.0, config.initializer_range, generator=generator)
    return weights
