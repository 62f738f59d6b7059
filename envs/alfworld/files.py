"""The original's game files: `game.tw-pddl`, JSON that holds domain, grammar and problem as text."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from palaestra.envs.alfworld import sexpr
from palaestra.envs.alfworld.domain import DOMAIN
from palaestra.envs.alfworld.game import Game, compile_game
from palaestra.envs.alfworld.grammar import read_grammar, write_grammar
from palaestra.envs.alfworld.problem import Problem, read_problem, write_problem
from palaestra.envs.core.errors import TaskError, boundary

GAME_FILE: Final = "game.tw-pddl"
TRAJECTORY_FILE: Final = "traj_data.json"

DOMAIN_OF_ALFWORLD: Final = "915e118f4f32b4d8"
"""Digest of the domain of alfworld 0.4.2, whose rules the state machine follows."""

_log = logging.getLogger(__name__)


@lru_cache(maxsize=8)
def _domain_digest(text: str) -> str:
    return sexpr.digest(text)


@lru_cache(maxsize=64)
def _known_domains() -> tuple[str, str]:
    return DOMAIN_OF_ALFWORLD, sexpr.digest(DOMAIN)


def read_game(text: str, *, split: str, file: str, task_type: str = "", strict: bool = False) -> Game:
    """The game in the text of a `game.tw-pddl`; a few milliseconds.

    Raises: TaskError "bad_game_file", "bad_pddl", "bad_grammar", "bad_goal" or "bad_game", naming the file; with
        `strict` also "unknown_domain" for a file whose rules are not those of alfworld 0.4.2 (else a log warning).
    """
    data = _read_json(text, file)
    with _naming(file):
        known = _domain_digest(data["pddl_domain"]) in _known_domains()
        if not known and strict:
            raise TaskError("unknown_domain", "pddl_domain is not that of alfworld 0.4.2; play it with strict=False")
        if not known:
            _log.warning(
                "%s: pddl_domain is not that of alfworld 0.4.2; it is played by those rules all the same", file
            )
        problem, grammar = read_problem(data["pddl_problem"]), read_grammar(data["grammar"])
        return compile_game(problem, grammar, split=split, file=file, task_type=task_type)


@contextmanager
def _naming(file: str) -> Iterator[None]:
    """Put the file's name before the message of a TaskError."""
    try:
        yield
    except TaskError as error:
        raise TaskError(error.code, f"{file}: {error.message}") from error


def _read_json(text: str, file: str) -> dict[str, str]:
    try:
        data: Any = json.loads(text)
    except ValueError as error:
        raise TaskError("bad_game_file", f"{file} is not JSON: {error}") from error
    wanted = ("pddl_domain", "grammar", "pddl_problem")
    missing = [key for key in wanted if not isinstance(data, dict) or not isinstance(data.get(key), str)]
    if missing:
        raise TaskError("bad_game_file", f"{file} has no text under {', '.join(missing)}; is it a {GAME_FILE}?")
    return {key: data[key] for key in wanted}


def game_data(problem: Problem, goal_sentence: str, name: str, walkthrough: list[str]) -> dict[str, Any]:
    """The content of a `game.tw-pddl` that the original plays, too."""
    return {
        "pddl_domain": DOMAIN,
        "grammar": write_grammar(goal_sentence),
        "pddl_problem": write_problem(problem, name),
        "solvable": True,
        "walkthrough": walkthrough,
    }


def write_game(folder: Path, game: Mapping[str, Any], trajectory: Mapping[str, Any]) -> None:
    """Write both files of a game into a folder of its own. Raises: TaskError "write_game" if that cannot be done."""
    with boundary("write_game", TaskError):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / GAME_FILE).write_text(json.dumps(game), "utf-8")
        (folder / TRAJECTORY_FILE).write_text(json.dumps(trajectory), "utf-8")
