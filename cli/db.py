"""`palaestra db`: look at, upgrade, check, export and import a trajectory store.

STORE is a SQLite file, a run folder, or a database URL.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from palaestra.agents.export import export_jsonl, export_parquet, import_jsonl
from palaestra.agents.store import Filters, Store, find_damage, upgrade_store
from palaestra.agents.store.schema import SCHEMA_VERSION

app = typer.Typer(
    help="Look at, upgrade, check, export and import a store of trajectories.",
    no_args_is_help=True,
    add_completion=False,
)

StoreArgument = Annotated[str, typer.Argument(metavar="STORE", help="SQLite file, run folder or database URL.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
RunOption = Annotated[str | None, typer.Option("--run", help="Only this run.")]


class Format(StrEnum):
    """File formats of an export."""

    JSONL = "jsonl"
    PARQUET = "parquet"


@app.command()
def info(store: StoreArgument, as_json: JsonOption = False, run: RunOption = None) -> None:
    """Show what a store holds: its runs, and counts and means per iteration.

    Example: palaestra db info runs/sokoban
    """
    with Store.open(address_of(store), read_only=True) as opened:
        runs = [asdict(record) for record in opened.runs() if run in (None, record.run_id)]
        summary = [asdict(line) for line in opened.summary(run)]
        counts = opened.counts()
    found = {"store": store, "schema": SCHEMA_VERSION, "counts": counts, "runs": runs, "iterations": summary}
    if as_json:
        typer.echo(json.dumps(found))
        return
    console = Console()
    console.print(
        _table(f"{store} (schema {SCHEMA_VERSION})", ["table", "rows"], [list(item) for item in counts.items()])
    )
    columns = [
        "run_id",
        "iteration",
        "phase",
        "rollouts",
        "won",
        "failed",
        "steps",
        "tokens",
        "mean_score",
        "mean_return",
    ]
    if summary:
        console.print(_table("iterations", columns, [[line[column] for column in columns] for line in summary]))


@app.command()
def upgrade(store: StoreArgument, as_json: JsonOption = False) -> None:
    """Bring an older store to this version's schema, in one transaction; its data are kept.

    Example: palaestra db upgrade runs/sokoban
    """
    before, after = upgrade_store(address_of(store))
    if as_json:
        typer.echo(json.dumps({"store": store, "before": before, "after": after}))
    elif before == after:
        typer.echo(f"{store} already has schema {after}.")
    else:
        typer.echo(f"{store}: schema {before or 'none'} -> {after}.")


@app.command()
def check(store: StoreArgument, as_json: JsonOption = False) -> None:
    """Read every episode back and compare it with its digest; exit status 1 if anything is damaged.

    Example: palaestra db check runs/sokoban
    """
    with Store.open(address_of(store), read_only=True) as opened, _spinner(f"checking {store}"):
        damage = list(find_damage(opened))
        episodes = opened.counts()["rollouts"]
    if as_json:
        typer.echo(json.dumps({"store": store, "episodes": episodes, "damage": damage}))
    else:
        for sentence in damage:
            typer.echo(sentence)
        typer.echo(f"{episodes} episodes, {len(damage) or 'no'} damage found.")
    if damage:
        raise typer.Exit(1)


@app.command("export")
def export_store(
    store: StoreArgument,
    out: Annotated[Path, typer.Argument(metavar="FILE", help="File to write.")],
    format_: Annotated[Format | None, typer.Option("--format", help="Default: by the file's suffix.")] = None,
    run: RunOption = None,
    phase: Annotated[str | None, typer.Option("--phase", help="Only this phase, e.g. train or eval.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE if it exists.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write episodes to a file: JSONL is complete and can be imported, Parquet is for analysis.

    Example: palaestra db export runs/sokoban episodes.jsonl --phase eval
    """
    filters: Filters = {}
    if run is not None:
        filters["run_id"] = run
    if phase is not None:
        filters["phase"] = phase
    chosen = format_ or (Format.PARQUET if out.suffix == ".parquet" else Format.JSONL)
    write = export_parquet if chosen is Format.PARQUET else export_jsonl
    with Store.open(address_of(store), read_only=True) as opened, _spinner(f"exporting {store}"):
        episodes = write(opened, out, overwrite=overwrite, **filters)
    _report({"store": store, "file": str(out), "episodes": episodes}, f"{episodes} episodes -> {out}", as_json)


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSONL file written by `palaestra db export`.")],
    store: StoreArgument,
    as_json: JsonOption = False,
) -> None:
    """Add the episodes of a JSONL file to a store, made if absent; episodes already there are left alone.

    Example: palaestra db import episodes.jsonl all.sqlite
    """
    with Store.open(address_of(store)) as opened, _spinner(f"importing {file}"):
        receipt = import_jsonl(opened, file)
    message = f"{receipt.stored} episodes added, {receipt.repeated} were already there."
    _report({"store": store, "file": str(file), **asdict(receipt)}, message, as_json)


def address_of(store: str) -> str:
    """The address a STORE argument means: a run folder stands for the store inside it.

    >>> address_of("postgresql://db/palaestra"), address_of("a.sqlite")
    ('postgresql://db/palaestra', 'a.sqlite')
    """
    inside = Path(store) / "store.sqlite"
    return str(inside) if "://" not in store and inside.is_file() else store


def _report(data: dict[str, Any], message: str, as_json: bool) -> None:
    typer.echo(json.dumps(data) if as_json else message)


def _spinner(what: str) -> Progress:
    """A line with the time gone by on standard error, while the block runs; nothing where nobody watches."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    progress.add_task(what, total=None)
    return progress


def _table(title: str, columns: list[str], rows: list[list[Any]]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column in ("table", "run_id", "phase") else "right")
    for row in rows:
        table.add_row(*(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row))
    return table
