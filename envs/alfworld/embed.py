"""Makes the embedded games: `python -m palaestra.envs.alfworld.embed FILE`. Run once; the package holds the result.

Equal numbers of every task; every game solved by the planner; no layout both seen and unseen.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from palaestra.envs.alfworld.game import TASK_TYPES
from palaestra.envs.alfworld.generator import Split, make_household, rooms_for
from palaestra.envs.alfworld.layouts import make_layout
from palaestra.envs.alfworld.planner import plan
from palaestra.envs.alfworld.problem import write_problem
from palaestra.envs.alfworld.sources import compile_household, file_name
from palaestra.envs.alfworld.world import World

PER_TASK: Final[dict[Split, int]] = {"train": 10, "valid_seen": 4, "valid_unseen": 4}
LAYOUTS: Final[dict[Split, int]] = {"train": 6, "valid_seen": 6, "valid_unseen": 2}
"""Of every kind of room: 24 in all for the seen splits, 8 for the unseen one."""


def embedded_games() -> Iterator[dict[str, Any]]:
    """The games as they are stored, split by split, the tasks in turn."""
    for split, count in PER_TASK.items():
        used: Counter[str] = Counter()
        for number in range(count * len(TASK_TYPES)):
            task = TASK_TYPES[number % len(TASK_TYPES)]
            room = min(rooms_for(task), key=lambda kind: used[kind])
            layout = make_layout(room, used[room] % LAYOUTS[split], "full", unseen=split == "valid_unseen")
            used[room] += 1
            made = make_household(split, number, tasks=(task,), fixed=layout)
            game = compile_household(made, file_name(made, number))
            assert plan(World(game)), game.file  # noqa: S101 - a tool; a game without a solution must not be stored
            yield {
                "split": split,
                "task_type": task,
                "file": game.file,
                "sentence": made.sentence,
                "layout": made.layout.key,
                "target": made.target,
                "place": made.place,
                "problem": write_problem(made.problem, f"plan_{number}"),
            }


def main(path: str) -> None:
    """Write them, packed."""
    lines = "".join(json.dumps(entry, separators=(",", ":")) + "\n" for entry in embedded_games())
    with Path(path).open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as packed:
        packed.write(lines.encode())


if __name__ == "__main__":
    main(sys.argv[1])
