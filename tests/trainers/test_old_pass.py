from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from palaestra.mcp_servers.errors import TrainingError
from palaestra.trainers.batch import TrainBatch
from palaestra.trainers.old_pass import behaviour_as_old, old_pass, reference_pass, token_logprobs
from palaestra.trainers.rows import Row


@pytest.fixture
def rows(make_row: Callable[..., Row]) -> list[Row]:
    """Rows whose prompts and responses have all different lengths, one with an observation inside."""
    return [
        make_row(0, prompt=1, length=4),
        make_row(1, prompt=7, length=1),
        make_row(2, prompt=3, length=5, sampled_mask=(1, 0, 0, 1, 1), behaviour_logprobs=(-1.0, 0.0, 0.0, -1.0, -1.0)),
        make_row(3, prompt=5, length=2),
    ]


def alone(model: Any, row: Row, temperature: float) -> tuple[Tensor, Tensor]:
    """Scores of one row from the model's plain logits, without padding, slicing or batching."""
    ids = torch.tensor([[*row.prompt_ids, *row.response_ids]])
    logits_LV = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, len(row.prompt_ids) - 1 : -1]
    p_LV = (logits_LV / temperature).softmax(-1)
    chosen_L = p_LV.gather(1, torch.tensor(row.response_ids).unsqueeze(1)).squeeze(1)
    return chosen_L.log(), -(p_LV * p_LV.log()).sum(-1)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("multiple_of", [1, 4])
def test_scores_equal_those_of_each_row_alone(
    temperature: float, multiple_of: int, rows: list[Row], packed: Callable[..., TrainBatch], tiny_model: nn.Module
) -> None:
    batch = packed(rows, multiple_of=multiple_of)
    logprobs_BT, entropy_BT = token_logprobs(tiny_model, batch, temperature)
    for i, row in enumerate(rows):
        expected, entropy = alone(tiny_model, row, temperature)
        torch.testing.assert_close(logprobs_BT[i, : len(expected)], expected, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(entropy_BT[i, : len(entropy)], entropy, rtol=1e-10, atol=1e-12)
    assert bool(logprobs_BT.isfinite().all()), "padding must stay finite"


def test_gradients_equal_those_of_each_row_alone(
    rows: list[Row], packed: Callable[..., TrainBatch], tiny_model: nn.Module
) -> None:
    batch = packed(rows)
    logprobs_BT, entropy_BT = token_logprobs(tiny_model, batch, 1.0, entropy_grad=True)
    real_BT = batch.response_mask_BT
    together = torch.autograd.grad((logprobs_BT + entropy_BT)[real_BT].sum(), list(tiny_model.parameters()))
    scores = [alone(tiny_model, row, 1.0) for row in rows]
    total = torch.stack([(logprob + entropy).sum() for logprob, entropy in scores]).sum()
    for ours, theirs in zip(together, torch.autograd.grad(total, list(tiny_model.parameters())), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def test_entropy_carries_a_gradient_only_when_asked(
    rows: list[Row], packed: Callable[..., TrainBatch], tiny_model: nn.Module
) -> None:
    batch = packed(rows)
    assert not token_logprobs(tiny_model, batch, 1.0)[1].requires_grad
    assert token_logprobs(tiny_model, batch, 1.0, entropy_grad=True)[1].requires_grad


@pytest.mark.parametrize("micro_rows", [1, 3, 64])
def test_old_pass_is_the_forward_without_gradient_in_any_split(
    micro_rows: int, rows: list[Row], packed: Callable[..., TrainBatch], tiny_model: nn.Module
) -> None:
    batch = packed(rows)
    logprobs_BT, entropy_BT = token_logprobs(tiny_model, batch, 1.0)
    done = old_pass(tiny_model, batch, 1.0, micro_rows=micro_rows)
    assert done.old_logprobs_BT is not None
    assert done.entropy_BT is not None
    assert done.h_BTH is None
    assert not done.old_logprobs_BT.requires_grad
    real = batch.response_mask_BT
    torch.testing.assert_close(done.old_logprobs_BT, torch.where(real, logprobs_BT, 0.0), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(done.entropy_BT, torch.where(real, entropy_BT, 0.0), rtol=1e-10, atol=1e-12)
    assert reference_pass(tiny_model, batch, 1.0).ref_logprobs_BT is not None


def test_hidden_states_are_those_the_output_layer_saw(
    rows: list[Row], packed: Callable[..., TrainBatch], tiny_model: Any
) -> None:
    done = old_pass(tiny_model, packed(rows), 1.0, micro_rows=2, hidden=True)
    assert done.h_BTH is not None
    logits_BTV = tiny_model.get_output_embeddings()(done.h_BTH)
    expected_BT = logits_BTV.log_softmax(-1).gather(-1, done.response_ids_BT.unsqueeze(-1)).squeeze(-1)
    real = done.response_mask_BT
    assert done.old_logprobs_BT is not None
    torch.testing.assert_close(done.old_logprobs_BT[real], expected_BT[real], rtol=1e-10, atol=1e-12)
    assert bool((done.h_BTH[~real] == 0).all())


@pytest.mark.parametrize("training", [True, False])
def test_old_pass_leaves_the_model_as_it_was(
    training: bool, rows: list[Row], packed: Callable[..., TrainBatch], tiny_model: Any
) -> None:
    tiny_model.train(training)
    try:
        old_pass(tiny_model, packed(rows), 1.0)
        assert tiny_model.training is training
        assert not tiny_model.get_output_embeddings()._forward_pre_hooks
    finally:
        tiny_model.eval()


def test_the_samplers_own_numbers_can_stand_in(rows: list[Row], packed: Callable[..., TrainBatch]) -> None:
    batch = behaviour_as_old(packed(rows))
    assert batch.old_logprobs_BT is batch.behaviour_logprobs_BT


def test_bad_temperature_and_broken_weights_are_refused(
    rows: list[Row], packed: Callable[..., TrainBatch], tiny_model: Any
) -> None:
    for temperature in (0.0, -1.0, float("nan")):
        with pytest.raises(TrainingError) as caught:
            token_logprobs(tiny_model, packed(rows), temperature)
        assert caught.value.code == "temperature"
    weight = tiny_model.get_output_embeddings().weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight.fill_(float("nan"))
    try:
        with pytest.raises(TrainingError) as caught:
            old_pass(tiny_model, packed(rows), 1.0)
        assert caught.value.code == "non_finite"
    finally:
        with torch.no_grad():
            weight.copy_(kept)


def test_half_precision_models_are_scored_in_float32(
    rows: list[Row], packed: Callable[..., TrainBatch], tiny_model: Any
) -> None:
    import copy

    half = copy.deepcopy(tiny_model).to(torch.bfloat16)
    logprobs_BT, entropy_BT = token_logprobs(half, packed(rows), 1.0)
    assert logprobs_BT.dtype == entropy_BT.dtype == torch.float32
