"""Colour words, by which "dark red" and "dark blue" are one colour, as in the original shop."""

from __future__ import annotations

from typing import Final

COLOURS: Final = tuple(
    """alabaster apricot aqua ash asphalt azure banana beige black blue blush bordeaux bronze brown burgundy camel camo
    caramel champagne charcoal cheetah chestnut chocolate christmas coffee cognac copper coral cranberry cream crystal
    dark denim eggplant elephant espresso fuchsia gold granite grape graphite grass gray green grey heather indigo ivory
    ivy khaki lavender lemon leopard light lilac lime magenta maroon mauve merlot midnight mint mocha multicolor
    mushroom mustard natural navy nude olive orange peach pewter pink plum purple rainbow red rose royal rust sand
    sapphire seashell silver skull slate steel stone stonewash sunflower tan taupe teal tiger turquoise violet walnut
    wheat white wine yellow""".split()  # noqa: SIM905 - words read better without quotes
)


def plain_colour(value: str | tuple[str, str]) -> str:
    """The first word of the list that the value contains, else the value.

    An option given as (name, value) contains a word only if name or value equals it; otherwise it stays a pair, and
    the text of the pair is what is compared. That is how the original treats goals made by combining options.

    >>> plain_colour("dark red"), plain_colour(("color", "navy blue")), plain_colour(("color", "red"))
    ('dark', "('color', 'navy blue')", 'red')
    """
    for colour in COLOURS:
        if colour in value:
            return colour
    return str(value)
