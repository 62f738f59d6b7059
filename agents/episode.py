"""One live episode of a rollout: the environment it runs in, what it has seen, and how a reply moves it on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import gymnasium

from palaestra.agents.failure import failure_of
from palaestra.agents.policies.base import TurnReply, TurnRequest
from palaestra.agents.types import Completion, Rollout, RolloutFailure
from palaestra.envs.core.info import json_ready, merge_status
from palaestra.envs.core.text.prompt import Message, PromptBuilder, Transcript, World
from palaestra.envs.core.text.protocol import TextProtocol
from palaestra.envs.core.types import Step, StopReason, Task, Trajectory, canonical_json
from palaestra.mcp_servers.errors import PalaestraError, RolloutError, ToolError, boundary


@dataclass(frozen=True, slots=True)
class Slot:
    """Which rollout of which group: the place a finished episode goes to."""

    rollout_id: str
    group: str
    member: int
    task: Task

    def rollout(
        self,
        steps: tuple[Step, ...],
        reason: StopReason,
        *,
        final_observation: str = "",
        last_info: dict[str, Any] | None = None,
        start: dict[str, Any] | None = None,
        completions: tuple[Completion, ...] = (),
        failure: RolloutFailure | None = None,
        extras: dict[str, Any] | None = None,
    ) -> Rollout:
        """The finished rollout; without steps, that of an episode that never began."""
        last = last_info or {}
        trajectory = Trajectory(
            task=self.task,
            steps=steps,
            stop_reason=reason,
            final_observation=final_observation,
            won=bool(last.get("won", False)),
            score=float(last.get("score") or 0.0),
            start=start or {},
        )
        return Rollout(self.rollout_id, self.group, self.member, trajectory, completions, failure, extras or {})


@dataclass(frozen=True, slots=True)
class Stage:
    """An environment instance with the prompt builder made for it; episodes take turns on it."""

    key: str
    env: gymnasium.Env[Any, Any]
    builder: PromptBuilder


class StagePool:
    """Environment instances kept for reuse, per (environment id, keyword arguments); at most `limit` stay idle."""

    def __init__(self, protocol: TextProtocol, count_tokens: Callable[[str], int], limit: int) -> None:
        self._protocol = protocol
        self._count_tokens = count_tokens
        self._limit = limit
        self._idle: dict[str, list[Stage]] = {}
        self._idle_count = 0

    def take(self, task: Task) -> Stage:
        """An idle instance, or a new one.

        Raises:
            RolloutError "env_make": the environment cannot be made; other Palaestra errors pass through.
        """
        key = canonical_json([task.env_id, dict(task.env_kwargs)])
        if idle := self._idle.get(key):
            self._idle_count -= 1
            return idle.pop()
        with boundary("env_make", RolloutError):
            # The passive checker re-validates every step; `check_agent_env` does that once, in tests.
            env: gymnasium.Env[Any, Any] = gymnasium.make(task.env_id, disable_env_checker=True, **task.env_kwargs)
            return Stage(key, env, PromptBuilder(self._protocol, World.of(env), self._count_tokens))

    def give_back(self, stage: Stage) -> bool:
        """Keep an instance for the next episode; False if the pool is full and the caller must close it."""
        if self._idle_count >= self._limit:
            return False
        self._idle.setdefault(stage.key, []).append(stage)
        self._idle_count += 1
        return True

    def drain(self) -> list[Stage]:
        """All idle instances, which are the caller's to close."""
        stages = [stage for stages in self._idle.values() for stage in stages]
        self._idle.clear()
        self._idle_count = 0
        return stages


