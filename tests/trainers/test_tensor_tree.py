"""Nested data with tensors through JSON and safetensors."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError

from palaestra.mcp_servers.errors import TrainingError
from palaestra.trainers.rng_streams import capture_rng, restore_rng
from palaestra.trainers.tensor_tree import flatten, load_tree, save_tensors, save_tree, unflatten

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
KEYS = st.text(max_size=4) | st.integers() | st.sampled_from(["$tensor", "$tuple", "$dict", "$float", "$ndarray"])
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


def typed(tree: Any) -> Any:
    """The tree with every type spelled out, since 1 == 1.0 == True."""
    if isinstance(tree, dict):
        return {(type(key), key): typed(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return (type(tree), [typed(item) for item in tree])
    return (type(tree), tree)


@given(TREES)
def test_plain_data_come_back_with_their_types(tree: Any) -> None:
    data, tensors = flatten(tree)
    assert tensors == {}
    assert typed(unflatten(data, tensors)) == typed(tree)


def test_tensors_and_arrays_come_back_from_files(tmp_path: Path) -> None:
    tree: dict[str, Any] = {
        "x": [torch.arange(3, dtype=torch.int16), {0: torch.tensor(True)}],
        "half": torch.tensor([1.5, math.nan], dtype=torch.bfloat16),
        "array": np.arange(6, dtype="<u4").reshape(2, 3),
        "infinite": np.array([np.inf, 0.5]),
    }
    save_tree(tmp_path, "state", tree)
    again = load_tree(tmp_path, "state")
    assert torch.equal(again["x"][0], tree["x"][0])
    assert again["x"][0].dtype == torch.int16
    assert again["x"][1][0].item() is True
    assert torch.equal(again["half"].view(torch.int16), tree["half"].view(torch.int16))
    for name in ("array", "infinite"):
        assert again[name].dtype == tree[name].dtype
        assert np.array_equal(again[name], tree[name])


def test_a_slice_is_saved_without_the_rest_of_its_memory(tmp_path: Path) -> None:
    save_tensors(tmp_path / "slice.safetensors", {"x": torch.zeros(10_000)[:3]})
    assert (tmp_path / "slice.safetensors").stat().st_size < 500


def test_what_is_no_tree_is_named_by_its_path() -> None:
    with pytest.raises(TrainingError, match="a/1/b is a ndarray"):
        flatten({"a": [0, {"b": np.array(["text"])}]})
    with pytest.raises(TrainingError, match="the state is a object"):
        flatten(object())
    with pytest.raises(TrainingError, match="a key must be text or an integer"):
        flatten({None: 1})


def test_an_error_that_is_not_the_disk_s_passes_through(tmp_path: Path) -> None:
    with pytest.raises((SafetensorError, OSError)):
        save_tensors(tmp_path / "missing" / "x.safetensors", {"x": torch.zeros(1)})


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.MT19937, np.random.SFC64, np.random.Philox])
def test_every_numpy_stream_goes_on_where_it_was(tmp_path: Path, kind: Any) -> None:
    numbers = np.random.Generator(kind(5))
    numbers.random(7)
    save_tree(tmp_path, "rng", capture_rng(numpy_streams={"data": numbers}))
    expected = numbers.random(5)
    fresh = np.random.Generator(kind(6))
    restore_rng(load_tree(tmp_path, "rng"), numpy_streams={"data": fresh})
    assert np.array_equal(fresh.random(5), expected)
