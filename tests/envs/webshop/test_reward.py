"""The reward's quirks, one by one; that it equals the original's is in test_golden."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from palaestra.envs.webshop.catalogue import Product
from palaestra.envs.webshop.goals import Goal
from palaestra.envs.webshop.reward import option_matches, purchase_reward

from .original import nouns

LAMP = Product(
    "A",
    "acme lamp",
    "home",
    "lamps",
    "Home › Lamps",
    "A tall lamp.",
    ("Dims well.",),
    ("easy clean",),
    {},
    20.0,
    "$20.0",
)
GOAL = Goal("A", "home", "lamps", "acme lamp", "Home › Lamps", "buy it", ("easy to clean",), 30.0, ("red",))


def worth(product: Product = LAMP, goal: Goal = GOAL, **chosen: str) -> tuple[float, dict[str, Any]]:
    return purchase_reward(product, product.price, chosen, goal, nouns)


def test_all_that_was_asked_is_worth_one() -> None:
    assert worth(color="red") == (
        1.0,
        {
            "r_type": 1.0, "r_att": 1.0, "w_att": 1 / 3, "query_match": True, "category_match": True,
            "title_score": 1.0, "r_option": 1.0, "w_option": 1 / 3, "r_price": True, "w_price": 1 / 3,
        },
    )  # fmt: skip


def test_each_part_counts_alike() -> None:
    assert worth()[0] == 2 / 3
    assert worth(replace(LAMP, price=30.0), color="red")[0] == 1.0
    assert worth(replace(LAMP, price=30.01), color="red")[0] == 2 / 3
    assert worth(replace(LAMP, attributes=("wide",)), color="red")[0] == 2 / 3


@pytest.mark.parametrize(
    "found",
    [{"name": "Lamp, EASY TO CLEAN"}, {"bullets": ("x", "easy to Clean")}, {"description": "so easy to clean!"}],
)
def test_attributes_are_also_looked_for_in_the_texts(found: dict[str, Any]) -> None:
    assert worth(replace(LAMP, attributes=("wide",), **found))[1]["r_att"] == 1.0


def test_the_kind_of_product_scales_everything() -> None:
    other = replace(LAMP, query="x", product_category="Garden")
    assert worth(other)[1]["r_type"] == 1.0  # the name's nouns are the same
    assert worth(replace(other, name="acme"))[1]["title_score"] == 0.5
    many = replace(GOAL, name="acme a b c d lamp")
    assert worth(replace(other, name="acme"), many)[1] | {"r_att": 0} == worth(replace(other, name="acme"), many)[1] | {
        "r_att": 0, "r_type": 0.5, "title_score": 1 / 6,
    }  # fmt: skip
    assert worth(replace(LAMP, name="acme"), replace(GOAL, name="acme " + "x " * 10))[1]["r_type"] == 0.1
    assert worth(replace(LAMP, name="sofa"))[0] == 0.0


def test_repeated_nouns_of_the_goal_count_repeatedly() -> None:
    assert worth(goal=replace(GOAL, name="lamp lamp bulb"))[1]["title_score"] == 1 / 3


def test_a_goal_without_nouns_scores_a_fifth() -> None:
    info = worth(replace(LAMP, query="x", product_category=""), replace(GOAL, name="100%", product_category=""))[1]
    assert (info["title_score"], info["r_type"]) == (0.2, 0.5)


def test_two_parts_of_the_category_make_a_match() -> None:
    def match(category: str) -> bool:
        return bool(worth(replace(LAMP, product_category=category))[1]["category_match"])

    assert match("Lamps›Home")
    assert not match("Home › Home")
    assert not match("Home Lamps")


def test_goals_without_options_say_nothing_of_them() -> None:
    assert not {"r_option", "w_option"} & set(worth(goal=replace(GOAL, options=()))[1])


@pytest.mark.parametrize(
    ("wanted", "chosen", "matches"),
    [
        ("navy blue", "light blue", True),
        ("dark blue", "dark red", False),
        (("color", "dark blue"), "dark red", True),
        (("color", "dark blue"), "color", True),
        (("flavor name", "rosemary"), "rosemary", False),
        (("color", "red"), "dusty red", True),
        ("x-large", "large", True),
        ("10 | 12", "10", True),
        ("small", "medium", False),
    ],
)
def test_options_match_with_the_originals_quirks(wanted: Any, chosen: str, matches: bool) -> None:
    assert option_matches(wanted, [chosen]) == matches