class LiveEpisode:
    """An episode between its reset and its stop. Errors of the environment end it; they are kept, not raised."""

    def __init__(
        self, slot: Slot, stage: Stage, protocol: TextProtocol, started_s: float, *, stop_at_dead_end: bool = False
    ) -> None:
        self.slot = slot
        self.stage = stage
        self.started_s = started_s
        self.reason: StopReason | None = None
        self._protocol = protocol
        self._stop_at_dead_end = stop_at_dead_end
        self._transcript = Transcript()
        self._steps: list[Step] = []
        self._completions: list[Completion] = []
        self._observation = ""
        self._admissible: tuple[str, ...] = ()
        self._messages: tuple[Message, ...] = ()
        self._start: dict[str, Any] = {}
        self._last: dict[str, Any] = {}
        self._failure: RolloutFailure | None = None
        self._extras: dict[str, Any] = {}

    def reset(self) -> None:
        """Begin: group members are given the same seed and options, hence the same problem."""
        task = self.slot.task
        try:
            with boundary("env_reset", RolloutError):
                observation, info = self.stage.env.reset(seed=task.seed, options=dict(task.reset_options) or None)
                self._see(observation, info)
                self._start = self._last = json_ready(info, start=True)
                self._transcript = Transcript(str(info.get("task") or task.instruction), task.instruction)
        except PalaestraError as error:
            self.stop(StopReason.ENV_ERROR, failure_of("reset", error))

    def request(self) -> TurnRequest | None:
        """What the policy is asked this turn, None if no prompt could be made of it; call it once per turn."""
        try:
            with boundary("prompt", RolloutError):
                prompt = self.stage.builder.build(self._transcript, self._observation, self._admissible, self._messages)
        except PalaestraError as error:
            self.stop(StopReason.POLICY_ERROR, failure_of("prompt", error))
            return None
        return TurnRequest(
            episode=self.slot.rollout_id,
            turn=len(self._steps),
            messages=prompt.messages,
            fresh=prompt.fresh,
            observation=self._observation,
            admissible=self._admissible,
            env=self.stage.env,
        )

    def advance(self, reply: object) -> None:
        """Carry out a policy's reply, whatever it turns out to be; sets `reason` if the episode ends with it."""
        if isinstance(reply, RolloutFailure):
            self.stop(StopReason.POLICY_ERROR, reply)
        elif not isinstance(reply, TurnReply):
            text = f"the policy answered with {type(reply).__name__}, expected TurnReply or RolloutFailure"
            self.stop(StopReason.POLICY_ERROR, failure_of("policy", RolloutError("bad_reply", text)))
        elif reply.context_full:
            self._stop_unanswered(StopReason.CONTEXT_LIMIT, None, reply)
        else:
            try:
                with boundary("env_step", RolloutError):
                    self._step(reply)
            except PalaestraError as error:
                self._stop_unanswered(StopReason.ENV_ERROR, failure_of("step", error), reply)

    def _step(self, reply: TurnReply) -> None:
        action = self._protocol.parse(reply.text, self._admissible).action
        before, messages = self._observation, self._messages
        observation, reward, terminated, truncated, info = self.stage.env.step(action.text)
        status = merge_status(action, info)
        if status is not action.status:
            action = replace(action, status=status)
        kept = json_ready(info)
        step = Step(before, reply.text, action, float(reward), bool(terminated), bool(truncated), kept)
        self._see(observation, info)
        self._steps.append(step)
        self._last = kept
        self._transcript.record(before, action.text, messages)
        if reply.completion is not None:
            self._completions.append(reply.completion)
        if lost := kept.get("lost"):  # nothing the policy did: no reward may be made of it
            self.stop(StopReason.ENV_ERROR, failure_of("step", ToolError(str(lost), f"the tool servers: {lost}")))
        elif terminated or truncated:
            self.reason = StopReason.TERMINATED if terminated else StopReason.TRUNCATED
        elif self._stop_at_dead_end and kept.get("deadlock"):
            self.reason = StopReason.DEAD_END

    def _see(self, observation: object, info: dict[str, Any]) -> None:
        if not isinstance(observation, str):
            text = f"{self.slot.task.env_id} observes {type(observation).__name__}; rollouts need text observations"
            raise RolloutError("not_text", text)
        self._observation = observation
        self._admissible = tuple(info.get("admissible_commands", self.stage.builder.world.actions))
        self._messages = tuple(Message(**message) for message in info.get("messages", ()))

    def stop(self, reason: StopReason, failure: RolloutFailure | None) -> None:
        """End the episode for a reason other than the environment's own."""
        self.reason, self._failure = reason, failure

    def _stop_unanswered(self, reason: StopReason, failure: RolloutFailure | None, reply: TurnReply) -> None:
        # The response belongs to no step, yet whoever looks into the failure needs it.
        if reply.text:
            self._extras = {"unanswered_response": reply.text}
        self.stop(reason, failure)

    def finish(self) -> Rollout:
        """The rollout of an episode that has stopped."""
        if self.reason is None:
            raise RolloutError("still_live", f"episode {self.slot.rollout_id} has not stopped")
        return self.slot.rollout(
            tuple(self._steps),
            self.reason,
            final_observation=self._observation,
            last_info=self._last,
            start=self._start,
            completions=tuple(self._completions),
            failure=self._failure,
            extras=self._extras,
        )
