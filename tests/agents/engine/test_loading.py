"""From a directory to an engine, and the fallback engine for architectures ours does not run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from palaestra.agents.engine.base import GenerationEngine, GenerationRequest
from palaestra.agents.engine.engine import DecodeEngine, EngineConfig
from palaestra.agents.engine.loading import load_engine
from palaestra.agents.engine.transformers import TransformersEngine
from palaestra.agents.types import Sampling
from palaestra.mcp_servers.errors import ConfigError, RolloutError, TrainingError
from tests.agents.engine.reference import perturb, prompts

Transcript = list[tuple[tuple[int, ...], tuple[float, ...]]]


def play(engine: GenerationEngine, lengths: Sequence[Sequence[int]], sampling: Sampling) -> Transcript:
    """Sessions of several turns; every row's tokens and log-probabilities in order."""
    played: Transcript = []
    for turn, row_lengths in enumerate(lengths):
        ids = prompts(turn, row_lengths)
        rows = [GenerationRequest(f"r{row}", new, f"r{row}", turn) for row, new in enumerate(ids)]
        played.extend((g.token_ids, g.logprobs) for g in engine.generate(rows, sampling))
    return played


@pytest.fixture
def copy(model_directory: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_directory, tmp_path / "copy"))


def edit(directory: Path, name: str, **changes: object) -> None:
    path = directory / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_both_backends_draw_the_same(model_directory: Path, weights: dict[str, Tensor]) -> None:
    config = EngineConfig(max_slots=2, max_len=128)
    decode = load_engine(model_directory, config)
    fallback = load_engine(model_directory, config, backend="transformers")
    assert isinstance(decode, DecodeEngine)
    assert isinstance(fallback, TransformersEngine)
    lengths, sampling = [[5, 20, 9], [3, 1, 12]], Sampling(0.9, max_new_tokens=7, seed=2)
    for new_weights in (None, perturb(weights, 3)):
        if new_weights is not None:
            assert decode.update_weights(new_weights) == fallback.update_weights(new_weights) == 1
        for (ours, logprobs), (theirs, reference) in zip(
            play(decode, lengths, sampling), play(fallback, lengths, sampling), strict=True
        ):
            assert ours == theirs
            assert logprobs == pytest.approx(reference, abs=1e-4)


def test_the_fallback_forgets_released_sessions_and_knows_a_full_context(model_directory: Path) -> None:
    engine = load_engine(model_directory, EngineConfig(max_len=16), backend="transformers")
    first, long = prompts(0, [4, 15])
    opening = engine.generate([GenerationRequest("a", first, "a")], Sampling(max_new_tokens=2))[0]
    full, neighbour = engine.generate(
        [GenerationRequest("a", long, "a", 1), GenerationRequest("b", long)], Sampling(max_new_tokens=2)
    )
    assert full.context_full
    assert len(neighbour.token_ids) == 1
    engine.release("a")
    engine.release("never seen")
    assert engine.generate([GenerationRequest("a", first, "a")], Sampling(max_new_tokens=2))[0] == opening
    with pytest.raises(RolloutError, match="new_ids is empty"):
        engine.generate([GenerationRequest("a", ())], Sampling())


def test_the_fallback_refuses_weights_of_another_model(model_directory: Path, weights: dict[str, Tensor]) -> None:
    engine = load_engine(model_directory, backend="transformers")
    name = "model.norm.weight"
    for wrong in ({k: w for k, w in weights.items() if k != name}, {**weights, name: torch.ones(3)}):
        with pytest.raises(TrainingError, match=name) as caught:
            engine.update_weights(wrong)
        assert caught.value.code == "weights"
    assert engine.policy_version == 0
    assert engine.update_weights(AutoModelForCausalLM.from_pretrained(model_directory)) == 1


def test_another_architecture_runs_on_the_fallback(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=512, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=128, eos_token_id=[1, 2],
    )  # fmt: skip
    with torch.random.fork_rng():
        LlamaForCausalLM(config).save_pretrained(tmp_path)
    engine = load_engine(tmp_path, EngineConfig(max_len=128))
    assert isinstance(engine, TransformersEngine)
    (prompt,) = prompts(1, [6])
    assert len(engine.generate([GenerationRequest("a", prompt)], Sampling(max_new_tokens=3))[0].token_ids) == 3
    with pytest.raises(ConfigError, match="model_type='llama'"):
        load_engine(tmp_path, EngineConfig(max_len=128), backend="decode")


def test_sharded_weights_are_joined(copy: Path, model_directory: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    names = sorted(weights)
    save_file({name: weights[name] for name in names[::2]}, copy / "model-00001-of-00002.safetensors")
    save_file({name: weights[name] for name in names[1::2]}, copy / "model-00002-of-00002.safetensors")
    sampling = Sampling(max_new_tokens=3)
    assert play(load_engine(copy), [[4]], sampling) == play(load_engine(model_directory), [[4]], sampling)


def test_stop_tokens_come_from_the_directory_or_the_caller(copy: Path) -> None:
    sampling = Sampling(0.0, max_new_tokens=4)
    (first, second, *_), _ = play(load_engine(copy, stop_ids=()), [[4]], sampling)[0]
    assert len(play(load_engine(copy, stop_ids=(first,)), [[4]], sampling)[0][0]) == 1
    edit(copy, "generation_config.json", eos_token_id=[second, first])
    assert len(play(load_engine(copy), [[4]], sampling)[0][0]) == 1
    (copy / "generation_config.json").unlink()
    edit(copy, "config.json", eos_token_id=first)
    assert len(play(load_engine(copy), [[4]], sampling)[0][0]) == 1
    edit(copy, "config.json", eos_token_id=None)
    with pytest.raises(ConfigError, match="names no eos_token_id") as caught:
        load_engine(copy)
    assert caught.value.code == "stop_ids"


def test_a_missing_or_broken_directory_is_named(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"no/such is not a model directory \(config.json is missing\): pass the path"
    ):
        load_engine("no/such")
    (copy / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ConfigError, match=r"model.safetensors cannot be read .*: save the model again"):
        load_engine(copy)
    (copy / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"holds no \*\.safetensors"):
        load_engine(copy)
    with pytest.raises(ConfigError, match="OSError") as caught:
        load_engine(copy, backend="transformers")
    assert caught.value.code == "model_directory"
    for text, message in (("{", "is not JSON"), ("[]", "holds list, not an object")):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ConfigError, match=message):
            load_engine(tmp_path)


def test_more_positions_than_the_model_has_are_refused(model_directory: Path) -> None:
    with pytest.raises(ConfigError, match="max_len=5000 exceeds the 4096 positions") as caught:
        load_engine(model_directory, EngineConfig(max_len=5000))
    assert caught.value.code == "max_len"
