"""`check_agent_env`: does a text environment keep the promises that agents, rewards and trainers rely on?

For our environments and anyone else's. Each check is one function; the first that fails raises and names itself.
"""

from __future__ import annotations

import copy
import random  # noqa: TID251 - to see that nobody touches it
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env, data_equivalence

from palaestra.envs.core.seeding import stream
from palaestra.envs.core.text.parser import NOOP
from palaestra.envs.core.types import ActionStatus
from palaestra.mcp_servers.errors import PalaestraError, TaskError, boundary

AnyEnv = gymnasium.Env[Any, Any]

RESET_KEYS: dict[str, tuple[type, ...]] = {
    "won": (bool,),
    "admissible_commands": (list, tuple),
    "task": (str,),
    "task_id": (str,),
    "split": (str,),
    "step": (int,),
    "score": (int, float),
    "anchor": (str,),
    "state_key": (str,),
}
STEP_KEYS = RESET_KEYS | {"action_status": (str,), "action_valid": (bool,), "action_admissible": (bool,)}
HOSTILE_ACTIONS = ("", " ", "\x00", "no such action", "<action>up</action>", "x" * 10_000, "\ud83d\ude00 \u202e\n\t")
LONGEST_EPISODE = 10_000


@runtime_checkable
class Restorable(Protocol):
    """An environment whose whole state can be saved and brought back."""

    def snapshot(self) -> bytes:
        """The state, including its random streams."""
        ...

    def restore(self, data: bytes, /) -> None:
        """Go back to a snapshot, of this instance or of another made alike."""
        ...


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What was checked, and what is worth knowing although it is no error."""

    env_id: str
    checks: tuple[str, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Moment:
    """What one reset or step returned, copied so that nothing can change it later; `given` is the info itself."""

    observation: Any
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]
    given: dict[str, Any]

    @property
    def ended(self) -> bool:
        return self.terminated or self.truncated


@dataclass(frozen=True, slots=True)
class _Played:
    """An episode, from reset on: the actions and, one more, what came back."""

    actions: list[str]
    moments: list[_Moment]


def check_agent_env(
    env_id: str, *, seeds: Sequence[int] = (0, 1, 2), steps: int = 30, **env_kwargs: Any
) -> CheckReport:
    """Check a registered text environment.

    gymnasium: Gymnasium's own `check_env`; info: keys, types and ranges of every step; noop: a no-op and hostile text
    cost a step and nothing else; end: `ResetNeeded` afterwards; replay: equal episodes in fresh and in used instances;
    copy, snapshot: branches equal the run they left; leaks: into the caller's data, global random state, threads, open
    files, and of the oracle's distance.

    Args:
        env_id: registered id.
        seeds: episodes to play.
        steps: most steps per episode, drawn from the admissible actions with a no-op now and then.
        env_kwargs: passed to `gymnasium.make`.

    Raises:
        TaskError, code "check_" and the check's name: what is wrong, at which seed.

    Cost: about a dozen episodes per seed.
    """
    checker = _Checker(env_id, env_kwargs, steps)
    remarks: list[str] = []
    checks: list[str] = []
    try:
        with _named("make", env_id):
            restorable = isinstance(checker.make().unwrapped, Restorable)
        with _named("gymnasium", env_id):
            remarks += checker.gymnasium()
            checks.append("gymnasium")
        for name, check in checker.per_seed.items():
            if name == "snapshot" and not restorable:
                remarks.append("no snapshot() and restore(): episodes cannot branch")
                continue
            for seed in seeds:
                with _named(name, f"{env_id}, seed {seed}"):
                    check(seed)
            checks.append(name)
    finally:
        checker.close()
    return CheckReport(env_id, tuple(checks), tuple(remarks))


@contextmanager
def _named(check: str, where: str) -> Iterator[None]:
    """Whatever goes wrong inside becomes the named check's TaskError."""
    code = f"check_{check}"
    try:
        with boundary(code, TaskError):
            yield
    except PalaestraError as error:
        raise TaskError(code, f"{where}: {error.message.removeprefix('AssertionError: ')}") from error


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


