"""`palaestra env`: which environments there are, and whether one keeps the promises agents rely on."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any

import gymnasium
import typer
from gymnasium.envs.registration import EnvSpec

from palaestra.cli.output import JsonOption, SettingsOption, emit, parse_settings, show_table
from palaestra.envs.tools.bfcl.package import missing
from palaestra.mcp_servers.errors import TaskError, boundary, nearest

app = typer.Typer(help="List and check environments.", no_args_is_help=True, add_completion=False)

IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Gymnasium id, e.g. palaestra/Sokoban-v0, or module:ID for your own.")
]


@app.command("list")
def list_environments(
    everything: Annotated[bool, typer.Option("--all", help="Every id known to Gymnasium, not only ours.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the environments that are registered.

    Example: palaestra env list
    """
    specs = [
        spec for env_id, spec in sorted(gymnasium.registry.items()) if everything or env_id.startswith("palaestra/")
    ]
    if as_json:
        emit({"environments": [describe(spec) for spec in specs]})
        return
    rows = [
        [spec.id, "yes" if spec.vector_entry_point else "no", ", ".join(f"{k}={v}" for k, v in spec.kwargs.items())]
        for spec in specs
    ]
    show_table("environments", ["id", "batched", "settings"], rows, left=3)
    if (advice := missing()) is not None:
        typer.echo(f"\nBFCL: {advice}")


@app.command()
def check(
    env_id: IdArgument,
    settings: SettingsOption = None,
    seeds: Annotated[int, typer.Option(min=1, help="Episodes to play.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """Check a text environment: seeding, info keys, no-ops, ends, replay, snapshots, leaks; exit status 1 if it fails.

    Examples:
        palaestra env check palaestra/Sokoban-v0 --set size=7
        palaestra env check my_package.worlds:My-v0
    """
    from palaestra.envs.core.checks import check_agent_env

    spec = find_environment(env_id)
    try:
        report = check_agent_env(full_id(env_id), seeds=range(seeds), **parse_settings(settings or ()))
    except TaskError as error:
        if error.code == "check_make":  # nothing was checked
            raise
        if as_json:
            emit({"env_id": spec.id, "passed": False, "error": error.to_dict()})
        else:
            typer.echo(f"{error.code.removeprefix('check_')}: FAILED. {error.message}")
        raise typer.Exit(1) from error
    if as_json:
        emit({"env_id": spec.id, "passed": True, "checks": list(report.checks), "remarks": list(report.remarks)})
        return
    for name in report.checks:
        typer.echo(f"{name}: ok")
    for remark in report.remarks:
        typer.echo(f"remark: {remark}")
    typer.echo(f"{spec.id} keeps its promises ({len(report.checks)} checks, {seeds} seeds).")


def find_environment(env_id: str) -> EnvSpec:
    """The registration of an id; of `module:ID`, after importing the module (looked for in the working folder too).

    A bare name stands for one of ours: `tools` for `palaestra/Tools-v0`.

    Raises: TaskError "unknown_env" naming the nearest id, "env_module" if the module cannot be imported.
    """
    module, colon, name = env_id.rpartition(":")
    if colon:
        if "" not in sys.path:
            sys.path.insert(0, "")  # an installed command does not look there by itself, `python -m` does
        with boundary("env_module", TaskError):
            import_module(module)
    if name not in gymnasium.registry and not colon:
        name = next((known for known in gymnasium.registry if known.lower() == f"palaestra/{name.lower()}-v0"), name)
    if name not in gymnasium.registry:
        ours = [known for known in gymnasium.registry if known.startswith("palaestra/")]
        where = f"after importing {module!r}" if colon else "here; write module:ID for one of your own"
        raise TaskError("unknown_env", f"no environment {name!r} {where}; {nearest(name, ours)}")
    return gymnasium.registry[name]


def full_id(env_id: str) -> str:
    """An id as Gymnasium knows it, the module to import kept; raises as `find_environment`."""
    found = find_environment(env_id).id
    return env_id if ":" in env_id else found


def describe(spec: EnvSpec) -> dict[str, Any]:
    """JSON-ready facts of a registration."""
    return {
        "id": spec.id,
        "entry_point": str(spec.entry_point),
        "batched": spec.vector_entry_point is not None,
        "max_episode_steps": spec.max_episode_steps,
        "settings": dict(spec.kwargs),
    }
