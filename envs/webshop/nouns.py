"""Nouns of a product's name: what the reward compares to see whether the bought thing is of the wanted kind.

The original asks a statistical tagger. Ours goes by rules: a word is a noun unless it is a function word, a common
adjective, or ends like an adverb or adjective; an unknown word is a noun. A tagger is a function of your own, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Final

from palaestra.envs.core.errors import ConfigError, nearest

Tagger = Callable[[str], tuple[str, ...]]
"""Lower-case nouns of a text, in order, repeats included."""

_WORD: Final = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_FUNCTION_WORDS: Final = frozenset(
    """a about above after all also an and any are as at be been before below best between both but by can could did do
    does down during each either every few for from had has have he her here him his how i if in inside into is it its
    just less like made many may me more most much must my near no nor not of off on once one only onto or other our out
    outside over own per plus she should since so some such than that the their them then there these they this those
    through to too two under until up upon us use used very via was we were what when where which while who why will
    with within without would you your""".split()  # noqa: SIM905 - words read better without quotes
)
_ADJECTIVES: Final = frozenset(
    """anti big black blue bright brown cheap clean clear cold cool cute dark deep dry dual easy extra fast fine firm
    flat free fresh full funny gentle gold good gray great green grey hard heavy high hot ideal indoor large late light
    little long loose low mid mini modern natural new nice old orange organic outdoor pink plain portable premium pure
    purple quick quiet rare real red round safe sharp short silver simple slim small smart smooth soft solid square
    straight strong super sweet tall thick thin tight tiny ultra vintage warm wet white whole wide wild wooden yellow
    young classic elegant durable waterproof stretchy lightweight""".split()  # noqa: SIM905 - words read better without quotes
)
_NOUNS: Final = frozenset(
    """baby body belly family supply assembly jelly ally table cable vegetable fabric plastic ceramic music mosaic
    garlic arctic comic fleece dress glass fitness witness harness mattress cutlass mass press compass canvas bus gas
    octopus cactus""".split()  # noqa: SIM905 - words read better without quotes
)
_NOT_NOUN_ENDINGS: Final = ("able", "ible", "ful", "less", "ous", "ive", "ly", "ish", "proof", "ic", "ed", "est")


@lru_cache(maxsize=65_536)
def rule_tagger(text: str) -> tuple[str, ...]:
    """Nouns by our rules.

    >>> rule_tagger("Harrow Soft Machine-Washable Throw Blanket for the Living Room")
    ('harrow', 'throw', 'blanket', 'living', 'room')
    """
    return tuple(word for word in _WORD.findall(text.lower()) if _is_noun(word))


def _is_noun(word: str) -> bool:
    last = re.split("['’-]", word)[-1] if "-" in word else word
    if last in _NOUNS:
        return True
    if len(last) < 2 or word in _FUNCTION_WORDS or last in _ADJECTIVES:
        return False
    return len(last) < 5 or not last.endswith(_NOT_NOUN_ENDINGS)


def spacy_tagger() -> Tagger:
    """The original's: spaCy with its small English model.

    Raises: ConfigError "tagger" if spaCy or the model is not installed.
    """
    try:
        model = import_module("spacy").load("en_core_web_sm")
    except (ImportError, OSError) as error:
        message = f'tagger="spacy": {error}; install spaCy and its model en_core_web_sm, or use tagger="rules"'
        raise ConfigError("tagger", message) from error

    @lru_cache(maxsize=65_536)
    def tag(text: str) -> tuple[str, ...]:
        return tuple(token.text.lower() for token in model(text.lower()) if token.pos_ in ("NOUN", "PROPN"))

    return tag


def open_tagger(name: str) -> Tagger:
    """The tagger of a name, "rules" or "spacy". Raises: ConfigError "tagger"."""
    if name == "rules":
        return rule_tagger
    if name == "spacy":
        return spacy_tagger()
    raise ConfigError("tagger", f"tagger={name!r}; {nearest(name, ('rules', 'spacy'))}")
