"""Sokoban as a Gymnasium environment.

>>> import gymnasium, palaestra
>>> env = gymnasium.make("palaestra/Sokoban-v0", levels="embedded")
>>> observation, info = env.reset(seed=3, options={"index": 0})
>>> info["split"], info["won"], info["admissible_commands"]
('train', False, ['up', 'down', 'left', 'right'])
>>> for action in env.unwrapped.plan():
...     observation, reward, terminated, truncated, info = env.step(action)
>>> terminated, round(reward, 1), info["score"]
(True, 10.9, 1.0)
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, Final

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.error import ResetNeeded

from palaestra.envs.core.errors import ConfigError, TaskError
from palaestra.envs.core.types import canonical_json
from palaestra.envs.sokoban import solver
from palaestra.envs.sokoban.config import SokobanConfig
from palaestra.envs.sokoban.core import SOLVED_REWARD, STEP_REWARD, WORDS, Level, find_player, step
from palaestra.envs.sokoban.episode import (
    INADMISSIBLE,
    NOT_IN_LANGUAGE,
    OK,
    ActionLanguage,
    Course,
    action_name,
    numbers,
    outcome,
    texts,
)
from palaestra.envs.sokoban.generator import Generated
from palaestra.envs.sokoban.render import LEGENDS, ROW_END, draw_ended, draw_planes, draw_rgb, end_rows, text_charset
from palaestra.envs.sokoban.sources import open_source, select

METADATA: Final[dict[str, Any]] = {
    "render_modes": ["ansi", "rgb_array"],
    "render_fps": 4,
    "world_name": "Sokoban",
    "legend": LEGENDS["compact"],
    "actions": WORDS,
}


_ROW_END: Final = bytes([ROW_END])


def observation_space(config: SokobanConfig, height: int, width: int) -> spaces.Space[Any]:
    """The space of one observation on boards of this size."""
    if config.obs == "symbol":
        return spaces.Box(0, 6, (height, width), np.int8)
    if config.obs == "planes":
        return spaces.MultiBinary([4, height, width])
    if config.obs == "rgb":
        side = 1 if config.rgb_scale == "tiny" else 16
        return spaces.Box(0, 255, (side * height, side * width, 3), np.uint8)
    longest = height * (4 * width + 1)
    return spaces.Text(max(longest, 8192), min_length=1, charset=text_charset())


def known_distance(level: Level) -> float | None:
    """`solver.distance` as `info` holds it: always a float if known, so that a batch of them makes one array."""
    found = solver.distance(level)
    return None if found is None else float(found)


class SokobanEnv(gymnasium.Env[Any, Any]):
    """One Sokoban episode after another; settings as in `SokobanConfig`.

    `terminated` when all boxes stand on targets, `truncated` after `max_steps` moves; never both. Reset options:
    `index` (level number of the split), `split`, `task` (a task id of embedded levels or of a file). A level drawn
    without options is a function of the last seed and the number of resets since.

    Raises: ConfigError for settings, TaskError for reset options, gymnasium's ResetNeeded for a step after the end
        and InvalidAction for an action of the wrong type. Any string is a legal text action.
    """

    metadata: ClassVar[dict[str, Any]] = METADATA  # type: ignore[misc]

    def __init__(self, *, render_mode: str | None = None, **settings: Any) -> None:
        self.config = SokobanConfig(**settings)
        if render_mode not in (None, *METADATA["render_modes"]):
            raise ConfigError(
                "render_mode", f"render_mode={render_mode!r}; use one of {METADATA['render_modes']} or None"
            )
        self.render_mode = render_mode
        self.max_steps = self.config.max_steps
        self.metadata = METADATA | {"legend": LEGENDS[self.config.text_style]}  # type: ignore[misc]
        self._source = open_source(self.config)
        self._width = self._source.width
        self._stride = self._width + 1
        self._language = ActionLanguage(self.config)
        self.action_space = self._language.space()
        self.observation_space = observation_space(self.config, self._source.height, self._width)
        self._full = self.config.info == "full"
        self._root: int | None = None
        self._episode = 0
        self._over = True
        self._course: Course | None = None
        self._cells = bytearray()
        self._player = self._on_target = self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start the next episode; see the class for the options."""
        super().reset(seed=seed)
        if seed is not None or self._root is None:
            self._root, self._episode = int(self.np_random.integers(1 << 63)), 0
        made = select(self._source, self.config, options, self._root, self._episode)
        self._episode += 1
        self._course = Course.of(made)
        self._place(made.level.cells)
        self._on_target = made.level.boxes_on_target
        self._steps, self._over = 0, False
        observation, anchor = self._observe()
        info = numbers(self._course, 0, self._on_target)
        if self._full:
            info |= texts(
                self._course, anchor, self._board(), self._language.listing(self._cells, self._player, self._stride)
            )
        if self.config.oracle_info:
            info["oracle_distance"] = known_distance(self.level)
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Execute one action (or one turn of several), as gym-sokoban would."""
        course = self._course
        if self._over or course is None:
            raise ResetNeeded("the episode is over (or none was started); call reset() before step()")
        codes, known = self._language.read(action)
        status = OK if known else NOT_IN_LANGUAGE
        reward, moved_player, moved_box, solved, limit = 0.0, False, False, False, False
        for code in codes:
            if status is OK and not self._language.is_listed(code, self._cells, self._player, self._stride):
                status = INADMISSIBLE
            start = self._player
            self._player, pushed, change = step(self._cells, start, code, self._stride)
            self._steps += 1
            self._on_target += change
            moved_player |= self._player != start
            moved_box |= pushed
            solved = self._on_target == course.boxes
            reward += STEP_REWARD + change + (SOLVED_REWARD if solved else 0.0)
            limit = self._steps >= self.config.max_steps
            if solved or limit:
                break
        if self.config.reward != "native":
            reward = (1.0 if self.config.reward == "sparse" else SOLVED_REWARD) if solved else 0.0
        self._over = solved or limit
        observation, anchor = self._observe()
        info = numbers(course, self._steps, self._on_target) | outcome(status, moved_player, moved_box)
        if self._over:
            info |= {"maxsteps_used": limit, "all_boxes_on_target": solved}
        if self._full:
            info |= texts(
                course, anchor, self._board(), self._language.listing(self._cells, self._player, self._stride)
            )
            info |= {"action_status": status, "action.name": action_name(codes)}
        if self.config.oracle_info:
            info["oracle_distance"] = known_distance(self.level)
        return observation, reward, solved, limit and not solved, info

    def _place(self, cells: bytes) -> None:
        # Rows carry an end mark while they are played: then the observation is drawn by a single decode.
        self._cells = bytearray(end_rows(cells, self._width))
        self._player = find_player(self._cells)

    def _board(self) -> bytes:
        return bytes(self._cells).replace(_ROW_END, b"")

    def _grid(self) -> npt.NDArray[np.int8]:
        return np.frombuffer(self._board(), np.int8).reshape(-1, self._width)

    def _observe(self) -> tuple[Any, str]:
        """The observation, and the board as text (empty where nobody reads it)."""
        config = self.config
        anchor = draw_ended(self._cells, config.text_style) if self._full or config.obs == "text" else ""
        if config.obs == "text":
            return anchor, anchor
        if config.obs == "symbol":
            return self._grid().copy(), anchor
        return draw_planes(self._grid()) if config.obs == "planes" else draw_rgb(self._grid(), config.rgb_scale), anchor

    @property
    def level(self) -> Level:
        """The board as it stands."""
        return Level(self._source.height, self._width, self._board())

    def distance(self) -> solver.Distance:
        """Least number of moves to the goal; inf if the level is lost; None if the search ran out of nodes."""
        return solver.distance(self.level)

    def plan(self, rng: np.random.Generator | None = None) -> list[str | int] | None:
        """A shortest solution from here, as actions of this environment; None if there is none (or none was found).

        With `rng`, one of the shortest is drawn (where the solver keeps a table; see `solver.plan`).
        """
        codes = solver.plan(self.level, rng=rng)
        return None if codes is None else [self._language.write(code) for code in codes]

    def render(self) -> Any:
        """The board as text ("ansi") or as a picture ("rgb_array"); None without a render mode."""
        if self.render_mode == "ansi":
            return draw_ended(self._cells, self.config.text_style)
        if self.render_mode == "rgb_array":
            return draw_rgb(self._grid(), self.config.rgb_scale)
        return None

    def snapshot(self) -> bytes:
        """The whole state as JSON bytes: board, level, counters and random generator."""
        if self._course is None:
            raise ResetNeeded("there is nothing to snapshot yet; call reset() first")
        made = self._course.made
        state = {
            "version": 1,
            "config": self.config.model_dump(mode="json"),
            "level": {"cells": made.level.cells.hex(), "title": made.level.title},
            "split": made.split,
            "distance": made.distance,
            "cells": self._board().hex(),
            "steps": self._steps,
            "over": self._over,
            "root": self._root,
            "episode": self._episode,
            "rng": self.np_random.bit_generator.state,
        }
        return canonical_json(state).encode()

    def restore(self, snapshot: bytes) -> None:
        """Go on exactly where the snapshot was taken.

        Raises: TaskError "bad_snapshot" if it is none, or was taken under other settings.
        """
        try:
            state = json.loads(snapshot)
            self._refuse_other(state["config"])
            level = Level(
                self._source.height, self._width, bytes.fromhex(state["level"]["cells"]), state["level"]["title"]
            )
            course = Course.of(Generated(level, state["split"], state["distance"]))
            cells = bytes.fromhex(state["cells"])
            numbers_kept = state["steps"], state["over"], state["root"], state["episode"]
            self.np_random.bit_generator.state = state["rng"]
            self._place(cells)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TaskError(
                "bad_snapshot", f"these {len(snapshot)} bytes are no Sokoban snapshot: {error!r}"
            ) from error
        self._course = course
        self._on_target = self.level.boxes_on_target
        self._steps, self._over, self._root, self._episode = numbers_kept

    def _refuse_other(self, config: dict[str, Any]) -> None:
        mine = self.config.model_dump(mode="json")
        differing = [f"{key}={config.get(key)!r}" for key in sorted(mine) if config.get(key) != mine[key]]
        if differing:
            raise TaskError(
                "bad_snapshot", f"this Sokoban snapshot was taken with other settings: {', '.join(differing)}"
            )
