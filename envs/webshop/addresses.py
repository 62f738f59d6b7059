"""States as addresses: every place in the shop has its own, so that the back button and a second tab just work."""

from __future__ import annotations

from urllib.parse import parse_qs, quote, urlencode

from palaestra.envs.core.errors import TaskError
from palaestra.envs.webshop.session import DONE, ENTRANCE, ITEM, RESULTS, START, TAB, Shop, State, choose

MOST_PAGES = 100_000


def address_of(shop: Shop, state: State) -> str:
    """Path and query of a state; options are written as place of the name, dot, place of the value.

    >>> from palaestra.envs.webshop.session import Shop, search
    >>> from palaestra.envs.webshop.catalogue import Catalogue
    >>> from palaestra.envs.webshop.search import ShopSearch
    >>> nothing = Catalogue([])
    >>> address_of(Shop(nothing, ShopSearch(nothing)), search("red shoes"))
    '/results?q=red+shoes&p=1'
    """
    if state.page == START:
        return "/"
    pairs = [("q", state.query), ("p", str(state.number))]
    if state.page == RESULTS:
        return f"/results?{urlencode(pairs)}"
    product = shop.product(state)
    names = list(product.options)
    pairs += [("o", f"{names.index(name)}.{product.options[name].index(value)}") for name, value in state.options]
    end = {ITEM: "", TAB: f"/{state.tab}", DONE: "/done"}[state.page]
    return f"/item/{quote(product.asin, safe='')}{end}?{urlencode(pairs)}"


def read_address(shop: Shop, path: str, query: str) -> State:
    """The state of an address that `address_of` wrote; never a purchase, which only a click makes.

    Args:
        shop: the one the address leads into.
        path: decoded.
        query: the part after the question mark, as it is written.
    Raises: TaskError "unknown_page" for everything else.
    """
    try:
        if path == "/":
            return ENTRANCE
        found = parse_qs(query, keep_blank_values=True, max_num_fields=100)
        words, number = found["q"][0].lower(), int(found.get("p", ["1"])[0])
        head, *rest = path.removeprefix("/").split("/")
        if not words or not 1 <= number <= MOST_PAGES:
            raise ValueError("a search has words, and pages from 1 on")
        if head == RESULTS and not rest:
            return State(RESULTS, words, number)
        asin, tab = (*rest, "")[:2]
        product = shop.catalogue.find(asin)
        if head != ITEM or len(rest) > 2 or product is None or (tab and tab not in shop.tabs):
            raise ValueError("no such page")
        options = _read_options(shop, product, found.get("o", []))
        return State(TAB if tab else ITEM, words, number, product, options, tab)
    except (ValueError, KeyError, IndexError) as error:
        raise TaskError("unknown_page", f"there is no page {path!r:.80} in the shop: {error}") from error


def _read_options(shop: Shop, product: int, places: list[str]) -> tuple[tuple[str, str], ...]:
    offered = list(shop.catalogue.products[product].options.items())
    options: tuple[tuple[str, str], ...] = ()
    for place in places:
        of_name, _, of_value = place.partition(".")
        if not (of_name.isdecimal() and of_value.isdecimal()):
            raise ValueError(f"{place!r} is no option")
        name, values = offered[int(of_name)]
        options = choose(options, name, values[int(of_value)])
    return options
