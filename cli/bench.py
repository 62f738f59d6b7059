"""`palaestra bench`: measure one of the promised numbers on this machine."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from palaestra.benchmarks.catalog import CATALOG, run_benchmark
from palaestra.cli.output import JsonOption, SeedOption, emit, show_table
from palaestra.mcp_servers.errors import ConfigError


def bench(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One of --list.", show_default=False)] = None,
    list_: Annotated[bool, typer.Option("--list", help="Name the benchmarks and what they promise.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Seconds instead of minutes: fewer repeats or cases.")] = False,
    seed: SeedOption = 0,
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
    if as_json:
        emit(found)
    else:
        show_table(name, ("what", "figure"), _rows(found), left=2)


def _list(as_json: bool) -> None:
    if as_json:
        emit({"benchmarks": {name: {"measures": b.measures, "promise": b.promise} for name, b in CATALOG.items()}})
        return
    rows = [(name, b.measures, b.promise) for name, b in CATALOG.items()]
    show_table("benchmarks", ("name", "measures", "promise"), rows, left=3)


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    machine, peer = found["machine"], found.get("peer")
    rows = [("measured", f"{_number(found['value'])} {found['unit']}")]
    if peer is not None:
        rows.append((str(peer["name"]), f"{_number(peer['value'])} {peer['unit']}"))
    if found.get("ratio") is not None:
        rows.append(("ratio", f"{found['ratio']:.2f}"))
    if found.get("target") is not None:
        met = {True: "met", False: "missed", None: "not decided here"}[found["met"]]
        rows.append(("target", f"{_number(found['target'])} ({met})"))
    rows.append(("machine", f"{machine.get('cpu')}, {machine.get('cores')} cores, Python {machine.get('python')}"))
    rows.append(("seeds", ", ".join(map(str, found["seeds"])) + (" (quick)" if found["quick"] else "")))
    return rows


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
