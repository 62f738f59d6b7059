"""Speaking: how a value is said in a sentence, and whether a sentence says it; what is said can be read back."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import numpy as np

from palaestra.envs.tools.synthesis.bindings import pick

_INSTANT: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_HOUR: Final = 60


def say(kind: str, value: Any, rng: np.random.Generator) -> str:
    """A value in words.

    Kinds are money, instant, day, minutes, quoted, list and raw; times are known by what they look like.

    >>> ways("money", 125000)
    ('1250.00', '1,250.00')
    """
    return str(pick(ways(kind, value), rng))


def ways(kind: str, value: Any) -> tuple[str, ...]:
    """Every way a value is said, the plainest first."""
    if isinstance(value, list):
        return (" and ".join(str(member) for member in value),)
    if isinstance(value, bool):
        return ("true" if value else "false",)
    if isinstance(value, int):
        return _numbers(kind, value)
    text = str(value)
    if _INSTANT.fullmatch(text):
        return _instants(text)
    if _DAY.fullmatch(text) and kind in ("day", "instant"):
        return _days(text)
    if kind == "quoted":
        return (f"“{text}”",)
    return (text,) if kind != "raw" or "_" not in text or any(c.isdigit() for c in text) else (text.replace("_", " "),)


def _numbers(kind: str, value: int) -> tuple[str, ...]:
    if kind == "money":
        plain = f"{value / 100:.2f}"
        return (plain,) if abs(value) < 100_000 else (plain, f"{value / 100:,.2f}")
    if kind == "minutes" and value >= _HOUR and value % (_HOUR // 2) == 0:
        return (f"{value} minutes", _hours(value))
    return (f"{value} minutes" if value != 1 else "1 minute",) if kind == "minutes" else (str(value),)


def _hours(minutes: int) -> str:
    whole, rest = divmod(minutes, _HOUR)
    if rest:
        return "an hour and a half" if whole == 1 else f"{whole} and a half hours"
    return "an hour" if whole == 1 else f"{whole} hours"


@lru_cache(maxsize=4096)
def _instants(text: str) -> tuple[str, ...]:
    at = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    if at.second:
        return (text,)
    day, clock = _long(at), f"{at:%H:%M}"
    return f"{day} at {clock} UTC", f"{at:%A}, {day}, {clock} UTC", f"{at:%Y-%m-%d} {clock} UTC"


@lru_cache(maxsize=4096)
def _days(text: str) -> tuple[str, ...]:
    at = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    return _long(at), f"{at:%A}, {_long(at)}", text


def _long(at: datetime) -> str:
    return f"{at.day} {at:%B %Y}"


def says(text: str, value: Any) -> bool:
    """Whether a value can be read out of a text: as it stands, or in one of the ways it may be said."""
    if isinstance(value, list):
        return all(says(text, member) for member in value)
    if isinstance(value, bool):
        return ("true" if value else "false") in text
    if isinstance(value, int):
        forms = {*_numbers("money", value), *_numbers("minutes", value), str(value)}
        return any(re.search(rf"(?<![\w.,]){re.escape(form)}(?![\w]|[.,]\d)", text) for form in forms)
    forms = {str(value), *ways("raw", value), *ways("day", value)}
    return any(form in text for form in forms if form)


def noun(name: str) -> str:
    """A table's, or an argument's, name as a noun.

    >>> noun("flight_booking_id"), noun("starts_at")
    ('flight booking', 'starts at')
    """
    return name.removesuffix("_id").replace("_", " ")
