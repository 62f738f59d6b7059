"""The law and the draws: exact where they can be, counted where they are random."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from palaestra.agents.engine.sampling import check_sampling, draw, entropy, law, stream_keys, uniforms
from palaestra.agents.types import Sampling
from palaestra.mcp_servers.errors import ConfigError

LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0, 1.0]])


def test_temperature_scales_the_logits() -> None:
    expected = torch.log_softmax(LOGITS / 0.5, dim=-1)
    assert torch.equal(law(LOGITS, Sampling(temperature=0.5)), expected)


def test_the_law_is_float32_even_for_bfloat16_logits() -> None:
    assert law(LOGITS.bfloat16(), Sampling()).dtype == torch.float32


def test_temperature_zero_is_one_hot_at_the_first_largest_logit() -> None:
    logprobs = law(torch.tensor([[1.0, 3.0, 3.0]]), Sampling(temperature=0.0))
    assert logprobs.tolist() == [[-math.inf, 0.0, -math.inf]]
    assert entropy(logprobs.exp(), logprobs).tolist() == [0.0]


def test_top_k_keeps_k_tokens_and_renormalises() -> None:
    probabilities = law(LOGITS, Sampling(top_k=2)).exp()[0]
    weights = np.exp([2.0, 1.0])
    assert probabilities[:2].tolist() == pytest.approx((weights / weights.sum()).tolist(), rel=1e-5)
    assert probabilities[2:].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("top_p", "kept"), [(0.5, 1), (0.55, 2), (0.7, 2), (0.8, 3), (0.96, 4), (0.999, 5)])
def test_top_p_keeps_the_shortest_list_that_reaches_the_mass(top_p: float, kept: int) -> None:
    # Cumulative masses of LOGITS: .521, .712, .904, .974, 1.
    logprobs = law(LOGITS, Sampling(top_p=top_p))[0]
    assert int(torch.isfinite(logprobs).sum()) == kept
    assert float(logprobs.exp().sum()) == pytest.approx(1.0, abs=1e-6)


def test_top_k_cuts_before_top_p() -> None:
    # After top_k=2 the first token holds 0.73 of the mass, so 0.7 is reached by it alone.
    assert torch.isfinite(law(LOGITS, Sampling(top_k=2, top_p=0.7))).sum() == 1


def test_entropy_of_a_uniform_law() -> None:
    logprobs = law(torch.zeros(2, 8), Sampling())
    assert entropy(logprobs.exp(), logprobs).tolist() == pytest.approx([math.log(8)] * 2)


def test_draw_inverts_the_cumulative_law() -> None:
    probabilities = torch.tensor([[0.0, 0.25, 0.0, 0.75, 0.0]]).expand(5, -1)
    drawn = draw(probabilities, torch.tensor([0.0, 0.2499, 0.25, 0.9999, 1 - 2**-53], dtype=torch.float64))
    assert drawn.tolist() == [1, 1, 3, 3, 3]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40), st.integers(0, 2**53 - 1))
def test_a_token_of_probability_zero_is_never_drawn(masses: list[float], bits: int) -> None:
    probabilities = torch.tensor([[*masses, 0.5]])
    token = int(draw(probabilities, torch.tensor([bits * 2.0**-53], dtype=torch.float64)))
    assert float(probabilities[0, token]) > 0


def test_draws_follow_the_law() -> None:
    """Chi-square of 200,000 draws against the exact law, 4 degrees of freedom: 99.99% quantile 23.5."""
    count = 200_000
    keys = stream_keys(11, [("row", 0)])
    numbers = np.concatenate([uniforms(keys, index) for index in range(count)])
    probabilities = law(LOGITS, Sampling(temperature=0.7)).exp()
    drawn = draw(probabilities.expand(count, -1), torch.from_numpy(numbers))
    seen = np.bincount(drawn.numpy(), minlength=5)
    expected = probabilities[0].double().numpy() * count
    assert ((seen - expected) ** 2 / expected).sum() < 23.5


def test_random_numbers_are_uniform_across_rows_and_positions() -> None:
    """Chi-square over 64 bins both ways, 63 degrees of freedom: 99.99% quantile 113; neighbours are uncorrelated."""
    keys = stream_keys(0, [(f"episode-{row}", turn) for row in range(500) for turn in range(4)])
    numbers = np.stack([uniforms(keys, index) for index in range(50)])
    assert numbers.min() >= 0
    assert numbers.max() < 1
    seen = np.histogram(numbers, bins=64, range=(0, 1))[0]
    expected = numbers.size / 64
    assert ((seen - expected) ** 2 / expected).sum() < 113
    for shifted in (numbers[1:, :] * numbers[:-1, :], numbers[:, 1:] * numbers[:, :-1]):
        assert abs(shifted.mean() - 0.25) < 4 * 0.22 / math.sqrt(shifted.size)


def test_random_numbers_depend_on_every_name() -> None:
    def number(seed: int, row: str, turn: int, index: int) -> float:
        return float(uniforms(stream_keys(seed, [(row, turn)]), index)[0])

    base = number(0, "a", 0, 0)
    assert base == number(0, "a", 0, 0)
    assert len({base, number(1, "a", 0, 0), number(0, "b", 0, 0), number(0, "a", 1, 0), number(0, "a", 0, 1)}) == 5


@pytest.mark.parametrize(
    ("sampling", "key"),
    [
        (Sampling(temperature=-0.1), "temperature=-0.1"),
        (Sampling(temperature=math.nan), "temperature=nan"),
        (Sampling(top_p=0.0), "top_p=0.0"),
        (Sampling(top_p=1.5), "top_p=1.5"),
        (Sampling(top_k=-1), "top_k=-1"),
        (Sampling(max_new_tokens=0), "max_new_tokens=0"),
    ],
)
def test_impossible_settings_are_named(sampling: Sampling, key: str) -> None:
    with pytest.raises(ConfigError, match=key) as caught:
        check_sampling(sampling)
    assert caught.value.code == "sampling"
