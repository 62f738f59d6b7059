"""Rollouts as database rows and back, without loss.

Token data become little-endian arrays (int32, float32); text keeps every code point, including the two kinds no
database takes (NUL, lone surrogates); JSON is canonical. The digest of a rollout is a function of its content alone,
so a repeated append can be told from a conflicting one and damage can be found.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from palaestra.agents.types import Completion, FinishReason, Rollout, RolloutFailure, RolloutGroup, Sampling
from palaestra.envs.core.types import (
    Action,
    ActionStatus,
    ParseFailure,
    Step,
    StopReason,
    Task,
    ToolCall,
    Trajectory,
    canonical_json,
)
from palaestra.mcp_servers.errors import StoreError

Row = Mapping[str, Any]
"""One table row by column name."""

_ESCAPE = "\uf8ff"  # private use: never text a model or an environment means
_UNSTORABLE = re.compile("[\x00\ud800-\udfff\uf8ff]")
_ESCAPED = re.compile("\uf8ff([0-9a-f]{4})")


def pack_text(text: str) -> str:
    r"""Text any database takes; NUL, lone surrogates and the escape itself become U+F8FF and four hex digits.

    >>> pack_text("plain"), pack_text("a\x00b") == "a\uf8ff0000b", unpack_text(pack_text("\ud800")) == "\ud800"
    ('plain', True, True)
    """
    return _UNSTORABLE.sub(lambda match: f"{_ESCAPE}{ord(match[0]):04x}", text)


def unpack_text(text: str) -> str:
    """The inverse of `pack_text`."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)


def pack_ints(values: Sequence[int]) -> bytes:
    """Little-endian int32; OverflowError outside its range."""
    return np.array(values, dtype="<i4").tobytes()


def unpack_ints(blob: bytes) -> tuple[int, ...]:
    """The inverse of `pack_ints`."""
    return tuple(np.frombuffer(blob, dtype="<i4").tolist())


def pack_floats(values: Sequence[float]) -> bytes:
    """Little-endian float32, or float64 if float32 would change a value.

    >>> len(pack_floats([0.5, 0.25])), len(pack_floats([0.1]))
    (8, 8)
    """
    exact = np.array(values, dtype="<f8")
    with np.errstate(over="ignore"):
        short = exact.astype("<f4")
    return short.tobytes() if np.array_equal(short.astype("<f8"), exact, equal_nan=True) else exact.tobytes()


def unpack_floats(blob: bytes, count: int) -> tuple[float, ...]:
    """The inverse of `pack_floats`; the width follows from the number of values."""
    return tuple(np.frombuffer(blob, dtype="<f8" if len(blob) == 8 * count else "<f4").tolist())


def pack_json(value: object, where: str) -> str:
    """Canonical JSON text; StoreError "not_json" naming `where` if the value has none."""
    try:
        return pack_text(canonical_json(value))
    except (TypeError, ValueError) as error:
        raise StoreError("not_json", f"{where} cannot be stored: {error}; make it plain, finite JSON data") from error


def unpack_json(text: str) -> Any:
    """The inverse of `pack_json`."""
    return json.loads(unpack_text(text))


@dataclass(frozen=True, slots=True)
class EncodedRollout:
    """The rows of one episode; part rows lack only the number the database gives their rollout."""

    task: Row
    rollout: Row
    steps: Sequence[Row]
    completions: Sequence[Row]
    error: Row | None

    @property
    def rollout_id(self) -> str:
        """Id of the episode, unique in its run."""
        return str(self.rollout["rollout_id"])


def encode_groups(groups: Iterable[RolloutGroup]) -> list[EncodedRollout]:
    """Rows of every rollout, in order; time and memory grow with the number of tokens and characters.

    Raises: StoreError "bad_rollout" (group mismatch, lengths, non-finite numbers, tokens outside int32), "not_json".
    """
    encoded = []
    for group in groups:
        for rollout in group.rollouts:
            if rollout.group != group.group_id:
                message = (
                    f"rollout {rollout.rollout_id!r} names group {rollout.group!r} but travels in {group.group_id!r}"
                )
                raise StoreError("bad_rollout", f"{message}; build the group from its own rollouts")
            encoded.append(encode_rollout(rollout))
    return encoded


def encode_rollout(rollout: Rollout) -> EncodedRollout:
    """The rows of one episode, digest included."""
    name = f"rollout {rollout.rollout_id!r}"
    trajectory = rollout.trajectory
    task = {
        "key": trajectory.task.key,
        "env_id": trajectory.task.env_id,
        "data": pack_json(trajectory.task.to_dict(), f"{name}: task"),
    }
    step_rows = [_encode_step(step, number, name) for number, step in enumerate(trajectory.steps)]
    completion_rows = [_encode_completion(c, turn, name) for turn, c in enumerate(rollout.completions)]
    failure = rollout.failure
    error = None if failure is None else {key: pack_text(text) for key, text in asdict(failure).items()}
    row: dict[str, Any] = {
        "rollout_id": rollout.rollout_id,
        "group_id": rollout.group,
        "member": int(rollout.member),
        "task_key": task["key"],
        "stop_reason": trajectory.stop_reason.value,
        "won": bool(trajectory.won),
        "failed": failure is not None,
        "score": _finite(trajectory.score, f"{name}: score"),
        "native_return": _finite(trajectory.native_return, f"{name}: native return"),
        "n_steps": len(step_rows),
        "n_tokens": sum(len(c.token_ids) for c in rollout.completions),
        "final_observation": pack_text(trajectory.final_observation),
        "start": pack_json(dict(trajectory.start), f"{name}: start"),
        "extras": pack_json(dict(rollout.extras), f"{name}: extras"),
    }
    row["digest"] = _digest(task, row, *step_rows, *completion_rows, error or {})
    return EncodedRollout(task, row, step_rows, completion_rows, error)


