"""Writes games of ours as the original's files: `python -m palaestra.envs.alfworld.export FOLDER [--generate N]`.

The folder can then be used as ALFWORLD_DATA, here and by the alfworld package itself.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from palaestra.envs.alfworld.files import game_data, write_game
from palaestra.envs.alfworld.game import TASK_TYPES, Game
from palaestra.envs.alfworld.generator import SPLITS
from palaestra.envs.alfworld.planner import plan
from palaestra.envs.alfworld.sources import EmbeddedGames, GameSource, GeneratedGames
from palaestra.envs.alfworld.world import World

VERSION_FOLDER = "json_2.1.1"


def export_games(folder: str | Path, generate: int = 0) -> int:
    """Write all embedded games, or `generate` new ones per split, and return how many.

    Raises: TaskError "write_game". Cost: a few milliseconds and 50 kB per game.
    """
    root = Path(folder) / VERSION_FOLDER
    source: GameSource = GeneratedGames("full", 240, TASK_TYPES, None) if generate else EmbeddedGames()
    written = 0
    for split in SPLITS:
        for index in range(generate or source.count(split) or 0):
            game = source.at(split, index)
            walkthrough = plan(World(game)) or []
            data = game_data(game.problem, game.grammar.goal_sentence, f"plan_{index}", walkthrough)
            write_game((root / game.file).parent, data, trajectory(game))
            written += 1
    return written


def trajectory(game: Game) -> dict[str, Any]:
    """The content of `traj_data.json`: what the task is about, by types."""
    task, target, _, place, _ = game.file.split("/")[1].split("-")
    lamp = task == "look_at_obj_in_light"
    return {
        "task_type": task,
        "pddl_params": {
            "object_target": target,
            "parent_target": "" if lamp else place,
            "toggle_target": place if lamp else "",
            "mrecep_target": "",
            "object_sliced": False,
        },
        "turk_annotations": {"anns": [{"task_desc": game.grammar.goal_sentence, "high_descs": []}]},
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--generate", type=int, default=0, metavar="N", help="N new games per split")
    given = parser.parse_args()
    print(f"{export_games(given.folder, given.generate)} games in {given.folder}")


if __name__ == "__main__":
    main()
