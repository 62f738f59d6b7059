"""The fast forward equals the model's own, in values and gradients, and leaves every other model alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from palaestra.mcp_servers.errors import TrainingError
from palaestra.trainers.batch import TrainBatch
from palaestra.trainers.forward import token_scores
from palaestra.trainers.old_pass import score_tokens
from palaestra.trainers.rows import Row
from tests.trainers.conftest import VOCABULARY

MakeRow = Callable[..., Row]
Packed = Callable[..., TrainBatch]
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "max_position_embeddings": 64,
    "initializer_range": 0.5,
}  # fmt: skip


def build(model: Callable[[Any], nn.Module], config: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return model(config).double().eval()


def qwen3(**changes: Any) -> nn.Module:
    return build(Qwen3ForCausalLM, Qwen3Config(**{**SHAPE, **changes}))


def exact(model: nn.Module) -> nn.Module:
    """The same model and weights with torch's RMSNorm: transformers' own rounds to float32 inside."""
    copied = copy.deepcopy(model)
    for name, module in list(copied.named_modules()):
        if type(module).__name__ == "Qwen3RMSNorm":
            norm = nn.RMSNorm(module.weight.shape[0], eps=float(module.variance_epsilon), dtype=torch.float64)
            norm.weight = module.weight
            copied.set_submodule(name, norm)
    return copied


def batch_of(shape: str, make_row: MakeRow, packed: Packed) -> TrainBatch:
    sizes = {
        "even": [(5, 3)] * 4,
        "even prompts": [(5, 3), (5, 1), (5, 4)],
        "even responses": [(2, 3), (7, 3), (4, 3)],
        "ragged": [(1, 5), (9, 1), (4, 3), (4, 7)],
        "one row": [(6, 2)],
        "one token": [(1, 1), (3, 1)],
    }[shape]
    batch = packed([make_row(i, prompt=p, length=n) for i, (p, n) in enumerate(sizes)])
    holes = batch.mask_BT.clone()
    holes[0, batch.response_width // 2 :] = batch.response_width == 1  # observations between sampled tokens
    return batch.replace(mask_BT=holes)


def derivative(model: nn.Module, of: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(of, parameters), strict=True))


SHAPES = ("even", "even prompts", "even responses", "ragged", "one row", "one token")


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_equal_the_models_own(shape: str, temperature: float, make_row: MakeRow, packed: Packed) -> None:
    model, batch = qwen3(), batch_of(shape, make_row, packed)
    with torch.no_grad():
        own = score_tokens(exact(model), batch, temperature)
        ours = token_scores(model, batch, temperature)
    real_BT = batch.response_mask_BT
    for mine, reference in zip(ours, own, strict=True):
        assert mine.dtype == reference.dtype == torch.float64
        torch.testing.assert_close(mine[real_BT], reference[real_BT], rtol=0, atol=1e-12)


@pytest.mark.parametrize("entropy_grad", [False, True])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("shape", ["even", "ragged"])
def test_gradients_equal_the_models_own(
    shape: str, tied: bool, entropy_grad: bool, make_row: MakeRow, packed: Packed
) -> None:
    model, batch = qwen3(tie_word_embeddings=tied), batch_of(shape, make_row, packed)
    found = []
    for score, scored in ((score_tokens, exact(model)), (token_scores, model)):
        scores = score(scored, batch, 0.8, entropy_grad=entropy_grad)
        assert scores.entropy_BT.requires_grad == entropy_grad
        loss = (scores.logprobs_BT * batch.mask_BT).sum()
        if entropy_grad:
            loss = loss + 0.3 * (scores.entropy_BT * batch.mask_BT).sum()
        found.append(derivative(scored, loss))
    own, ours = found
    assert len(own) == len(ours) == (24 if tied else 25)
    for name, reference in own.items():
        torch.testing.assert_close(ours[name], reference, rtol=0, atol=1e-10, msg=name)
        assert bool(reference.abs().sum() > 0), name


@pytest.mark.parametrize("layers", [1, 3])
def test_any_number_of_layers(layers: int, make_row: MakeRow, packed: Packed) -> None:
    model = qwen3(num_hidden_layers=layers, rope_parameters={"rope_type": "default", "rope_theta": 500.0})
    batch = batch_of("ragged", make_row, packed)
    own, ours = score_tokens(exact(model), batch, 1.0), token_scores(model, batch, 1.0)
    torch.testing.assert_close(ours.logprobs_BT, own.logprobs_BT, rtol=0, atol=1e-12)


def test_float32_stays_within_rounding(make_row: MakeRow, packed: Packed) -> None:
    model, batch = qwen3().float(), batch_of("ragged", make_row, packed)
    own, ours = score_tokens(model, batch, 1.0), token_scores(model, batch, 1.0)
    assert ours.logprobs_BT.dtype == torch.float32
    torch.testing.assert_close(ours.logprobs_BT, own.logprobs_BT, rtol=0, atol=1e-4)


def test_a_row_does_not_depend_on_its_neighbours(make_row: MakeRow, packed: Packed) -> None:
    model, batch = qwen3(), batch_of("ragged", make_row, packed)
    together = token_scores(model, batch, 1.0).logprobs_BT
    for row in range(len(batch)):
        alone = batch.select(torch.tensor([row])).trim()
        width = int(alone.response_lengths_B)
        torch.testing.assert_close(
            token_scores(model, alone, 1.0).logprobs_BT[0], together[row, :width], rtol=0, atol=1e-12
        )


Subclass = type("Subclass", (Qwen3ForCausalLM,), {})  # it may compute anything, so it runs its own forward
OTHERS: dict[str, Callable[[], nn.Module]] = {
    "llama": lambda: build(LlamaForCausalLM, LlamaConfig(**SHAPE)),
    "subclass": lambda: build(Subclass, Qwen3Config(**SHAPE)),
    "bias": lambda: qwen3(attention_bias=True),
    "dropout": lambda: qwen3(attention_dropout=0.1),
    "sliding window": lambda: qwen3(use_sliding_window=True, sliding_window=2, max_window_layers=0),
    "activation": lambda: qwen3(hidden_act="gelu"),
    "long context": lambda: qwen3(rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 10_000.0}),
}


def calls_of_last_layer(model: Any, batch: TrainBatch) -> tuple[int, Tensor]:
    calls: list[int] = []
    handle = model.model.layers[-1].register_forward_hook(lambda *_: calls.append(1))
    logprobs_BT = token_scores(model, batch, 0.7).logprobs_BT
    handle.remove()
    return len(calls), logprobs_BT


@pytest.mark.parametrize("name", OTHERS)
def test_other_models_run_their_own_forward(name: str, make_row: MakeRow, packed: Packed) -> None:
    model, batch = OTHERS[name](), batch_of("ragged", make_row, packed)
    calls, logprobs_BT = calls_of_last_layer(model, batch)
    assert calls == 1
    assert torch.equal(logprobs_BT, score_tokens(model, batch, 0.7).logprobs_BT)
    assert calls_of_last_layer(qwen3(), batch)[0] == 0  # and the plain model does not


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_without_a_law_is_refused(temperature: float, make_row: MakeRow, packed: Packed) -> None:
    with pytest.raises(TrainingError, match="need temperature > 0") as caught:
        token_scores(qwen3(), batch_of("even", make_row, packed), temperature)
    assert caught.value.code == "temperature"


def test_broken_weights_are_refused(make_row: MakeRow, packed: Packed) -> None:
    model = qwen3()
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    with pytest.raises(TrainingError, match="non-finite log-probability") as caught:
        token_scores(model, batch_of("even", make_row, packed), 1.0)
    assert caught.value.code == "non_finite"
