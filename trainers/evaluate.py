"""Evaluation: one episode of every held-out task, with success by kind of task or by length of the shortest solution.

The tasks are a function of (environment, split, n, seed) alone, so two policies, or one policy before and after
training, are always compared on the same ones (`statistics.paired_gain`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from palaestra.agents.policies.base import Policy
from palaestra.agents.rollout import collect, never
from palaestra.agents.types import Rollout, RolloutGroup
from palaestra.envs.core.text.protocol import TextProtocol
from palaestra.envs.core.text.types import ProgressOracle
from palaestra.envs.core.types import Task
from palaestra.mcp_servers.errors import ConfigError, TaskError, boundary
from palaestra.mcp_servers.framework.sources import derive_seed
from palaestra.trainers.statistics import Rate, length_band, rates_by_stratum

AnyEnv = gymnasium.Env[Any, Any]

_SEEDS = 1 << 31
"""Task seeds stay below this: every store, file format and environment takes them."""


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What became of every episode, entry i of each array being episode i: groups in order, members in order.

    An episode that failed is one not won: a policy cannot rise by breaking. Intervals take the episodes as independent,
    which holds for one per task.

    Attributes:
        won: bool [N].
        lengths: int64 [N], environment steps taken.
        returns: float64 [N], sums of native rewards.
        strata: [N], what `info["task_type"]` said at reset; where the environment has no types of tasks, the band of
            the optimal number of moves, "unknown" if it cannot say.
        groups: the episodes themselves; one of one rollout per task from `evaluate`.
    """

    won: npt.NDArray[np.bool_]
    lengths: npt.NDArray[np.int64]
    returns: npt.NDArray[np.float64]
    strata: tuple[str, ...]
    groups: tuple[RolloutGroup, ...]

    @classmethod
    def of(cls, groups: Sequence[RolloutGroup]) -> Evaluation:
        """Sum up rollouts that were collected elsewhere; cost as `optimal_moves` where tasks have no type."""
        rollouts = [rollout for group in groups for rollout in group.rollouts]
        strata = [rollout.trajectory.start.get("task_type") for rollout in rollouts]
        if None in strata:
            moves = optimal_moves([group.task for group in groups])
            strata = [length_band(m) for m, group in zip(moves, groups, strict=True) for _ in group.rollouts]
        return cls(
            won=np.array([r.trajectory.won and r.failure is None for r in rollouts], dtype=np.bool_),
            lengths=np.array([len(r.trajectory.steps) for r in rollouts], dtype=np.int64),
            returns=np.array([r.trajectory.native_return for r in rollouts], dtype=np.float64),
            strata=tuple(map(str, strata)),
            groups=tuple(groups),
        )

    @property
    def rollouts(self) -> tuple[Rollout, ...]:
        """All episodes, in the order of the arrays."""
        return tuple(rollout for group in self.groups for rollout in group.rollouts)

    @property
    def failed(self) -> int:
        """Episodes that ended by an error instead of by the environment's rules."""
        return sum(rollout.failure is not None for rollout in self.rollouts)

    @property
    def success(self) -> Rate:
        """The success rate over all tasks."""
        return Rate.of(self.won)

    def by_stratum(self) -> dict[str, Rate]:
        """The success rate of every stratum, short to long or by name."""
        return rates_by_stratum(self.strata, self.won)

    def stop_reasons(self) -> dict[str, int]:
        """How many episodes ended for which reason, by name."""
        return dict(sorted(Counter(str(rollout.trajectory.stop_reason) for rollout in self.rollouts).items()))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready summary: rates with intervals, means, stop reasons; episodes themselves are left out."""
        return {
            "tasks": len(self.groups),
            "episodes": len(self.won),
            "success": self.success.to_dict(),
            "by_stratum": {name: rate.to_dict() for name, rate in self.by_stratum().items()},
            "mean_return": float(self.returns.mean()) if self.won.size else None,
            "mean_length": float(self.lengths.mean()) if self.won.size else None,
            "stop_reasons": self.stop_reasons(),
            "failed": self.failed,
        }


def held_out_tasks(env_id: str, env_kwargs: Mapping[str, Any], split: str | None, n: int, seed: int) -> list[Task]:
    """`n` tasks of a split, no two on the same level (the same `info["task_id"]`).

    Args:
        env_id: a registered text environment.
        env_kwargs: keyword arguments of `gymnasium.make`.
        split: handed to every reset as `options={"split": split}`; None hands over nothing.
        n: how many; the first k of n tasks are the k tasks of the same seed.
        seed: of the draw.

    Raises: ConfigError "n"; TaskError "too_few_tasks" if the split seems to hold fewer than `n` levels,
        "wrong_split" if the environment starts an episode of another split; whatever making or resetting raises.
    Cost: one reset per draw, about `n` of them where levels abound.
    """
    if n < 1:
        raise ConfigError("n", f"n = {n} tasks; ask for at least 1")
    options = {} if split is None else {"split": split}
    env = _make(env_id, env_kwargs)
    tasks: dict[str, Task] = {}
    draws = 0
    try:
        while len(tasks) < n:
            # A split of n levels is seen whole after about n (ln n + 7) draws, but for one time in a thousand.
            if draws >= n * (np.log(n) + 7) + 16:
                message = f"{draws} draws from split {split!r} of {env_id} gave {len(tasks)} distinct levels of the {n}"
                raise TaskError("too_few_tasks", f"{message} asked for; ask for {len(tasks)}")
            task_seed = derive_seed(seed, "held_out", env_id, split or "", draws) % _SEEDS
            draws += 1
            with boundary("env_reset", TaskError):
                _, info = env.reset(seed=task_seed, options=options or None)
            if split not in (None, "all", info.get("split", split)):
                found = info["split"]
                raise TaskError("wrong_split", f"{env_id} was asked for split {split!r} and started one of {found!r}")
            level = str(info.get("task_id", task_seed))
            tasks.setdefault(level, Task(env_id, task_seed, dict(env_kwargs), options))
    finally:
        env.close()
    return list(tasks.values())


def optimal_moves(tasks: Sequence[Task]) -> list[float | None]:
    """Steps of a shortest solution of every task, as its environment's oracle says; None where it has none.

    Cost: one reset and one distance per task; in small Sokoban rooms well below a millisecond.
    """
    envs: dict[str, AnyEnv] = {}
    try:
        return [_optimal_moves(_shared(envs, task), task) for task in tasks]
    finally:
        for env in envs.values():
            env.close()


def evaluate(
    policy: Policy,
    tasks: Sequence[Task],
    protocol: TextProtocol | None = None,
    max_live: int = 64,
    *,
    prefix: str = "",
    cancelled: Callable[[], bool] = never,
) -> Evaluation:
    """Play every task once and say how it went.

    Args:
        policy: how it samples (greedy or not) is its own business.
        tasks: from `held_out_tasks`, or any others.
        protocol: how the agent is prompted and read.
        max_live: most episodes alive at once.
        prefix: put before every group id; a model's random streams hang on the ids.
        cancelled: asked before every turn; once True, what is unfinished stops and counts as not won.

    Raises: as `collect`; ConfigError "n" without tasks. Failures of single episodes are part of the result.
    Cost: as many policy calls as the longest chain of episodes that share a place among the `max_live`.
    """
    if not tasks:
        raise ConfigError("n", "there is no task to evaluate on; pass at least one")
    groups = collect(tasks, policy, protocol=protocol, max_live=max_live, prefix=prefix, cancelled=cancelled)
    return Evaluation.of(groups)


def _make(env_id: str, env_kwargs: Mapping[str, Any]) -> AnyEnv:
    with boundary("env_make", TaskError):
        env: AnyEnv = gymnasium.make(env_id, disable_env_checker=True, **env_kwargs)
        return env


def _shared(envs: dict[str, AnyEnv], task: Task) -> AnyEnv:
    """One instance per environment and settings."""
    key = Task(task.env_id, 0, task.env_kwargs).key
    if key not in envs:
        envs[key] = _make(task.env_id, task.env_kwargs)
    return envs[key]


def _optimal_moves(env: AnyEnv, task: Task) -> float | None:
    world = env.unwrapped
    if not isinstance(world, ProgressOracle):
        return None
    with boundary("env_reset", TaskError):
        env.reset(seed=task.seed, options=dict(task.reset_options) or None)
        return world.distance()
