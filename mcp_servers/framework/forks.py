"""Forks: the databases of episodes, made from seeded images; those of ended episodes rest here until wanted again.

A new fork makes SQLite parse the whole schema at its first statement, most of what an episode's start costs. A fork
that was reset is at its seed again and has all that behind it. What a reset undoes is known completely: every commit
compares the change log with SQLite's own count of changed rows.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from palaestra.mcp_servers.framework.images import Image, ImageCache
from palaestra.mcp_servers.framework.server import Profile, ToolServer
from palaestra.mcp_servers.framework.state import ServerState


class Forks:
    """Takes states from images and gives them back; safe to share between threads.

    Args:
        images: how many seeded images are kept.
        resting: how many forks rest at most, over all images; the longest unused go first. Each keeps its image's
            size and some 100 KiB of prepared statements.
    """

    def __init__(self, images: int = 512, resting: int = 64) -> None:
        self._images = ImageCache(images)
        self._capacity = resting
        self._resting: OrderedDict[int, list[ServerState]] = OrderedDict()
        self._count = 0
        self._lock = Lock()

    def __len__(self) -> int:
        return self._count

    def image(self, server: ToolServer, seed: int, profile: Profile, reference_time: int) -> Image:
        """The seeded image, built now if it is not there."""
        return self._images.get(server, seed, profile, reference_time)

    def take(self, image: Image) -> ServerState:
        """A state at the image's seed: one that rested, or a new fork."""
        with self._lock:
            found = self._resting.get(id(image))
            if found:
                self._count -= 1
                state = found.pop()
                if not found:
                    del self._resting[id(image)]
                return state
        return ServerState(image)

    def give(self, state: ServerState) -> None:
        """Let a state that no episode uses any more rest, back at its seed. Costs what was written since."""
        if self._capacity == 0:
            state.close()
            return
        try:
            state.reset()
        except BaseException:
            state.close()
            raise
        with self._lock:
            # A resting state holds its image, so that no other image can have the same identity meanwhile.
            self._resting.setdefault(id(state.image), []).append(state)
            self._resting.move_to_end(id(state.image))
            self._count += 1
            surplus = self._shrink(self._capacity)
        for one in surplus:
            one.close()

    def close(self) -> None:
        """Free every resting state."""
        with self._lock:
            surplus = self._shrink(0)
        for one in surplus:
            one.close()

    def _shrink(self, capacity: int) -> list[ServerState]:
        surplus = []
        while self._count > capacity:
            oldest = next(iter(self._resting))
            surplus.append(self._resting[oldest].pop())
            self._count -= 1
            if not self._resting[oldest]:
                del self._resting[oldest]
        return surplus
