"""The embedded tiny policy: what its tokenizer promises, and that the directory is an ordinary one."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from palaestra.agents.models.corpus import tiny_corpus
from palaestra.agents.models.tiny import SIZES, build_tiny
from palaestra.agents.models.tokenizer import (
    BOARD_WIDTHS,
    CONTROL_TOKENS,
    TAG_TOKENS,
    learn_merges,
    train_tokenizer,
)
from palaestra.agents.models.tool_corpus import tool_corpus
from palaestra.mcp_servers.errors import ConfigError

TOKENIZER = train_tokenizer(tiny_corpus(), 512)
CELLS = "#_O√XPS"


def encode(text: str) -> list[int]:
    ids: list[int] = TOKENIZER.encode(text).ids
    return ids


@st.composite
def boards(draw: st.DrawFn) -> tuple[int, int, str]:
    height, width = draw(st.sampled_from(BOARD_WIDTHS)), draw(st.sampled_from(BOARD_WIDTHS))
    row = st.text(draw(st.sampled_from([CELLS, "#", "#_", "XOPS"])), min_size=width - 2, max_size=width - 2)
    inner = [f"#{draw(row)}#" for _ in range(height - 2)]
    return height, width, "\n".join(["#" * width, *inner, "#" * width])


@settings(max_examples=300, deadline=None)
@given(boards(), st.sampled_from([("", ""), ("Now you see:\n", "\nAllowed actions:\n- up"), ("x: ", "\n\nPush it")]))
def test_every_board_of_a_size_has_the_same_number_of_tokens(
    board: tuple[int, int, str], around: tuple[str, str]
) -> None:
    height, width, text = board
    before, after = around
    ids = encode(before + text + after)
    assert TOKENIZER.decode(ids, skip_special_tokens=False) == before + text + after
    expected = 1 + (height - 2) * (width - 2) + (height - 3) + 1
    assert len(ids) - len(encode(before)) - len(encode(after)) == expected


@settings(max_examples=100, deadline=None)
@given(st.text("_O√XPS#", min_size=16, max_size=16))
def test_a_6x6_board_has_21_tokens_and_the_cell_decides_only_its_own(cells: str) -> None:
    rows = [f"#{cells[i : i + 4]}#" for i in range(0, 16, 4)]
    ids = encode("\n".join(["######", *rows, "######"]))
    assert len(ids) == 21
    boundary = encode("######\n#____#\n#____#\n#____#\n#____#\n######")
    for position, reference in enumerate(boundary):
        row, column = divmod(position - 1, 5)
        if position in (0, 20) or column == 4:
            assert ids[position] == reference
        else:
            assert TOKENIZER.decode([ids[position]]) == cells[4 * row + column]


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_text_survives_the_round_trip(text: str) -> None:
    assert TOKENIZER.decode(encode(text), skip_special_tokens=False) == text


@pytest.mark.parametrize("word", [*CONTROL_TOKENS, *TAG_TOKENS, "up", "down", "left", "right", "still", "√"])
def test_words_of_the_action_language_are_one_token(word: str) -> None:
    assert len(encode(word)) == 1


def test_control_tokens_are_special_and_tags_are_not() -> None:
    tokens = TOKENIZER.get_added_tokens_decoder().values()
    assert {token.content: token.special for token in tokens} == {
        **dict.fromkeys(CONTROL_TOKENS, True),
        **dict.fromkeys(TAG_TOKENS, False),
    }


def test_merges_do_not_depend_on_the_order_of_the_corpus() -> None:
    backwards = Counter(dict(reversed(list(tiny_corpus().items()))))
    assert train_tokenizer(backwards, 512).to_str() == TOKENIZER.to_str()


def test_merges_are_byte_pair_encoding() -> None:
    # low x5, lower x2, newest x6, widest x3: the worked example of arXiv 1508.07909.
    words = {("l", "o", "w"): 5, ("l", "o", "w", "e", "r"): 2, tuple("newest"): 6, tuple("widest"): 3}
    assert learn_merges(words, 4) == [("e", "s"), ("es", "t"), ("l", "o"), ("lo", "w")]


def test_a_vocabulary_too_small_or_too_large_is_refused() -> None:
    with pytest.raises(ConfigError, match="below the minimum 298") as small:
        train_tokenizer(tiny_corpus(), 297)
    assert small.value.code == "vocab_size"
    with pytest.raises(ConfigError, match="lower vocab_size or add text") as large:
        train_tokenizer({"ab": 1}, 400)
    assert large.value.code == "corpus"


def test_the_directory_is_a_function_of_its_arguments(tmp_path: Path) -> None:
    first, second, other = (build_tiny(tmp_path / name, "XS", seed) for name, seed in (("a", 3), ("b", 3), ("c", 4)))
    names = sorted(file.name for file in first.iterdir())
    assert names == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert (first / "model.safetensors").read_bytes() != (other / "model.safetensors").read_bytes()
    assert (first / "tokenizer.json").read_bytes() == (other / "tokenizer.json").read_bytes()


def test_the_vocabulary_is_pinned(tmp_path: Path) -> None:
    """Trained weights are worthless under another vocabulary: changing it must be a decision."""
    data = json.loads((build_tiny(tmp_path / "model") / "tokenizer.json").read_text())["model"]
    vocabulary = json.dumps([data["vocab"], data["merges"]], sort_keys=True)
    assert hashlib.sha256(vocabulary.encode()).hexdigest()[:16] == "7ad01286c9ac16ef"


def test_the_global_generator_is_left_alone(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    build_tiny(tmp_path / "model", "XS")
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("size", ["XS", "S", "M"])
def test_transformers_loads_every_size(tmp_path: Path, size: str) -> None:
    path = build_tiny(tmp_path / "model", size)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    shape = SIZES[size]
    weights = load_file(path / "model.safetensors")
    assert model.config.num_hidden_layers == shape.layers
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert torch.equal(model.model.norm.weight, weights["model.norm.weight"])
    assert 0.018 < float(model.model.layers[0].mlp.down_proj.weight.detach().std()) < 0.022
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "up"}], add_generation_prompt=True)["input_ids"]
    assert tokenizer.decode(ids) == "<|user|>up<|end|><|assistant|>"
    assert tokenizer.convert_ids_to_tokens(tokenizer.eos_token_id) == "<|end|>"
    generated = model.generate(torch.tensor([ids]), max_new_tokens=2)
    assert generated.shape[1] > len(ids)


def test_named_sizes_have_the_stated_parameters(tmp_path: Path) -> None:
    for size, millions in (("XS", 0.56), ("S", 0.85), ("M", 3.3)):
        weights = load_file(build_tiny(tmp_path / size, size) / "model.safetensors")
        assert sum(tensor.numel() for tensor in weights.values()) / 1e6 == pytest.approx(millions, rel=0.02)


def test_bad_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown size 'XXL'") as unknown:
        build_tiny(tmp_path / "model", "XXL")
    assert unknown.value.code == "size"
    build_tiny(tmp_path / "model", "XS")
    with pytest.raises(ConfigError, match="already holds a model") as taken:
        build_tiny(tmp_path / "model", "XS")
    assert taken.value.code == "directory"


def test_the_tokenizer_file_is_what_was_trained(tmp_path: Path) -> None:
    path = build_tiny(tmp_path / "model", "XS")
    assert Tokenizer.from_file(str(path / "tokenizer.json")).to_str() == TOKENIZER.to_str()


def test_a_tokenizer_for_tools_spends_fewer_tokens_on_them() -> None:
    reply = "<tool_call>transfer_money account_id=acc_40731 payee_id=pay_17402 amount=70000</tool_call>"
    tools = train_tokenizer(tool_corpus(), 1536, ids=True)
    assert tools.decode(tools.encode(reply).ids, skip_special_tokens=False) == reply
    assert len(tools.encode(reply).ids) < 0.55 * len(TOKENIZER.encode(reply).ids)
    assert tools.get_vocab_size() == 1536


def test_an_identifier_is_the_same_tokens_wherever_it_stands() -> None:
    tools = train_tokenizer(tool_corpus(), 1536, ids=True)
    (first, *rest) = tools.encode("eml_29862").tokens
    assert (first, rest) == ("eml_", ["29", "86", "2"])
    for text in ('{"email_id":"eml_29862","x":1}', "file eml_29862 away", "apply_label email_id=eml_29862</tool_call>"):
        tokens = tools.encode(text).tokens
        at = tokens.index(first)
        assert tokens[at : at + 4] == [first, *rest]
        assert tools.decode(tools.encode(text).ids, skip_special_tokens=False) == text
