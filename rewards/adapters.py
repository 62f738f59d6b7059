"""The tool-use reward as a function for other trainers: TRL, verl and verifiers. None of them is imported.

A sample is scored from its trajectory, if it carries one, and else by playing the agent's replies again in a fresh
episode of its task record. Results of tools are never taken from a completion: what counts is what happens here.

What has no reward is never a silent 0.0: TRL gets None and leaves the sample out; verl and verifiers, which need a
number, get 0.0 with `valid` False and the reason beside it, and such samples must be filtered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from palaestra.envs.core.types import Trajectory
from palaestra.envs.tools.config import ToolConfig
from palaestra.envs.tools.records import TaskRecord
from palaestra.mcp_servers.errors import ConfigError, ToolError, boundary
from palaestra.rewards.compose import Invalid, InvalidReason, Reward
from palaestra.rewards.prove import PALAESTRA, ProveSettings, score
from palaestra.rewards.recipe import RewardRecipe
from palaestra.rewards.replay import replay

Completion = str | Sequence[Mapping[str, Any]]
"""One reply as text, or chat messages of which the assistant's are its replies."""
_HERMES: Final = ToolConfig(call_format="hermes")
_TURN: Final = re.compile(r"<\|im_start\|>(\w+)\n|<\|im_end\|>\n?")


def score_completion(
    record: TaskRecord, completion: Completion, settings: ProveSettings = PALAESTRA, config: ToolConfig = _HERMES
) -> Reward:
    """The reward of a completion, by playing it in a fresh episode of the record's world.

    A reply without calls ends the user turn; so does the end of the completion.

    Invalid "tool_server_lost" if the servers cannot be reached.
    Raises: TaskError "other_world" if the record was made for another world or other tools; ConfigError "completion"
        if the completion is neither text nor chat messages.
    """
    try:
        steps = replay(record, replies_of(completion), config, end_turn=True)
    except ToolError as error:
        return Invalid(InvalidReason.TOOL_SERVER_LOST, error.message)
    return score(record, steps, settings)


def score_stored(trajectory: Trajectory | Mapping[str, Any] | str, settings: ProveSettings = PALAESTRA) -> Reward:
    """The reward of a trajectory, as an object, as `Trajectory.to_dict` data or as JSON text of that.

    Raises: ConfigError "trajectory" if it is none of these.
    """
    if not isinstance(trajectory, Trajectory):
        with boundary("trajectory", ConfigError):
            data = json.loads(trajectory) if isinstance(trajectory, str) else trajectory
            trajectory = Trajectory.from_dict(data)
    return RewardRecipe(prove=settings).build()(trajectory)


def replies_of(completion: Completion) -> list[str]:
    """What the assistant said, reply by reply; calls that stand beside a message's text are written into it.

    Text of several chat turns, marked as in ChatML, is taken apart. Raises: ConfigError "completion".
    """
    if isinstance(completion, str):
        return _assistant_parts(completion)
    with boundary("completion", ConfigError):
        return [_reply(message) for message in completion if message["role"] == "assistant"]


def _assistant_parts(text: str) -> list[str]:
    parts = _TURN.split(text)  # text, role or None, text, role or None, ...
    roles = ["assistant", *parts[1::2]]
    return [part for part, role in zip(parts[::2], roles, strict=True) if role == "assistant" and part.strip()]


def _reply(message: Mapping[str, Any]) -> str:
    calls = message.get("tool_calls") or ()
    if calls:
        functions = [call.get("function", call) for call in calls]
        asked = [{"name": f["name"], "arguments": f.get("arguments", {})} for f in functions]
        return "\n".join(f"<tool_call>{json.dumps(call)}</tool_call>" for call in asked)
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def trl_reward(settings: ProveSettings = PALAESTRA, config: ToolConfig = _HERMES) -> Callable[..., list[float | None]]:
    """A reward function for TRL's `GRPOTrainer(reward_funcs=...)`.

    The data set needs a column `record` (task records as JSON lines) or `trajectory` (as for `score_stored`).
    The function raises ConfigError "columns" if it has neither, or not one entry per completion.
    """

    def palaestra_reward(
        prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        name = "trajectory" if columns.get("trajectory") is not None else "record"
        given = columns.get(name)
        if given is None or len(given) != len(completions):
            found = "none" if given is None else f"{len(given)} entries"
            raise ConfigError("columns", f"column {name!r} has {found} for {len(completions)} completions")
        if name == "trajectory":
            rewards = [score_stored(trajectory, settings) for trajectory in given]
        else:
            pairs = zip(given, completions, strict=True)
            rewards = [score_completion(_record(line), said, settings, config) for line, said in pairs]
        return [None if isinstance(reward, Invalid) else reward.total for reward in rewards]

    return palaestra_reward


def verl_reward(settings: ProveSettings = PALAESTRA, config: ToolConfig = _HERMES) -> Callable[..., dict[str, Any]]:
    """A `compute_score` for verl; `ground_truth` is a task record, `extra_info` may hold a `trajectory`.

    Returns: `score`, `valid`, `invalid` (the reason, or "") and one number per component.
    """

    def compute_score(
        data_source: str, solution_str: str, ground_truth: Any, extra_info: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        stored = (extra_info or {}).get("trajectory")
        if stored is not None:
            reward = score_stored(stored, settings)
        else:
            reward = score_completion(_record(ground_truth), solution_str, settings, config)
        found = {component.name: component.total for component in reward.components}
        components = {name: found.get(name, 0.0) for name in settings.weights}
        return {**_number(reward), **components}

    return compute_score


def verifiers_reward(settings: ProveSettings = PALAESTRA, config: ToolConfig = _HERMES) -> Callable[..., float]:
    """A reward function for a verifiers rubric; `info["record"]`, or else `answer`, is the task record.

    Where there is no reward it returns 0.0 and leaves the reason in `state["reward_invalid"]`.
    """

    def palaestra_reward(
        completion: Completion, answer: Any = None, info: Mapping[str, Any] | None = None,
        state: dict[str, Any] | None = None, **others: Any,
    ) -> float:  # fmt: skip
        record = (info or {}).get("record", answer)
        stored = (state or {}).get("trajectory_json")
        if stored is not None:
            reward = score_stored(stored, settings)
        else:
            reward = score_completion(_record(record), completion, settings, config)
        found = _number(reward)
        if state is not None:
            state["reward_invalid"] = found["invalid"]
        return float(found["score"])

    return palaestra_reward


def _number(reward: Reward) -> dict[str, Any]:
    if isinstance(reward, Invalid):
        return {"score": 0.0, "valid": False, "invalid": reward.reason.value}
    return {"score": reward.total, "valid": True, "invalid": ""}


def _record(given: Any) -> TaskRecord:
    """A record as an object, a JSON line or data. Raises: TaskError "bad_record"; ConfigError "record" for none."""
    if isinstance(given, TaskRecord):
        return given
    if isinstance(given, str):
        return TaskRecord.from_json(given)
    if isinstance(given, Mapping):
        return TaskRecord.from_json(json.dumps(dict(given)))
    raise ConfigError("record", f"a sample carries {type(given).__name__} as its task record; give its JSON line")
