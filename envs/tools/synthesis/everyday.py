"""Everyday requests that no tool serves, and sentences any conversation may need. See everyday.toml."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from palaestra.envs.tools.synthesis.bindings import pick
from palaestra.envs.tools.synthesis.speaking import noun


@cache
def _data() -> dict[str, Any]:
    text = files("palaestra.envs.tools.synthesis").joinpath("everyday.toml").read_text("utf-8")
    return tomllib.loads(text)


@cache
def everyday_requests() -> tuple[str, ...]:
    """Every request, those made of templates included; some 450."""
    made = [
        template["text"].replace("{x}", x).replace("{y}", y)
        for template in _data()["templates"]
        for x in template["x"]
        for y in template["y"]
    ]
    return (*_data()["requests"], *made)


def everyday_request(rng: np.random.Generator) -> str:
    """One of them; the written ones as often as the templates."""
    written = _data()["requests"]
    return str(pick(written if rng.random() < 0.5 else everyday_requests(), rng))


def sentences(what: str) -> tuple[str, ...]:
    """Ways to say `again`, `instead`, `yes`, `no_tool`, `found` or `which`."""
    return tuple(_data()["sentences"][what])


def called(argument: str) -> str:
    """What people call an argument.

    >>> called("starts_at"), called("account_id")
    ('start', 'account')
    """
    return str(_data()["nouns"].get(argument, noun(argument)))
