"""The vocabulary: values for arguments that name nothing in the world, and where others are seen. See values.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

import numpy as np

from palaestra.envs.tools.synthesis.slots import Slot
from palaestra.mcp_servers.framework.values import to_iso

HOUR: Final = 3600
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
NAMES: Final = ("name", "title", "label", "subject", "payee", "handle", "symbol")
"""Fields that hold what a row is called: words one searches for."""
_EVEN: Final = ("", "00")
"""Seconds of the times people speak of."""
_STEPS: Final = (1, 2, 5, 10, 25, 50)


@cache
def _tables() -> dict[str, dict[str, Any]]:
    text = files("palaestra.envs.tools.synthesis").joinpath("values.toml").read_text("utf-8")
    return tomllib.loads(text)


def _entry(table: str, slot: Slot) -> Any:
    known = _tables()[table]
    return known.get(f"{slot.tool}.{slot.name}", known.get(slot.name))


def seen_as(slot: Slot) -> str:
    """Field of READ results whose values the argument takes."""
    return str(_entry("seen", slot) or slot.name)


def is_written(slot: Slot) -> bool:
    """Whether the vocabulary has values for the argument."""
    return bool(_entry("values", slot))


def thing_of(slot: Slot) -> str | None:
    """What kind of thing an argument names: the table of its key, or the field of its text; None if it names none."""
    named = slot.kind == "text" and seen_as(slot) in _tables()["things"]["fields"]
    return slot.entity or (seen_as(slot) if named else None)


def named_by(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(name, value) of every placeholder that a row of a READ result fills."""
    for name, rule in _tables()["named"].items():
        value = row.get(rule["field"])
        where = all(row.get(other) == wanted for other, wanted in rule.get("where", {}).items())
        if where and isinstance(value, str) and re.search(rule["like"], value):
            yield name, value


def offered(slot: Slot, values: Mapping[str, Mapping[Any, None]], now: int, rng: np.random.Generator) -> Iterator[Any]:
    """Values for an argument that holds no key, in no particular order; only such as its schema allows."""
    match slot.kind:
        case "choice":
            yield from slot.options
        case "flag":
            yield from (True, False)
        case "instant" | "day":
            yield from _times(slot, values, now, rng)
        case "integer":
            found = [*(_entry("values", slot) or _STEPS), *values.get(seen_as(slot), ())]
            yield from (v for v in dict.fromkeys(found) if _fits(slot, v))
        case "text":
            yield from _texts(slot, values, rng)
        case _:
            yield from ([value] for value in values.get(seen_as(slot), ()))


def _fits(slot: Slot, value: Any) -> bool:
    return type(value) is int and slot.minimum <= value <= slot.maximum and value % slot.step == 0


def _texts(slot: Slot, values: Mapping[str, Mapping[Any, None]], rng: np.random.Generator) -> Iterator[str]:
    written: Iterable[str] = _entry("values", slot) or ()
    # Words of one's own beat those read somewhere, unless the table sends us there for this very argument.
    aside = bool(written) and f"{slot.tool}.{slot.name}" not in _tables()["seen"]
    observed: Iterable[Any] = () if aside else values.get(seen_as(slot), ())
    if slot.name == "text" and values.get(f"{slot.tool}.text"):
        written, observed = (), values[f"{slot.tool}.text"]
    pattern = re.compile(slot.pattern) if slot.pattern else None
    for text in (*written, *observed):
        filled = _fill(str(text), values, rng)
        if filled and len(filled) <= slot.longest and (pattern is None or pattern.search(filled)):
            yield filled


def _fill(text: str, values: Mapping[str, Mapping[Any, None]], rng: np.random.Generator) -> str | None:
    for name in _PLACEHOLDER.findall(text):
        known = list(values.get(name, ()))
        if not known:
            return None
        text = text.replace("{" + name + "}", str(known[int(rng.integers(len(known)))]))
    return text


def _times(slot: Slot, values: Mapping[str, Mapping[Any, None]], now: int, rng: np.random.Generator) -> Iterator[str]:
    low, high = _entry("offsets", slot) or (1, 240)
    for hours in sorted(rng.integers(low, high + 1, 6).tolist()):
        at = now + hours * HOUR
        yield to_iso(at)[:10] if slot.kind == "day" else to_iso(at)
    length = 10 if slot.kind == "day" else 20
    yield from (
        v for v in values.get(seen_as(slot), ()) if isinstance(v, str) and len(v) == length and v[17:19] in _EVEN
    )
