"""What the verbs of the command share: how results, errors and progress are shown, and how settings are written.

Results go to standard output, everything else to standard error, so that `--json` output can be piped as it is.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from palaestra.mcp_servers.errors import ConfigError, PalaestraError

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

    from palaestra.trainers.evaluate import Evaluation

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Setting of the environment, e.g. size=7; may be repeated."),
]
SeedOption = Annotated[int, typer.Option(min=0, help="Root of every random draw.")]

_RESUME: Final = "palaestra.resume"


def emit(data: Mapping[str, Any]) -> None:
    """Print one JSON object on one line; NaN is refused, because not every reader of JSON takes it."""
    typer.echo(json.dumps(data, allow_nan=False))


def fail(error: PalaestraError, *, as_json: bool) -> None:
    """Show an error: one red line on standard error, or one JSON object on standard output."""
    if as_json:
        emit({"error": error.to_dict()})
        return
    line = f"error [{error.code}]: {'; '.join(error.message.splitlines())}"
    typer.secho(line, fg="red", err=True)  # colour is left out where standard error is no terminal


def resume_with(context: typer.Context, advice: str) -> None:
    """What to tell the user about going on if this command is interrupted from now on."""
    context.find_root().meta[_RESUME] = advice


def resume_advice(context: typer.Context) -> str:
    """The advice of `resume_with`; empty if nothing was left unfinished."""
    return str(context.find_root().meta.get(_RESUME, ""))


def parse_settings(pairs: Iterable[str]) -> dict[str, Any]:
    """`KEY=VALUE` words as keyword arguments; the value is TOML, and a bare word is a string.

    >>> parse_settings(["size=[6, 7]", "oracle_info=true", "levels=embedded"])
    {'size': [6, 7], 'oracle_info': True, 'levels': 'embedded'}

    Raises: ConfigError "setting" for a word that is no pair.
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise ConfigError("setting", f"{pair!r} is no setting; write KEY=VALUE, e.g. size=7")
        try:
            settings[key.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            settings[key.strip()] = text.strip()
    return settings


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, left: int = 1) -> None:
    """Print a table whose first `left` columns are words and the others numbers."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = 200  # nobody's window: a table in a file must not be folded
    console.print(make_table(title, columns, rows, left=left))


def make_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, left: int = 1) -> Table:
    """The table itself."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*(escape(_cell(value)) for value in row))
    return table


def show_evaluation(title: str, result: Evaluation) -> None:
    """Print success by stratum, means and stop reasons; failures go to standard error."""
    from palaestra.trainers.statistics import is_length_band

    rows = [(name, rate.episodes, rate.rate, rate.lo, rate.hi) for name, rate in result.by_stratum().items()]
    what = "shortest solution" if is_length_band(rows[0][0]) else "kind of task"
    total = result.success
    rows.append(("all", total.episodes, total.rate, total.lo, total.hi))
    show_table(title, (what, "episodes", "success", "95% from", "to"), rows)
    data = result.to_dict()
    stops = ", ".join(f"{reason} {count}" for reason, count in data["stop_reasons"].items())
    typer.echo(f"mean return {_cell(data['mean_return'])}, mean length {_cell(data['mean_length'])}; stopped: {stops}")
    if first := first_failure(result):
        typer.echo(f"{result.failed} of {total.episodes} episodes failed, first: {first}", err=True)


def first_failure(result: Evaluation) -> str | None:
    """The first failure of an evaluation as one line; None if nothing failed."""
    failures = (rollout.failure for rollout in result.rollouts if rollout.failure is not None)
    return next((f"{failure.stage}: {failure.message} [{failure.code}]" for failure in failures), None)


def show_progress(total: int | None, what: str) -> Progress:
    """A bar on standard error while the block runs; nothing where nobody watches. Its one task has id 0."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    progress.add_task(what, total=total)
    return progress


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
