"""What alfworld itself does on given games. Imports nothing of Palaestra: it runs wherever alfworld is installed.

`python alfworld_original.py IN OUT`: IN and OUT are JSON lines. A line of IN is {"name", "data", "walks"}: the content
of a game file and walks, each {"commands": [...]} or {"seed", "steps"} for random ones. With "sentence" the game is
played by the package's own domain and grammar instead of those in the file. OUT begins with a line of versions and has
{"name", "walk", "steps": [[command, feedback, admissible, score, done], ...], "cpu_s": {...}} for every walk,
or {"name", "error"} for a game that the original cannot load.
"""

from __future__ import annotations

import json
import random  # noqa: TID251 - this runs without Palaestra
import sys
import tempfile
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Importing alfworld's goal library rewrites the arguments. Beside this file lies one that is called alfworld, too.
ARGUMENTS = list(sys.argv)
sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]
ODD = ("", " look ", "GO TO CABINET 1", "take the mug", "open fridge 99", "put mug 1 in/on shelf 1", "dance", "\t")


def load(entry: dict[str, Any], folder: Path) -> tuple[Any, float]:
    """The original's environment with this game loaded, and the CPU seconds that took."""
    info, wrappers = import_module("alfworld.info"), import_module("alfworld.agents.environment.alfred_tw_env")
    textworld, pddl = import_module("textworld"), import_module("textworld.envs.pddl")
    data = dict(entry["data"])
    if "sentence" in entry:
        data["pddl_domain"] = Path(info.ALFRED_PDDL_PATH).read_text("utf-8")
        data["grammar"] = Path(info.ALFRED_TWL2_PATH).read_text("utf-8").replace("UNKNOWN GOAL", entry["sentence"])
    path = folder / "game.tw-pddl"
    path.write_text(json.dumps(data), "utf-8")
    infos = textworld.EnvInfos(won=True, admissible_commands=True)
    env = wrappers.AlfredInfos(wrappers.AlfredDemangler(pddl.PddlEnv(infos), shuffle=False))
    started = time.process_time()
    env.load(str(path))
    return env, time.process_time() - started


def commands_of(walk: dict[str, Any], state: Any, number: int, draws: random.Random) -> str | None:
    """The walk's next command; None at its end."""
    if "commands" in walk:
        return str(walk["commands"][number]) if number < len(walk["commands"]) else None
    if number >= walk["steps"]:
        return None
    listed: list[str] = state["admissible_commands"]
    if draws.random() < 0.1:
        return draws.choice(ODD)
    # Most commands go somewhere else; what is done on the spot matters more.
    local = [command for command in listed if not command.startswith("go to") and command not in ("look", "help")]
    return draws.choice(local if local and draws.random() < 0.65 else listed)


def play(env: Any, walk: dict[str, Any]) -> dict[str, Any]:
    """One walk from a reset on."""
    started = time.process_time()
    state = env.reset()
    resetting = time.process_time() - started
    steps = [[None, state.feedback, state["admissible_commands"], 0, bool(state["won"])]]
    draws = random.Random(walk.get("seed", 0))
    started = time.process_time()
    done = False
    while not done and (command := commands_of(walk, state, len(steps) - 1, draws)) is not None:
        state, score, done = env.step(command)
        steps.append([command, state.feedback, state["admissible_commands"], int(score), bool(done)])
    stepping = time.process_time() - started
    return {"steps": steps, "cpu_s": {"reset": resetting, "steps": stepping}}


def main(source: str, target: str) -> None:
    """Play every walk of every game."""
    names = ("alfworld", "textworld", "fast-downward-textworld")
    with Path(source).open("r", encoding="utf-8") as lines, Path(target).open("w", encoding="utf-8") as out:
        out.write(json.dumps({"versions": {name: version(name) for name in names}}) + "\n")
        for line in lines:
            entry = json.loads(line)
            with tempfile.TemporaryDirectory() as folder:
                try:
                    env, loading = load(entry, Path(folder))
                except (KeyError, SystemExit) as error:  # Fast Downward's translation of some starts cannot be read
                    out.write(json.dumps({"name": entry["name"], "error": repr(error)}) + "\n")
                    continue
                for walk in entry["walks"]:
                    found = play(env, walk)
                    found["cpu_s"]["load"] = loading
                    out.write(json.dumps({"name": entry["name"], "walk": walk, **found}, separators=(",", ":")) + "\n")
                    out.flush()


if __name__ == "__main__":
    main(*ARGUMENTS[1:3])
