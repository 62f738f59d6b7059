"""`palaestra rollout`: let a policy act on tasks, sum up how it went, and keep the episodes if asked to."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from palaestra.cli.env import IdArgument, full_id
from palaestra.cli.model import MaxLiveOption, ProtocolOption, Source, find_model, load_model, protocol_of
from palaestra.cli.output import (
    JsonOption,
    SeedOption,
    SettingsOption,
    emit,
    first_failure,
    parse_settings,
    resume_with,
    show_evaluation,
    show_progress,
)
from palaestra.envs.core.text.protocol import TextProtocol
from palaestra.envs.core.types import Task, canonical_json
from palaestra.mcp_servers.errors import StoreError

if TYPE_CHECKING:
    from palaestra.agents.policies.base import Policy
    from palaestra.agents.store import Store
    from palaestra.agents.types import RolloutGroup

PHASE = "rollout"


def rollout(
    context: typer.Context,
    env_id: IdArgument,
    policy: Annotated[str, typer.Option(help="random, expert, a model directory, a checkpoint or a run.")] = "random",
    tasks: Annotated[int, typer.Option("--tasks", "-n", min=1, help="Tasks; no two on the same level.")] = 16,
    rollouts: Annotated[int, typer.Option("--rollouts", "-r", min=1, help="Rollouts per task.")] = 1,
    split: Annotated[str | None, typer.Option(help="Split of the levels; default: the environment's.")] = None,
    seed: SeedOption = 0,
    settings: SettingsOption = None,
    protocol: ProtocolOption = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="Of a model; 0 is greedy.")] = 1.0,
    max_live: MaxLiveOption = 64,
    store: Annotated[str | None, typer.Option(help="Keep the episodes here: SQLite file or database URL.")] = None,
    jsonl: Annotated[Path | None, typer.Option(help="Write the episodes to this JSONL file.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the JSONL file if it exists.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Let a policy act, sum up how it went, and keep the episodes if asked to.

    With --store, an interrupted command goes on where it was when it is given again.

    Examples:
        palaestra rollout palaestra/Sokoban-v0 --policy expert -n 100
        palaestra rollout palaestra/Sokoban-v0 --policy runs/sokoban -n 64 -r 8 --split test --store episodes.sqlite
    """
    from palaestra.agents.export import export_jsonl
    from palaestra.trainers.evaluate import Evaluation, held_out_tasks

    env_id = full_id(env_id)
    if jsonl is not None and jsonl.exists() and not overwrite:
        raise StoreError("exists", f"{jsonl} exists; choose another name or pass --overwrite")
    source = None if policy in ("random", "expert") else find_model(Path(policy))
    spoken = protocol_of(protocol, source.config if source else {})
    chosen = held_out_tasks(env_id, parse_settings(settings or ()), split, tasks, seed)
    config = {
        "env": {"id": env_id, "kwargs": dict(chosen[0].env_kwargs), "split": split},
        "policy": {"name": policy} if source is None else {"name": policy, "temperature": temperature} | _stamp(source),
        "protocol": spoken.model_dump(mode="json"),
        "rollouts": rollouts,
        "seed": seed,
    }
    run_id = f"rollout-{hashlib.blake2b(canonical_json(config).encode(), digest_size=6).hexdigest()}"
    actor = _policy(policy, source, spoken, temperature, max_live, seed)
    with _kept(store, jsonl) as book:
        done = {} if book is None else _open_run(book, run_id, config, rollouts)

        def keep(group: RolloutGroup) -> None:
            if book is not None:
                book.append([group], run_id=run_id, iteration=0, phase=PHASE)

        if store is not None:
            resume_with(context, f"What is finished is in {store}; give the same command again to go on.")
        left = [task for task in chosen if task.key not in done]
        groups = done | play_tasks(left, actor, spoken, max_live, group_size=rollouts, keep=keep)
        if book is not None and jsonl is not None:
            export_jsonl(book, jsonl, overwrite=overwrite, run_id=run_id)
    result = Evaluation.of([groups[task.key] for task in chosen])
    if not as_json:
        show_evaluation(f"{policy} on {env_id}, {tasks} tasks x {rollouts}", result)
        return
    where = {"store": store, "jsonl": None if jsonl is None else str(jsonl), "run_id": run_id if book else None}
    emit({**config, **where, **result.to_dict(), "first_failure": first_failure(result)})


def play_tasks(
    tasks: Sequence[Task],
    policy: Policy,
    protocol: TextProtocol,
    max_live: int,
    *,
    group_size: int = 1,
    keep: Callable[[RolloutGroup], None] = lambda _: None,
) -> dict[str, RolloutGroup]:
    """Collect under a progress bar; `keep` gets each group as soon as it is complete. Keys are the tasks'."""
    from palaestra.agents.rollout import iter_groups

    groups: dict[str, RolloutGroup] = {}
    if not tasks:
        return groups
    with show_progress(len(tasks), "tasks") as progress:
        for group in iter_groups(tasks, policy, group_size=group_size, protocol=protocol, max_live=max_live):
            keep(group)
            groups[group.task.key] = group
            progress.advance(progress.task_ids[0])
    return groups


def _policy(
    name: str, source: Source | None, protocol: TextProtocol, temperature: float, max_live: int, seed: int
) -> Policy:
    if source is not None:
        return load_model(source, temperature, protocol, max_live, seed)
    from palaestra.agents.policies.expert import ExpertPolicy
    from palaestra.agents.policies.random import RandomPolicy

    return RandomPolicy(seed, protocol) if name == "random" else ExpertPolicy(seed, protocol)


def _stamp(source: Source) -> dict[str, Any]:
    """Tells a model from one saved later in its place, without reading gigabytes of weights."""
    files = sorted(source.directory.glob("*.safetensors"))
    return {"weights": [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]}


@contextmanager
def _kept(store: str | None, jsonl: Path | None) -> Iterator[Store | None]:
    """The store asked for; a passing one if only a file is wanted, so that there is one way to write it; else None."""
    if store is None and jsonl is None:
        yield None
        return
    from palaestra.agents.store import Store

    with tempfile.TemporaryDirectory() as folder, Store.open(store or Path(folder) / "store.sqlite") as opened:
        yield opened


def _open_run(book: Store, run_id: str, config: Mapping[str, Any], group_size: int) -> dict[str, RolloutGroup]:
    """Register the run; the groups an earlier, interrupted call of the same command finished."""
    from palaestra.agents.types import Rollout, RolloutGroup

    book.add_run(run_id, config)
    found: dict[str, list[Rollout]] = {}
    for stored in book.rollouts(run_id=run_id):
        found.setdefault(stored.rollout.trajectory.task.key, []).append(stored.rollout)
    return {
        key: RolloutGroup(members[0].group, members[0].trajectory.task, tuple(members))
        for key, members in found.items()
        if len(members) == group_size
    }
