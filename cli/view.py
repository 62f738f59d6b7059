"""`palaestra view`: write a run's report and say where it is."""

from __future__ import annotations

import importlib
import json as json_format
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from palaestra.mcp_servers.errors import ConfigError


def view(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, e.g. runs/sokoban.")],
    open_browser: Annotated[bool, typer.Option("--open", help="Open the report in the browser.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the path.")] = False,
) -> None:
    """Write the HTML report of a run, finished or not, and print its path.

    Example: palaestra view runs/sokoban --open
    """
    try:
        report = importlib.import_module("palaestra.dashboard.report")
    except ModuleNotFoundError as error:
        fix = "pip install palaestra[train]"
        raise ConfigError("missing_extra", f"the report needs {error.name}, which is not installed: {fix}") from error
    path: Path = report.write_report(run).resolve()
    opened = open_browser and webbrowser.open(path.as_uri())
    if json:
        data = {"run": str(run), "report": str(path), "size_bytes": path.stat().st_size, "opened": opened}
        typer.echo(json_format.dumps(data))
        return
    typer.echo(str(path))
    if open_browser and not opened:
        typer.echo("no browser could be started; open the file yourself", err=True)
