"""`palaestra eval`: success of a model on held-out tasks, with intervals, by the length of the shortest solution."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from palaestra.cli.env import full_id
from palaestra.cli.model import MaxLiveOption, ProtocolOption, Source, find_model, load_model, protocol_of
from palaestra.cli.output import JsonOption, SettingsOption, emit, first_failure, parse_settings, show_evaluation
from palaestra.cli.rollout import play_tasks
from palaestra.mcp_servers.errors import ConfigError

_BFCL: Final = Path("bfcl")  # a model folder of that name is given by its full path


def evaluate_model(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="Model directory, checkpoint, or run folder; or the word bfcl.")
    ],
    of: Annotated[
        Path | None, typer.Argument(metavar="[MODEL]", help="After bfcl: whom to measure on its tasks.")
    ] = None,
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
    ground_truth: Annotated[
        bool, typer.Option("--ground-truth", help="After bfcl: play the ground truth and check how it is judged.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a model on held-out tasks.

    A run folder stands for its best checkpoint, in the environment and protocol it was trained in.

    Examples:
        palaestra eval runs/sokoban
        palaestra eval my-model --env palaestra/Sokoban-v0 --set size=7 -n 256 --sampled --json
        palaestra eval bfcl runs/tools --set tasks=base
        palaestra eval bfcl --ground-truth --json
    """
    from palaestra.trainers.evaluate import Evaluation, held_out_tasks

    if model == _BFCL:
        heat = None if greedy else 1.0 if temperature is None else temperature
        _evaluate_bfcl(of, ground_truth, env, settings or (), tasks, heat, seed, protocol or (), max_live, as_json)
        return
    if of is not None or ground_truth:
        raise ConfigError("model", f"a second model and --ground-truth go with bfcl only; {model} is the first word")
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


def _evaluate_bfcl(
    model: Path | None, ground_truth: bool, env: str | None, settings: Sequence[str], tasks: int,
    temperature: float | None, seed: int | None, protocol: Sequence[str], max_live: int, as_json: bool,
) -> None:  # fmt: skip
    from palaestra.cli.eval_bfcl import evaluate_bfcl, evaluate_truth

    if env is not None:
        raise ConfigError("env", "bfcl names the environment already; drop --env")
    if ground_truth == (model is not None):
        raise ConfigError(
            "model", "say whom to measure: palaestra eval bfcl MODEL, or palaestra eval bfcl --ground-truth"
        )
    if model is None:
        evaluate_truth(as_json)
    else:
        evaluate_bfcl(model, settings, tasks, temperature, seed, protocol, max_live, as_json)


def _environment(source: Source, env: str | None) -> tuple[str, dict[str, Any]]:
    trained_in, kwargs = source.env()
    if env is None and trained_in is None:
        raise ConfigError(
            "env", f"{source.directory} does not say where it was trained; name the environment: --env ID"
        )
    # Settings belong to the environment they were made for.
    return (env or str(trained_in)), kwargs if env in (None, trained_in) else {}
