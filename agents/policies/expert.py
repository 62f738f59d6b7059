"""The expert: asks the environment for a plan and follows it, with as many detours as wanted."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from palaestra.agents.policies.base import TurnRequest
from palaestra.agents.policies.solo import SoloPolicy, pick
from palaestra.envs.core.text.protocol import TextProtocol
from palaestra.mcp_servers.errors import ConfigError, RolloutError
from palaestra.mcp_servers.framework.sources import stream


@dataclass(slots=True)
class _Course:
    rng: np.random.Generator
    plan: list[str] = field(default_factory=list)  # what is left of it, next action last


class ExpertPolicy(SoloPolicy):
    """Follows `env.unwrapped.plan()`; with probability `noise` takes a uniform admissible action instead.

    A plan is made once and again after each detour (cost: one call of the environment's planner each). Where no plan
    exists any more, the policy wanders at random until the episode ends. Each episode has its own stream. With
    `random_ties` the environment is asked for any of its shortest plans (`plan(rng)`) instead of always the same one:
    a policy cloned from it keeps its options open, which is what RL has to work with.

    With probability `haste` a step is left out where the one after it can be done at once: bought before a size was
    chosen, cooked before it was washed. The rest of the plan is followed as if nothing had happened. Demonstrations
    of mixed quality teach the moves and leave RL something to find out, which perfect ones do not.

    Raises:
        ConfigError "noise", "haste": not in [0, 1]. Inside an episode, RolloutError "no_planner": the environment
        has no `plan` method.
    """

    def __init__(
        self, seed: int = 0, protocol: TextProtocol | None = None, *, noise: float = 0.0, haste: float = 0.0,
        random_ties: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(protocol)
        for name, value in (("noise", noise), ("haste", haste)):
            if not 0.0 <= value <= 1.0:
                raise ConfigError(name, f"{name} = {value}; must be a probability between 0 and 1")
        self._seed = seed
        self._noise = noise
        self._haste = haste
        self._random_ties = random_ties
        self._courses: dict[str, _Course] = {}

    def choose(self, request: TurnRequest) -> str:
        """The plan's next action, or a detour."""
        course = self._courses.get(request.episode)
        if course is None:
            course = self._courses[request.episode] = _Course(stream(self._seed, "expert_policy", request.episode))
        if course.rng.random() < self._noise:
            course.plan.clear()
            return pick(course.rng, request.admissible)
        if not course.plan or not _possible(course.plan[-1], request):  # because of what was left out
            course.plan = _plan(request, course.rng if self._random_ties else None)
        if len(course.plan) > 1 and course.rng.random() < self._haste and _possible(course.plan[-2], request):
            course.plan.pop()
        return course.plan.pop() if course.plan else pick(course.rng, request.admissible)

    def close_episode(self, episode: str) -> None:
        """Drop the episode's plan and stream."""
        self._courses.pop(episode, None)


def _possible(action: str, request: TurnRequest) -> bool:
    """Whether an action can be done now: the environment says so, or lists it."""
    possible = getattr(request.env.unwrapped, "possible", None)
    return action in request.admissible if possible is None else bool(possible(action))


def _plan(request: TurnRequest, rng: np.random.Generator | None) -> list[str]:
    planner = getattr(request.env.unwrapped, "plan", None)
    if planner is None:
        raise RolloutError("no_planner", f"{type(request.env.unwrapped).__name__} has no plan(); use another policy")
    return [str(action) for action in reversed((planner() if rng is None else planner(rng)) or ())]
