"""`palaestra bench`: measure one of the promised numbers on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from palaestra.benchmarks.catalog import CATALOG, draw_benchmark, run_benchmark
from palaestra.cli.output import JsonOption, SeedOption, emit, show_table
from palaestra.mcp_servers.errors import ConfigError


def bench(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One of --list.", show_default=False)] = None,
    list_: Annotated[bool, typer.Option("--list", help="Name the benchmarks and what they promise.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Seconds instead of minutes: fewer repeats or cases.")] = False,
    seed: SeedOption = 0,
    plot: Annotated[Path | None, typer.Option("--plot", help="Also draw the figure to this file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure one of the promised numbers on this machine.

    Examples:
        palaestra bench --list
        palaestra bench sokoban-batched --quick
    """
    if list_:
        _list(as_json)
        return
    if name is None:
        raise ConfigError("name", "name a benchmark, or list them with --list")
    found = run_benchmark(name, quick=quick, seed=seed)
    if plot is not None:
        draw_benchmark(name, found, plot)
    if as_json:
        emit(found)
    else:
        if "rows" in found:
            show_table(name, ("what", "measured", "target", "peer", "ratio"), _several(found["rows"]), left=1)
        show_table(name, ("what", "figure"), _rows(found), left=2)


_MET: Final = {True: "met", False: "missed", None: "not decided here"}


def _list(as_json: bool) -> None:
    if as_json:
        emit({"benchmarks": {name: {"measures": b.measures, "promise": b.promise} for name, b in CATALOG.items()}})
        return
    rows = [(name, b.measures, b.promise) for name, b in CATALOG.items()]
    show_table("benchmarks", ("name", "measures", "promise"), rows, left=3)


def _several(rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    shown: list[tuple[str, ...]] = []
    for row in rows:
        peer, target, ratio = row.get("peer"), row.get("target"), row.get("ratio")
        measured = f"{_number(row['value'])} {row['unit']}"
        promised = "" if target is None else f"{_number(target)} ({_MET[row['met']]})"
        beside = "" if peer is None else f"{_number(peer['value'])} ({peer['name']})"
        shown.append((str(row["name"]), measured, promised, beside, "" if ratio is None else f"{ratio:.2f}"))
    return shown


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    machine, peer = found["machine"], found.get("peer")
    rows = [("measured", f"{_number(found['value'])} {found['unit']}")]
    if peer is not None:
        rows.append((str(peer["name"]), f"{_number(peer['value'])} {peer['unit']}"))
    if found.get("ratio") is not None:
        rows.append(("ratio", f"{found['ratio']:.2f}"))
    if found.get("target") is not None:
        rows.append(("target", f"{_number(found['target'])} ({_MET[found['met']]})"))
    rows.append(("machine", f"{machine.get('cpu')}, {machine.get('cores')} cores, Python {machine.get('python')}"))
    rows.append(("seeds", ", ".join(map(str, found["seeds"])) + (" (quick)" if found["quick"] else "")))
    return rows


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
