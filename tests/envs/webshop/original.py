"""What the original shop did with 250 products of ours, and the two stand-ins it was run with.

`tests/golden/webshop/original.json.gz` holds the products in the three file formats, 3,000 purchases with their
reward and its parts, and 60 episodes with every observation. Nouns and ranks came from simple stand-ins instead of
spaCy and Lucene; they are written here again, so that both sides use the same.
"""

from __future__ import annotations

import gzip
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from palaestra.envs.webshop.catalogue import Catalogue
from palaestra.envs.webshop.files import ShopData, read_catalogue
from palaestra.envs.webshop.goals import Goal

GOLDEN = Path(__file__).parents[2] / "golden" / "webshop" / "original.json.gz"
NO_NOUNS = {"for", "with", "and", "the", "of", "in"}


@cache
def original() -> Any:
    return json.loads(gzip.decompress(GOLDEN.read_bytes()))


def nouns(text: str) -> tuple[str, ...]:
    tokens = text.lower().split()
    return tuple(t for t in tokens if all("a" <= c <= "z" for c in t) and t not in NO_NOUNS)


class Okapi:
    """BM25Okapi of rank_bm25 0.2.2 over blank-split words: negative idf becomes a quarter of the mean idf."""

    def __init__(self, catalogue: Catalogue, k1: float = 1.5, b: float = 0.75, epsilon: float = 0.25) -> None:
        documents = [f"{p.name} {p.description} {p.bullets[0]}".lower().split() for p in catalogue.products]
        self._counts = [Counter(document) for document in documents]
        self._lengths = [len(document) for document in documents]
        self._mean = sum(self._lengths) / len(documents)
        self._k1, self._b = k1, b
        held = Counter(word for counts in self._counts for word in counts)
        idf = {w: math.log(len(documents) - n + 0.5) - math.log(n + 0.5) for w, n in held.items()}
        floor = epsilon * sum(idf.values()) / len(idf)
        self._idf = {word: value if value >= 0 else floor for word, value in idf.items()}

    def _score(self, i: int, query: Sequence[str]) -> float:
        norm = self._k1 * (1 - self._b + self._b * self._lengths[i] / self._mean)
        counts = self._counts[i]
        return sum(self._idf.get(w, 0) * (counts[w] * (self._k1 + 1) / (counts[w] + norm)) for w in query)

    def search(self, query: str) -> tuple[int, ...]:
        words = query.lower().split()
        scores = [self._score(i, words) for i in range(len(self._counts))]
        best = sorted(range(len(scores)), key=lambda i: -scores[i])[:50]
        return tuple(i for i in best if scores[i] > 0)


@cache
def catalogue() -> Catalogue:
    files = original()["files"]
    found = read_catalogue(ShopData(files["p.json"], files["i.json"], files["h.json"], "the original's run"))
    assert not found.rejected
    prices: Mapping[str, float] = original()["prices"]
    assert {p.asin: p.price for p in found.products} == prices
    return found


def as_goal(row: Mapping[str, Any]) -> Goal:
    return replace(
        Goal(
            row["asin"], row["category"], row["query"], row["name"], row["product_category"], row["instruction_text"],
            tuple(row["attributes"]), row["price_upper"], tuple(row["goal_options"]),
        ),
        id="golden",
    )  # fmt: skip
