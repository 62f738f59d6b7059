"""Placeholder pictures: a drawing per department, in the product's own colour, as inline SVG."""

from __future__ import annotations

from typing import Final
from zlib import crc32

from palaestra.envs.webshop.catalogue import Product

_INKS: Final = {
    "black": "#30343b", "white": "#eceff3", "ivory": "#efe8d6", "cream": "#efe6cf", "beige": "#d9c9ad",
    "tan": "#c9a77a", "khaki": "#b3a67a", "grey": "#9aa3af", "charcoal": "#4a5058", "silver": "#b8bfc8",
    "nickel": "#aab0b6", "chrome": "#c2c8cf", "brass": "#b58b3b", "bronze": "#7a5a3c", "gold": "#d9a441",
    "navy": "#2b3f6b", "blue": "#3f6fc0", "teal": "#2b8a86", "olive": "#77803f", "sage": "#9bb08f", "forest": "#3c6b4a",
    "green": "#4a9a5f", "red": "#b8423f", "burgundy": "#7a2740", "terracotta": "#c4694a", "pink": "#e3a3b4",
    "blush": "#e6b9b5", "mustard": "#d3a32c", "walnut": "#7b573c", "oak": "#c79f6b", "pine": "#dcbd86",
    "espresso": "#4f3a30", "brown": "#7a5c44", "lavender": "#ac9bd0", "vanilla": "#ecdcae", "citrus": "#e9b53f",
    "rose": "#d98f9c",
}  # fmt: skip
_SPARE: Final = ("#6f8fb8", "#b8866f", "#7fa67a", "#a98bb5", "#c2a15a", "#6fa5a3")
_DRAWINGS: Final = {
    "fashion": '<path d="M38 26l-18 10 6 16 8-4v28h32V48l8 4 6-16-18-10c-3 6-21 6-24 0z"/>',
    "shoes": '<path d="M18 44c8 4 14 2 18-4l8 10c8 8 20 8 34 12 4 2 4 8 0 10H20c-4-8-4-20-2-28z"/>',
    "furniture": '<path d="M30 22h40v28H30zM24 54h52v10H24zM28 64h6v16h-6zM66 64h6v16h-6z"/>',
    "home": '<path d="M24 30c8 4 44 4 52 0-4 8-4 32 0 40-8-4-44-4-52 0 4-8 4-32 0-40z"/>',
    "lighting": '<path d="M38 22h24l12 28H26zM47 50h6v22h-6zM36 72h28v6H36z"/>',
    "electronics": '<path d="M24 56a26 26 0 0152 0v16h-12V54h6a20 20 0 00-40 0h6v18H24z"/>',
    "grocery": '<path d="M36 22h28v8H36zM32 34h36c4 4 4 8 4 12v26c0 4-2 6-6 6H34c-4 0-6-2-6-6V46c0-4 0-8 4-12z"/>',
    "beauty": '<path d="M42 18h16v12H42zM38 34h24c6 4 8 8 8 14v28c0 4-2 6-6 6H36c-4 0-6-2-6-6V48c0-6 2-10 8-14z"/>',
    "kitchen": '<path d="M26 40h48v26c0 8-6 12-12 12H38c-6 0-12-4-12-12zM16 44h8v8h-8zM76 44h8v8h-8zM44 28h12v8H44z"/>',
    "garden": '<path d="M50 80V54c-16 2-26-8-26-26 18 0 28 8 26 26 0-14 8-22 26-22 0 16-8 24-24 24v24z"/>',
    "pets": (
        '<path d="M50 48c10 0 20 12 20 20s-10 10-20 10-20-2-20-10 10-20 20-20z"/><circle cx="28" cy="42" r="7"/>'
        '<circle cx="42" cy="30" r="8"/><circle cx="58" cy="30" r="8"/><circle cx="72" cy="42" r="7"/>'
    ),
    "sports": '<path d="M50 22L82 78H60L50 58 40 78H18z"/>',
}
_PARCEL: Final = '<path d="M24 36l26-12 26 12v30L50 78 24 66z"/>'


def draw_picture(product: Product, colour: str | None = None) -> str:
    """The drawing of a product, in the chosen colour or one it comes in.

    >>> from palaestra.envs.webshop.sources import open_source
    >>> from palaestra.envs.webshop.config import WebShopConfig
    >>> draw_picture(open_source(WebShopConfig(catalogue="corner")).shop.catalogue.products[0], "red")[:53]
    '<svg viewBox="0 0 100 100" aria-hidden="true"><rect w'
    """
    draw = crc32(product.asin.encode())
    colours = product.options.get("color") or ("",)
    known = colour or colours[draw % len(colours)]
    spare = _SPARE[draw % len(_SPARE)]
    ink = next((_INKS[word] for word in known.split() if word in _INKS), spare)
    drawing = _DRAWINGS.get(product.category, _PARCEL)
    return (
        '<svg viewBox="0 0 100 100" aria-hidden="true"><rect width="100" height="100" fill="#f3efe8"/>'
        f'<ellipse cx="50" cy="84" rx="30" ry="4" fill="#e2dacd"/>'
        f'<g fill="{ink}" stroke="#00000026" stroke-width="1.2" stroke-linejoin="round">{drawing}</g></svg>'
    )
