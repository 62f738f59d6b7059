"""Writes the golden transcripts with gym-sokoban 0.0.6 itself: `python produce.py FOLDER` where that package and
gym 0.26.2 are installed. Its renderer is switched off; rules and generator run unchanged."""

import gzip
import json
import random  # noqa: TID251 - the original draws from the global generators
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from gym_sokoban.envs.sokoban_env import SokobanEnv

HEADER = {
    "producer": "gym-sokoban",
    "versions": {name: version(name) for name in ("gym-sokoban", "gym", "numpy")},
    "python": sys.version.split()[0],
}
ROOMS = (((6, 6), 1, range(120)), ((7, 7), 2, range(120)), ((8, 8), 2, range(20)), ((5, 9), 1, range(2)))
WALKS = (
    ((6, 6), 1, range(1000, 1040), 2),
    ((7, 7), 2, range(1000, 1040), 2),
    ((8, 8), 2, range(1000, 1030), 2),
    ((10, 10), 4, range(1000, 1006), 6),
)
# Pushes dominate, so that boxes really move.
ACTIONS = (1, 2, 3, 4) * 3 + (0, 5, 6, 7, 8)


def digits(room: Any) -> str:
    return "".join(str(int(code)) for code in np.asarray(room).ravel())


def make(size: tuple[int, int], boxes: int, seed: int) -> Any:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    return SokobanEnv(dim_room=size, num_boxes=boxes, max_steps=120)


def rooms() -> list[dict[str, Any]]:
    rows = []
    for size, boxes, seeds in ROOMS:
        for seed in seeds:
            env = make(size, boxes, seed)
            row = {"size": size, "boxes": boxes, "seed": seed}
            rows.append({**row, "fixed": digits(env.room_fixed), "state": digits(env.room_state)})
    return rows


def walks() -> list[dict[str, Any]]:
    rows = []
    for size, boxes, seeds, episodes in WALKS:
        for seed in seeds:
            env = make(size, boxes, seed)
            draws = random.Random(seed)
            start = env.room_state.copy(), env.player_position.copy()
            for _ in range(episodes):
                env.room_state, env.player_position = start[0].copy(), start[1].copy()
                env.num_env_steps = env.boxes_on_target = 0
                row = {"size": size, "boxes": boxes, "seed": seed, "fixed": digits(env.room_fixed)}
                rows.append({**row, "start": digits(start[0]), "steps": walk(env, draws)})
    return rows


def walk(env: Any, draws: random.Random) -> list[list[Any]]:
    steps: list[list[Any]] = []
    done = False
    while not done:
        action = draws.choice(ACTIONS)
        _, reward, done, info = env.step(action)
        moved = bool(info["action.moved_player"]), bool(info["action.moved_box"])
        end = info.get("maxsteps_used"), info.get("all_boxes_on_target")
        steps.append([action, digits(env.room_state), reward, done, *moved, info["action.name"], *end])
    return steps


def write(path: Path, what: str, rows: list[dict[str, Any]]) -> None:
    with path.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as file:
        for row in ({**HEADER, "what": what}, *rows):
            file.write((json.dumps(row, separators=(",", ":")) + "\n").encode())


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    SokobanEnv.render = lambda self, *args, **kwargs: None
    write(folder / "rooms.jsonl.gz", "first reset after seeding both global generators", rooms())
    what = "[action, room_state, reward, done, moved_player, moved_box, name, maxsteps_used, all_boxes_on_target]"
    write(folder / "steps.jsonl.gz", what, walks())
