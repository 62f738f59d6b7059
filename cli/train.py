"""`palaestra train`: a recipe in, a run folder with a report out; shows the run while it happens."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from palaestra.cli.output import emit, resume_with
from palaestra.mcp_servers.errors import ConfigError

if TYPE_CHECKING:
    from palaestra.trainers.experiment import Experiment


def train(
    context: typer.Context,
    recipe: Annotated[
        str | None, typer.Argument(help="A recipe that ships with Palaestra (e.g. sokoban), or a TOML file.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings, e.g. rl.iterations=20 seed=3.")
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option("--run-dir", help="Folder of the run. Default: runs/<recipe>-<seed>, or -2, -3, ...")
    ] = None,
    resume: Annotated[Path | None, typer.Option("--resume", help="Go on with the run in this folder.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved settings and stop.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Name the recipes that ship with Palaestra and stop.")] = False,
    report: Annotated[bool, typer.Option(help="Write report.html at the end.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
) -> None:
    """Train a policy from a recipe, or go on with a run.

    The first Ctrl-C stops after the iteration under way and leaves a checkpoint; a second one stops at once, and the
    run goes on from its last checkpoint. Either way `palaestra train --resume FOLDER` takes it up again.
    """
    import tomli_w

    from palaestra.cli.training_display import TrainingDisplay
    from palaestra.trainers.config import list_recipes, read_recipe
    from palaestra.trainers.experiment import Experiment

    if list_:
        emit({"recipes": list_recipes()}) if as_json else typer.echo("\n".join(list_recipes()))
        return
    if (recipe is None) == (resume is None):
        raise ConfigError("recipe", f"give either a recipe or --resume FOLDER; recipes: {', '.join(list_recipes())}")
    if resume is not None and overrides:
        raise ConfigError("override", f"a run goes on with its own settings; leave out {overrides[0]!r}")
    display = TrainingDisplay(quiet=as_json)
    if resume is not None:
        experiment = Experiment.resume(resume, display)
    else:
        config = read_recipe(recipe or "", overrides or [])
        if dry_run:
            emit(config.to_toml_data()) if as_json else typer.echo(tomli_w.dumps(config.to_toml_data()).rstrip())
            return
        experiment = Experiment.create(run_dir or _free_folder(f"{config.name}-{config.seed}"), config, display)
    folder = experiment.folder.path
    resume_with(context, f"Go on with: palaestra train --resume {folder}")
    with display, _stop_on_interrupt(experiment, display):
        display.title(experiment.config.name, folder, resumed=resume is not None)
        summary = experiment.run()
    page = _write_report(folder) if report else None
    if as_json:
        emit({**summary, "run": str(folder), "report": None if page is None else str(page)})
    else:
        display.conclude(summary, folder, page)
    if summary["stopped"] == "interrupted":
        typer.echo(f"Stopped. Go on with: palaestra train --resume {folder}", err=True)
        raise typer.Exit(130)


@contextmanager
def _stop_on_interrupt(experiment: Experiment, display: Any) -> Iterator[None]:
    """The first SIGINT or SIGTERM asks the run to stop at its next safe point, the second is an ordinary interrupt."""

    def ask(number: int, frame: object) -> None:
        if experiment.stop:
            raise KeyboardInterrupt
        experiment.stop = True
        display.say("Stopping after this step, with a checkpoint; once more to stop at once.")

    earlier = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _free_folder(name: str) -> Path:
    """runs/<name>, or the first of -2, -3, ... that is not there yet."""
    root = Path("runs")
    number = 1
    while (path := root / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return path


def _write_report(folder: Path) -> Path:
    from palaestra.dashboard.report import write_report

    return write_report(folder)


def describe_gain(held_out: Mapping[str, Any]) -> str:
    """One line a person can quote."""
    low, high = (100 * bound for bound in held_out["gain_ci95"])
    return (
        f"{held_out['n']} held-out tasks: {100 * held_out['before']:.1f} % -> {100 * held_out['after']:.1f} % solved, "
        f"{100 * held_out['gain']:+.1f} points (95 % interval {low:+.1f} to {high:+.1f})"
    )
