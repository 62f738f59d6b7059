"""Matplotlib figures as inline SVG: no style attributes (the page's policy forbids them), colours from the page.

Colours are drawn as placeholders and written as CSS variables, so that one picture serves light and dark.
"""

from __future__ import annotations

import html
import io
import re
from typing import Any, Final

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

PAINT: Final = {
    name: f"#0101{number:02x}"
    for number, name in enumerate(("ink", "muted", "grid", "before", "after", "blue", "green", "orange", "purple"), 1)
}
"""Placeholder colour of each CSS variable; nothing else is drawn in these near-blacks."""

_SETTINGS: Final[dict[str, Any]] = {
    "svg.fonttype": "none",  # text stays text: small, selectable, in the page's font
    "text.parse_math": False,  # a name with dollar signs is a name
    "font.size": 12,
    "axes.labelsize": 12,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "text.color": PAINT["ink"],
    "axes.labelcolor": PAINT["muted"],
    "axes.edgecolor": PAINT["grid"],
    "xtick.color": PAINT["grid"],
    "ytick.color": PAINT["grid"],
    "xtick.labelcolor": PAINT["muted"],
    "ytick.labelcolor": PAINT["muted"],
    "grid.color": PAINT["grid"],
    "grid.linewidth": 0.8,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 12,
    "lines.linewidth": 2,
    "lines.markersize": 6,
}
_STYLE = re.compile(r'style="([^"]*)"')
_ID = re.compile(r' id="([^"]+)"')
_REFERENCE = re.compile(r'(?:url\(|href=")#([^")]+)')
_SIZE = re.compile(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>')
_COLOUR = re.compile(r"#0101([0-9a-f]{2})")
_NAMES: Final = list(PAINT)


def settings(name: str) -> Any:
    """The drawing style as a context; `name` keeps the ids of this figure apart from those of others on the page."""
    return matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": name})


def figure(width: int, height: int) -> Figure:
    """An empty figure of this many CSS pixels."""
    return Figure(figsize=(width / 72, height / 72), dpi=72, layout="constrained")


def to_svg(drawn: Figure, label: str, css_class: str = "") -> Markup:
    """The figure as one `<svg>` element that scales with its container; `label` is read to who cannot see it."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    drawn.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg ") :]
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)
    text = _STYLE.sub(lambda match: _attributes(match[1]), text)
    text = _COLOUR.sub(lambda match: f"var(--{_NAMES[int(match[1], 16) - 1]})", text)
    used = frozenset(_REFERENCE.findall(text))
    text = _ID.sub(lambda match: match[0] if match[1] in used else "", text)
    spoken = html.escape(label, quote=True)
    opening = f'<svg class="plot {css_class}" role="img" aria-label="{spoken}" viewBox="\\1">'
    text = _SIZE.sub(opening, text, count=1)
    text = re.sub(r" (rotate\(-0[ .\d-]*\))", "", text)
    return Markup(re.sub(r"\s*\n\s*", " ", text).strip())  # noqa: S704 - Matplotlib escaped the text in it


def plain(text: str, most: int = 28) -> str:
    r"""Text Matplotlib can measure: printable Latin-1 of bounded length.

    >>> plain("9-12"), plain("a\n門"), plain("x" * 40, 5)
    ('9-12', 'a??', 'xxxx…')
    """
    kept = "".join(sign if sign.isprintable() and ord(sign) < 256 else "?" for sign in text)
    return kept if len(kept) <= most else f"{kept[: most - 1]}…"


def _attributes(style: str) -> str:
    """A CSS declaration list as SVG presentation attributes; the font's family is the page's."""
    pairs = [part.split(":", 1) for part in style.split(";") if ":" in part]
    return " ".join(f'{name.strip()}="{value.strip()}"' for name, value in pairs if name.strip() != "font-family")
