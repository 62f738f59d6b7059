"""What entities are called: `cabinet 3` for an id such as `cabinet_bar__plus_00_dot_13_bar_...`, as alfworld does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

_BAR = "_bar_"


def kind_of(entity: str) -> str:
    """The word before the first `_bar_`; sinks whose id ends in SinkBasin are basins."""
    kind = entity.split(_BAR, 1)[0]
    return kind + "basin" if _BAR in entity and "basin" in entity else kind


def entity_names(entities: Iterable[str]) -> dict[str, str]:
    """Id -> name. In order of their ids, the n entities of a kind are numbered from n down to 1.

    Ids without `_bar_` keep their text and, as in the original, a blank behind it.

    >>> entity_names(["mug_bar_1", "mug_bar_2", "agent1"])
    {'agent1': 'agent1 ', 'mug_bar_1': 'mug 2', 'mug_bar_2': 'mug 1'}
    """
    ordered = sorted(set(entities))
    left = Counter(kind_of(entity) for entity in ordered if _BAR in entity)
    names: dict[str, str] = {}
    for entity in ordered:
        if _BAR not in entity:
            names[entity] = entity + " "
            continue
        kind = kind_of(entity)
        names[entity] = f"{kind} {left[kind]}"
        left[kind] -= 1
    return names
