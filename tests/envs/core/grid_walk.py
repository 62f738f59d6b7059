"""A real, tiny text environment for the tests of the shared contract: walk along a corridor to the goal."""

from __future__ import annotations

import hashlib
import json
import string
from typing import Any

import gymnasium
from gymnasium import spaces
from gymnasium.error import ResetNeeded

from palaestra.envs.core.text.parser import NOOP
from palaestra.envs.core.types import ActionStatus

ENV_ID = "palaestra-tests/GridWalk-v0"
WORDS = ("left", "right")


class Corridor(gymnasium.Env[str, str]):
    """A corridor of `length` cells; the goal is the last one. At the walls only one direction is admissible."""

    metadata = {"render_modes": [], "world_name": "a corridor", "legend": "A is you, G is the goal."}  # noqa: RUF012

    def __init__(self, length: int = 6, max_steps: int = 8, *, oracle_info: bool = False) -> None:
        self.observation_space = spaces.Text(max_length=64, charset="".join(sorted("AG_<>/" + string.ascii_letters)))
        self.action_space = spaces.Text(max_length=32, charset="".join(sorted(string.ascii_lowercase + "<> ")))
        self.length, self.max_steps = length, max_steps
        self.oracle_info = oracle_info
        self.position, self.taken, self.ended = 0, 0, True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self.position = int(self.np_random.integers(self.length - 2))
        self.taken, self.ended = 0, False
        return self._text(), self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if self.ended:
            raise ResetNeeded("call reset first")
        self.taken += 1
        admissible = self._admissible()
        status = ActionStatus.OK if action in admissible else ActionStatus.INADMISSIBLE
        if action not in WORDS:
            status = ActionStatus.OK if action == NOOP else ActionStatus.NOT_IN_LANGUAGE
        elif action in admissible:
            self.position += 1 if action == "right" else -1
        won = self.position == self.length - 1
        self.ended = won or self.taken == self.max_steps
        valid = {"action_valid": status is ActionStatus.OK, "action_admissible": action in admissible}
        info = {**self._info(), "action_status": status.value, **valid}
        return self._text(), float(won), won, self.ended and not won, info

    def plan(self) -> list[str] | None:
        return ["right"] * (self.length - 1 - self.position)

    def _admissible(self) -> list[str]:
        return ["right"] if self.position == 0 else ["left", "right"]

    def _text(self) -> str:
        cells = ["_"] * self.length
        cells[-1] = "G"
        cells[self.position] = "A"
        return "".join(cells)

    def _info(self) -> dict[str, Any]:
        info = {
            "won": self.position == self.length - 1,
            "admissible_commands": [] if self.position == self.length - 1 else self._admissible(),
            "task": "walk to G",
            "task_id": f"corridor-{self.length}",
            "split": "train",
            "step": self.taken,
            "score": self.position / (self.length - 1),
            "anchor": self._text(),
            "state_key": hashlib.blake2b(f"{self.position}/{self.length}".encode(), digest_size=8).hexdigest(),
        }
        if self.oracle_info:
            info["oracle_distance"] = self.length - 1 - self.position
        return info


class GridWalk(Corridor):
    """The corridor, with branching."""

    def snapshot(self) -> bytes:
        state = [self.position, self.taken, self.ended, self.np_random.bit_generator.state]
        return json.dumps(state).encode()

    def restore(self, data: bytes, /) -> None:
        self.position, self.taken, self.ended, self.np_random.bit_generator.state = json.loads(data)


def register() -> None:
    if ENV_ID not in gymnasium.registry:
        gymnasium.register(ENV_ID, entry_point=lambda **kwargs: GridWalk(**kwargs))
