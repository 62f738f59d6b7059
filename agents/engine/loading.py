"""From a model directory to an engine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from palaestra.agents.engine.base import GenerationEngine
from palaestra.agents.engine.engine import DecodeEngine, EngineConfig
from palaestra.agents.engine.forward import Qwen3Shape
from palaestra.agents.engine.transformers import TransformersEngine
from palaestra.mcp_servers.errors import ConfigError, boundary

Backend = Literal["auto", "decode", "transformers"]


def load_engine(
    directory: str | Path,
    config: EngineConfig | None = None,
    *,
    stop_ids: Sequence[int] | None = None,
    backend: Backend = "auto",
) -> GenerationEngine:
    """An engine over the model in a directory (config.json, *.safetensors).

    Args:
        directory: of any causal language model.
        config: limits and number format.
        stop_ids: tokens that end a turn, () for none; by default the directory's eos_token_id.
        backend: "decode" is our engine (Qwen3-shaped models), "transformers" runs any architecture, "auto" takes the
            first that can.
    Raises: ConfigError "model_directory" for a missing or broken directory, "architecture" if backend="decode" cannot
        run the model, "max_len" beyond the model's positions, "stop_ids" if there are none; TrainingError "weights"
        if the tensors do not fit config.json.
    """
    path = Path(directory)
    config = config or EngineConfig()
    model_config = read_json(path, "config.json")
    positions = model_config.get("max_position_embeddings") or config.max_len
    if config.max_len > positions:
        raise ConfigError("max_len", f"max_len={config.max_len} exceeds the {positions} positions of {path}")
    stops = tuple(stop_ids) if stop_ids is not None else end_ids(path, model_config)
    if stop_ids is None and not stops:
        raise ConfigError("stop_ids", f"{path} names no eos_token_id: pass stop_ids")
    if backend != "transformers":
        try:
            shape = Qwen3Shape.from_config(model_config)
        except ConfigError:
            if backend == "decode":
                raise
        else:
            return DecodeEngine(shape, load_weights(path), stops, config)
    with boundary("model_directory", ConfigError):
        model = AutoModelForCausalLM.from_pretrained(
            path, dtype=config.dtype, local_files_only=True, trust_remote_code=False
        )
    return TransformersEngine(model.to(config.device), stops, config)


def load_weights(directory: Path) -> dict[str, torch.Tensor]:
    """All tensors of a directory's safetensors files.

    Raises: ConfigError "model_directory" if there are none or one cannot be read.
    """
    files = sorted(directory.glob("*.safetensors"))
    if not files:
        raise ConfigError("model_directory", f"{directory} holds no *.safetensors: save the model in that format")
    weights: dict[str, torch.Tensor] = {}
    for file in files:
        try:
            weights.update(load_file(file))
        except (SafetensorError, OSError) as error:
            raise ConfigError("model_directory", f"{file} cannot be read ({error}): save the model again") from error
    return weights


def end_ids(directory: Path, model_config: dict[str, Any]) -> tuple[int, ...]:
    """The ids that end a turn: eos_token_id of generation_config.json, else of config.json."""
    found = None
    if (directory / "generation_config.json").exists():
        found = read_json(directory, "generation_config.json").get("eos_token_id")
    if found is None:
        found = model_config.get("eos_token_id")
    if found is None:
        return ()
    return tuple(found) if isinstance(found, list) else (found,)


def read_json(directory: Path, name: str) -> dict[str, Any]:
    """A JSON object of a model directory.

    Raises: ConfigError "model_directory" naming the path and the fix.
    """
    path = directory / name
    fix = "pass the path of a local model directory, e.g. one made by build_tiny"
    if not path.is_file():
        raise ConfigError("model_directory", f"{directory} is not a model directory ({name} is missing): {fix}")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError("model_directory", f"{path} is not JSON ({error}): {fix}") from error
    if not isinstance(data, dict):
        raise ConfigError("model_directory", f"{path} holds {type(data).__name__}, not an object: {fix}")
    return data
