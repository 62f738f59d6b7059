"""Clock, ids and randomness of one server's database in one episode: part of its state, never of the machine.

Their positions are rows of a private table, so they are rolled back, forked and restored with everything else: a
failed call uses no id and moves no clock, and the same seed and calls give the same rows in any process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from palaestra.mcp_servers.framework.sources import derive_seed

CLOCK = "clock"
WRITE_SECONDS = 1


class EpisodeSources:
    """What a handler may use instead of wall clock, uuid and global randomness.

    Args:
        root: seed of the episode's ids and draws on this server.
        positions: of the clock (seconds since the epoch), the id counters and the random streams, as committed.
    """

    def __init__(self, root: int, positions: Mapping[str, int]) -> None:
        self._root = root
        self._committed = dict(positions)
        self.pending: dict[str, int] = {}

    @property
    def now(self) -> int:
        """Seconds since the epoch; moves by one with each successful WRITE and by what verbs declare."""
        found = self.pending.get(CLOCK)
        return self._committed[CLOCK] if found is None else found

    def advance(self, seconds: int) -> None:
        """Let time pass: a drive, a delivery. Raises ValueError if it would run backwards."""
        if seconds < 0:
            raise ValueError(f"the clock cannot go back by {seconds} s")
        self.pending[CLOCK] = self.now + seconds

    def new_id(self, prefix: str) -> str:
        """The next id `<prefix>_<number>`; the first number of each prefix is drawn from the seed.

        Five digits, for as many rows as a database may hold: ids in order of their text are in order of their making.
        """
        number = self._next(f"id:{prefix}", lambda: 10_000 + derive_seed(self._root, "id", prefix) % 40_000)
        return f"{prefix}_{number}"

    def draw(self, stream: str, low: int, high: int) -> int:
        """An integer in [low, high] from the named stream; uniform up to 2^-64 of the range's size.

        Raises: ValueError if low > high.
        """
        if low > high:
            raise ValueError(f"cannot draw from [{low}, {high}]")
        count = self._next(f"draw:{stream}", lambda: 0)
        return low + derive_seed(self._root, "draw", stream, count) % (high - low + 1)

    def _next(self, name: str, first: Callable[[], int]) -> int:
        value = self.pending.get(name)
        if value is None:
            value = self._committed.get(name)
        if value is None:
            value = first()
        self.pending[name] = value + 1
        return value

    def positions(self) -> dict[str, int]:
        """The committed positions."""
        return dict(self._committed)

    def commit(self) -> None:
        """Make the pending positions the committed ones."""
        self._committed.update(self.pending)
        self.pending = {}

    def rollback(self) -> None:
        """Forget the pending positions."""
        self.pending = {}
