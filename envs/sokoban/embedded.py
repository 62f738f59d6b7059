"""Makes the embedded levels: `python -m palaestra.envs.sokoban.embedded > envs/sokoban/data/levels.xsb`.

Eight strata of twenty levels (12 train, 4 valid, 4 test), no two alike under rotation, reflection or padding, lengths
exact. The output is a pure function of this file and the generator.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Final

from palaestra.envs.sokoban.core import Level, find_player, step
from palaestra.envs.sokoban.generator import Banded, generate
from palaestra.envs.sokoban.levels import Split, level_digest, task_id, write_levels
from palaestra.envs.sokoban.solver import plan

STRATA: Final = (
    Banded(5, 5, 1, 3, 9),
    Banded(6, 6, 1, 3, 14),
    Banded(6, 6, 2, 5, 20),
    Banded(7, 7, 2, 6, 24),
    Banded(8, 8, 2, 8, 28),
    Banded(8, 8, 3, 8, 28),
    Banded(10, 10, 3, 8, 28),
    Banded(10, 10, 4, 8, 28),
)
COUNTS: Final[dict[Split, int]] = {"train": 12, "valid": 4, "test": 4}


def count_pushes(level: Level, actions: list[int]) -> int:
    """How many of the moves push a box."""
    cells, pushes = bytearray(level.cells), 0
    player = find_player(cells)
    for action in actions:
        player, pushed, _ = step(cells, player, action, level.width)
        pushes += pushed
    return pushes


def make_stratum(spec: Banded) -> list[Level]:
    """Twenty distinct levels; the title of each holds id, size, boxes, optimal moves, pushes and split."""
    made: dict[str, Level] = {}
    for split, count in COUNTS.items():
        seed, wanted = 0, len(made) + count
        while len(made) < wanted:
            found = generate(spec, split, seed)
            seed += 1
            actions = plan(found.level)
            if actions is None or len(actions) != found.distance:
                raise AssertionError(f"solver and generator disagree on {found}")
            title = (
                f"{task_id(found.level)} size={spec.height}x{spec.width} boxes={spec.boxes} "
                f"moves={found.distance} pushes={count_pushes(found.level, actions)} split={split}"
            )
            made.setdefault(level_digest(found.level)[0], replace(found.level, title=title))
    return list(made.values())


def main() -> None:
    """Write all strata to standard output."""
    sys.stdout.write(write_levels(level for spec in STRATA for level in make_stratum(spec)))


if __name__ == "__main__":
    main()
