"""The text spaces of a shop: characters and lengths that its data can need."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from gymnasium import spaces

from palaestra.envs.webshop.config import WebShopConfig
from palaestra.envs.webshop.session import Shop
from palaestra.envs.webshop.sources import Source

PRINTABLE: Final = "".join(map(chr, range(32, 127)))
SHORTEST_LIMIT: Final = 256
OBSERVATION_LIMIT: Final = 65_536
_AROUND: Final = 2_000
"""More than everything on a page that is neither instruction nor product: buttons, counts, separators."""
_MARKUP: Final = 40
"""More than HTML and marks of buttons multiply a page's text by."""


@lru_cache(maxsize=16)
def _letters(source: Source) -> str:
    """Every character that goals and products hold, sorted: a set's order would depend on the hash seed."""
    of_goals = {letter for goal in source.goals for letter in goal.instruction}
    return "".join(sorted(source.shop.catalogue.characters | of_goals | set(PRINTABLE) | {"\n"}))


@lru_cache(maxsize=16)
def _longest(source: Source) -> tuple[int, int]:
    """(longest clickable, longest page) in characters; the latter is a bound, not met."""
    shop: Shop = source.shop
    most_option = most_row = most_item = 0
    for p in shop.catalogue.products:
        values = [value for found in p.options.values() for value in found]
        most_option = max(most_option, len(p.asin), max(map(len, values), default=0))
        most_row = max(most_row, len(p.asin) + len(p.name) + len(p.tag) + 30)
        texts = (p.name, p.description, p.category, p.query, p.product_category, *p.bullets, *p.attributes, *p.options)
        most_item = max(most_item, sum(map(len, texts)) + 12 * len(texts) + sum(len(v) + 40 for v in values))
    instruction = max(len(goal.instruction) for goal in source.goals)
    return most_option, _AROUND + instruction + max(shop.page_size * most_row, most_item)


def action_space(source: Source) -> spaces.Text:
    """Actions of up to 256 characters, or more if something to click is longer."""
    longest = max(SHORTEST_LIMIT, _longest(source)[0] + len("click[]"))
    return spaces.Text(longest, min_length=1, charset=_letters(source))


def observation_space(source: Source, config: WebShopConfig) -> spaces.Text:
    """Pages of this shop, in the form of the configuration."""
    # A search is part of an address, and of the pages that lead back to it; there each character may become nine.
    characters = "".join(sorted({*_letters(source), *PRINTABLE, "\n"}))
    longest = _longest(source)[1]
    if config.obs == "html":
        longest = _MARKUP * longest
    return spaces.Text(max(OBSERVATION_LIMIT, longest), min_length=1, charset=characters)
