"""Where a shop comes from, and the law by which an episode finds its goal.

An environment owns one root number per seed and counts its episodes; the goal of an episode is a pure function of the
two. So a batch of environments and as many single ones, seeded alike, are given the same goals for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, cast

from palaestra.envs.core.errors import TaskError, boundary, nearest
from palaestra.envs.core.seeding import derive_seed
from palaestra.envs.webshop.config import SPLITS, SplitName, WebShopConfig
from palaestra.envs.webshop.files import ShopData, read_catalogue, read_folder
from palaestra.envs.webshop.generator import CORNER_PRODUCTS, make_shop
from palaestra.envs.webshop.goals import Goal, GoalSet, human_goals, synthetic_goals, weigh
from palaestra.envs.webshop.nouns import open_tagger
from palaestra.envs.webshop.search import ShopSearch
from palaestra.envs.webshop.session import Shop

_OPTIONS: Final = ("task", "index", "split")
_SPLIT_NAMES: Final = (*SPLITS, "dev", "all")


@dataclass(frozen=True, eq=False)
class Source:
    """A shop and what is to be bought in it; immutable, shared by all environments with the same settings."""

    shop: Shop
    goals: GoalSet

    def __deepcopy__(self, memo: Mapping[int, object]) -> Source:
        return self


@lru_cache(maxsize=16)
def open_source(config: WebShopConfig) -> Source:
    """The shop and the goals of a configuration; what several configurations share is read once.

    Raises: TaskError "webshop_data", "no_goals"; ConfigError "tagger".
    Cost: 0.15 s for 1,000 products, then linear in them; nothing for one that is open.
    """
    base = _open(config.catalogue, config.products, config.goals, config.price_seed, config.lucene_norms)
    shop = Shop(
        base.shop.catalogue,
        base.shop.ranker,
        open_tagger(config.tagger),
        config.page_size,
        config.show_attrs,
        config.labels == "number",
    )
    return Source(shop, base.goals)


@lru_cache(maxsize=4)
def _open(catalogue: str, products: int | None, goals: str, price_seed: int, lucene_norms: bool) -> Source:
    data = _read(catalogue, products, human=goals == "human")
    found = read_catalogue(data, price_seed=price_seed, products=products)
    if goals == "human":
        made = list(human_goals(found, data.human, price_seed))
    else:
        made = weigh(list(synthetic_goals(found, data.facts, price_seed)))
    if not made:
        raise TaskError("no_goals", f"{data.origin}: no {goals} goal is about any of its {len(found)} products")
    return Source(Shop(found, ShopSearch(found, lucene_norms=lucene_norms)), GoalSet(made, data.origin))


def _read(catalogue: str, products: int | None, *, human: bool) -> ShopData:
    if catalogue == "corner":
        return make_shop("corner", products or CORNER_PRODUCTS)
    if catalogue == "embedded":
        return read_folder(files("palaestra.envs.webshop") / "data", "the embedded shop", human=human)
    with boundary("webshop_data", TaskError):  # the home of somebody who has none
        folder = Path(catalogue).expanduser()
    return read_folder(folder, str(folder), products=products, human=human)


def select(source: Source, config: WebShopConfig, options: Mapping[str, Any] | None, root: int, episode: int) -> Goal:
    """The goal of an episode: the one the reset options name, else the one the root and the episode number draw.

    Raises: TaskError "unknown_option", "unknown_split", "bad_index", "unknown_task", "no_goals".
    """
    options = options or {}
    for key in options:
        if key not in _OPTIONS:
            raise TaskError("unknown_option", f"reset option {key!r}; {nearest(key, _OPTIONS)}")
    if "task" in options:
        return source.goals.find(str(options["task"]))
    split = options.get("split", config.split)
    if split not in _SPLIT_NAMES:
        raise TaskError("unknown_split", f"split={split!r}; {nearest(str(split), _SPLIT_NAMES)}")
    name = cast(SplitName, "valid" if split == "dev" else split)
    if "index" not in options:
        return source.goals.draw(name, config.pool, derive_seed(root, "webshop", episode) / 2**64)
    index = options["index"]
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise TaskError("bad_index", f"index={index!r}: give a whole number of at least 0")
    return source.goals.at(name, index)