class _Checker:
    """The checks of one environment id; instances made on the way are closed together."""

    def __init__(self, env_id: str, env_kwargs: dict[str, Any], steps: int) -> None:
        self._env_id = env_id
        self._env_kwargs = env_kwargs
        self._steps = steps
        self._made: list[AnyEnv] = []
        self.per_seed: dict[str, Callable[[int], None]] = {
            "info": self.info,
            "noop": self.noop,
            "end": self.end,
            "replay": self.replay,
            "copy": self.copy,
            "snapshot": self.snapshot,
            "leaks": self.leaks,
        }

    def make(self) -> AnyEnv:
        """A new instance."""
        env: AnyEnv = gymnasium.make(self._env_id, disable_env_checker=True, **self._env_kwargs)
        self._made.append(env)
        return env

    def close(self) -> None:
        """Close all instances, each twice: closing must be idempotent."""
        for env in [*self._made, *self._made]:
            env.close()
        self._made.clear()

    def gymnasium(self) -> list[str]:
        """Gymnasium's own checks; its warnings come back as remarks."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            check_env(self.make().unwrapped, skip_render_check=True)
        return [str(warning.message) for warning in caught]

    def info(self, seed: int) -> None:
        """Keys, types and ranges of everything returned."""
        env = self.make()
        played = self._play(env, seed)
        for t, moment in enumerate(played.moments):
            _check_moment(env, moment, t)
            _expect(data_equivalence(moment.info, moment.given, exact=True), f"the info of step {t} changed afterwards")

    def noop(self, seed: int) -> None:
        """A no-op, and text in no language, take a step, leave the world alone and raise nothing."""
        env = self.make()
        for action in (NOOP, *HOSTILE_ACTIONS):
            _, before = env.reset(seed=seed)
            _, _, terminated, _, info = env.step(action)
            shown = repr(action[:20])
            if env.metadata.get("any_text") and action.strip("\0 \n") and action != NOOP:
                continue  # in a conversation it is an answer like any other, and may end it
            _expect(info["step"] == 1, f"{shown} left info['step'] at {info['step']}; every answer costs a step")
            _expect(not terminated, f"{shown} terminated the episode")
            _expect(info["score"] == before["score"], f"{shown} changed the score")
            if action != NOOP:
                _expect(not info["action_valid"], f"{shown} was called a valid action")

    def end(self, seed: int) -> None:
        """An episode ends, and stepping past its end is refused."""
        env = self.make()
        played = self._play(env, seed, LONGEST_EPISODE)
        _expect(played.moments[-1].ended, f"no end after {LONGEST_EPISODE} steps; set a step limit")
        try:
            env.unwrapped.step(NOOP)
        except ResetNeeded:
            return
        raise AssertionError("step after the end was accepted; raise gymnasium.error.ResetNeeded")

    def replay(self, seed: int) -> None:
        """The same seed and actions give the same episode, in a fresh instance and after other episodes."""
        env = self.make()
        first = self._play(env, seed)
        _expect_equal(first.moments, _follow(self.make(), seed, first.actions), "a fresh instance")
        self._play(env, seed + 1)
        _expect_equal(first.moments, _follow(env, seed, first.actions), "the instance after another episode")

    def copy(self, seed: int) -> None:
        """A deep copy goes on as the original does, and neither moves the other."""
        played, middle = self._played_to_middle(seed)
        env = self.make()
        _follow(env, seed, played.actions[:middle])
        twin = copy.deepcopy(env.unwrapped)
        for branch, name in ((twin, "a deep copy"), (env.unwrapped, "the original of a deep copy")):
            moments = _go_on(branch, played.actions[middle:])
            _expect_equal(played.moments[middle + 1 :], moments, name)

    def snapshot(self, seed: int) -> None:
        """A restored snapshot goes on as the run it was taken from, here and in another instance."""
        played, middle = self._played_to_middle(seed)
        env, other = self.make(), self.make()
        _follow(env, seed, played.actions[:middle])
        other.reset(seed=seed + 1)
        saved = cast(Restorable, env.unwrapped).snapshot()
        _expect(isinstance(saved, bytes), f"snapshot() returned {type(saved).__name__}, expected bytes")
        for branch, name in ((env, "before restore"), (env, "after restore"), (other, "restored elsewhere")):
            if name != "before restore":
                cast(Restorable, branch.unwrapped).restore(saved)
            moments = _go_on(branch.unwrapped, played.actions[middle:])
            _expect_equal(played.moments[middle + 1 :], moments, name)

    def leaks(self, seed: int) -> None:
        """Nothing escapes: into the caller's data, global random state, threads, files, or from the oracle."""
        played = self._play(self.make(), seed)  # also warms up whatever is loaded once
        hidden = self._env_kwargs.get("oracle_info") or all(
            moment.info.get("oracle_distance") is None for moment in played.moments
        )
        _expect(bool(hidden), "info['oracle_distance'] is set although oracle_info was not asked for")
        before = _process_state()
        env: AnyEnv = gymnasium.make(self._env_id, disable_env_checker=True, **self._env_kwargs)
        vandalised = _follow(env, seed, played.actions, vandal=True)
        env.close()
        _expect_equal(played.moments, vandalised, "an instance whose returned infos the caller had emptied")
        for (name, now), (_, then) in zip(_process_state().items(), before.items(), strict=True):
            # Fewer threads or files than before: somebody else's came to an end meanwhile.
            kept = now <= then if isinstance(now, int) else now == then
            _expect(kept, f"an episode changed the process's {name}")

    def _play(self, env: AnyEnv, seed: int, steps: int | None = None) -> _Played:
        rng = stream(seed, "check_agent_env")
        played = _Played([], [_reset(env, seed)])
        for _ in range(self._steps if steps is None else steps):
            if played.moments[-1].ended:
                break
            admissible = played.moments[-1].info["admissible_commands"]
            wander = not admissible or rng.random() < 0.1
            played.actions.append(NOOP if wander else admissible[int(rng.integers(len(admissible)))])
            played.moments.append(_step(env, played.actions[-1]))
        return played

    def _played_to_middle(self, seed: int) -> tuple[_Played, int]:
        played = self._play(self.make(), seed)
        return played, len(played.actions) // 2


