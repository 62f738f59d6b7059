"""`palaestra eval`: success of a model on held-out tasks, with intervals, by the length of the shortest solution."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from palaestra.cli.env import full_id
from palaestra.cli.model import MaxLiveOption, ProtocolOption, Source, find_model, load_model, protocol_of
from palaestra.cli.output import JsonOption, SettingsOption, emit, first_failure, parse_settings, show_evaluation
from palaestra.cli.rollout import play_tasks
from palaestra.mcp_servers.errors import ConfigError


def evaluate_model(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Model directory, checkpoint, or run folder.")],
    env: Annotated[str | None, typer.Option(help="Environment id; default: the one the run was trained in.")] = None,
    settings: SettingsOption = None,
    split: Annotated[str | None, typer.Option(help="Split of the levels.")] = "test",
    tasks: Annotated[int, typer.Option("--tasks", "-n", min=1, help="Tasks; no two on the same level.")] = 512,
    greedy: Annotated[bool, typer.Option("--greedy/--sampled", help="Likeliest token, or sampled ones.")] = True,
    temperature: Annotated[
        float | None, typer.Option(min=0.0, help="With --sampled; default: the run's, else 1.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of tasks and samples; default: the run's, else 0.")] = None,
    protocol: ProtocolOption = None,
    max_live: MaxLiveOption = 64,
    as_json: JsonOption = False,
) -> None:
    """Measure a model on held-out tasks.

    A run folder stands for its best checkpoint, in the environment and protocol it was trained in.

    Examples:
        palaestra eval runs/sokoban
        palaestra eval my-model --env palaestra/Sokoban-v0 --set size=7 -n 256 --sampled --json
    """
    from palaestra.trainers.evaluate import Evaluation, held_out_tasks

    source = find_model(model)
    env_id, env_kwargs = _environment(source, env)
    env_id = full_id(env_id)
    spoken = protocol_of(protocol, source.config)
    task_seed = source.config.get("evaluation", {}).get("seed", 0) if seed is None else seed
    heat = source.config.get("rl", {}).get("temperature", 1.0) if temperature is None else temperature
    chosen = held_out_tasks(env_id, env_kwargs | parse_settings(settings or ()), split, tasks, task_seed)
    policy = load_model(source, 0.0 if greedy else heat, spoken, max_live, task_seed)
    groups = play_tasks(chosen, policy, spoken, max_live)
    result = Evaluation.of([groups[task.key] for task in chosen])
    mode = "greedy" if greedy else f"sampled at temperature {heat:g}"
    if not as_json:
        show_evaluation(f"{source.directory} on {env_id}, split {split}, {mode}", result)
        return
    setting = {
        "model": str(source.directory),
        "env": {"id": env_id, "kwargs": dict(chosen[0].env_kwargs), "split": split},
        "protocol": spoken.model_dump(mode="json"),
        "seed": task_seed,
        "mode": "greedy" if greedy else "sampled",
        "temperature": policy.sampling.temperature,
    }
    emit({**setting, **result.to_dict(), "first_failure": first_failure(result)})


def _environment(source: Source, env: str | None) -> tuple[str, dict[str, Any]]:
    trained_in, kwargs = source.env()
    if env is None and trained_in is None:
        raise ConfigError(
            "env", f"{source.directory} does not say where it was trained; name the environment: --env ID"
        )
    # Settings belong to the environment they were made for.
    return (env or str(trained_in)), kwargs if env in (None, trained_in) else {}
