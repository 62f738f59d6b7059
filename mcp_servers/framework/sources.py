"""Clocks, ids and random streams as parameters: the sources of everything that is not a function of the input.

Every random stream is derived from one root seed and a path of names, so two parts of a program can never disturb
each other's draws and a stream can be rebuilt anywhere from (seed, names) alone.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

Clock = Callable[[], float]
"""Seconds since the epoch; pass `system_clock` in programs and a function of your own in tests."""


def system_clock() -> float:
    """Wall time in seconds since the epoch: the one place that reads it."""
    return time.time()  # noqa: TID251 - the source itself


def timestamp(clock: Clock = system_clock) -> str:
    """The clock's time as ISO 8601 in UTC with millisecond resolution.

    >>> timestamp(lambda: 0.0)
    '1970-01-01T00:00:00.000+00:00'
    """
    return datetime.fromtimestamp(clock(), tz=UTC).isoformat(timespec="milliseconds")


def derive_seed(root: int, *names: str | int) -> int:
    """A 64-bit seed that depends on the root seed and every name, never on the process's hash seed.

    >>> derive_seed(0, "levels", 3) == derive_seed(0, "levels", 3) != derive_seed(0, "levels", 4)
    True
    """
    path = "\x1f".join([str(root), *(f"{type(name).__name__}:{name}" for name in names)])
    return int.from_bytes(hashlib.blake2b(path.encode(), digest_size=8).digest(), "little")


def stream(root: int, *names: str | int) -> np.random.Generator:
    """An independent NumPy generator for the path `names` under the root seed."""
    return np.random.Generator(np.random.PCG64(derive_seed(root, *names)))


class IdSource:
    """Ids that repeat exactly when the same source is built again: `prefix-` and 16 hex digits.

    >>> ids = IdSource(7, "run"); first = ids("ep"); IdSource(7, "run")("ep") == first, ids("ep") == first
    (True, False)
    """

    def __init__(self, root: int, *names: str | int) -> None:
        self._root = derive_seed(root, "ids", *names)
        self._count = 0

    def __call__(self, prefix: str) -> str:
        """The next id."""
        self._count += 1
        return f"{prefix}-{derive_seed(self._root, self._count):016x}"