def _reset(env: AnyEnv, seed: int, *, vandal: bool = False) -> _Moment:
    observation, info = env.reset(seed=seed)
    moment = _Moment(copy.deepcopy(observation), 0.0, False, False, copy.deepcopy(info), info)
    if vandal:
        _empty(info)
    return moment


def _step(env: AnyEnv, action: str, *, vandal: bool = False) -> _Moment:
    observation, reward, terminated, truncated, info = env.step(action)
    moment = _Moment(copy.deepcopy(observation), float(reward), terminated, truncated, copy.deepcopy(info), info)
    if vandal:
        _empty(info)
    return moment


def _empty(info: dict[str, Any]) -> None:
    for value in info.values():
        if isinstance(value, (list, dict)):
            value.clear()
    info.clear()


def _follow(env: AnyEnv, seed: int, actions: list[str], *, vandal: bool = False) -> list[_Moment]:
    return [_reset(env, seed, vandal=vandal), *(_step(env, action, vandal=vandal) for action in actions)]


def _go_on(env: AnyEnv, actions: list[str]) -> list[_Moment]:
    return [_step(env, action) for action in actions]


def _check_moment(env: AnyEnv, moment: _Moment, t: int) -> None:
    info = moment.info
    for key, types in (STEP_KEYS if t else RESET_KEYS).items():
        _expect(key in info, f"info[{key!r}] is missing after {'step ' + str(t) if t else 'reset'}")
        wanted = " or ".join(kind.__name__ for kind in types)
        _expect(isinstance(info[key], types), f"info[{key!r}] is {info[key]!r} at step {t}; expected {wanted}")
    _expect(isinstance(moment.observation, str), f"the observation is {type(moment.observation).__name__}, not text")
    _expect(env.observation_space.contains(moment.observation), f"observation {t} is not in the observation space")
    _expect(info["step"] == t, f"info['step'] is {info['step']} after {t} steps")
    _expect(0.0 <= info["score"] <= 1.0, f"info['score'] is {info['score']} at step {t}; expected 0 to 1")
    _expect(bool(info["admissible_commands"]) or moment.ended, f"no admissible command at step {t}, yet not ended")
    _expect(not (moment.terminated and moment.truncated), f"terminated and truncated at once, at step {t}")
    if t:
        status = info["action_status"]
        _expect(status in list(ActionStatus), f"info['action_status'] is {status!r}; known: {', '.join(ActionStatus)}")
        _expect(info["action_valid"] == (status == ActionStatus.OK), f"action_valid contradicts status {status!r}")


def _expect_equal(expected: list[_Moment], actual: list[_Moment], who: str) -> None:
    _expect(len(expected) == len(actual), f"{who} took {len(actual)} steps, expected {len(expected)}")
    for t, (left, right) in enumerate(zip(expected, actual, strict=True)):
        for name in ("observation", "reward", "terminated", "truncated", "info"):
            a, b = getattr(left, name), getattr(right, name)
            _expect(data_equivalence(a, b, exact=True), f"{who} differs in {name} at step {t}: {b!r}, expected {a!r}")


def _process_state() -> dict[str, Any]:
    """What an episode must leave as it was."""
    files = Path("/proc/self/fd")
    return {
        "global state of `random`": random.getstate(),
        "global state of `numpy.random`": repr(np.random.get_state()),  # noqa: NPY002 - to see that nobody touches it
        "number of threads": threading.active_count(),
        "number of open files": len(list(files.iterdir())) if files.is_dir() else 0,
    }
