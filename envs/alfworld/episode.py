"""What is said of an episode in `info`, and how actions are read: shared by everything that plays a game."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any, Final

from palaestra.envs.alfworld.config import ALFWorldConfig, SplitName
from palaestra.envs.alfworld.game import Game
from palaestra.envs.alfworld.moves import Move
from palaestra.envs.alfworld.world import World
from palaestra.envs.core.text.types import NOOP
from palaestra.envs.core.types import ActionStatus

OK: Final = ActionStatus.OK.value
INADMISSIBLE: Final = ActionStatus.INADMISSIBLE.value
NOT_IN_LANGUAGE: Final = ActionStatus.NOT_IN_LANGUAGE.value

_HIDDEN: Final = {
    "all": frozenset[str](),
    "prompt": frozenset({"help"}),
    "acting": frozenset({"help", "look", "inventory", "examine_receptacle", "examine_object"}),
}
_OLD_PUT: Final = re.compile(r"put (.+?) (?:in/on|in|on) (.+)")


def listing(moves: dict[str, Move], config: ALFWorldConfig, world: World, seen: Container[int]) -> list[str]:
    """The commands that `info` lists, in the original's order; `seen` are the receptacles whose content was seen."""
    hidden = _HIDDEN[config.listing]
    if not hidden:
        return sorted(moves)
    return sorted(command for command, move in moves.items() if move[0] not in hidden or _shows_news(move, world, seen))


def _shows_news(move: Move, world: World, seen: Container[int]) -> bool:
    """Whether a look shows what is in a receptacle for the first time."""
    verb, r, _ = move
    return verb == "examine_receptacle" and r not in seen and bool(world.opened[r] or not world.game.openable[r])


def find_move(action: str, moves: dict[str, Move], game: Game, config: ALFWorldConfig) -> Move | None:
    """The admissible move an action stands for: blanks around it aside, word for word; None for anything else."""
    command = action.strip()
    move = moves.get(command)
    if move is None and config.aliases and command.startswith("put "):
        old = _OLD_PUT.fullmatch(command)
        if old is not None:
            move = moves.get(game.grammar.commands["putobject"].format(o=old[1], r=old[2]))
    return move


def faced(move: Move, before: int) -> int:
    """The receptacle the agent stands before and last had to do with."""
    verb, first, second = move
    if verb in ("open", "close", "examine_receptacle"):
        return first
    return second if verb in ("go", "take", "put", "heat", "cool", "clean") else before


def status_of(action: str, move: Move | None) -> str:
    """How the action was read."""
    if move is not None:
        return OK
    return NOT_IN_LANGUAGE if action == NOOP or not action.strip() else INADMISSIBLE


def describe(
    game: Game, split: SplitName, observation: str, state_key: str, commands: list[str], step: int, won: bool
) -> dict[str, Any]:
    """The part of `info` that reset and step share."""
    return {
        "won": won,
        "score": 1.0 if won else 0.0,
        "step": step,
        "admissible_commands": commands,
        "task": game.grammar.goal_sentence,
        "task_id": game.task_id,
        "split": split,
        "anchor": observation,
        "state_key": state_key,
        "task_type": game.task_type,
        "extra.gamefile": game.file,
    }
