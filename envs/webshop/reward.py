"""What a purchase is worth, exactly as the original counts it.

    reward = r_type (matched attributes + matched options + (price <= limit)) / (attributes + options + 1)

r_type is 1 if the two products come from the same query or share two parts of their category or more than a fifth of
the wanted name's nouns; 0.5 if not; 0.1 if fewer than a tenth of the nouns are shared; 0 if none is. Attributes and
options match from a token set ratio of 86 on.

Source: Yao et al., WebShop, arXiv 2207.01206, and the code released with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from palaestra.envs.webshop.catalogue import Product
from palaestra.envs.webshop.colours import plain_colour
from palaestra.envs.webshop.fuzzy import token_set_ratio
from palaestra.envs.webshop.nouns import Tagger

ALIKE: Final = 85
"""Phrases above this ratio match."""

GoalOption = str | tuple[str, str]


class Wanted(Protocol):
    """The part of a goal that a purchase is compared with."""

    @property
    def name(self) -> str:
        """Of the product the goal was made from."""

    @property
    def query(self) -> str:
        """Of that product."""

    @property
    def product_category(self) -> str:
        """Of that product."""

    @property
    def attributes(self) -> Sequence[str]:
        """At least one."""

    @property
    def options(self) -> Sequence[GoalOption]:
        """Values, or (name, value) pairs; may be empty."""

    @property
    def price_upper(self) -> float:
        """In dollars."""


def purchase_reward(
    product: Product, price: float, chosen: Mapping[str, str], goal: Wanted, tagger: Tagger
) -> tuple[float, dict[str, Any]]:
    """(reward in [0, 1], its parts under the original's names).

    Cost: attributes times attributes and options times options, each pair memoised.
    """
    kind = _kind(product, goal, tagger)
    attributes = sum(_has_attribute(product, wanted) for wanted in goal.attributes)
    options = sum(option_matches(wanted, chosen.values()) for wanted in goal.options)
    cheap = price <= goal.price_upper
    asked = len(goal.attributes) + len(goal.options) + 1
    total = (attributes + options + cheap) / asked * kind["r_type"]
    parts: dict[str, Any] = {
        "r_type": kind["r_type"],
        "r_att": attributes / len(goal.attributes),
        "w_att": len(goal.attributes) / asked,
        "query_match": kind["query_match"],
        "category_match": kind["category_match"],
        "title_score": kind["title_score"],
    }
    if goal.options:
        parts |= {"r_option": options / len(goal.options), "w_option": len(goal.options) / asked}
    return total, parts | {"r_price": cheap, "w_price": 1 / asked}


def _kind(product: Product, goal: Wanted, tagger: Tagger) -> dict[str, Any]:
    """Whether it is the kind of thing that is wanted."""
    query_match = product.query == goal.query
    category_match = len(_parts(product.product_category) & _parts(goal.product_category)) >= 2
    wanted = tagger(goal.name)
    title_score = len(set(tagger(product.name)) & set(wanted)) / len(wanted) if wanted else 0.2
    r_type = 1.0
    if not (query_match or category_match or title_score > 0.2):
        r_type = 0.5
    if title_score < 0.1:
        r_type = 0.1
    if title_score == 0.0:
        r_type = 0.0
    return {
        "r_type": r_type, "query_match": query_match, "category_match": category_match, "title_score": title_score,
    }  # fmt: skip


def _parts(category: str) -> set[str]:
    return {part.strip() for part in category.split("›")}


def _has_attribute(product: Product, wanted: str) -> bool:
    return (
        any(token_set_ratio(attribute, wanted) > ALIKE for attribute in product.attributes)
        or wanted in product.name.lower()
        or wanted in " ".join(product.bullets).lower()
        or wanted in product.description.lower()
    )


def option_matches(wanted: GoalOption, chosen: Iterable[str]) -> bool:
    """Whether one of the chosen values passes for a wanted one."""
    colour = plain_colour(wanted)
    return any(token_set_ratio(plain_colour(value), colour) > ALIKE for value in chosen)
