"""Demonstrations: episodes of a world's own expert, with the true distance to the goal at every step, as JSON lines.

>>> import palaestra
>>> demo, = make_demos("palaestra/Sokoban-v0", 1, split="valid", seed=4)
>>> demo.won, demo.start["oracle_distance"] == len(demo.steps), demo.steps[-1].info["oracle_distance"]
(True, True, 0.0)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import gymnasium
from gymnasium import spaces

from palaestra.envs.core.info import json_ready
from palaestra.envs.core.seeding import derive_seed, stream
from palaestra.envs.core.text.types import ProgressOracle
from palaestra.envs.core.types import Action, Step, StopReason, Task, Trajectory, canonical_json
from palaestra.mcp_servers.errors import ConfigError, StoreError, TaskError

FAILURES_PER_DEMO: Final = 50
"""Failed episodes tolerated per demonstration wanted before giving up."""


def make_demos(
    env_id: str,
    n: int,
    *,
    split: str = "train",
    seed: int = 0,
    noise: float = 0.0,
    keep_failed: bool = False,
    env_kwargs: Mapping[str, Any] | None = None,
) -> Iterator[Trajectory]:
    """Yield `n` expert episodes; a pure function of the arguments.

    With probability `noise` a uniformly drawn admissible action replaces the expert's, which then plans anew; where
    there is no plan (left), every action is drawn. Episodes that fail are dropped unless `keep_failed`. `start` and
    every step's `info` hold `oracle_distance` and `admissible_commands` as of after that step.

    Cost: one plan per episode and one more per detour, one distance per step.

    Raises: ConfigError "noise", "not_text" (the environment does not act in text), "no_oracle" (it knows no plan);
        TaskError "no_demo" if `FAILURES_PER_DEMO` episodes per demonstration failed.
    """
    if not 0.0 <= noise <= 1.0:
        raise ConfigError("noise", f"noise={noise}: give a probability between 0 and 1")
    kwargs = dict(env_kwargs or {})
    env = gymnasium.make(env_id, **kwargs)
    oracle = _oracle(env, env_id)
    made = failed = episode = 0
    while made < n:
        task = Task(env_id, derive_seed(seed, "demos", split, episode) >> 33, kwargs, {"split": split})
        demo = _play(env, oracle, task, noise)
        episode += 1
        if demo.won or keep_failed:
            made += 1
            yield demo
        else:
            failed += 1
            if failed > FAILURES_PER_DEMO * n:
                raise TaskError("no_demo", f"{env_id}: {failed} of {episode} episodes failed; lower noise={noise}")
    env.close()


def _oracle(env: gymnasium.Env[Any, Any], env_id: str) -> ProgressOracle:
    if not isinstance(env.action_space, spaces.Text):
        raise ConfigError("not_text", f"{env_id} acts in {env.action_space}; demonstrations need text actions")
    oracle = env.unwrapped
    if not isinstance(oracle, ProgressOracle):
        raise ConfigError("no_oracle", f"{env_id} has no plan() and distance(), so there is no expert to follow")
    return oracle


def _play(env: gymnasium.Env[Any, Any], oracle: ProgressOracle, task: Task, noise: float) -> Trajectory:
    rng = stream(task.seed, "demos")
    observation, info = env.reset(seed=task.seed, options=dict(task.reset_options))
    start = _facts(info, oracle, start=True)
    steps: list[Step] = []
    plan: list[Any] = []
    terminated = truncated = False
    while not (terminated or truncated):
        if rng.random() < noise:
            plan.clear()
        elif not plan:
            plan = (oracle.plan() or [])[::-1]
        listed = info["admissible_commands"]
        action = plan.pop() if plan else listed[int(rng.integers(len(listed)))]
        seen = observation
        observation, reward, terminated, truncated, info = env.step(action)
        facts = _facts(info, oracle)
        steps.append(Step(seen, action, Action(action), float(reward), bool(terminated), bool(truncated), facts))
    reason = StopReason.TERMINATED if terminated else StopReason.TRUNCATED
    return Trajectory(task, tuple(steps), reason, observation, bool(info["won"]), float(info["score"]), start)


def _facts(info: Mapping[str, Any], oracle: ProgressOracle, *, start: bool = False) -> dict[str, Any]:
    distance = oracle.distance()
    known = {**info, "oracle_distance": None if distance is None else float(distance)}
    return {**json_ready(known, start=start), "admissible_commands": list(info["admissible_commands"])}


def write_demos(path: str | Path, demos: Iterable[Trajectory]) -> int:
    """Write one JSON line per episode and return how many; the file appears only once it is complete."""
    target = Path(path)
    partial = target.with_name(target.name + ".partial")
    count = 0
    try:
        with partial.open("w", encoding="utf-8") as file:
            for demo in demos:
                file.write(canonical_json(demo.to_dict()) + "\n")
                count += 1
        partial.replace(target)
    except OSError as error:
        raise StoreError("demos", f"{str(path)!r} cannot be written: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return count


def read_demos(path: str | Path) -> Iterator[Trajectory]:
    """Yield the episodes of a file `write_demos` wrote; StoreError "demos" names the line that is none."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield Trajectory.from_dict(json.loads(line))
                except (ValueError, KeyError, TypeError) as error:
                    raise StoreError("demos", f"{str(path)!r}, line {number} is no episode: {error}") from error
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError("demos", f"{str(path)!r} cannot be read: {error}") from error
