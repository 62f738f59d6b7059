"""The pages as HTML: the same parts in the same order as the text, every text escaped, no script, nothing from afar.

Each part of `pages.page_parts` is one element marked `data-part`; what stands around them is for people only. Ids and
classes that programs look for are the original's: `search_input`, `instruction-text`, `btn`, `product-link`, and radio
inputs for options.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any, Final

from palaestra.envs.webshop.addresses import address_of
from palaestra.envs.webshop.goals import Goal
from palaestra.envs.webshop.pages import BUTTON, GOAL, OPTION, OPTION_NAME, Part, page_parts
from palaestra.envs.webshop.pictures import draw_picture
from palaestra.envs.webshop.session import DONE, ITEM, RESULTS, START, TAB, Shop, State, click, hits_on_page

TITLE: Final = "WebShop"


def draw_page(
    shop: Shop, goal: Goal, state: State, score: float, parts_of_reward: Mapping[str, Any], *, base: str = ""
) -> str:
    """A whole HTML document; `base` stands before every address of the shop.

    Cost: linear in the page.
    """
    parts = page_parts(shop, goal.instruction, state, score)
    drawn = {START: _start, RESULTS: _results, ITEM: _item, TAB: _tab}
    if state.page == DONE:
        main = _receipt(shop, goal, state, score, parts_of_reward, parts)
    else:
        main = drawn[state.page](shop, state, parts, base)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{TITLE}</title><link rel="stylesheet" href="/shop.css"></head>'
        f'<body class="on-{state.page}"><main>{main}</main></body></html>\n'
    )


def _part(text: str, tag: str = "span", **attributes: str) -> str:
    """One part as an element; `kind` becomes its class."""
    written = "".join(f' {"class" if key == "kind" else key}="{escape(value)}"' for key, value in attributes.items())
    return f"<{tag} data-part{written}>{escape(text)}</{tag}>"


def _goal(parts: list[Part]) -> str:
    label, text = (text for kind, text in parts if kind == GOAL)
    return f'<section id="instruction-text">{_part(label, "h2")}{_part(text, "p")}</section>'


def _link(shop: Shop, state: State, text: str, base: str) -> str:
    """A button that only leads somewhere."""
    address = base + address_of(shop, click(shop, state, text.lower()))
    return _part(text, "a", kind="btn", href=address)


def _start(shop: Shop, state: State, parts: list[Part], base: str) -> str:
    (_, title), *_, (_, button) = parts
    return (
        f'<header class="hero">{_part(title, "h1")}</header>{_goal(parts)}'
        f'<form class="search" method="get" action="{escape(base)}/results">'
        '<input id="search_input" name="q" maxlength="256" required autofocus autocomplete="off" '
        'aria-label="Search the shop" placeholder="What are you looking for?">'
        f"{_part(button, 'button', kind='btn primary', type='submit')}</form>"
    )


def _results(shop: Shop, state: State, parts: list[Part], base: str) -> str:
    (_, back), (_, count), *rest = parts[2:]
    turning = [text for kind, text in rest if kind == BUTTON]
    rows = iter([text for kind, text in rest if kind != BUTTON])
    cards = []
    for hit, asin, name, price in zip(hits_on_page(shop, state), rows, rows, rows, strict=True):
        target = State(ITEM, state.query, state.number, hit)
        cards.append(
            f'<li class="card"><span class="shot">{draw_picture(shop.catalogue.products[hit])}</span>'
            f'<div class="words">{_part(asin, "a", kind="product-link", href=base + address_of(shop, target))}'
            f"{_part(name, 'h3')}{_part(price, 'p', kind='price')}</div></li>"
        )
    shelf = f'<ul class="grid">{"".join(cards)}</ul>' if cards else '<p class="empty">No more products here.</p>'
    return (
        f'{_goal(parts)}<nav class="bar">{_link(shop, state, back, base)}{_part(count, "span", kind="count")}'
        f'<span class="turn">{"".join(_link(shop, state, text, base) for text in turning)}</span></nav>'
        f'<p class="asked">Results for <q>{escape(state.query)}</q></p>{shelf}'
    )


def _button(text: str, kind: str = "btn") -> str:
    """A button that takes the chosen options along."""
    return _part(text, "button", kind=kind, type="submit", name="click", value=text.lower())


def _item(shop: Shop, state: State, parts: list[Part], base: str) -> str:
    product = shop.product(state)
    buttons = [text for kind, text in parts if kind == BUTTON]
    name, price, rating = [text for kind, text in parts if kind not in (GOAL, BUTTON, OPTION, OPTION_NAME)][-3:]
    tabs = "".join(_button(text, "btn tab") for text in buttons[2:-1])
    return (
        f'{_goal(parts)}<form method="post" action="{escape(base)}/act">'
        f'<input type="hidden" name="at" value="{escape(address_of(shop, state))}">'
        f'<nav class="bar">{_button(buttons[0])}{_button(buttons[1])}</nav>'
        f'<div class="item"><div class="shot">{draw_picture(product, dict(state.options).get("color"))}</div>'
        f'<div class="options">{_options(state, parts)}</div>'
        f'<div class="facts">{_part(name, "h1")}{_part(price, "p", kind="price")}{_part(rating, "p", kind="rating")}'
        f'<div class="tabs">{tabs}</div></div>'
        f'<div class="buy">{_button(buttons[-1], "btn primary")}</div></div></form>'
    )


def _options(state: State, parts: list[Part]) -> str:
    """A group of radio inputs for each option; the chosen one is checked."""
    chosen = dict(state.options)
    groups: list[str] = []
    name = ""
    for kind, text in parts:
        if kind == OPTION_NAME:
            name = text
            groups.append(f"</fieldset><fieldset>{_part(text, 'legend')}")
        elif kind == OPTION:
            place = sum(group.startswith("</fieldset>") for group in groups) - 1
            checked = " checked" if chosen.get(name) == text else ""
            groups.append(
                f'<label class="chip"><input type="radio" name="o{place}" value="{escape(text)}"{checked}>'
                f"{_part(text)}</label>"
            )
    return "".join(groups).removeprefix("</fieldset>") + "</fieldset>" * bool(groups)


def _tab(shop: Shop, state: State, parts: list[Part], base: str) -> str:
    (_, back), (_, prev), *texts = parts[2:]
    said = "".join(_part(text, "li") for _, text in texts) or ""
    shown = f"<ul>{said}</ul>" if said else '<p class="empty">Nothing has been written yet.</p>'
    return (
        f'{_goal(parts)}<nav class="bar">{_link(shop, state, back, base)}{_link(shop, state, prev, base)}</nav>'
        f'<article class="sheet"><h1>{escape(state.tab.title())}</h1>{shown}'
        f'<p class="asked">{escape(shop.product(state).name)}</p></article>'
    )


def _receipt(shop: Shop, goal: Goal, state: State, score: float, why: Mapping[str, Any], parts: list[Part]) -> str:
    """What was bought and what it is worth, for people; the original's last page below."""
    bought = shop.product(state)
    options = ", ".join(f"{name}: {value}" for name, value in state.options) or "no options chosen"
    rows = [
        ("Kind of product", why.get("r_type"), f"{why.get('title_score', 0):.0%} of the name's nouns"),
        ("Attributes", why.get("r_att"), ", ".join(goal.attributes)),
        ("Options", why.get("r_option"), ", ".join(o if isinstance(o, str) else ": ".join(o) for o in goal.options)),
        ("Price", float(why.get("r_price") or 0), f"{bought.tag}, at most ${goal.price_upper:.2f}"),
    ]
    table = "".join(
        f'<tr><th>{escape(name)}</th><td><meter min="0" max="1" value="{share}"></meter></td>'
        f"<td>{share:.0%}</td><td>{escape(text)}</td></tr>"
        for name, share, text in rows
        if share is not None
    )
    said = "".join(_part(text, "li") for _, text in parts)
    return (
        f'<section class="receipt"><p class="kicker">Order placed</p>'
        f'<p class="score"><output id="reward">{score:.2f}</output> of 1.00</p>'
        f'<div class="bought"><span class="shot">{draw_picture(bought, dict(state.options).get("color"))}</span>'
        f"<div><h1>{escape(bought.name)}</h1><p>{escape(options)}</p>"
        f'<p class="price">{escape(bought.tag)}</p></div></div>'
        f'<p class="asked">Asked for: <q>{escape(goal.instruction)}</q></p><table>{table}</table>'
        '<p><a class="again" href="/">Next task</a></p></section>'
        f'<details><summary>The page as the agent reads it</summary><ul class="raw">{said}</ul></details>'
    )
