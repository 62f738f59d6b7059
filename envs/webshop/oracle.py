"""The shopper who knows which product was meant: a plan from anywhere, and how many actions it takes.

Search, pages, product, options, buy: the plan is a shortest one of that kind, in listed actions only; a shorter way
with another product may exist. A goal whose own product cannot score 1 has no plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from palaestra.envs.webshop.catalogue import Product
from palaestra.envs.webshop.goals import Goal
from palaestra.envs.webshop.reward import GoalOption, option_matches, purchase_reward
from palaestra.envs.webshop.session import BACK, BUY, DONE, ITEM, NEXT, PREV, RESULTS, START, TAB, Shop, State

INFINITE: Final = float("inf")


@dataclass(frozen=True, eq=False)
class Oracle:
    """Plans for one goal in one shop. Cost: a handful of searches once, then a few comparisons per question."""

    shop: Shop
    goal: Goal

    def plan(self, state: State, won: bool, rng: np.random.Generator | None = None) -> list[str] | None:
        """Actions that win; [] if that is done, None if it cannot be. With `rng` the options come in any order."""
        if state.page == DONE:
            return [] if won else None
        if not self._winnable:
            return None
        if state.page in (ITEM, TAB) and state.product == self._number:
            actions = [_click(PREV)] if state.page == TAB else []
            missing = self._missing(dict(state.options))
        else:
            actions, missing = self._to_product(state), self._missing({})
        if rng is not None:
            missing = [missing[k] for k in rng.permutation(len(missing))]
        return [*actions, *map(_click, missing), _click(BUY)]

    def distance(self, state: State, won: bool) -> float:
        """How many actions the plan takes; inf if there is none."""
        plan = self.plan(state, won)
        return INFINITE if plan is None else float(len(plan))

    @cached_property
    def _number(self) -> int:
        """Of the goal's product; -1 if the catalogue does not hold it."""
        found = self.shop.catalogue.find(self.goal.asin)
        return -1 if found is None else found

    @cached_property
    def _choices(self) -> tuple[tuple[str, str], ...]:
        """(name, value) to choose, so that every wanted option is matched; as many as can be."""
        product = self.shop.catalogue.products[self._number]
        chosen: dict[str, str] = {}
        for wanted in self.goal.options:
            if not option_matches(wanted, chosen.values()) and (found := _offer(product, wanted, chosen)):
                chosen[found[0]] = found[1]
        return tuple(chosen.items())

    @cached_property
    def _winnable(self) -> bool:
        """Whether buying the product, options and all, scores 1, and some search finds it."""
        if self._number < 0 or not self._query[1]:
            return False
        product = self.shop.catalogue.products[self._number]
        score, _ = purchase_reward(product, product.price, dict(self._choices), self.goal, self.shop.tagger)
        return score == 1.0

    @cached_property
    def _query(self) -> tuple[str, int]:
        """The search that shows the product on the earliest page, and that page; of equals the first; else 0.

        In words of the goal; in those of the product only if no such search finds it, for a shopper cannot know them.
        """
        product = self.shop.catalogue.products[self._number]
        wanted = " ".join(self.goal.attributes)
        options = " ".join(option if isinstance(option, str) else option[1] for option in self.goal.options)
        known = (product.query, f"{wanted} {product.query}", f"{wanted} {options} {product.query}")
        return self._best(known) if self._best(known)[1] else self._best((product.name, product.document[:200]))

    def _best(self, queries: Sequence[str]) -> tuple[str, int]:
        best = ("", 0)
        for query in map(_typed, queries):
            hits = tuple(self.shop.ranker.search(query)) if query else ()
            if self._number in hits:
                page = hits.index(self._number) // self.shop.page_size + 1
                if not best[1] or page < best[1]:
                    best = query, page
        return best

    def _to_product(self, state: State) -> list[str]:
        """Actions from somewhere else to the product's page: within the results searched for, or by a new search."""
        query, page = self._query
        ways: list[tuple[str, list[str]]] = []
        if state.page != START:
            hits = tuple(self.shop.ranker.search(state.query))
            if self._number in hits:
                turns = hits.index(self._number) // self.shop.page_size + 1 - state.number
                leave = {RESULTS: 0, ITEM: 1, TAB: 2}[state.page]
                turned = [_click(PREV)] * leave + [_click(NEXT if turns > 0 else PREV)] * abs(turns)
                ways.append((state.query, turned))
        afresh = [f"search[{query}]", *[_click(NEXT)] * (page - 1)]
        ways.append((query, afresh if state.page == START else [_click(BACK), *afresh]))
        found, actions = min(ways, key=lambda way: len(way[1]))
        return [*actions, _click(self._link(found))]

    def _link(self, query: str) -> str:
        """How the page of results that shows the product calls it."""
        if not self.shop.numbered:
            return self.goal.asin.lower()
        return str(tuple(self.shop.ranker.search(query)).index(self._number) % self.shop.page_size + 1)

    def _missing(self, chosen: Mapping[str, str]) -> list[str]:
        """Values still to be clicked."""
        return [value for name, value in self._choices if chosen.get(name) != value]


def _click(target: str) -> str:
    return f"click[{target}]"


def _typed(query: str) -> str:
    """The query as it can be written into an action: brackets would end it."""
    return " ".join(query.lower().replace("[", " ").replace("]", " ").split())


def _offer(product: Product, wanted: GoalOption, taken: Mapping[str, str]) -> tuple[str, str] | None:
    """An option that matches a wanted one, the very value first, among names that are not taken yet."""
    exact = wanted if isinstance(wanted, str) else wanted[1]
    values = {value: name for name, found in product.options.items() for value in found}
    free = [(name, value) for value, name in values.items() if name not in taken]
    free.sort(key=lambda pair: pair[1] != exact)
    return next(((name, value) for name, value in free if option_matches(wanted, (value,))), None)