def decode_rollout(
    row: Row, task: Row, step_rows: Sequence[Row], completion_rows: Sequence[Row], error: Row | None
) -> Rollout:
    """The inverse of `encode_rollout`; part rows in order.

    Raises: StoreError "corrupt_rollout" if the rows do not read as an episode.
    """
    try:
        trajectory = Trajectory(
            task=Task.from_dict(unpack_json(task["data"])),
            steps=tuple(_decode_step(step) for step in step_rows),
            stop_reason=StopReason(row["stop_reason"]),
            final_observation=unpack_text(row["final_observation"]),
            won=row["won"],
            score=row["score"],
            start=unpack_json(row["start"]),
        )
        return Rollout(
            rollout_id=row["rollout_id"],
            group=row["group_id"],
            member=row["member"],
            trajectory=trajectory,
            completions=tuple(_decode_completion(c) for c in completion_rows),
            failure=None if error is None else RolloutFailure(**{key: unpack_text(error[key]) for key in _ERROR_KEYS}),
            extras=unpack_json(row["extras"]),
        )
    except (KeyError, TypeError, ValueError) as error_:
        message = f"rollout {row['rollout_id']!r} cannot be read: {error_}; `palaestra db check` lists all damage"
        raise StoreError("corrupt_rollout", message) from error_


_ERROR_KEYS = ("stage", "type", "code", "message")


def _encode_step(step: Step, number: int, name: str) -> Row:
    where = f"{name}, step {number}"
    action = step.action
    failure = None if action.failure is None else [action.failure.status.value, action.failure.detail]
    parts = {"think": action.think, "calls": [asdict(call) for call in action.calls], "failure": failure}
    return {
        "step": number,
        "observation": pack_text(step.observation),
        "response": pack_text(step.response),
        "action": pack_text(action.text),
        "action_status": action.status.value,
        "action_parts": pack_json(parts, f"{where}: action"),
        "reward": _finite(step.reward, f"{where}: reward"),
        "terminated": bool(step.terminated),
        "truncated": bool(step.truncated),
        "info": pack_json(dict(step.info), f"{where}: info"),
    }


def _decode_step(row: Row) -> Step:
    parts = unpack_json(row["action_parts"])
    failure = parts["failure"]
    action = Action(
        text=unpack_text(row["action"]),
        status=ActionStatus(row["action_status"]),
        think=parts["think"],
        calls=tuple(ToolCall(**call) for call in parts["calls"]),
        failure=None if failure is None else ParseFailure(ActionStatus(failure[0]), failure[1]),
    )
    return Step(
        observation=unpack_text(row["observation"]),
        response=unpack_text(row["response"]),
        action=action,
        reward=row["reward"],
        terminated=row["terminated"],
        truncated=row["truncated"],
        info=unpack_json(row["info"]),
    )


def _encode_completion(completion: Completion, turn: int, name: str) -> Row:
    where = f"{name}, turn {turn}"
    sampled = len(completion.token_ids)
    if len(completion.logprobs) != sampled or len(completion.entropies) not in (0, sampled):
        found = f"{len(completion.logprobs)} logprobs and {len(completion.entropies)} entropies for {sampled} tokens"
        raise StoreError("bad_rollout", f"{where} has {found}; give one of each per sampled token (or no entropies)")
    try:
        ints = {key: pack_ints(getattr(completion, key)) for key in _INT_KEYS}
    except OverflowError as error:
        raise StoreError("bad_rollout", f"{where} holds a token id outside int32: {error}") from error
    return {
        "turn": turn,
        **ints,
        "logprobs": pack_floats(completion.logprobs),
        "entropies": pack_floats(completion.entropies),
        "finish_reason": completion.finish_reason.value,
        "continues": bool(completion.continues),
        "policy_version": int(completion.policy_version),
        "sampling": pack_json(asdict(completion.sampling), f"{where}: sampling"),
    }


_INT_KEYS = ("prompt_ids", "token_ids", "proposed", "accepted")


def _decode_completion(row: Row) -> Completion:
    ints = {key: unpack_ints(row[key]) for key in _INT_KEYS}
    sampled = len(ints["token_ids"])
    return Completion(
        **ints,
        logprobs=unpack_floats(row["logprobs"], sampled),
        entropies=unpack_floats(row["entropies"], sampled),
        finish_reason=FinishReason(row["finish_reason"]),
        continues=row["continues"],
        policy_version=row["policy_version"],
        sampling=Sampling(**unpack_json(row["sampling"])),
    )


def _finite(value: float, where: str) -> float:
    if not math.isfinite(value):
        raise StoreError("bad_rollout", f"{where} is {value!r}; it must be a finite number")
    return float(value)


def _digest(*rows: Row) -> str:
    text = repr([tuple(row.items()) for row in rows])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
