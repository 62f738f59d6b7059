"""Sokoban in batches: N boards stepped by one kernel call.

Equal, step by step, to N single environments seeded alike, in every observation and autoreset mode. At full speed
with `obs="symbol", info="numeric", pool=...`: then nothing in a step is done per environment in Python.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from palaestra.envs.core.errors import ConfigError, nearest
from palaestra.envs.core.text.vector import (
    check_num_envs,
    pack_infos,
    read_autoreset_mode,
    refuse_finished,
    spread_seeds,
    take_batch_options,
)
from palaestra.envs.sokoban.config import SokobanConfig, SplitName
from palaestra.envs.sokoban.core import SOLVED_REWARD, STEP_REWARD, Level
from palaestra.envs.sokoban.env import METADATA, known_distance, observation_space
from palaestra.envs.sokoban.episode import ActionLanguage, Course
from palaestra.envs.sokoban.generator import Generated
from palaestra.envs.sokoban.kernels import BACKENDS, DEFAULT_BACKEND, Boards, mix_batch
from palaestra.envs.sokoban.render import LEGENDS, draw_planes, draw_rgb, draw_texts
from palaestra.envs.sokoban.report import BatchReport, Outcome
from palaestra.envs.sokoban.sources import open_source, select

Flags = npt.NDArray[np.bool_]


class LevelPool:
    """Levels as arrays, ready to be copied into a batch."""

    def __init__(self, levels: Sequence[Generated]) -> None:
        self.courses = np.empty(len(levels), object)
        self.courses[:] = [Course.of(made) for made in levels]
        self.boards = Boards(
            np.array([list(made.level.cells) for made in levels], np.uint8),
            np.array([made.level.player for made in levels]),
            np.array([made.level.boxes_on_target for made in levels]),
            np.array([len(made.level.boxes) for made in levels]),
        )


class SokobanVectorEnv(VectorEnv[Any, Any, Any]):
    """N Sokoban environments as one; settings as in `SokobanConfig`.

    Args:
        num_envs: N.
        autoreset_mode: NEXT_STEP, SAME_STEP or DISABLED, as Gymnasium defines them.
        backend: "numba" or "numpy"; by default the faster one that is installed. Results are the same.

    Reset options: those of `SokobanEnv`, and `group_size`: each block of that many environments plays the same level.
    """

    metadata: ClassVar[dict[str, Any]] = METADATA  # type: ignore[misc]

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        backend: str = DEFAULT_BACKEND,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        self.config = SokobanConfig(**settings)
        self.num_envs = check_num_envs(num_envs)
        self.autoreset_mode = read_autoreset_mode(autoreset_mode)
        if backend not in BACKENDS:
            raise ConfigError("backend", f"backend={backend!r}; {nearest(backend, BACKENDS)}")
        self._advance = BACKENDS[backend]
        self.render_mode = render_mode
        self.metadata = METADATA | {  # type: ignore[misc]
            "legend": LEGENDS[self.config.text_style],
            "autoreset_mode": self.autoreset_mode,
        }
        self._source = open_source(self.config)
        self._height, self._width = self._source.height, self._source.width
        self._language = ActionLanguage(self.config)
        self.single_action_space = self._language.space()
        self.single_observation_space = observation_space(self.config, self._height, self._width)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        zeros = np.zeros(num_envs, np.int64)
        self._boards = Boards(
            np.zeros((num_envs, self._height * self._width), np.uint8), zeros, zeros.copy(), zeros.copy()
        )
        self._pools: dict[SplitName, LevelPool | None] = {}
        self._courses = np.empty(num_envs, object)
        self._has_root = np.zeros(num_envs, np.bool_)
        self._root_N = np.zeros(num_envs, np.uint64)
        self._episode_N = np.zeros(num_envs, np.uint64)
        self._steps_N = zeros.copy()
        self._over_N = np.ones(num_envs, np.bool_)
        self._codes = np.array(self._language.codes)
        self._is_listed = np.isin(np.arange(9), self._codes)
        self._report = BatchReport(self.config, self._language, self._width)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset all environments, or those of `options["reset_mask"]`."""
        rest, group_size, mask_N = take_batch_options(options, self.num_envs)
        seeds = spread_seeds(seed, self.num_envs, group_size, self.np_random)
        for i in np.flatnonzero(mask_N):
            if seeds[i] is not None or not self._has_root[i]:
                self._root_N[i] = seeding.np_random(seeds[i])[0].integers(1 << 63)
                self._episode_N[i], self._has_root[i] = 0, True
        self._start(np.flatnonzero(mask_N), rest)
        return self._observe(), self._infos(None, mask_N)

    def step(self, actions: Any) -> tuple[Any, Any, Flags, Flags, dict[str, Any]]:
        """One action per environment."""
        if not self._has_root.all():
            raise ResetNeeded("no episode was started; call reset() before step()")
        if self.autoreset_mode is not AutoresetMode.NEXT_STEP:
            refuse_finished(self._over_N)
        restarted_N = self._over_N.copy()
        codes_NA, known_N = self._read(actions)
        outcome = self._play(codes_NA, known_N, ~restarted_N)
        if restarted_N.any():
            self._start(np.flatnonzero(restarted_N), None)
        infos: dict[str, Any] = {}
        if self.autoreset_mode is AutoresetMode.SAME_STEP and self._over_N.any():
            ended_N = self._over_N.copy()
            infos = self._final(outcome, ended_N)
            self._start(np.flatnonzero(ended_N), None)
            outcome.stepped_N = outcome.stepped_N & ~ended_N
        infos |= self._infos(outcome, np.ones(self.num_envs, np.bool_))
        return self._observe(), outcome.reward_N, outcome.solved_N, outcome.limit_N & ~outcome.solved_N, infos

    def _read(self, actions: Any) -> tuple[npt.NDArray[np.int64], Flags]:
        """(codes [N, turns], -1 where a turn has fewer; whether each action was in the language)."""
        if len(actions) != self.num_envs:
            raise InvalidAction(f"{len(actions)} actions for num_envs={self.num_envs} environments; give one each")
        if self.config.actions == "text4":
            turns = [self._language.read(action) for action in actions]
            longest = max(len(codes) for codes, _ in turns)
            padded = [codes + (-1,) * (longest - len(codes)) for codes, _ in turns]
            return np.array(padded), np.array([known for _, known in turns], np.bool_)
        numbers_N = np.asarray(actions)
        if numbers_N.ndim != 1 or numbers_N.dtype.kind not in "iu":
            raise InvalidAction(f"actions of shape {numbers_N.shape} and type {numbers_N.dtype}; give N whole numbers")
        if numbers_N.min() < 0 or numbers_N.max() >= len(self._codes):
            raise InvalidAction(f"actions {numbers_N.min()} to {numbers_N.max()}; give 0 to {len(self._codes) - 1}")
        return self._codes[numbers_N][:, None], np.ones(self.num_envs, np.bool_)

    def _play(self, codes_NA: npt.NDArray[np.int64], known_N: Flags, stepped_N: Flags) -> Outcome:
        """Execute the turns where `stepped_N`; an environment stops at its end."""
        size = self.num_envs
        moved_N, pushed_N, change_N = np.empty(size, np.bool_), np.empty(size, np.bool_), np.empty(size, np.int64)
        outcome = Outcome.blank(codes_NA, stepped_N, known_N)
        active_N = stepped_N
        for codes_N in codes_NA.T:
            active_N = active_N & (codes_N >= 0) & ~outcome.solved_N & ~outcome.limit_N
            self._advance(self._boards, codes_N, active_N, self._width, moved_N, pushed_N, change_N)
            self._steps_N += active_N
            outcome.moved_player_N |= moved_N
            outcome.moved_box_N |= pushed_N
            outcome.solved_N |= active_N & (self._boards.on_target_N == self._boards.boxes_N)
            outcome.limit_N |= active_N & (self._steps_N >= self.config.max_steps)
            gained_N = STEP_REWARD + change_N + np.where(outcome.solved_N, SOLVED_REWARD, 0.0)
            outcome.reward_N += gained_N * active_N
            # An action is effective exactly if the player moved.
            listed_N = self._is_listed[codes_N] & (moved_N if self.config.admissible == "effective" else True)
            outcome.listed_N &= listed_N | ~active_N
        if self.config.reward != "native":
            outcome.reward_N = np.where(outcome.solved_N, 1.0 if self.config.reward == "sparse" else SOLVED_REWARD, 0.0)
        self._over_N = outcome.solved_N | outcome.limit_N
        return outcome

    def _start(self, rows: npt.NDArray[np.intp], options: Mapping[str, Any] | None) -> None:
        """Put the next level on the boards of these rows."""
        split: SplitName = self.config.default_split
        pool = None if options else self._pool(split)
        if pool is not None:
            draws = mix_batch(self._root_N[rows], self._episode_N[rows]) % np.uint64(len(pool.courses))
            self._place(rows, pool, draws.astype(np.intp))
        else:
            for row in rows:
                root, episode = int(self._root_N[row]), int(self._episode_N[row])
                single = LevelPool([select(self._source, self.config, options, root, episode)])
                self._place(np.array([row]), single, np.zeros(1, np.intp))
        self._episode_N[rows] += np.uint64(1)
        self._steps_N[rows] = 0
        self._over_N[rows] = False

    def _pool(self, split: SplitName) -> LevelPool | None:
        if split not in self._pools:
            count = self._source.count(split)
            self._pools[split] = None if count is None else LevelPool([self._source.at(split, i) for i in range(count)])
        return self._pools[split]

    def _place(self, rows: npt.NDArray[np.intp], pool: LevelPool, chosen: npt.NDArray[np.intp]) -> None:
        boards, levels = self._boards, pool.boards
        boards.cells_NC[rows] = levels.cells_NC[chosen]
        boards.player_N[rows] = levels.player_N[chosen]
        boards.on_target_N[rows] = levels.on_target_N[chosen]
        boards.boxes_N[rows] = levels.boxes_N[chosen]
        self._courses[rows] = pool.courses[chosen]

    def _observe(self) -> Any:
        config, cells_NC = self.config, self._boards.cells_NC
        if config.obs == "text":
            return tuple(draw_texts(cells_NC, self._width, config.text_style))
        grid_NHW = cells_NC.reshape(self.num_envs, self._height, self._width)
        if config.obs == "symbol":
            return grid_NHW.astype(np.int8)
        if config.obs == "planes":
            return np.ascontiguousarray(draw_planes(grid_NHW))
        return np.stack([draw_rgb(grid_HW, config.rgb_scale) for grid_HW in grid_NHW])

    def _infos(self, outcome: Outcome | None, said_N: Flags) -> dict[str, Any]:
        """Infos of the environments `said_N`; those that stepped say how it went, if they did not restart since."""
        infos = self._report.write(self._boards, self._steps_N, self._courses, outcome, said_N)
        if self.config.oracle_info:
            infos |= pack_infos([self._oracle(i) if said else None for i, said in enumerate(said_N)])
        return infos

    def _oracle(self, row: int) -> dict[str, float | None]:
        cells = self._boards.cells_NC[row].tobytes()
        return {"oracle_distance": known_distance(Level(self._height, self._width, cells))}

    def _final(self, outcome: Outcome, ended_N: Flags) -> dict[str, Any]:
        """`final_obs` and `final_info` of the environments that just ended."""
        observations = self._observe()
        final_obs = np.full(self.num_envs, None, object)
        for i in np.flatnonzero(ended_N):
            final_obs[i] = observations[i]
        info = self._infos(outcome, ended_N)
        return {"final_obs": final_obs, "_final_obs": ended_N, "final_info": info, "_final_info": ended_N.copy()}

    def render(self) -> tuple[Any, ...] | None:
        """One frame per environment; None without a render mode."""
        if self.render_mode == "ansi":
            return tuple(draw_texts(self._boards.cells_NC, self._width, self.config.text_style))
        if self.render_mode == "rgb_array":
            grid_NHW = self._boards.cells_NC.reshape(self.num_envs, self._height, self._width)
            return tuple(draw_rgb(grid_HW, self.config.rgb_scale) for grid_HW in grid_NHW)
        return None
