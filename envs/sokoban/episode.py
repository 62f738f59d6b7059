"""What is said of an episode in `info`, and how actions are read: shared by the single and the batched environment."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from gymnasium import spaces
from gymnasium.error import InvalidAction

from palaestra.envs.core.text.types import NOOP
from palaestra.envs.core.types import ActionStatus
from palaestra.envs.sokoban.config import SokobanConfig
from palaestra.envs.sokoban.core import ACTION_NAMES, STILL, WORDS, is_effective
from palaestra.envs.sokoban.generator import Generated
from palaestra.envs.sokoban.levels import task_id

TASK: Final = "Push every box onto a target."
OK, INADMISSIBLE, NOT_IN_LANGUAGE = (
    ActionStatus.OK.value,
    ActionStatus.INADMISSIBLE.value,
    ActionStatus.NOT_IN_LANGUAGE.value,
)
ACTION_CHARSET: Final = "".join(map(chr, range(32, 127)))
CODE_OF_WORD: Final = {word: code for code, word in enumerate(WORDS, start=1)} | {"still": STILL}

Turn = tuple[tuple[int, ...], bool]
"""Action codes to execute in order, and whether the string was in the language."""

_NOOP_TURN: Final[Turn] = ((STILL,), False)
_SINGLE_TURNS: Final[dict[str, Turn]] = {word: ((code,), True) for word, code in CODE_OF_WORD.items()}


class ActionLanguage:
    """The actions of one configuration: what is accepted, listed and executed.

    Text actions are matched by equality, never by substring; whatever else is written is a no-op that consumes a step.

    Attributes:
        codes: of the actions that may be listed; in the discrete modes, action i has code i of these.
        names: how a prompt lists each code.
    """

    def __init__(self, config: SokobanConfig) -> None:
        self.codes = tuple(range(9)) if config.actions == "full9" else (1, 2, 3, 4)
        self.names = {code: ACTION_NAMES[code] if config.actions == "full9" else WORDS[code - 1] for code in self.codes}
        self._is_text = config.actions == "text4"
        self._lists_all = config.admissible == "all"
        self._most_words = config.actions_per_turn

    def space(self) -> spaces.Space[Any]:
        """The action space."""
        if self._is_text:
            return spaces.Text(256, min_length=1, charset=ACTION_CHARSET)
        return spaces.Discrete(len(self.codes))

    def read(self, action: object) -> Turn:
        """The codes of an action. Any string is legal; gymnasium's InvalidAction for anything of another kind."""
        if not self._is_text:
            return (self._read_number(action),), True
        if not isinstance(action, str):
            raise InvalidAction(f"action {action!r} is {type(action).__name__}; this environment takes str")
        if self._most_words == 1 or "||" not in action:
            return _SINGLE_TURNS.get(action, _NOOP_TURN)
        words = action.split("||", self._most_words)
        codes = [CODE_OF_WORD.get(word.strip()) for word in words]
        known = tuple(code for code in codes if code is not None)
        return (known, True) if len(known) == len(codes) <= self._most_words else _NOOP_TURN

    def _read_number(self, action: Any) -> int:
        try:
            number = operator.index(action)
        except TypeError:
            number = -1
        if not 0 <= number < len(self.codes):
            raise InvalidAction(f"action {action!r}; this environment takes whole numbers 0 to {len(self.codes) - 1}")
        return self.codes[number]

    def write(self, code: int) -> str | int:
        """The action that `read` turns into this push code."""
        return WORDS[code - 1] if self._is_text else self.codes.index(code)

    def listing(self, cells: bytes | bytearray, player: int, width: int) -> list[str]:
        """Names of the codes listed for this board."""
        if self._lists_all:
            return list(self.names.values())
        return [name for code, name in self.names.items() if is_effective(cells, player, code, width)]

    def is_listed(self, code: int, cells: bytes | bytearray, player: int, width: int) -> bool:
        """True if the code is listed for this board."""
        if self._lists_all:
            return code in self.names
        return code in self.names and is_effective(cells, player, code, width)


@dataclass(frozen=True, slots=True)
class Course:
    """What does not change while an episode runs."""

    made: Generated
    task_id: str
    boxes: int

    @classmethod
    def of(cls, made: Generated) -> Course:
        """The course of a level."""
        return cls(made, task_id(made.level), len(made.level.boxes))


def numbers(course: Course, step: int, on_target: int) -> dict[str, Any]:
    """The numeric part of `info`, after reset and step alike."""
    boxes = course.boxes
    return {
        "won": on_target == boxes,
        "score": on_target / boxes,
        "step": step,
        "boxes_on_target": on_target,
        "num_boxes": boxes,
    }


def texts(course: Course, anchor: str, cells: bytes | bytearray, listing: list[str]) -> dict[str, Any]:
    """The rest of `info`, after reset and step alike."""
    return {
        "admissible_commands": listing,
        "task": TASK,
        "task_id": course.task_id,
        "split": course.made.split,
        "anchor": anchor,
        "state_key": blake2b(cells, digest_size=8).hexdigest(),
    }


def outcome(status: str, moved_player: bool, moved_box: bool) -> dict[str, Any]:
    """The numeric part of `info` that only a step has."""
    return {
        "action_valid": status == OK,
        "action_admissible": status == OK,
        "action.moved_player": moved_player,
        "action.moved_box": moved_box,
    }


def action_name(codes: tuple[int, ...]) -> str:
    """The original's name of an action; several are joined by `||`."""
    return ACTION_NAMES[codes[0]] if len(codes) == 1 else " || ".join([ACTION_NAMES[code] for code in codes])


__all__ = ["NOOP", "TASK", "ActionLanguage", "Course", "Turn", "action_name", "numbers", "outcome", "texts"]
