"""Goals: stable ids, price limits, splits that share nothing, draws in proportion to weight."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from itertools import combinations

import pytest

from palaestra.envs.core.errors import TaskError
from palaestra.envs.webshop.catalogue import Catalogue
from palaestra.envs.webshop.config import SPLITS, SplitName, WebShopConfig
from palaestra.envs.webshop.goals import NO_LIMIT, Goal, GoalSet, price_limit
from palaestra.envs.webshop.reward import purchase_reward
from palaestra.envs.webshop.sources import Source, open_source


def source(**settings: object) -> Source:
    return open_source(WebShopConfig(**settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("goals", ["human", "synthetic"])
@pytest.mark.parametrize("catalogue", ["embedded", "corner"])
def test_splits_share_neither_goals_nor_products(catalogue: str, goals: str) -> None:
    found = source(catalogue=catalogue, goals=goals).goals
    held = {split: [found.at(split, i) for i in range(found.count(split))] for split in _splits()}
    assert sum(map(len, held.values())) == len(found)
    for one, other in combinations(_splits(), 2):
        assert not {g.asin for g in held[one]} & {g.asin for g in held[other]}
        assert not {g.id for g in held[one]} & {g.id for g in held[other]}
    assert len({goal.id for goal in found}) == len(found)


def _splits() -> tuple[SplitName, ...]:
    return ("train", "valid", "test")


def test_the_embedded_shop_is_as_large_as_promised() -> None:
    embedded = source()
    assert len(embedded.shop.catalogue) == 1000
    assert {split: embedded.goals.count(split) for split in _splits()} == {"train": 304, "valid": 100, "test": 100}
    assert len({p.category for p in embedded.shop.catalogue.products}) == 12
    assert len({p.query for p in embedded.shop.catalogue.products}) == 84
    assert len({p.name for p in embedded.shop.catalogue.products}) > 990
    assert all(3 <= len(p.attributes) <= 6 and len(p.options) >= 2 for p in embedded.shop.catalogue.products)
    assert any(" to " in p.tag for p in embedded.shop.catalogue.products)


def test_the_first_hit_without_options_rarely_wins() -> None:
    embedded = source()
    won = 0
    for goal in embedded.goals:
        first = embedded.shop.catalogue.products[embedded.shop.ranker.search(goal.query)[0]]
        won += purchase_reward(first, first.price, {}, goal, embedded.shop.tagger)[0] == 1.0
    assert won <= 0.1 * len(embedded.goals)


def test_goals_and_prices_are_the_same_in_every_process() -> None:
    code = (
        "from palaestra.envs.webshop.sources import open_source; from palaestra.envs.webshop.config import *\n"
        "s = open_source(WebShopConfig()); print([(g.id, g.instruction, g.split) for g in s.goals])\n"
        "print([(p.asin, p.price) for p in s.shop.catalogue.products])"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert runs[0] == runs[1]
    assert source().goals.at("all", 0).id in runs[0]


def test_ids_do_not_depend_on_limits() -> None:
    one, other = source().goals, source(price_seed=1).goals
    assert [goal.id for goal in one] == [goal.id for goal in other]
    assert sum(a.price_upper != b.price_upper for a, b in zip(one, other, strict=True)) > 100


@pytest.mark.parametrize(
    ("price", "limits"), [(12.5, {30, 40, 50}), (20.0, {40, 50, 60}), (965.0, {980, 990}), (979.99, {990})]
)
def test_the_limit_is_the_larger_of_two_of_the_next_four_tens(price: float, limits: set[int]) -> None:
    drawn = {price_limit(price, 0, str(i)) for i in range(200)}
    assert {limit for limit, _ in drawn} == limits
    assert {text for _, text in drawn} == {f", and price lower than {limit}.00 dollars" for limit in limits}


@pytest.mark.parametrize("price", [980.0, 989.0, 990.0, 5000.0])
def test_what_is_too_dear_has_no_limit(price: float) -> None:
    assert price_limit(price, 0, "x") == (NO_LIMIT, "")


def made(count: int, **facts: float) -> GoalSet:
    goal = Goal("A", "", "", "n", "", "buy", ("soft",), 1.0, ())
    return GoalSet([Goal(**{**_fields(goal), "id": str(i), "split": "", **facts}) for i in range(count)], "these")  # type: ignore[arg-type]


def _fields(goal: Goal) -> dict[str, object]:
    return {name: getattr(goal, name) for name in Goal.__slots__}


def test_goals_without_a_split_are_put_where_the_original_has_them() -> None:
    goals = made(12_087)
    assert [goals.count(split) for split in ("test", "valid", "train")] == [500, 1000, 10_587]
    order = [goal.id for goal in goals]
    assert [goals.at("test", i).id for i in range(500)] == order[:500]
    assert [goals.at("valid", i).id for i in range(1000)] == order[500:1500]
    small = made(30)
    assert [small.count(split) for split in ("test", "valid", "train")] == [3, 6, 21]


def test_the_order_is_the_twisters_of_seed_233() -> None:
    import random  # noqa: TID251 - the original's

    expected = list(range(40))
    random.Random(233).shuffle(expected)
    assert [int(goal.id) for goal in made(40)] == expected


def test_draws_follow_the_weights() -> None:
    found = source(goals="synthetic", products=100).goals
    weights = Counter({goal.id: goal.weight for goal in found})
    total = sum(weights.values())
    n = 20_000
    drawn = Counter(found.draw("all", None, (k + 0.5) / n).id for k in range(n))
    assert all(abs(drawn[i] - n * w / total) <= 1.01 for i, w in weights.items())
    assert len({round(w, 9) for w in weights.values()}) > 5


def test_draws_stay_in_the_pool() -> None:
    found = source().goals
    first = {found.at("train", i).id for i in range(5)}
    assert {found.draw("train", 5, k / 100).id for k in range(100)} == first


def test_mistakes_are_named() -> None:
    found = source().goals
    with pytest.raises(TaskError, match="goals 0 to 99"):
        found.at("test", 100)
    with pytest.raises(TaskError, match="is no goal of the embedded shop"):
        found.find("0" * 12)
    with pytest.raises(TaskError, match="no goal in split 'test'; it has"):
        made(3).at("test", 0)


def test_catalogues_find_products_in_any_case() -> None:
    catalogue: Catalogue = source().shop.catalogue
    number = catalogue.find(catalogue.products[7].asin.lower())
    assert number == 7
    assert catalogue.find("p1") is None
    assert set(SPLITS) == {goal.split for goal in source().goals}
