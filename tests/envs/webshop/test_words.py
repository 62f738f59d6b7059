"""Stems, likeness of phrases, colours, nouns: against what the reference libraries say, and known cases."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from palaestra.envs.core.errors import ConfigError
from palaestra.envs.webshop.colours import COLOURS, plain_colour
from palaestra.envs.webshop.fuzzy import token_set_ratio
from palaestra.envs.webshop.nouns import open_tagger, rule_tagger
from palaestra.envs.webshop.stem import stem

WORDS = Path(__file__).parents[2] / "golden" / "webshop" / "words.json.gz"


@pytest.fixture(scope="module")
def golden() -> Any:
    return json.loads(gzip.decompress(WORDS.read_bytes()))


def test_words_are_stemmed_as_by_nltk(golden: Any) -> None:
    assert len(golden["stems"]) > 1500
    assert {word: stem(word) for word in golden["stems"]} == golden["stems"]


def test_phrases_are_as_alike_as_thefuzz_says(golden: Any) -> None:
    assert len(golden["ratios"]) == 4000
    differing = [(a, b, r, token_set_ratio(a, b)) for a, b, r in golden["ratios"] if token_set_ratio(a, b) != r]
    assert differing == []
    assert len({r for _, _, r in golden["ratios"]}) > 50


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [
        ("easy clean", "easy to clean", 100),
        ("easy care", "easy clean", 74),
        ("rubber sole", "rubber outsole", 88),
        ("machine wash", "machine washable", 86),
        ("café", "cafe", 86),
        ("10 | 12", "10", 100),
        ("x-large", "large", 100),
        ("---", "x", 0),
        ("", "", 0),
    ],
)
def test_ratios_by_hand(one: str, other: str, ratio: int) -> None:
    assert token_set_ratio(one, other) == token_set_ratio(other, one) == ratio


def test_the_first_colour_of_the_list_counts() -> None:
    assert len(COLOURS) == len(set(COLOURS)) == 102
    assert (plain_colour("dark red"), plain_colour("dark blue")) == ("dark", "blue")
    assert plain_colour("navy blue") == "blue"
    assert plain_colour("rosemary") == "rose"
    assert plain_colour("10 | 12") == "10 | 12"
    assert plain_colour(("color", "red")) == "red"
    assert plain_colour(("blue", "large")) == "blue"
    assert plain_colour(("color", "navy blue")) == "('color', 'navy blue')"


@pytest.mark.parametrize(
    ("text", "nouns"),
    [
        ("Women's Soft Fleece Jacket, Machine Washable", ("women's", "fleece", "jacket", "machine")),
        ("6 Pack of Extra-Large Waterproof Phone Cases", ("pack", "phone", "cases")),
        ("Quickly and softly", ()),
        ("BLACK 100%", ()),
    ],
)
def test_nouns_by_rules(text: str, nouns: tuple[str, ...]) -> None:
    assert rule_tagger(text) == nouns


def test_a_tagger_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'rules'"):
        open_tagger("rule")
    try:
        import spacy  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        with pytest.raises(ConfigError, match="install spaCy and its model en_core_web_sm"):
            open_tagger("spacy")
