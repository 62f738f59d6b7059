"""A programmatic reward applied while an environment runs, for any Gymnasium trainer."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.utils import RecordConstructorArgs

from palaestra.envs.core.info import json_ready, merge_status
from palaestra.envs.core.types import Action, ParseFailure, Step, StopReason, Task, Trajectory
from palaestra.rewards.compose import Invalid, RewardFunction


class RewardWrapper(gymnasium.Wrapper[str, str, str, str], RecordConstructorArgs):
    """Replaces each step's reward by the last step's reward of the episode so far.

    The reward function is asked after every step with the trajectory so far, so over an episode the rewards add up to
    what it gives the finished trajectory, if it is causal (every built-in one is). `info["reward_components"]` names
    each component's value. If there is no reward, the step pays 0.0 and `info["reward_invalid"]` says why: that 0.0
    is for trainers that cannot take None, and must not be learnt from.

    Cost: the function runs on a trajectory of t steps after step t, so an episode of S steps costs S times as much as
    scoring it once.
    """

    def __init__(self, env: gymnasium.Env[str, str], reward: RewardFunction) -> None:
        RecordConstructorArgs.__init__(self, reward=reward)
        gymnasium.Wrapper.__init__(self, env)
        self._reward = reward
        self._task = Task(env.spec.id if env.spec else type(env.unwrapped).__name__, 0)
        self._steps: list[Step] = []
        self._start: dict[str, Any] = {}
        self._observation = ""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode."""
        self._observation, info = self.env.reset(seed=seed, options=options)
        self._start = json_ready(info, start=True)
        self._steps = []
        return self._observation, info

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Act; the reward is the programmatic one."""
        observation, native, terminated, truncated, info = self.env.step(action)
        status = merge_status(Action(action), info)
        # A TextAgentWrapper underneath says what it read, and why it could not.
        failure = ParseFailure(status, info["action_failure"]) if info.get("action_failure") else None
        read = Action(info.get("action", action), status, failure=failure)
        self._steps.append(
            Step(self._observation, action, read, float(native), terminated, truncated, json_ready(info))
        )
        self._observation = observation
        reward = self._reward(self._so_far(terminated, info))
        if isinstance(reward, Invalid):
            info["reward_invalid"] = reward.reason.value
            return observation, 0.0, terminated, truncated, info
        info["reward_components"] = {component.name: component.value_S[-1] for component in reward.components}
        return observation, reward.steps_S[-1], terminated, truncated, info

    def _so_far(self, terminated: bool, info: dict[str, Any]) -> Trajectory:
        # An episode under way is scored like one cut short here; the last step's flags tell the two apart.
        return Trajectory(
            task=self._task,
            steps=tuple(self._steps),
            stop_reason=StopReason.TERMINATED if terminated else StopReason.TRUNCATED,
            final_observation=self._observation,
            won=bool(info.get("won", False)),
            score=float(info.get("score") or 0.0),
            start=self._start,
        )
