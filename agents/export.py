"""Episodes out of the store and back: JSONL (complete, for exchange) and Parquet (columns, for analysis).

A JSONL line is one episode:

    {"format": 1, "run_id": "sokoban", "iteration": 3, "phase": "train", "run": {...} or null,
     "rollout": {"rollout_id": ..., "trajectory": {"task": ..., "steps": [...], ...}, "completions": [...], ...},
     "reward": {"valid": true, "total": 1.0, "components": [...], ...} or null}

`run` (config and creation time) comes with the first line of each run. Reading it back gives an equal store.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

from palaestra.agents.durable import appearing
from palaestra.agents.store import Filters, Receipt, Store, StoredRollout
from palaestra.agents.types import Completion, FinishReason, Rollout, RolloutFailure, RolloutGroup, Sampling
from palaestra.envs.core.types import Trajectory
from palaestra.mcp_servers.errors import StoreError
from palaestra.rewards.compose import Reward, reward_from_dict

FORMAT = 1
_PAGE = 256  # episodes of one Parquet row group


def export_jsonl(store: Store, path: Path, *, overwrite: bool = False, **filters: Unpack[Filters]) -> int:
    """Write the episodes that match, one a line, in order of arrival; memory does not grow with their number.

    Returns: how many.  Raises: StoreError "exists", "unknown_filter", "corrupt_rollout", "io_error"; the file appears
    complete or not at all.
    """
    runs = {run.run_id: {"config": run.config, "created_at": run.created_at} for run in store.runs()}
    with appearing(path, overwrite) as temporary, temporary.open("w", encoding="utf-8") as file:
        count = 0
        for stored in store.rollouts(**filters):
            place = {key: getattr(stored.record, key) for key in ("run_id", "iteration", "phase")}
            line = {
                "format": FORMAT,
                **place,
                "run": runs.pop(stored.record.run_id, None),
                "rollout": rollout_to_dict(stored.rollout),
                "reward": None if stored.reward is None else stored.reward.to_dict(),
            }
            file.write(json.dumps(line) + "\n")
            count += 1
    return count


def import_jsonl(store: Store, path: Path) -> Receipt:
    """Read episodes written by `export_jsonl` into a store, group by group; what is already there is left alone.

    Raises: StoreError "bad_line" naming file, line and cause (the lines before it are stored), "rollout_exists",
        "run_exists", "no_file".
    """
    if not path.is_file():
        raise StoreError("no_file", f"{path} does not exist; check the path")
    stored = repeated = 0
    with path.open("rb") as file:
        known: dict[str, None] = {}
        for place, lines in itertools.groupby(_parse_lines(file, path), key=lambda line: line.place):
            run_id, iteration, phase, group = place
            batch = list(lines)
            if run_id not in known:
                run = batch[0].run or {}
                store.add_run(run_id, run.get("config"), created_at=run.get("created_at"))
                known[run_id] = None
            members = RolloutGroup(group, batch[0].rollout.trajectory.task, [line.rollout for line in batch])
            rewards = {line.rollout.rollout_id: line.reward for line in batch if line.reward is not None}
            receipt = store.append([members], run_id=run_id, iteration=iteration, phase=phase, rewards=rewards)
            stored, repeated = stored + receipt.stored, repeated + receipt.repeated
    return Receipt(stored, repeated)


def rollout_to_dict(rollout: Rollout) -> dict[str, Any]:
    """JSON-ready data of a rollout."""
    return {**asdict(rollout), "trajectory": rollout.trajectory.to_dict()}


def rollout_from_dict(data: Mapping[str, Any]) -> Rollout:
    """The inverse of `rollout_to_dict`; KeyError, TypeError or ValueError if the data is not a rollout."""
    failure = data["failure"]
    return Rollout(
        **{
            **data,
            "trajectory": Trajectory.from_dict(data["trajectory"]),
            "completions": tuple(_completion_from_dict(completion) for completion in data["completions"]),
            "failure": None if failure is None else RolloutFailure(**failure),
        }
    )


def _completion_from_dict(data: Mapping[str, Any]) -> Completion:
    sequences = ("prompt_ids", "token_ids", "logprobs", "entropies", "proposed", "accepted")
    return Completion(
        **{
            **data,
            **{key: tuple(data[key]) for key in sequences},
            "finish_reason": FinishReason(data["finish_reason"]),
            "sampling": Sampling(**data["sampling"]),
        }
    )


@dataclass(frozen=True, slots=True)
class _Line:
    place: tuple[str, int, str, str]
    run: Mapping[str, Any] | None
    rollout: Rollout
    reward: Reward | None


def _parse_lines(file: Iterable[bytes], path: Path) -> Iterator[_Line]:
    for number, raw in enumerate(file, start=1):
        try:
            data = json.loads(raw)
            if data["format"] != FORMAT:
                raise ValueError(f"format {data['format']} is not {FORMAT}; export it with this version")
            rollout = rollout_from_dict(data["rollout"])
            reward = None if data["reward"] is None else reward_from_dict(data["reward"])
            place = (str(data["run_id"]), int(data["iteration"]), str(data["phase"]), rollout.group)
            yield _Line(place, data["run"], rollout, reward)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            cause = f"{type(error).__name__}: {error}"
            message = f"{path}, line {number} is not an episode ({cause}); export it again or delete the line"
            raise StoreError("bad_line", message) from error


def export_parquet(store: Store, path: Path, *, overwrite: bool = False, **filters: Unpack[Filters]) -> int:
    """Write the episodes that match as one Parquet file with nested steps, completions and rewards (zstd).

    Free-form parts (task, info, start, extras) are JSON text. Memory grows with one page of episodes.

    Returns: how many.  Raises: StoreError "missing_extra" if pyarrow is not installed; otherwise as `export_jsonl`.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise StoreError("missing_extra", "Parquet needs pyarrow: pip install palaestra[parquet]") from error
    schema = _parquet_schema(pa)
    count = 0
    with appearing(path, overwrite) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        episodes = store.rollouts(**filters)
        while page := list(itertools.islice(episodes, _PAGE)):
            writer.write_table(pa.Table.from_pylist([_parquet_row(stored) for stored in page], schema=schema))
            count += len(page)
    return count


