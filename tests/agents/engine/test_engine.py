"""The decode engine against plain forwards of the transformers model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel

from palaestra.agents.engine.base import GenerationRequest
from palaestra.agents.engine.engine import DecodeEngine, EngineConfig
from palaestra.agents.engine.forward import Qwen3Shape
from palaestra.agents.types import FinishReason, Sampling
from palaestra.mcp_servers.errors import ConfigError, RolloutError, TrainingError
from tests.agents.engine.reference import perturb, prompts, teacher_forced

END = 1


def build(
    directory: Path, weights: dict[str, Tensor], *, stops: tuple[int, ...] = (END,), **config: object
) -> DecodeEngine:
    shape = Qwen3Shape.from_config(json.loads((directory / "config.json").read_text()))
    return DecodeEngine(shape, weights, stops, EngineConfig.model_validate(config))


@pytest.fixture
def engine(model_directory: Path, weights: dict[str, Tensor]) -> DecodeEngine:
    return build(model_directory, weights)


def requests_of(ids: list[tuple[int, ...]]) -> list[GenerationRequest]:
    return [GenerationRequest(f"row-{row}", new) for row, new in enumerate(ids)]


@pytest.mark.parametrize("config", [{"max_slots": 16}, {"max_slots": 5}, {"max_slots": 16, "prefill_tokens": 1}])
def test_logprobs_equal_a_teacher_forced_forward_over_ragged_episodes(
    model_directory: Path, weights: dict[str, Tensor], reference: PreTrainedModel, config: dict[str, int]
) -> None:
    """Twelve episodes, a random subset each turn, some end early; the small table evicts and prefills again."""
    stops = tuple(range(1, 40))
    engine = build(model_directory, weights, stops=stops, **config)
    generator = np.random.default_rng(1)
    transcripts: dict[str, list[int]] = {}
    reasons = []
    for turn in range(6):
        chosen = generator.permutation(12)[: generator.integers(2, 13)]
        requests = [
            GenerationRequest(
                f"e{name}", tuple(generator.integers(6, 512, generator.integers(1, 40)).tolist()), f"e{name}", turn
            )
            for name in chosen.tolist()
        ]
        sampling = Sampling(temperature=0.8, max_new_tokens=15, seed=turn)
        for request, generation in zip(requests, engine.generate(requests, sampling), strict=True):
            prompt = [*transcripts.get(request.row_id, []), *request.new_ids]
            laws = teacher_forced(reference, prompt, generation.token_ids, 0.8)
            expected = laws.gather(1, torch.tensor(generation.token_ids).unsqueeze(-1)).squeeze(-1)
            assert generation.logprobs == pytest.approx(expected.tolist(), abs=1e-4)
            assert generation.entropies == pytest.approx((-(laws.exp() * laws).sum(-1)).tolist(), abs=1e-4)
            stopped = generation.token_ids[-1] in stops
            assert generation.finish_reason == (FinishReason.STOP if stopped else FinishReason.LENGTH)
            assert stopped or len(generation.token_ids) == 15
            assert not set(generation.token_ids[:-1]) & set(stops)
            transcripts[request.row_id] = [*prompt, *generation.token_ids]
            reasons.append(generation.finish_reason)
        if turn == 3:
            engine.release(requests[0].row_id)
            engine.release("never seen")
            del transcripts[requests[0].row_id]
    assert {FinishReason.STOP, FinishReason.LENGTH} == set(reasons)


def test_greedy_equals_transformers_generate(engine: DecodeEngine, reference: PreTrainedModel) -> None:
    ids = prompts(2, [20] * 8)
    config = GenerationConfig(do_sample=False, max_new_tokens=12, pad_token_id=0, eos_token_id=END)
    with torch.inference_mode():
        tensor = torch.tensor(ids)
        expected = reference.generate(tensor, attention_mask=torch.ones_like(tensor), generation_config=config)
    for generation, row in zip(
        engine.generate(requests_of(ids), Sampling(0.0, max_new_tokens=12)), expected[:, 20:], strict=True
    ):
        assert list(generation.token_ids) == row.tolist()[: len(generation.token_ids)]
        assert set(generation.logprobs) == {0.0}
        assert set(generation.entropies) == {0.0}


def test_first_tokens_follow_the_softmax(engine: DecodeEngine, reference: PreTrainedModel) -> None:
    """8,192 rows of one prompt; tokens rarer than 5 expected are pooled; 99.99% quantile by Wilson-Hilferty."""
    (prompt,) = prompts(3, [9])
    count = 8192
    rows = [GenerationRequest(f"row-{row}", prompt) for row in range(count)]
    drawn = [g.token_ids[0] for g in engine.generate(rows, Sampling(0.6, max_new_tokens=1, seed=5))]
    expected = teacher_forced(reference, prompt, [0], 0.6)[0].exp().double().numpy() * count
    seen = np.bincount(drawn, minlength=512)
    common = expected >= 5
    seen, expected = (np.append(x[common], x[~common].sum()) for x in (seen, expected))
    freedom = len(seen) - 1
    assert freedom > 20
    limit = freedom * (1 - 2 / (9 * freedom) + 3.72 * (2 / (9 * freedom)) ** 0.5) ** 3
    assert ((seen - expected) ** 2 / expected).sum() < limit


def test_a_row_does_not_depend_on_its_neighbours(engine: DecodeEngine) -> None:
    ids = prompts(4, [3, 30, 17, 8, 25, 30, 30])
    sampling = Sampling(max_new_tokens=10, seed=9)
    requests = requests_of(ids)
    together = engine.generate(requests, sampling)
    backwards = engine.generate(requests[::-1], sampling)[::-1]
    alone = [engine.generate([request], sampling)[0] for request in requests]
    for one, two, three in zip(together, backwards, alone, strict=True):
        assert one.token_ids == two.token_ids == three.token_ids
        assert one.logprobs == pytest.approx(two.logprobs, abs=1e-4)
        assert one.logprobs == pytest.approx(three.logprobs, abs=1e-4)


def test_seed_row_and_turn_each_change_the_draws(engine: DecodeEngine) -> None:
    (prompt,) = prompts(5, [6])
    requests = [GenerationRequest("a", prompt), GenerationRequest("b", prompt), GenerationRequest("a", prompt, turn=1)]
    first = [g.token_ids for g in engine.generate(requests, Sampling(max_new_tokens=12))]
    second = [g.token_ids for g in engine.generate(requests, Sampling(max_new_tokens=12, seed=1))]
    assert len({*first, *second}) == 6


def test_turns_of_a_session_equal_one_long_prompt(model_directory: Path, weights: dict[str, Tensor]) -> None:
    kept, fresh = (build(model_directory, weights) for _ in range(2))
    transcript: tuple[int, ...] = ()
    for turn, new in enumerate(prompts(6, [12, 1, 30, 7])):
        sampling = Sampling(max_new_tokens=8, seed=turn)
        ours = kept.generate([GenerationRequest("e", new, "e", turn)], sampling)[0]
        whole = fresh.generate([GenerationRequest("e", (*transcript, *new), turn=turn)], sampling)[0]
        assert ours.token_ids == whole.token_ids
        assert ours.logprobs == pytest.approx(whole.logprobs, abs=1e-5)
        transcript = (*transcript, *new, *ours.token_ids)


def test_new_weights_are_those_of_a_fresh_engine(
    model_directory: Path, weights: dict[str, Tensor], reference: PreTrainedModel
) -> None:
    new_weights = perturb(weights, 8)
    engine, fresh = build(model_directory, weights), build(model_directory, new_weights)
    first, second = prompts(7, [15, 5])
    sampling = Sampling(max_new_tokens=6)
    opening = engine.generate([GenerationRequest("e", first, "e")], sampling)[0]
    assert opening.policy_version == engine.policy_version == 0
    assert engine.update_weights(new_weights) == engine.policy_version == 1
    ours = engine.generate([GenerationRequest("e", second, "e", 1)], sampling)[0]
    whole = fresh.generate([GenerationRequest("e", (*first, *opening.token_ids, *second), turn=1)], sampling)[0]
    assert ours.policy_version == 1
    assert ours.token_ids == whole.token_ids
    assert ours.logprobs == pytest.approx(whole.logprobs, abs=1e-5)
    assert engine.update_weights(reference) == 2
    again = engine.generate([GenerationRequest("e", first)], sampling)[0]
    assert again.token_ids == opening.token_ids
    assert again.logprobs == pytest.approx(opening.logprobs, abs=1e-5)


def test_stale_keys_stay_if_asked(model_directory: Path, weights: dict[str, Tensor]) -> None:
    first, second = prompts(8, [40, 2])
    logprobs = {}
    for stale_kv in ("drop", "keep"):
        engine = build(model_directory, weights, stale_kv=stale_kv)
        engine.generate([GenerationRequest("e", first, "e")], Sampling(max_new_tokens=1))
        engine.update_weights(perturb(weights, 9))
        generation = engine.generate([GenerationRequest("e", second, "e", 1)], Sampling(0.5, max_new_tokens=1))[0]
        logprobs[stale_kv] = generation.logprobs[0]
    assert abs(logprobs["drop"] - logprobs["keep"]) > 1e-3


def test_an_optimiser_step_does_not_reach_the_engine(model_directory: Path, weights: dict[str, Tensor]) -> None:
    shared = {name: tensor.clone() for name, tensor in weights.items()}
    engine = build(model_directory, shared)
    request, sampling = requests_of(prompts(9, [10])), Sampling(max_new_tokens=3)
    before = engine.generate(request, sampling)
    for tensor in shared.values():
        tensor.add_(1.0)
    assert engine.generate(request, sampling) == before


@pytest.mark.parametrize("length", [29, 30])
def test_a_full_context_says_so_and_changes_nothing(
    model_directory: Path, weights: dict[str, Tensor], length: int
) -> None:
    engine = build(model_directory, weights, max_len=32, stops=())
    first, long, short = prompts(10, [1, length, 3])
    opening = engine.generate([GenerationRequest("e", first, "e")], Sampling(max_new_tokens=2))[0]
    assert len(opening.token_ids) == 2
    rows = [GenerationRequest("e", long, "e", 1), GenerationRequest("f", short)]
    generation, neighbour = engine.generate(rows, Sampling(max_new_tokens=4))
    assert generation.context_full
    assert generation.token_ids == ()
    assert not neighbour.context_full
    assert len(neighbour.token_ids) == 4
    closing = engine.generate([GenerationRequest("e", short, "e", 2)], Sampling(max_new_tokens=64))[0]
    assert len(closing.token_ids) == 32 - 3 - 3
    assert closing.finish_reason == FinishReason.LENGTH
    assert engine.generate([rows[0]], Sampling())[0].context_full


def test_the_last_position_is_as_exact_as_the_first(
    model_directory: Path, weights: dict[str, Tensor], reference: PreTrainedModel
) -> None:
    """Ragged rows that run into the end of the context at different times."""
    engine = build(model_directory, weights, max_len=64, stops=())
    ids = prompts(11, [63, 40, 60, 5])
    for prompt, generation in zip(ids, engine.generate(requests_of(ids), Sampling(max_new_tokens=100)), strict=True):
        assert len(prompt) + len(generation.token_ids) == 64
        laws = teacher_forced(reference, prompt, generation.token_ids, 1.0)
        expected = laws.gather(1, torch.tensor(generation.token_ids).unsqueeze(-1)).squeeze(-1)
        assert generation.logprobs == pytest.approx(expected.tolist(), abs=1e-4)


def test_bfloat16_is_close_to_float32(
    model_directory: Path, weights: dict[str, Tensor], reference: PreTrainedModel
) -> None:
    half = build(model_directory, weights, dtype="bfloat16")
    ids = prompts(12, [10, 20, 15])
    sampling = Sampling(max_new_tokens=5)
    for prompt, generation in zip(ids, half.generate(requests_of(ids), sampling), strict=True):
        laws = teacher_forced(reference, prompt, generation.token_ids, 1.0)
        expected = laws.gather(1, torch.tensor(generation.token_ids).unsqueeze(-1)).squeeze(-1)
        assert generation.logprobs == pytest.approx(expected.tolist(), abs=0.3)
        assert generation.logprobs != pytest.approx(expected.tolist(), abs=1e-6)


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([GenerationRequest("a", ())], "row 'a': new_ids is empty"),
        ([GenerationRequest("a", (5, 512))], r"row 'a': new_ids must lie in 0\.\.511"),
        ([GenerationRequest("a", (-1,))], r"row 'a': new_ids must lie in 0\.\.511"),
        (
            [GenerationRequest("a", (1,), "s"), GenerationRequest("b", (1,), "s")],
            "row 'b': session 's' is also row 'a'",
        ),
    ],
)
def test_bad_requests_are_refused_before_anything_happens(
    engine: DecodeEngine, requests: list[GenerationRequest], message: str
) -> None:
    with pytest.raises(RolloutError, match=message) as caught:
        engine.generate(requests, Sampling())
    assert caught.value.code == "bad_request"


def test_no_requests_no_generations(engine: DecodeEngine) -> None:
    assert engine.generate([], Sampling()) == []


def test_broken_weights_are_reported_and_sessions_survive(model_directory: Path, weights: dict[str, Tensor]) -> None:
    """Ragged rows, so that the NaN keys of the longer one would show through the shorter one's mask."""
    engine, healthy = (build(model_directory, weights) for _ in range(2))
    first, second = (
        [GenerationRequest(f"e{row}", ids, f"e{row}", turn) for row, ids in enumerate(prompts(turn, [10, 50]))]
        for turn in range(2)
    )
    sampling = Sampling(max_new_tokens=4)
    assert engine.generate(first, sampling) == healthy.generate(first, sampling)
    engine.update_weights({name: torch.full_like(tensor, torch.nan) for name, tensor in weights.items()})
    with pytest.raises(RolloutError, match="weights are broken") as caught:
        engine.generate(second, sampling)
    assert caught.value.code == "non_finite_logits"
    engine.update_weights(weights)
    for turn in (second, first):
        for ours, expected in zip(engine.generate(turn, sampling), healthy.generate(turn, sampling), strict=True):
            assert ours.token_ids == expected.token_ids
            assert ours.logprobs == pytest.approx(expected.logprobs, abs=1e-5)


