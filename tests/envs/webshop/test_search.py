"""Search: the formula, the analysis, ties, the words that mean something else."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaestra.envs.webshop.config import WebShopConfig
from palaestra.envs.webshop.search import MOST_HITS, STOP_WORDS, Bm25, ShopSearch, analyse, round_length
from palaestra.envs.webshop.sources import open_source


def by_formula(documents: list[str], query: str) -> list[int]:
    """BM25 written down once more, a document at a time."""
    counts = [Counter(analyse(document)) for document in documents]
    lengths = [sum(count.values()) for count in counts]
    mean = sum(lengths) / len(lengths)
    scores = []
    for count, length in zip(counts, lengths, strict=True):
        score = 0.0
        for term in analyse(query):
            df = sum(term in other for other in counts)
            idf = math.log(1 + (len(documents) - df + 0.5) / (df + 0.5))
            tf = count[term]
            score += idf * tf / (tf + 0.9 * (1 - 0.4 + 0.4 * length / mean)) if tf else 0.0
        scores.append(score)
    best = sorted(range(len(documents)), key=lambda i: -round(scores[i], 12))
    return [i for i in best if scores[i] > 0][:MOST_HITS]


words = st.lists(st.sampled_from("red blue shoe shoes running the run lamp lamps soft 7.5".split()), max_size=6)  # noqa: SIM905


@given(st.lists(words.map(" ".join), min_size=1, max_size=12), words.map(" ".join))
def test_ranks_are_the_formulas(documents: list[str], query: str) -> None:
    if any(analyse(document) for document in documents):
        assert list(Bm25(documents).search(query)) == by_formula(documents, query)


def test_ranks_of_the_embedded_shop_are_the_formulas() -> None:
    documents = [product.document for product in open_source(WebShopConfig()).shop.catalogue.products]
    ranker = Bm25(documents)
    for query in ("fleece jacket for women", "soft soft machine washable blanket", "easy clean"):
        assert list(ranker.search(query)) == by_formula(documents, query)
        assert len(ranker.search(query)) <= MOST_HITS


def test_more_than_fifty_equals_come_in_their_order() -> None:
    assert Bm25(["red shoe"] * 300).search("shoe") == tuple(range(50))
    assert Bm25(["blue"] * 100 + ["red shoe"] * 300).search("shoe")[:2] == (100, 101)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("The women's running-shoes", ["women", "run", "shoe"]),
        ("CHEF’S knife, 7.5 inch", ["chef", "knife", "7.5", "inch"]),
        ("1,000 thread_count U.S.", ["1,000", "thread_count", "u."]),
        ("it is not for the", []),
        ("crème brûlée", ["crème", "brûlée"]),
    ],
)
def test_analysis(text: str, terms: list[str]) -> None:
    assert analyse(text) == terms


def test_stop_words_are_lucenes_thirty_three() -> None:
    assert len(STOP_WORDS) == 33


def test_lengths_are_rounded_down_to_four_bits() -> None:
    kept = [round_length(n) for n in range(5000)]
    assert kept[:41] == list(range(41))
    assert all(0 <= n - k <= n / 8 for n, k in enumerate(kept))
    assert kept == sorted(kept)
    assert len(set(kept[40:])) < 70


def test_rounded_lengths_change_little() -> None:
    documents = [product.document for product in open_source(WebShopConfig()).shop.catalogue.products]
    exact, rounded = Bm25(documents), Bm25(documents, lucene_norms=True)
    same = [len({*exact.search(q)} & {*rounded.search(q)}) for q in ("leather boots", "glass vase", "usb port lamp")]
    assert min(same) > 35
    assert not np.array_equal(exact._weights, rounded._weights)


def test_marks() -> None:
    shop = open_source(WebShopConfig()).shop
    search = ShopSearch(shop.catalogue)
    products = shop.catalogue.products
    assert {products[i].category for i in search.search("<c> shoes")} == {"shoes"}
    assert {products[i].query for i in search.search("<q> area rugs")} == {"area rugs"}
    assert all("soy wax" in products[i].attributes for i in search.search("<a> soy wax"))
    drawn = search.search("<r>")
    assert len(set(drawn)) == 50
    assert drawn == ShopSearch(shop.catalogue).search("<r>") != search.search("<r> again")
    assert search.search("<b> shoes") == search.search("b shoes")
    assert search.search("<c>shoes") == search.search("c shoes")


def test_nothing_is_found_by_nothing() -> None:
    search = open_source(WebShopConfig()).shop.ranker
    for query in ("", "the", "zzzzqq", "!!!", "\0"):
        assert tuple(search.search(query)) == ()
