"""The user's games: an ALFWORLD_DATA folder, walked as the original does, but in the order of the paths."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from palaestra.envs.alfworld.files import GAME_FILE, TRAJECTORY_FILE, read_game
from palaestra.envs.alfworld.game import Game
from palaestra.envs.alfworld.generator import SPLITS, Split
from palaestra.envs.alfworld.grammar import read_grammar
from palaestra.envs.core.errors import ConfigError, TaskError, boundary

VARIABLE: Final = "ALFWORLD_DATA"
_log = logging.getLogger(__name__)


def root_folder(games: str) -> Path:
    """The folder that holds the splits: `games` itself, or the newest `json_2.1.*` in it.

    Args:
        games: a path, or "data" for the one the environment variable ALFWORLD_DATA names.
    Raises: ConfigError "games" if there is none.
    """
    if games == "data" and not os.environ.get(VARIABLE):
        raise ConfigError("games", f'games = "data" needs the environment variable {VARIABLE}; set it or give a path')
    with boundary("games", ConfigError):  # the home of somebody who has none
        folder = Path(os.environ[VARIABLE] if games == "data" else games).expanduser()
    named = f"{VARIABLE if games == 'data' else 'games'} = {str(folder)!r}"
    if not folder.is_dir():
        kinds = "set it to one" if games == "data" else 'use "embedded", "generate", "data" or the path of one'
        raise ConfigError("games", f"{named} is no folder; {kinds}")
    for candidate in (folder, *sorted(folder.glob("json_2.1.*"), reverse=True)):
        if any((candidate / split).is_dir() for split in SPLITS):
            return candidate
    wanted = ", ".join(SPLITS)
    raise ConfigError(
        "games", f"{named} holds none of the folders {wanted}, nor json_2.1.* with them; name the folder above them"
    )


def find_games(root: Path, tasks: Sequence[str]) -> tuple[dict[Split, list[Path]], set[str]]:
    """Game files by split, in the order of their paths, and the characters their texts hold.

    Left out, as in the original: games in folders named `movable` or `Sliced`, of other task types, without a game
    file, not solvable or not known to be. The reasons are logged with their counts.

    Raises: TaskError "bad_game_file" for a file that is not JSON; "no_games" if nothing is left.
    Cost: every file is read once.
    """
    games: dict[Split, list[Path]] = {split: [] for split in SPLITS}
    characters: set[str] = set()
    reasons: Counter[str] = Counter()
    for split in SPLITS:
        for trajectory in sorted((root / split).rglob(TRAJECTORY_FILE)):
            file = trajectory.with_name(GAME_FILE)
            grammar, reason = _look_into(file, trajectory, root, tasks)
            reasons[reason or split] += 1
            if not reason:
                games[split].append(file)
                # Escapes are rare; only where there are some must the grammar be read to know what is written.
                characters |= read_grammar(grammar).characters if "\\u" in grammar else set(grammar)
    counts = ", ".join(f"{reason}: {count}" for reason, count in sorted(reasons.items())) or "no games at all"
    _log.info("%s: %s", root, counts)
    if not any(games.values()):
        raise TaskError("no_games", f"nothing to play under {str(root)!r} ({counts}); tasks wanted: {', '.join(tasks)}")
    return games, characters


def _look_into(file: Path, trajectory: Path, root: Path, tasks: Sequence[str]) -> tuple[str, str]:
    """The text of the game's grammar, and why the game is left out ("" if it is not)."""
    place = str(file.parent.relative_to(root))
    if "movable" in place or "Sliced" in place:
        return "", "movable or sliced"
    if _read(trajectory).get("task_type") not in tasks:
        return "", "another task type"
    if not file.is_file():
        return "", f"no {GAME_FILE}"
    data = _read(file)
    if "solvable" not in data:
        return "", "no word on whether it is solvable"
    return str(data.get("grammar", "")), "" if data["solvable"] else "not solvable"


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise TaskError("bad_game_file", f"{path} cannot be read as JSON: {error}; replace or remove it") from error
    if not isinstance(data, dict):
        raise TaskError(
            "bad_game_file", f"{path} holds {type(data).__name__}, expected an object; replace or remove it"
        )
    return data


@lru_cache(maxsize=2048)
def read_listed(root: Path, file: Path, split: Split, strict: bool) -> Game:
    """A game of the folder, named by its path below the root.

    Raises: TaskError as `read_game` does, naming the whole path and what to do.
    """
    try:
        text = file.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise TaskError("bad_game_file", f"{file} cannot be read: {error}; replace or remove it") from error
    try:
        return read_game(text, split=split, file=str(file.relative_to(root)), strict=strict)
    except TaskError as error:
        raise TaskError(error.code, f"{error.message}; replace or remove it in {root}") from error