def _parquet_schema(pa: Any) -> Any:
    text, number, real, flag = pa.string(), pa.int64(), pa.float64(), pa.bool_()
    tokens, reals = pa.list_(pa.int32()), pa.list_(real)
    step = {"observation": text, "response": text, "action": text, "action_status": text, "think": text, "reward": real}
    step |= {"terminated": flag, "truncated": flag, "info": text}
    completion = {"prompt_ids": tokens, "token_ids": tokens, "logprobs": reals, "entropies": reals}
    completion |= {"finish_reason": text, "continues": flag, "policy_version": number}
    component = {"name": text, "weight": real, "raw_S": reals, "value_S": reals, "evidence": text}
    columns = {
        **dict.fromkeys(
            ("run_id", "phase", "rollout_id", "group", "task_key", "env_id", "stop_reason", "reward_invalid"), text
        ),
        **dict.fromkeys(("iteration", "member", "tokens"), number),
        **dict.fromkeys(("score", "native_return", "reward"), real),
        **dict.fromkeys(("error_code", "final_observation", "task", "start", "extras"), text),
        "won": flag,
        "steps": pa.list_(pa.struct(step)),
        "completions": pa.list_(pa.struct(completion)),
        "components": pa.list_(pa.struct(component)),
    }
    return pa.schema(columns)


def _parquet_row(stored: StoredRollout) -> dict[str, Any]:
    """Arrow takes the columns it knows from these dictionaries."""
    rollout, trajectory = stored.rollout, stored.rollout.trajectory
    components = () if stored.reward is None else stored.reward.components
    steps = [
        {
            **asdict(step),
            "observation": _utf8(step.observation),
            "response": _utf8(step.response),
            "action": _utf8(step.action.text),
            "action_status": step.action.status.value,
            "think": None if step.action.think is None else _utf8(step.action.think),
            "info": json.dumps(dict(step.info)),
        }
        for step in trajectory.steps
    ]
    return {
        **asdict(stored.record),
        "stop_reason": trajectory.stop_reason.value,
        "final_observation": _utf8(trajectory.final_observation),
        "task": json.dumps(trajectory.task.to_dict()),
        "start": json.dumps(dict(trajectory.start)),
        "extras": json.dumps(dict(rollout.extras)),
        "steps": steps,
        "completions": [{**asdict(c), "finish_reason": c.finish_reason.value} for c in rollout.completions],
        "components": [{**asdict(c), "evidence": _utf8(c.evidence)} for c in components],
    }


def _utf8(text: str) -> str:
    """Parquet text has no lone surrogates; they become question marks (JSONL keeps them)."""
    return text.encode("utf-8", "replace").decode()
