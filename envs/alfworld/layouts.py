"""Where the furniture stands: rooms drawn from the household's tables, each for ever seen or for ever unseen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import groupby

import numpy as np

from palaestra.envs.alfworld.household import Size, household
from palaestra.envs.core.errors import TaskError
from palaestra.envs.core.seeding import stream

_UNSEEN_OF = 4
"""One layout in so many is an unseen one."""
_ATTEMPTS = 256
_RECEPTACLES: dict[Size, range] = {"full": range(8, 25), "small": range(4, 10)}
_BASINS = {"SinkBasin": "Sink", "BathtubBasin": "Bathtub"}
_SHARED = 0.25
"""How often two neighbours of one kind (cabinets, burners, shelves) are reached from the same place."""
_SHARING = ("Cabinet", "Drawer", "StoveBurner", "Shelf")


@dataclass(frozen=True, slots=True)
class Layout:
    """A room with its furniture.

    Attributes:
        room: kind of the room.
        receptacles: id -> (type, number of the place it is reached from), in the order of ids.
        places: number of places with a receptacle.
    """

    room: str
    receptacles: Mapping[str, tuple[str, int]]
    places: int

    @property
    def key(self) -> str:
        """16 hex digits of all that an agent can tell layouts apart by: kinds, numbers, and who shares a place."""
        groups: dict[int, list[str]] = {}
        counts: dict[str, int] = {}
        for kind, place in self.receptacles.values():
            counts[kind] = counts.get(kind, 0) + 1
            groups.setdefault(place, []).append(f"{kind} {counts[kind]}")
        text = f"{self.room}: {sorted(groups.values())}"
        return blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def unseen(self) -> bool:
        """Whether the layout is kept for valid_unseen; a function of its key alone, so no layout is ever both."""
        return int(self.key, 16) % _UNSEEN_OF == 0


@lru_cache(maxsize=4096)
def make_layout(room: str, number: int, size: Size, *, unseen: bool) -> Layout:
    """Layout `number` of a kind of room, among the seen or among the unseen ones.

    Two numbers may give equal layouts where a room has few (small rooms); never one that is seen and unseen.

    Raises: TaskError "no_layout" if none is found; cost: about four draws of a room.
    """
    for attempt in range(_ATTEMPTS):
        layout = _draw(room, size, stream(number, "layout", room, size, int(unseen), attempt))
        if layout.unseen == unseen and len(layout.receptacles) in _RECEPTACLES[size]:
            return layout
    raise TaskError("no_layout", f"{_ATTEMPTS} draws gave no {'un' if unseen else ''}seen layout of a {size} {room}")


def _draw(room: str, size: Size, rng: np.random.Generator) -> Layout:
    tables = household()
    ids: dict[str, str] = {}
    for kind, (low, high) in tables.rooms[room].receptacles[size].items():
        for _ in range(int(rng.integers(low, high + 1))):
            ids[_new_id(kind, ids, rng)] = kind
    receptacles: dict[str, tuple[str, int]] = {}
    place = -1
    for kind, group in groupby(sorted(ids), key=ids.__getitem__):
        for i, name in enumerate(group):
            shares = i % 2 == 1 and kind in _SHARING and rng.random() < _SHARED
            place += 0 if shares else 1
            receptacles[name] = (kind, place)
    return Layout(room, receptacles, place + 1)


def _new_id(kind: str, taken: Mapping[str, object], rng: np.random.Generator) -> str:
    """An id as the original's simulator gives them: kind and coordinates."""
    while True:
        name = f"{_BASINS.get(kind, kind)}_bar_{coordinates(rng)}" + (f"_bar_{kind}" if kind in _BASINS else "")
        if name.lower() not in {other.lower() for other in taken}:
            return name


def coordinates(rng: np.random.Generator) -> str:
    """Three coordinates in metres, written as in an id.

    >>> coordinates(np.random.default_rng(0))[:18]
    '_plus_02_dot_11_ba'
    """
    x, y, z = rng.integers((-300, 0, -300), (301, 220, 301)).tolist()
    return "_bar_".join(_coordinate(value) for value in (x, y, z))


def _coordinate(centimetres: int) -> str:
    sign = "_plus_" if centimetres > 0 else "_minus_" if centimetres < 0 else ""
    return f"{sign}{abs(centimetres) // 100:02d}_dot_{abs(centimetres) % 100:02d}"