def test_weights_of_another_model_are_refused(engine: DecodeEngine, weights: dict[str, Tensor]) -> None:
    name = "model.layers.1.mlp.down_proj.weight"
    with pytest.raises(TrainingError, match=f"{name}: shape None") as missing:
        engine.update_weights({key: tensor for key, tensor in weights.items() if key != name})
    assert missing.value.code == "weights"
    with pytest.raises(TrainingError, match=rf"{name}: shape \(2, 2\)"):
        engine.update_weights({**weights, name: torch.zeros(2, 2)})
    assert engine.policy_version == 0


@pytest.mark.parametrize(
    "change",
    [{"model_type": "llama"}, {"attention_bias": True}, {"use_sliding_window": True}, {"hidden_act": "gelu"},
     {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}],
)  # fmt: skip
def test_models_it_cannot_run_exactly_are_refused(model_directory: Path, change: dict[str, object]) -> None:
    config = json.loads((model_directory / "config.json").read_text())
    with pytest.raises(ConfigError, match=r"this engine needs .*: use TransformersEngine") as caught:
        Qwen3Shape.from_config({**config, **change})
    assert caught.value.code == "architecture"


def test_untied_heads_are_read(model_directory: Path, weights: dict[str, Tensor], engine: DecodeEngine) -> None:
    config = json.loads((model_directory / "config.json").read_text())
    shape = Qwen3Shape.from_config({**config, "tie_word_embeddings": False})
    head = weights["model.embed_tokens.weight"]
    request = requests_of(prompts(14, [8]))
    same = DecodeEngine(shape, {**weights, "lm_head.weight": head}, (END,)).generate(request, Sampling())
    assert same == engine.generate(request, Sampling())
    other = DecodeEngine(shape, {**weights, "lm_head.weight": -head}, (END,)).generate(request, Sampling())
    assert other != same
