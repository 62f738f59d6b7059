"""Search: BM25 over the products' texts, with the analysis of the original's engine (Lucene's English analyser).

Words by Unicode's rules, lower case, without possessive 's and 33 stop words, stemmed by Porter. The score of a
document is the sum over the query's words, repeats included, of

    ln(1 + (N - df + 0.5) / (df + 0.5)) * tf / (tf + k1 (1 - b + b length / mean length))

with k1 = 0.9 and b = 0.4. Whether Lucene ranks real data alike is unproven; the rest of the shop takes any `Ranker`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from palaestra.envs.core.seeding import stream
from palaestra.envs.webshop.catalogue import Catalogue
from palaestra.envs.webshop.stem import stem

MOST_HITS: Final = 50
K1: Final = 0.9
B: Final = 0.4
STOP_WORDS: Final = frozenset(
    """a an and are as at be but by for if in into is it no not of on or such that the their then there these they this
    to was will with""".split()  # noqa: SIM905 - words read better without quotes
)
# Letters are joined by ' . and :, digits by ' . , and ;, as in Unicode's annex 29.
_WORD: Final = re.compile(r"\w+(?:(?<=[^\W\d_])['’.:](?=[^\W\d_])\w+|(?<=\d)['’.,;](?=\d)\w+)*")
_POSSESSIVE: Final = ("'s", "’s")


class Ranker(Protocol):
    """What finds products."""

    def search(self, query: str) -> Sequence[int]:
        """Numbers of at most 50 products, best first."""
        ...


@lru_cache(maxsize=65_536)
def _term(word: str) -> str | None:
    """The term of a lower-case word; None for a stop word."""
    word = word[:-2] if word.endswith(_POSSESSIVE) else word
    return None if word in STOP_WORDS or not word else stem(word)


def analyse(text: str) -> list[str]:
    """The terms of a text, in order.

    >>> analyse("The women's running-shoes, size 7.5")
    ['women', 'run', 'shoe', 'size', '7.5']
    """
    return [term for word in _WORD.findall(text.lower()) if (term := _term(word)) is not None]


class Bm25:
    """An inverted index over documents.

    Memory is 12 bytes for every different word of every document. A search costs the lengths of its words' postings
    plus one pass over an array of N; the last 4,096 are kept.
    """

    def __init__(self, documents: Sequence[str], *, lucene_norms: bool = False) -> None:
        self._count = len(documents)
        numbers: dict[str, int] = {}
        terms: list[int] = []
        lengths = np.zeros(self._count, np.int64)
        for i, document in enumerate(documents):
            found = [numbers.setdefault(term, len(numbers)) for term in analyse(document)]
            lengths[i] = len(found)
            terms += found
        self._numbers = numbers
        owners = np.repeat(np.arange(self._count), lengths)
        keys, counts = np.unique(np.array(terms, np.int64) * self._count + owners, return_counts=True)
        self._documents = (keys % max(self._count, 1)).astype(np.int32)
        term_of = keys // max(self._count, 1)
        self._starts = np.searchsorted(term_of, np.arange(len(numbers) + 1)).tolist()
        self._weights = self._weigh(term_of, counts, lengths, lucene_norms)
        self._find = lru_cache(maxsize=4096)(self._search)

    def _weigh(
        self, term_of: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], norms: bool
    ) -> npt.NDArray[np.float64]:
        mean = lengths.mean() if self._count else 1.0
        held = np.array([round_length(int(n)) for n in lengths], np.int64) if norms else lengths
        frequency = np.diff(self._starts)
        rarity = np.log1p((self._count - frequency + 0.5) / (frequency + 0.5))
        weights: npt.NDArray[np.float64] = (
            rarity[term_of] * counts / (counts + K1 * (1 - B + B * held[self._documents] / mean))
        )
        return weights

    def search(self, query: str) -> tuple[int, ...]:
        """Numbers of at most 50 documents with a score above 0, best first, ties in their order."""
        return self._find(tuple(analyse(query)))

    def _search(self, terms: tuple[str, ...]) -> tuple[int, ...]:
        scores = np.zeros(self._count)
        for term, times in Counter(terms).items():
            number = self._numbers.get(term)
            if number is not None:
                found = slice(self._starts[number], self._starts[number + 1])
                scores[self._documents[found]] += times * self._weights[found]
        hits = scores.nonzero()[0]
        found_scores = -scores[hits]
        if len(hits) > 4 * MOST_HITS:
            worst = np.partition(found_scores, MOST_HITS - 1)[MOST_HITS - 1]
            kept = (found_scores <= worst).nonzero()[0]
            hits, found_scores = hits[kept], found_scores[kept]
        best = found_scores.argsort(kind="stable")[:MOST_HITS]
        return tuple(hits[best].tolist())


def round_length(length: int) -> int:
    """A document's length as Lucene keeps it in one byte: exact below 40, then to four significant bits.

    >>> [round_length(n) for n in (39, 40, 41, 100, 1000)]
    [39, 40, 40, 96, 984]
    """
    exact = 24
    if length < exact:
        return length
    rest = length - exact
    shift = max(rest.bit_length() - 4, 0)
    return exact + (rest >> shift << shift)


class ShopSearch:
    """The search of the shop: BM25, and four words that stand first in a query and mean something else.

    "<r>" gives 50 products drawn at random, the same for the same query; "<c> x" the products of a category, "<q> x"
    those of a query of the catalogue, "<a> x" those with an attribute, in the order of the catalogue.
    """

    def __init__(self, catalogue: Catalogue, *, lucene_norms: bool = False) -> None:
        self._products = catalogue.products
        self._bm25 = Bm25([product.document for product in catalogue.products], lucene_norms=lucene_norms)
        self._by_mark = lru_cache(maxsize=256)(self._marked)

    def search(self, query: str) -> Sequence[int]:
        """As `Ranker`."""
        if query.startswith("<") and query[:3] in ("<r>", "<c>", "<q>", "<a>"):
            mark, _, rest = query.partition(" ")
            if mark in ("<r>", "<c>", "<q>", "<a>"):
                return self._by_mark(mark, rest.strip())
        return self._bm25.search(query)

    def _marked(self, mark: str, value: str) -> tuple[int, ...]:
        if mark == "<r>":
            drawn = stream(0, "webshop", "random results", value).permutation(len(self._products))
            return tuple(drawn[:MOST_HITS].tolist())
        products = enumerate(self._products)
        if mark == "<c>":
            found = (i for i, product in products if product.category == value)
        elif mark == "<q>":
            found = (i for i, product in products if product.query == value)
        else:
            found = (i for i, product in products if value in product.attributes)
        return tuple(found)[:MOST_HITS]
