"""The text of every page, straight from the state: no HTML is made or parsed.

A page is a list of parts, each what one text node of the original's page says, in its order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from palaestra.envs.webshop.catalogue import Product
from palaestra.envs.webshop.session import (
    DONE,
    ITEM,
    RESULTS,
    SEARCH,
    START,
    TAB,
    Shop,
    State,
    hits_on_page,
)

SEPARATOR: Final = " [SEP] "
GOAL, TEXT, BUTTON, LINK, OPTION_NAME, OPTION = "goal", "text", "button", "link", "option name", "option"

Part = tuple[str, str]
"""(kind, text)."""

_BACK: Final = (BUTTON, "Back to Search")
_PREV: Final = (BUTTON, "< Prev")
_NEXT: Final = (BUTTON, "Next >")
_BUY: Final = (BUTTON, "Buy Now")
_INSTRUCTION: Final = (GOAL, "Instruction:")


def page_parts(shop: Shop, instruction: str, state: State, reward: float = 0.0) -> list[Part]:
    """The parts of a page; `reward` is shown on the last one.

    Cost: of results, one search (kept by the ranker) and three parts per product; else the length of the product.
    """
    if state.page == START:
        return [(TEXT, "WebShop"), _INSTRUCTION, (GOAL, instruction), (BUTTON, "Search")]
    if state.page == DONE:
        return _receipt(shop, state, reward)
    head = [_INSTRUCTION, (GOAL, instruction), _BACK]
    if state.page == RESULTS:
        return head + _results(shop, state)
    product = shop.product(state)
    if state.page == ITEM:
        return head + _item(product, shop.tabs)
    return [*head, _PREV, *_tab(product, state.tab)]


def _results(shop: Shop, state: State) -> list[Part]:
    total = len(shop.ranker.search(state.query))
    parts: list[Part] = [(TEXT, f"Page {state.number} (Total results: {total})")]
    if state.number > 1:
        parts.append(_PREV)
    parts.append(_NEXT)
    products = shop.catalogue.products
    for place, hit in enumerate(hits_on_page(shop, state), start=1):
        product = products[hit]
        link = str(place) if shop.numbered else product.asin
        parts += ((LINK, link), (TEXT, product.name.strip()), (TEXT, product.tag))
    return parts


@lru_cache(maxsize=4096)
def _item(product: Product, tabs: tuple[str, ...]) -> list[Part]:
    parts = [_PREV]
    for name, values in product.options.items():
        parts.append((OPTION_NAME, name))
        parts += [(OPTION, value) for value in values]
    parts += _shown(product.name)
    parts += [(TEXT, f"Price: {product.tag}"), (TEXT, "Rating: N.A.")]
    return [*parts, *((BUTTON, tab.title()) for tab in tabs), _BUY]


def _tab(product: Product, tab: str) -> list[Part]:
    if tab == "description":
        return _shown(product.description)
    if tab == "features":
        return _shown(*product.bullets)
    if tab == "reviews":
        return []
    return _shown(*product.attributes, product.category, product.query, product.product_category)


def _shown(*texts: str) -> list[Part]:
    """Empty texts have no node."""
    return [(TEXT, text.strip()) for text in texts if text and text != "\n"]


def _receipt(shop: Shop, state: State, reward: float) -> list[Part]:
    bought = shop.product(state)
    return [
        (TEXT, text)
        for text in (
            "Thank you for shopping with us!", "Your code:", "None", "(Paste it in your MTurk interface.)", "Purchased",
            "asin", bought.asin, "options", _as_json(dict(state.options)), "attrs", "None", "category", "None",
            "query", "None", "product category", "None", "Target", "asin", "options", "attrs", "price upper",
            "instuction text", "category", "product category", "query", "Goal", "None", "Reward",
            "Your score (min 0.0, max 1.0)", str(reward), "Reward Details", "None",
        )
    ]  # fmt: skip


def _as_json(options: dict[str, str]) -> str:
    """As the original's templates write it: keys sorted, and four characters escaped that mean something in HTML."""
    text = json.dumps(options, sort_keys=True)
    for letter in "<>&'":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def clickables(parts: list[Part]) -> list[str]:
    """What can be clicked, each once: buttons, then products, then values of options."""
    found: dict[str, None] = {}
    for kind in (BUTTON, LINK):
        found |= {text.lower(): None for this, text in parts if this == kind}
    found |= {text: None for this, text in parts if this == OPTION}
    return list(found)


def has_search_bar(state: State) -> bool:
    """Whether the page asks for a search."""
    return state.page == START


def admissible(clickable: list[str], state: State) -> list[str]:
    """The actions a prompt lists."""
    listed = [f"click[{target}]" for target in clickable if target != SEARCH]
    return ["search[<your query>]", *listed] if has_search_bar(state) else listed


def plain(parts: list[Part], *, instruction: bool = True) -> str:
    """The original's observation."""
    if instruction:
        return SEPARATOR.join([text for _, text in parts])
    return SEPARATOR.join([text for kind, text in parts if kind != GOAL])


def _chosen(parts: list[Part], state: State) -> Iterator[tuple[str, str, bool]]:
    """The parts, each with whether it is a value that was chosen."""
    chosen = set(state.options) if state.page == ITEM else set()
    name = ""
    for kind, text in parts:
        name = text if kind == OPTION_NAME else name
        yield kind, text, kind == OPTION and (name, text) in chosen


def rich(parts: list[Part], state: State, *, instruction: bool = True) -> str:
    """Line by line, buttons and chosen values marked, the choices said again at the top."""
    clicked: list[str] = []
    lines: list[str] = []
    for kind, text, is_chosen in _chosen(parts, state):
        if kind == OPTION:
            mark = "clicked button" if is_chosen else "button"
            lines.append(f"  [{mark}] {text} [{mark}_]")
        elif kind in (BUTTON, LINK):
            lines.append(f"[button] {text} [button_]")
        elif kind != GOAL or instruction:
            lines.append(text)
        if is_chosen:
            clicked.append(f"You have clicked {text}.")
    return "\n".join([*clicked, *lines])


def plus(parts: list[Part], shop: Shop, state: State, reward: float, *, instruction: bool = True) -> str:
    """As `plain`, but chosen values carry an asterisk, and the last page says only what was bought and its score."""
    if state.page == DONE:
        options = ", ".join(value for _, value in state.options) or "no options"
        return SEPARATOR.join(("Bought", shop.product(state).name.strip(), options, f"Score: {reward:.2f}"))
    marked = [(kind, text + "*" * is_chosen) for kind, text, is_chosen in _chosen(parts, state)]
    return plain(marked, instruction=instruction)


def compact(shop: Shop, instruction: str, state: State, reward: float) -> str:
    """Few tokens, for tiny policies: the goal, and what the list of actions does not say."""
    if state.page == DONE:
        return f"score {reward:.2f}"
    lines = [instruction] if instruction else []
    if state.page == START:
        lines.append("search")
    elif state.page == RESULTS:
        products = shop.catalogue.products
        for place, hit in enumerate(hits_on_page(shop, state), start=1):
            label = place if shop.numbered else products[hit].asin.lower()
            lines.append(f"{label} {products[hit].name.strip().lower()} {products[hit].tag}")
        if not hits_on_page(shop, state):
            lines.append("nothing found")
    elif state.page == TAB:
        lines += [state.tab, *(text for _, text in _tab(shop.product(state), state.tab))]
    else:
        product = shop.product(state)
        chosen = ", ".join([value for _, value in state.options]) or "nothing"
        lines += [f"{product.name.strip().lower()} {product.tag}", f"chosen: {chosen}"]
    return "\n".join(lines)
