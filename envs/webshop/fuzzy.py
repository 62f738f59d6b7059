"""How alike two phrases are, whatever the order of their words: the token set ratio of thefuzz 0.22.

>>> token_set_ratio("easy clean", "easy to clean"), token_set_ratio("easy care", "easy clean")
(100, 74)
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_NOT_WORD: Final = re.compile(r"[\W_]")
_DROPPED: Final = {code: None for code in range(128, 256)}
# One letter for one, where Python's lower() would write two, or look at what follows.
_CLEANED: Final[dict[int, str | None]] = {**_DROPPED, ord("İ"): "i", ord("Σ"): "σ"}


@lru_cache(maxsize=1 << 16)
def token_set_ratio(left: str, right: str) -> int:
    """0 to 100: 100 if the words of one phrase are among the other's, else from the longest common subsequences.

    Code points 128 to 255 are dropped, what is no letter or digit is a blank, case is ignored; a side without words
    gives 0. Rounded to a whole number, ties to even, before anything is compared with it.

    Cost: memoised; else length of one side times that of the other over the machine's word.
    """
    left_words, right_words = _words(left), _words(right)
    if not left_words or not right_words:
        return 0
    common = left_words & right_words
    left_only, right_only = left_words - common, right_words - common
    if common and not (left_only and right_only):
        return 100
    shared = " ".join(sorted(common))
    one = " ".join(filter(None, (shared, *sorted(left_only))))
    other = " ".join(filter(None, (shared, *sorted(right_only))))
    found = _ratio(one, other)
    if common:
        found = max(found, _ratio(shared, one), _ratio(shared, other))
    return round(found)


@lru_cache(maxsize=1 << 14)
def _words(text: str) -> frozenset[str]:
    return frozenset(_NOT_WORD.sub(" ", text.translate(_CLEANED)).lower().split())


def _ratio(one: str, other: str) -> float:
    return 200.0 * _common_length(one, other) / (len(one) + len(other))


def _common_length(one: str, other: str) -> int:
    """Length of the longest common subsequence, one bit per character of `one` (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for i, letter in enumerate(one):
        places[letter] = places.get(letter, 0) | 1 << i
    everything = (1 << len(one)) - 1
    row = everything
    for letter in other:
        matched = row & places.get(letter, 0)
        row = (row + matched | row - matched) & everything
    return len(one) - row.bit_count()
