"""The tables a household is drawn from: rooms, what stands and lies in them, what fits where (data/household.json)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Literal

Size = Literal["full", "small"]


@dataclass(frozen=True, slots=True)
class Room:
    """A kind of room.

    Attributes:
        receptacles: per size of the room: type -> (fewest, most).
        objects: types of the things that lie about.
        tasks: what can be asked for here.
    """

    receptacles: Mapping[Size, Mapping[str, tuple[int, int]]]
    objects: tuple[str, ...]
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Household:
    """All tables.

    Attributes:
        rooms: by kind.
        openable: receptacle types with a door.
        open_at_start: share of doors that stand open at first.
        lamps: lamp type -> receptacle types it stands on.
        properties: predicate -> object types that have it.
        fits: object type -> receptacle types it may be put in or on.
    """

    rooms: Mapping[str, Room]
    openable: frozenset[str]
    open_at_start: float
    lamps: Mapping[str, tuple[str, ...]]
    properties: Mapping[str, frozenset[str]]
    fits: Mapping[str, tuple[str, ...]]


@lru_cache(maxsize=1)
def household() -> Household:
    """The tables, read once."""
    data = json.loads(files(__package__).joinpath("data", "household.json").read_text("utf-8"))
    rooms = {
        kind: Room(
            receptacles={
                "full": {name: (low, high) for name, (low, high) in room["receptacles"].items()},
                "small": {name: (low, high) for name, (low, high) in room["small"].items()},
            },
            objects=tuple(room["objects"]),
            tasks=tuple(room["tasks"]),
        )
        for kind, room in data["rooms"].items()
    }
    return Household(
        rooms=rooms,
        openable=frozenset(data["openable"]),
        open_at_start=data["open_at_start"],
        lamps={name: tuple(types) for name, types in data["lamps"].items()},
        properties={name: frozenset(types) for name, types in data["properties"].items()},
        fits={name: tuple(types) for name, types in data["fits"].items()},
    )
