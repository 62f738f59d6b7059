"""The shop as a state machine: where a shopper stands, and where a search or a click leads.

States are values and moves are functions, so the text environment, the web pages, snapshots and the oracle all share
this one file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from palaestra.envs.webshop.catalogue import Catalogue, Product
from palaestra.envs.webshop.nouns import Tagger, rule_tagger
from palaestra.envs.webshop.search import Ranker

START, RESULTS, ITEM, TAB, DONE = "start", "results", "item", "tab", "done"
SEARCH, BUY, BACK, NEXT, PREV = "search", "buy now", "back to search", "next >", "< prev"
TABS: Final = ("description", "features", "reviews")
ATTRIBUTES: Final = "attributes"


@dataclass(frozen=True, eq=False)
class Shop:
    """Everything that episodes share; immutable.

    Attributes:
        catalogue, ranker, tagger: the products, what finds them, what compares their names.
        page_size: results on a page.
        show_attrs: whether products have a page of attributes.
        numbered: results are called by their number on the page instead of by id.
    """

    catalogue: Catalogue
    ranker: Ranker
    tagger: Tagger = rule_tagger
    page_size: int = 10
    show_attrs: bool = False
    numbered: bool = False

    @property
    def tabs(self) -> tuple[str, ...]:
        """Sub pages of a product."""
        return (*TABS, ATTRIBUTES) if self.show_attrs else TABS

    def product(self, state: State) -> Product:
        """The product a state is about."""
        return self.catalogue.products[state.product]


class State(NamedTuple):
    """Where a shopper stands.

    Attributes:
        page: one of the five kinds.
        query, number: the last search and the page of its results.
        product: its number in the catalogue; -1 for none.
        options: (name, value) chosen so far, in the order they were first chosen.
        tab: the sub page, on a page of that kind.
    """

    page: str
    query: str = ""
    number: int = 1
    product: int = -1
    options: tuple[tuple[str, str], ...] = ()
    tab: str = ""


ENTRANCE: Final = State(START)


def read_action(action: str) -> tuple[str, str] | None:
    r"""(name, argument in lower case) of `name[argument]`; None if the text is nothing of the kind.

    The last bracket that leaves something inside it opens, the last one closes, and what follows is ignored. The
    original writes this as the pattern (.+)\[(.+)\]; this reads the same in linear time.

    >>> read_action("click[Buy Now] please"), read_action("search[]")
    (('click', 'buy now'), None)
    """
    line = action.partition("\n")[0]
    closing = line.rfind("]")
    opening = line.rfind("[", 0, max(closing - 1, 0))
    if opening < 1:
        return None
    return line[:opening], line[opening + 1 : closing].lower()


def hits_on_page(shop: Shop, state: State) -> tuple[int, ...]:
    """Numbers of the products that a page of results shows."""
    first = (state.number - 1) * shop.page_size
    return tuple(shop.ranker.search(state.query)[first : first + shop.page_size])


def search(query: str) -> State:
    """Where a search leads, from anywhere."""
    return State(RESULTS, query)


def click(shop: Shop, state: State, target: str) -> State:
    """Where a click leads; `target` must be among the page's clickables.

    Buttons come before products and options of the same name, as in the original.
    """
    if target == BACK:
        return ENTRANCE
    if target == BUY:
        return state._replace(page=DONE)
    if target == NEXT and state.page == RESULTS:
        return state._replace(number=state.number + 1)
    if target == PREV:
        return _go_back(state)
    if state.page == RESULTS:
        return State(ITEM, state.query, state.number, _result(shop, state, target))
    if target in shop.tabs:
        return state._replace(page=TAB, tab=target)
    return state._replace(options=choose(state.options, _names_of_values(shop.product(state))[target], target))


def _go_back(state: State) -> State:
    """One step towards the search; leaving a product forgets it and its options."""
    if state.page == TAB:
        return state._replace(page=ITEM, tab="")
    return State(RESULTS, state.query, state.number - (state.page == RESULTS))


def _result(shop: Shop, state: State, target: str) -> int:
    if shop.numbered:
        return hits_on_page(shop, state)[int(target) - 1]
    found = shop.catalogue.find(target)
    if found is None:
        raise LookupError(f"{target!r} is on the page and not in the catalogue")
    return found


def choose(options: tuple[tuple[str, str], ...], name: str, value: str) -> tuple[tuple[str, str], ...]:
    """The options with one more choice, or another choice in the old one's place."""
    chosen = dict(options)
    chosen[name] = value
    return tuple(chosen.items())


@lru_cache(maxsize=4096)
def _names_of_values(product: Product) -> Mapping[str, str]:
    """The option that a value belongs to; of two, the later one."""
    return {value: name for name, values in product.options.items() for value in values}
