"""Porter's stemmer, as search engines ship it.

Source: M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980, with the two changes of the author's
own later code, which Lucene follows: "bli" becomes "ble" (the paper has "abli", "able"), and "logi" becomes "log".
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Final

_STEP_2: Final = (
    ("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"), ("izer", "ize"), ("bli", "ble"),
    ("alli", "al"), ("entli", "ent"), ("eli", "e"), ("ousli", "ous"), ("ization", "ize"), ("ation", "ate"),
    ("ator", "ate"), ("alism", "al"), ("iveness", "ive"), ("fulness", "ful"), ("ousness", "ous"), ("aliti", "al"),
    ("iviti", "ive"), ("biliti", "ble"), ("logi", "log"),
)  # fmt: skip
_STEP_3: Final = (
    ("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", ""),
)  # fmt: skip
_STEP_4: Final = (
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism", "ate", "iti",
    "ous", "ive", "ize",
)  # fmt: skip


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """The stem of a lower-case word; words of one or two letters are their own.

    >>> stem("conditional"), stem("running"), stem("possibly"), stem("as")
    ('condit', 'run', 'possibl', 'as')
    """
    if len(word) <= 2:
        return word
    word = _step_1(word)
    word = _replace_longest(word, _STEP_2)
    word = _replace_longest(word, _STEP_3)
    return _step_5(_step_4(word))


def _is_consonant(word: str, i: int) -> bool:
    letter = word[i]
    if letter == "y":
        return i == 0 or not _is_consonant(word, i - 1)
    return letter not in "aeiou"


def _measure(word: str) -> int:
    """How often a vowel is followed by a consonant."""
    kinds = [_is_consonant(word, i) for i in range(len(word))]
    return sum(not left and right for left, right in pairwise(kinds))


def _has_vowel(word: str) -> bool:
    return any(not _is_consonant(word, i) for i in range(len(word)))


def _ends_doubled(word: str) -> bool:
    return len(word) >= 2 and word[-1] == word[-2] and _is_consonant(word, len(word) - 1)


def _ends_short(word: str) -> bool:
    """Consonant, vowel, consonant, the last one neither w, x nor y."""
    i = len(word) - 1
    return (
        i >= 2
        and _is_consonant(word, i)
        and not _is_consonant(word, i - 1)
        and _is_consonant(word, i - 2)
        and word[i] not in "wxy"
    )


def _step_1(word: str) -> str:
    """Plurals, -ed, -ing, and y to i."""
    if word.endswith(("sses", "ies")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    if word.endswith("eed"):
        word = word[:-1] if _measure(word[:-3]) > 0 else word
    else:
        for suffix in ("ed", "ing"):
            if word.endswith(suffix) and _has_vowel(word[: -len(suffix)]):
                word = _repair(word[: -len(suffix)])
                break
    return word[:-1] + "i" if word.endswith("y") and _has_vowel(word[:-1]) else word


def _repair(stem: str) -> str:
    if stem.endswith(("at", "bl", "iz")):
        return stem + "e"
    if _ends_doubled(stem):
        return stem if stem[-1] in "lsz" else stem[:-1]
    return stem + "e" if _measure(stem) == 1 and _ends_short(stem) else stem


def _replace_longest(word: str, rules: tuple[tuple[str, str], ...]) -> str:
    """Apply the rule of the longest suffix that fits, if what precedes it has a measure above 0."""
    fitting = [rule for rule in rules if word.endswith(rule[0])]
    if not fitting:
        return word
    suffix, replacement = max(fitting, key=lambda rule: len(rule[0]))
    before = word[: -len(suffix)]
    return before + replacement if _measure(before) > 0 else word


def _step_4(word: str) -> str:
    fitting = [suffix for suffix in _STEP_4 if word.endswith(suffix)]
    if not fitting:
        return word
    suffix = max(fitting, key=len)
    before = word[: -len(suffix)]
    if suffix == "ion" and not before.endswith(("s", "t")):
        return word
    return before if _measure(before) > 1 else word


def _step_5(word: str) -> str:
    if word.endswith("e"):
        before = word[:-1]
        measure = _measure(before)
        if measure > 1 or (measure == 1 and not _ends_short(before)):
            word = before
    return word[:-1] if word.endswith("ll") and _measure(word) > 1 else word
