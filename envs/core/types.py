"""The nouns of the environment layer, in the order data flows: Task, Action, Step, Trajectory.

All are frozen and serialise to JSON-ready dictionaries (`to_dict`) and back (`from_dict`) without loss.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]


def canonical_json(value: object) -> str:
    """The one JSON text of a value: sorted keys, no blanks, no NaN.

    >>> canonical_json({"b": 1, "a": [True, None]})
    '{"a":[true,null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True, slots=True)
class Task:
    """One problem instance: everything needed to start the same episode again anywhere.

    Attributes:
        env_id: Gymnasium id, e.g. "palaestra/Sokoban-v0".
        seed: passed to `reset(seed=...)`; together with the options it fixes the episode.
        env_kwargs: keyword arguments of `gymnasium.make`.
        reset_options: passed to `reset(options=...)`.
        instruction: what the agent is asked to do, if the environment's own text does not say it.
        goal: machine-readable goal, if there is one.
        tools: names of the tools the agent may see; empty = all.
    """

    env_id: str
    seed: int
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    reset_options: Mapping[str, Any] = field(default_factory=dict)
    instruction: str = ""
    goal: Mapping[str, Any] = field(default_factory=dict)
    tools: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """16 hex digits of the content hash: equal tasks have equal keys in every process."""
        return hashlib.blake2b(canonical_json(self.to_dict()).encode(), digest_size=8).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {**asdict(self), "tools": list(self.tools)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        return cls(**{**data, "tools": tuple(data.get("tools", ()))})


class ActionStatus(StrEnum):
    """How a response was read; everything but OK and INADMISSIBLE reaches the environment as a no-op."""

    OK = "ok"
    INADMISSIBLE = "inadmissible"
    NOT_IN_LANGUAGE = "not_in_language"
    NO_ACTION = "no_action"
    MANY_ACTIONS = "many_actions"
    NO_THINK = "no_think"
    MANY_THINKS = "many_thinks"
    BAD_ORDER = "bad_order"
    EXTRA_TEXT = "extra_text"
    EMPTY_ACTION = "empty_action"
    TOO_LONG = "too_long"


@dataclass(frozen=True, slots=True)
class ParseFailure:
    """Exactly why a response could not be read; data, never an exception."""

    status: ActionStatus
    detail: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call the agent asked for."""

    server: str
    tool: str
    arguments: Mapping[str, Any]
    call_id: str


@dataclass(frozen=True, slots=True)
class Action:
    """What the agent did: the text handed to the environment, or a failure and the no-op it became."""

    text: str
    status: ActionStatus = ActionStatus.OK
    think: str | None = None
    calls: tuple[ToolCall, ...] = ()
    failure: ParseFailure | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One turn: what the agent saw, what it answered, and what the environment made of it.

    Attributes:
        observation: the text before the action.
        response: the policy's raw answer (for a scripted policy, the bare action).
        action: the answer as read.
        reward: the environment's native reward of this step.
        info: the part of Gymnasium's `info` after the action that later stages read
            (`action_status`, `won`, `score`, `anchor`, `state_key`, distances if asked for); JSON-ready.
    """

    observation: str
    response: str
    action: Action
    reward: float
    terminated: bool
    truncated: bool
    info: Mapping[str, Any] = field(default_factory=dict)


class StopReason(StrEnum):
    """Why an episode ended; every trajectory has exactly one."""

    TERMINATED = "terminated"
    TRUNCATED = "truncated"
    CONTEXT_LIMIT = "context_limit"
    DEAD_END = "dead_end"
    DEADLINE = "deadline"
    POLICY_ERROR = "policy_error"
    ENV_ERROR = "env_error"
    CANCELLED = "cancelled"

    @property
    def is_error(self) -> bool:
        """True if something went wrong; False for the environment's own rules, the model's context and a dead end."""
        return self in (StopReason.DEADLINE, StopReason.POLICY_ERROR, StopReason.ENV_ERROR, StopReason.CANCELLED)


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One episode from reset to stop.

    `won` is the environment's native success, `score` in [0, 1] its graded form; both are as of the last step.
    `start` holds the JSON-ready part of `info` returned by reset (anchor, state_key, distance if asked for).
    """

    task: Task
    steps: tuple[Step, ...]
    stop_reason: StopReason
    final_observation: str
    won: bool
    score: float
    start: Mapping[str, Any] = field(default_factory=dict)

    @property
    def native_return(self) -> float:
        """Undiscounted sum of the environment's rewards."""
        return sum(step.reward for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {**asdict(self), "task": self.task.to_dict(), "steps": [asdict(step) for step in self.steps]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        return cls(
            **{
                **data,
                "task": Task.from_dict(data["task"]),
                "steps": tuple(_step_from_dict(step) for step in data["steps"]),
                "stop_reason": StopReason(data["stop_reason"]),
            }
        )


def _step_from_dict(data: Mapping[str, Any]) -> Step:
    action = dict(data["action"])
    failure = action["failure"]
    action["status"] = ActionStatus(action["status"])
    action["calls"] = tuple(ToolCall(**call) for call in action["calls"])
    action["failure"] = None if failure is None else ParseFailure(ActionStatus(failure["status"]), failure["detail"])
    return Step(**{**data, "action": Action(**action)})
