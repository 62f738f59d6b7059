"""Batched text environments in one process: seeds of groups, packing of infos, the three autoreset modes.

`TextVectorEnv` steps N environments that share their immutable data; worlds with a batched kernel of their own use
the functions here instead. Either way a batch of N equals N single environments seeded alike, step by step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from palaestra.envs.core.errors import ConfigError, nearest

Mask = npt.NDArray[np.bool_]
Infos = Sequence[Mapping[str, Any] | None]


def spread_seeds(
    seed: int | Sequence[int | None] | None, num_envs: int, group_size: int, rng: np.random.Generator
) -> list[int | None]:
    """The seed of each environment: seed + i, or seed + i // group_size, so that each block shares one task and seed.

    Without a seed environments go on with their own streams; blocks get a common seed drawn from `rng`.

    Raises: ConfigError "group_size" if it does not divide `num_envs`; "seed" if a list has another length.

    >>> spread_seeds(5, 4, 2, np.random.default_rng(0))
    [5, 5, 6, 6]
    """
    if group_size < 1 or num_envs % group_size:
        raise ConfigError("group_size", f"group_size={group_size} must divide num_envs={num_envs}")
    if seed is None and group_size > 1:
        seed = int(rng.integers(2**31))
    if seed is None:
        return [None] * num_envs
    if isinstance(seed, (int, np.integer)):
        return [int(seed) + i // group_size for i in range(num_envs)]
    if len(seed) != num_envs:
        raise ConfigError("seed", f"{len(seed)} seeds for num_envs={num_envs} environments; give one each")
    return list(seed)


def take_batch_options(options: Mapping[str, Any] | None, num_envs: int) -> tuple[dict[str, Any], int, Mask]:
    """(options for each environment, group size, mask of the environments to reset)."""
    rest = dict(options or {})
    group_size = rest.pop("group_size", 1)
    mask = rest.pop("reset_mask", None)
    if mask is None:
        return rest, group_size, np.ones(num_envs, np.bool_)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (num_envs,) or not mask.any():
        raise ConfigError("reset_mask", f"reset_mask must be a boolean array of shape ({num_envs},) with a True in it")
    return rest, group_size, mask


def pack_infos(infos: Infos, into: dict[str, Any] | None = None) -> dict[str, Any]:
    """One dictionary of arrays for the infos of a batch, `_key` masks beside them, as Gymnasium lays them out.

    Numbers and flags become arrays of their type, everything else object arrays, dictionaries are packed recursively.
    Time is linear in environments times keys.

    >>> packed = pack_infos([{"won": True}, None, {"won": False}])
    >>> packed["won"].tolist(), packed["_won"].tolist()
    ([True, False, False], [True, False, True])
    """
    packed: dict[str, Any] = {} if into is None else into
    said = [_SILENT if info is None else info for info in infos]
    for key, count in Counter(chain.from_iterable(said)).items():
        if count == len(said):  # the usual case, kept quick
            packed[key] = _pack_values(key, [info[key] for info in said], None)
            packed[f"_{key}"] = np.ones(count, np.bool_)
        else:
            held = [key in info for info in said]
            packed[key] = _pack_values(key, [info.get(key) for info in said], held)
            packed[f"_{key}"] = np.array(held, np.bool_)
    return packed


_SILENT: Final[Mapping[str, Any]] = {}


def _pack_values(key: str, values: list[Any], held: list[bool] | None) -> Any:
    first = values[held.index(True) if held else 0]
    kind = type(first)
    if key != "final_obs":
        if kind is dict:
            return pack_infos(values)
        if kind in (int, float, bool) or issubclass(kind, np.number):
            known = values if held is None else [value if has else 0 for value, has in zip(values, held, strict=True)]
            return np.array(known, dtype=kind)
    array = np.full(len(values), None, dtype=object)
    array[:] = values
    return array


class TextVectorEnv(VectorEnv[Any, Any, Any]):
    """N text environments stepped one after another in this process.

    Args:
        make: builds one environment; called N times, so heavy data should be shared by what it closes over.
        num_envs: N.
        autoreset_mode: NEXT_STEP (a finished environment is reset by the following step, which ignores its action),
            SAME_STEP (reset at once; `final_obs` and `final_info` hold the end) or DISABLED (the caller resets with
            `options={"reset_mask": mask}`).

    Reset options: `group_size` G gives each block of G environments the same task and seed; the rest is passed on.
    """

    def __init__(
        self,
        make: Callable[[], gymnasium.Env[Any, Any]],
        num_envs: int,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    ) -> None:
        self.num_envs = check_num_envs(num_envs)
        self.autoreset_mode = read_autoreset_mode(autoreset_mode)
        self.envs = [make() for _ in range(num_envs)]
        self.render_mode = self.envs[0].render_mode
        self.metadata = {**self.envs[0].metadata, "autoreset_mode": self.autoreset_mode}
        self.single_observation_space = self.envs[0].observation_space
        self.single_action_space = self.envs[0].action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._observations: list[Any] = [None] * num_envs
        self._over: Mask = np.zeros(num_envs, np.bool_)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Reset all environments, or those of `reset_mask`."""
        rest, group_size, mask = take_batch_options(options, self.num_envs)
        seeds = spread_seeds(seed, self.num_envs, group_size, self.np_random)
        infos: list[dict[str, Any] | None] = [None] * self.num_envs
        for i in np.flatnonzero(mask):
            self._observations[i], infos[i] = self.envs[i].reset(seed=seeds[i], options=dict(rest))
        self._over[mask] = False
        return tuple(self._observations), pack_infos(infos)

    def step(self, actions: Sequence[Any]) -> tuple[tuple[Any, ...], Any, Any, Any, dict[str, Any]]:
        """One action per environment."""
        if self.autoreset_mode is AutoresetMode.DISABLED:
            refuse_finished(self._over)
        if len(actions) != self.num_envs:
            raise ConfigError("actions", f"{len(actions)} actions for num_envs={self.num_envs} environments")
        rewards = np.zeros(self.num_envs)
        ended = np.zeros((2, self.num_envs), np.bool_)
        infos: list[dict[str, Any]] = [{}] * self.num_envs
        finals: list[dict[str, Any] | None] = [None] * self.num_envs
        for i, env in enumerate(self.envs):
            if self.autoreset_mode is AutoresetMode.NEXT_STEP and self._over[i]:
                self._observations[i], infos[i] = env.reset()
                continue
            self._observations[i], rewards[i], ended[0, i], ended[1, i], infos[i] = env.step(actions[i])
            if self.autoreset_mode is AutoresetMode.SAME_STEP and ended[:, i].any():
                finals[i] = {"final_obs": self._observations[i], "final_info": infos[i]}
                self._observations[i], infos[i] = env.reset()
        self._over = ended[0] | ended[1]
        return tuple(self._observations), rewards, ended[0], ended[1], pack_infos(infos, pack_infos(finals))

    def close_extras(self, **kwargs: Any) -> None:
        """Close the environments."""
        for env in self.envs:
            env.close()


def refuse_finished(over_N: Mask) -> None:
    """Raise ResetNeeded naming the environments that are over; for the DISABLED mode."""
    if over_N.any():
        raise ResetNeeded(
            f"environments {np.flatnonzero(over_N).tolist()} are over and autoreset is disabled; "
            'call reset(options={"reset_mask": mask}) first'
        )


def check_num_envs(num_envs: int) -> int:
    """The number, if it is at least 1."""
    if num_envs < 1:
        raise ConfigError("num_envs", f"num_envs={num_envs}: give at least 1")
    return num_envs


MODES: Final = {mode.value: mode for mode in AutoresetMode}


def read_autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """The mode, given as such or by Gymnasium's name for it ("NextStep", "SameStep", "Disabled")."""
    if isinstance(mode, AutoresetMode):
        return mode
    if mode not in MODES:
        raise ConfigError("autoreset_mode", f"autoreset_mode={mode!r}; {nearest(mode, MODES)}")
    return MODES[mode]
