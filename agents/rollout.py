"""Rollouts: many episodes advance together, one policy call per turn for all of them.

Up to `max_live` episodes are live; when one stops, the next of the queue takes its place. A group's members start from
the same task and seed. Whatever goes wrong ends one episode and stays in its group as data; every group comes back
with all its members.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from palaestra.agents.episode import LiveEpisode, Slot, Stage, StagePool
from palaestra.agents.failure import failure_of
from palaestra.agents.policies.base import Policy, TurnReply, TurnRequest
from palaestra.agents.types import Rollout, RolloutFailure, RolloutGroup
from palaestra.envs.core.text.prompt import PromptBuilder, World, estimate_tokens
from palaestra.envs.core.text.protocol import TextProtocol
from palaestra.envs.core.types import StopReason, Task
from palaestra.mcp_servers.errors import ConfigError, PalaestraError, RolloutError, TaskError, boundary
from palaestra.mcp_servers.framework.sources import Clock

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Time limits in seconds of `clock`, checked between turns; None = unlimited.

    An episode past `episode_s`, and everything unfinished past `total_s`, stops with `StopReason.DEADLINE`.
    """

    episode_s: float | None = None
    total_s: float | None = None
    clock: Clock = time.monotonic


def never() -> bool:
    """The cancellation check of a collection nobody cancels."""
    return False


def collect(
    tasks: Sequence[Task],
    policy: Policy,
    *,
    group_size: int = 1,
    protocol: TextProtocol | None = None,
    max_live: int = 64,
    deadlines: Deadlines | None = None,
    cancelled: Callable[[], bool] = never,
    prefix: str = "",
    count_tokens: Callable[[str], int] = estimate_tokens,
    stop_at_dead_end: bool = False,
) -> list[RolloutGroup]:
    """All groups, in the order of the tasks; arguments, ids and errors as in `iter_groups`."""
    groups = iter_groups(
        tasks,
        policy,
        group_size=group_size,
        protocol=protocol,
        max_live=max_live,
        deadlines=deadlines,
        cancelled=cancelled,
        prefix=prefix,
        count_tokens=count_tokens,
        stop_at_dead_end=stop_at_dead_end,
    )
    by_id = {group.group_id: group for group in groups}
    return [by_id[group_id] for group_id in _group_ids(tasks, prefix)]


def iter_groups(
    tasks: Sequence[Task],
    policy: Policy,
    *,
    group_size: int = 1,
    protocol: TextProtocol | None = None,
    max_live: int = 64,
    deadlines: Deadlines | None = None,
    cancelled: Callable[[], bool] = never,
    prefix: str = "",
    count_tokens: Callable[[str], int] = estimate_tokens,
    stop_at_dead_end: bool = False,
) -> Iterator[RolloutGroup]:
    """Yield each group as soon as its last member has stopped.

    Args:
        tasks: one group each; a task given twice makes two groups (`key`, `key.1`, …).
        policy: answers all live episodes' turns in one call; told of every episode's end.
        group_size: episodes per task, all from the task's seed.
        protocol: how the agent is prompted and read.
        max_live: most episodes (and environment instances) alive at once.
        deadlines: time limits.
        cancelled: asked before every turn; once True, everything unfinished stops with `CANCELLED`.
        prefix: put before every group id; a rollout's id is `{group id}-{member}`.
        count_tokens: measures prompts against the protocol's budget.
        stop_at_dead_end: stop an episode whose environment reports that the goal is out of reach (`oracle_info`);
            it can only be lost, so success is the same and training saves the hopeless steps.

    Raises:
        ConfigError "group_size", "max_live": not positive.  TaskError "bad_task": a task is not JSON-ready.
        BaseExceptions such as KeyboardInterrupt pass through after every episode and environment was closed.

    Cost: one policy call per turn for all live episodes; memory grows with the groups not yet yielded.
    """
    for name, value in (("group_size", group_size), ("max_live", max_live)):
        if value < 1:
            raise ConfigError(name, f"{name} = {value}; must be at least 1")
    with boundary("bad_task", TaskError):
        ids = _group_ids(tasks, prefix)
    protocol = protocol or TextProtocol()
    PromptBuilder(protocol, World(""))  # a bad template is the caller's mistake, not each episode's
    pool = StagePool(protocol, count_tokens, max_live)
    queue = deque(
        Slot(f"{group_id}-{member}", group_id, member, task)
        for group_id, task in zip(ids, tasks, strict=True)
        for member in range(group_size)
    )
    return _Collection(
        policy, protocol, pool, queue, max_live, deadlines or Deadlines(), cancelled, group_size, stop_at_dead_end
    ).groups()


def _group_ids(tasks: Sequence[Task], prefix: str) -> list[str]:
    seen: Counter[str] = Counter()
    ids = []
    for key in (task.key for task in tasks):
        ids.append(f"{prefix}{key}.{seen[key]}" if seen[key] else f"{prefix}{key}")
        seen[key] += 1
    return ids


