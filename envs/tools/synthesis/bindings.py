"""Bindings: proposals of arguments for a tool, from what is known of the world.

Keys that stand near each other (an item and its purchase, an issue and its project) are proposed together, and numbers
that stand in the rows the keys name come before numbers out of the vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from palaestra.envs.tools.synthesis.sampling import Context
from palaestra.envs.tools.synthesis.slots import Slot, slots_of
from palaestra.envs.tools.synthesis.vocabulary import is_written, offered, seen_as
from palaestra.mcp_servers.framework.spec import ToolSpec

OPTIONAL_RATE: Final = 0.3
_NEAR_RATE: Final = 0.6
_ROW_RATE: Final = 0.5
_HOPS: Final = 2


def pick(items: Sequence[Any], rng: np.random.Generator) -> Any:
    """One of them, each as likely."""
    return items[int(rng.integers(len(items)))]


def propose(
    spec: ToolSpec, context: Context, rng: np.random.Generator, *, fixed: Mapping[str, Any] | None = None,
    optional: float = OPTIONAL_RATE,
) -> dict[str, Any] | None:  # fmt: skip
    """Arguments that may work; None if a required key has no candidates.

    Args:
        spec: the tool.
        context: what is known.
        rng: draws.
        fixed: arguments that are decided already.
        optional: chance of each optional argument to be named.
    """
    arguments: dict[str, Any] = dict(fixed or {})
    slots = [slot for slot in slots_of(spec) if slot.name not in arguments]
    wanted = [slot for slot in slots if slot.required or rng.random() < optional]
    spare = [slot for slot in slots if not slot.required]
    if spec.name.startswith("update_") and spare and not any(slot in wanted for slot in spare):
        wanted.append(pick(spare, rng))  # changing nothing is refused
    for slot in sorted(wanted, key=lambda slot: slot.kind != "key"):
        if slot.name in arguments:
            continue
        found = _value(slot, context, arguments, rng)
        if found is not None:
            arguments[slot.name] = found
        elif slot.required:
            return None
    return arguments


def _value(slot: Slot, context: Context, chosen: Mapping[str, Any], rng: np.random.Generator) -> Any:
    keys = [value for value in chosen.values() if isinstance(value, str) and value in context.near]
    if slot.entity is not None:
        return _key(slot.entity, context, keys, rng)
    if slot.sensitive and not is_written(slot):
        return _secret(slot, context, chosen, rng)
    if keys and (slot.kind == "integer" or (slot.kind == "text" and not is_written(slot))) and rng.random() < _ROW_RATE:
        beside = _beside(slot, context, keys)
        if beside:
            return pick(beside, rng)
    found = list(offered(slot, context.values, context.now, rng))
    return pick(found, rng) if found else None


def _secret(slot: Slot, context: Context, chosen: Mapping[str, Any], rng: np.random.Generator) -> str | None:
    """Something only the user knows, rather about what is chosen already."""

    def fitting(secrets: Iterable[str]) -> list[str]:
        return [s for s in secrets if len(s) <= slot.longest and re.search(slot.pattern, s)]

    near = fitting(secret for key in chosen.values() for secret in context.secret_of.get(str(key), ()))
    found = near or fitting(context.secrets)
    return str(pick(found, rng)) if found else None


def _key(entity: str, context: Context, chosen: Sequence[str], rng: np.random.Generator) -> str | None:
    known = context.rows.get(entity)
    if not known:
        return None
    if chosen and rng.random() < _NEAR_RATE:
        near = [key for key in _around(context, chosen) if key in known and key not in chosen]
        if near:
            return str(pick(near, rng))
    groups = context.groups(entity)
    return str(pick(pick(groups, rng), rng))


def _around(context: Context, keys: Sequence[str]) -> dict[str, None]:
    found: dict[str, None] = {}
    frontier = list(keys)
    for _ in range(_HOPS):
        frontier = [near for key in frontier for near in list(context.near.get(key, ()))[:40] if near not in found]
        found.update(dict.fromkeys(frontier))
    return found


def _beside(slot: Slot, context: Context, keys: Sequence[str]) -> list[Any]:
    """Values in the rows the chosen keys name: of the same field, or for numbers of any field that counts the same."""
    named = [rows[key] for rows in context.rows.values() for key in keys if key in rows]
    if slot.kind == "text":
        texts = [row.get(seen_as(slot)) for row in named]
        return [t for t in texts if isinstance(t, str) and t and len(t) <= slot.longest and not slot.pattern]
    units = context.units
    found: list[int] = []
    for row in named:
        for name, value in row.items():
            if type(value) is int and units.get(name, slot.unit) == slot.unit:
                found += [abs(value), value + slot.step, value // 2]
    return [v for v in found if slot.minimum <= v <= slot.maximum and v % slot.step == 0]