class _Collection:
    """The state of one collection: what waits, what lives, what is done."""

    def __init__(
        self,
        policy: Policy,
        protocol: TextProtocol,
        pool: StagePool,
        queue: deque[Slot],
        max_live: int,
        deadlines: Deadlines,
        cancelled: Callable[[], bool],
        group_size: int,
        stop_at_dead_end: bool,
    ) -> None:
        self._policy = policy
        self._protocol = protocol
        self._pool = pool
        self._queue = queue
        self._max_live = max_live
        self._deadlines = deadlines
        self._cancelled = cancelled
        self._group_size = group_size
        self._stop_at_dead_end = stop_at_dead_end
        self._live: list[LiveEpisode] = []
        self._done: dict[str, list[Rollout]] = {}

    def groups(self) -> Iterator[RolloutGroup]:
        """Run to the end, yielding groups as they complete."""
        started_s = self._deadlines.clock()
        try:
            while self._queue or self._live:
                self._expire(started_s)
                self._retire()
                self._refill()
                self._turn()
                self._retire()
                yield from self._complete()
        finally:
            self._close()

    def _expire(self, started_s: float) -> None:
        now_s = self._deadlines.clock()
        total_s, episode_s = self._deadlines.total_s, self._deadlines.episode_s
        if self._cancelled():
            self._stop_all(StopReason.CANCELLED, "the collection was cancelled")
        elif total_s is not None and now_s - started_s > total_s:
            self._stop_all(StopReason.DEADLINE, f"the collection passed its deadline of {total_s} s")
        elif episode_s is not None:
            for episode in self._live:
                if now_s - episode.started_s > episode_s:
                    text = f"the episode passed its deadline of {episode_s} s"
                    episode.stop(StopReason.DEADLINE, _stopped(StopReason.DEADLINE, text))

    def _stop_all(self, reason: StopReason, text: str) -> None:
        failure = _stopped(reason, text)
        for episode in self._live:
            episode.stop(reason, failure)
        for slot in self._queue:
            self._keep(slot.rollout((), reason, failure=failure))
        self._queue.clear()

    def _refill(self) -> None:
        while self._queue and len(self._live) < self._max_live:
            slot = self._queue.popleft()
            try:
                stage = self._pool.take(slot.task)
            except PalaestraError as error:
                self._keep(slot.rollout((), StopReason.ENV_ERROR, failure=failure_of("make", error)))
                continue
            episode = LiveEpisode(
                slot, stage, self._protocol, self._deadlines.clock(), stop_at_dead_end=self._stop_at_dead_end
            )
            self._live.append(episode)
            episode.reset()
            self._retire()

    def _turn(self) -> None:
        asked = [(episode, request) for episode in self._live if (request := episode.request()) is not None]
        if not asked:
            return
        replies = self._ask([request for _, request in asked])
        for (episode, _), reply in zip(asked, replies, strict=True):
            episode.advance(reply)

    def _ask(self, requests: list[TurnRequest]) -> Sequence[TurnReply | RolloutFailure]:
        try:
            with boundary("policy_failed", RolloutError):
                replies = list(self._policy.act(requests))
                if len(replies) != len(requests):
                    text = f"the policy answered {len(replies)} of {len(requests)} requests"
                    raise RolloutError("wrong_length", text)
                return replies
        except PalaestraError as error:
            # A stateful policy cannot be asked again, and no reply can be told from another: all live episodes fail.
            return [failure_of("policy", error)] * len(requests)

    def _retire(self) -> None:
        stopped = [episode for episode in self._live if episode.reason is not None]
        if not stopped:
            return
        self._live = [episode for episode in self._live if episode.reason is None]
        for episode in stopped:
            self._keep(episode.finish())
            self._forget(episode.slot.rollout_id)
            # After an error the environment's state cannot be trusted any more.
            if episode.reason is StopReason.ENV_ERROR or not self._pool.give_back(episode.stage):
                self._close_env(episode.stage)

    def _keep(self, rollout: Rollout) -> None:
        self._done.setdefault(rollout.group, []).append(rollout)

    def _complete(self) -> Iterator[RolloutGroup]:
        for group_id in [group_id for group_id, done in self._done.items() if len(done) == self._group_size]:
            rollouts = sorted(self._done.pop(group_id), key=lambda rollout: rollout.member)
            yield RolloutGroup(group_id, rollouts[0].trajectory.task, tuple(rollouts))

    def _close(self) -> None:
        for episode in self._live:
            self._forget(episode.slot.rollout_id)
        for stage in [*(episode.stage for episode in self._live), *self._pool.drain()]:
            self._close_env(stage)
        self._live = []

    def _forget(self, episode: str) -> None:
        # A rollout that is done must not be lost because its clean-up failed.
        try:
            with boundary("policy_close", RolloutError):
                self._policy.close_episode(episode)
        except PalaestraError as error:
            log.warning("policy could not close episode %s: %s", episode, error)

    def _close_env(self, stage: Stage) -> None:
        try:
            with boundary("env_close", RolloutError):
                stage.env.close()
        except PalaestraError as error:
            log.warning("environment %s could not be closed: %s", stage.key, error)


def _stopped(reason: StopReason, text: str) -> RolloutFailure:
    return failure_of("rollout", RolloutError(reason.value, text))
