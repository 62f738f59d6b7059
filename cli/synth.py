"""`palaestra synth`: write tool-use tasks from live servers, for training and for testing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from palaestra.cli.output import JsonOption, SeedOption, emit, resume_with, show_progress, show_table
from palaestra.mcp_servers.errors import ConfigError
from palaestra.rewards.gold import SCORE


def synth(
    context: typer.Context,
    out: Annotated[Path | None, typer.Option("--out", help="File to write, e.g. tasks.jsonl.")] = None,
    check: Annotated[Path | None, typer.Option("--check", metavar="FILE", help="Play a file's records again.")] = None,
    records: Annotated[int, typer.Option("--records", min=1, help="Conversations to train on.")] = 1000,
    valid: Annotated[int, typer.Option(min=0, help="Conversations to validate with.")] = 0,
    test: Annotated[int, typer.Option(min=0, help="Held-out conversations: other chains, entities and worlds.")] = 0,
    paper: Annotated[bool, typer.Option("--paper", help="13,517 to train on and 500 held out.")] = False,
    servers: Annotated[str, typer.Option(help="Names of servers, separated by commas; all if left out.")] = "",
    seed: SeedOption = 0,
    profile: Annotated[str, typer.Option(help="Size of the worlds: small, default or large.")] = "default",
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    score: Annotated[bool, typer.Option("--score/--no-score", help="Keep only what earns the full reward.")] = True,
    teacher: Annotated[
        Path | None, typer.Option("--teacher", metavar="FILE.toml", help="Let a model write; how to reach it.")
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", help="Also write the report here.")] = None,
    format_: Annotated[str, typer.Option("--format", help="palaestra, openai or verl.")] = "palaestra",
    as_json: JsonOption = False,
) -> None:
    """Write tool-use tasks from live servers; an interrupted run goes on when it is called again.

    Examples:
        palaestra synth --out tasks.jsonl --records 1000 --test 100
        palaestra synth --out paper.jsonl --paper
        palaestra synth --out chat.jsonl --records 500 --format openai
        palaestra synth --out said.jsonl --records 100 --servers banking --teacher model.toml
        palaestra synth --check paper.jsonl
    """
    if check is not None and out is None:
        _check(check, as_json=as_json)
        return
    if check is not None or out is None:
        raise ConfigError("out", "give either --out FILE, to write records, or --check FILE, to play them again")
    from palaestra.envs.tools.synthesis.llm_settings import read_llm_settings
    from palaestra.envs.tools.synthesis.pipeline import SynthConfig, paper_config, synthesise

    if format_ not in _FORMATS:
        raise ConfigError("format", f"--format {format_!r}: use one of {', '.join(_FORMATS)}")
    shared: dict[str, Any] = {"seed": seed, "profile": profile, "workers": workers, "score": SCORE if score else None}
    if servers:
        shared["servers"] = tuple(name.strip() for name in servers.split(",") if name.strip())
    if teacher is not None:
        shared["teacher"] = read_llm_settings(teacher)
    config = (
        paper_config(valid=valid, **shared) if paper else SynthConfig(train=records, valid=valid, test=test, **shared)
    )
    resume_with(context, f"Call the same command again to go on with {out}.")
    with show_progress(config.total, "conversations") as progress:
        (task,) = progress.task_ids

        def show(done: int, _: int, spent: Spent | None) -> None:
            cost = "" if spent is None else f" ({spent.requests:,} requests)"
            progress.update(task, completed=done, description=f"conversations{cost}")

        found = synthesise(config, out, show)
    if format_ != "palaestra":
        _export(out, format_)
    if report is not None:
        report.write_text((out.with_suffix(".report.json")).read_text("utf-8"), "utf-8")
    emit(found) if as_json else _show(found, out)


if TYPE_CHECKING:
    from palaestra.envs.tools.synthesis.llm_cache import Spent

_FORMATS: Final = ("palaestra", "openai", "verl")


def _check(file: Path, *, as_json: bool) -> None:
    from palaestra.envs.tools.records import read_records
    from palaestra.envs.tools.synthesis.checking import check_records

    total = sum(1 for _ in read_records(file))
    with show_progress(total, "records") as progress:
        (task,) = progress.task_ids
        found = check_records(read_records(file), lambda played: progress.update(task, completed=played))
    if as_json:
        emit(found)
    else:
        for number, reason in found["failures"]:
            typer.echo(f"{number}: {reason}")
        typer.echo(f"{file}: {found['replayed']:,} of {found['records']:,} records replay to what they say")
    if found["replayed"] < found["records"]:
        raise typer.Exit(1)


def _export(out: Path, format_: str) -> None:
    from palaestra.envs.tools.records import read_records
    from palaestra.envs.tools.synthesis.exporters import export

    target = out.with_suffix(f".{format_}.jsonl")
    kind: Literal["openai", "verl"] = "openai" if format_ == "openai" else "verl"
    export(read_records(out), target, kind)
    typer.echo(f"{target} holds the same in the format of {format_}.")


def _show(found: dict[str, Any], out: Path) -> None:
    filters = found["yields"]["filters"]
    rows = [(name, f["seen"], f["dropped"], f"{f['yield']:.2%}") for name, f in filters.items()]
    show_table("filters", ("filter", "seen", "dropped", "passed"), rows)
    if "teacher" in found:
        told = found["teacher"]
        rows = [(name, *counts.values()) for name, counts in told["questions"].items()]
        show_table("questions", ("about", "asked", "malformed", "dropped"), rows)
        tokens = "not told" if told["tokens_told"] is None else f"{told['tokens_told']:,}"
        typer.echo(f"{told['requests']:,} requests were sent; tokens: {tokens}. Answers: {out.name}.answers.sqlite.")
    cover = found["coverage"]
    typer.echo(
        f"{out}: {found['records']:,} conversations, {found['gold_calls']['per_record']} calls each; "
        f"{cover['tools_used']} of {cover['tools_known']} tools, {cover['tools_below_20']} of them in fewer than 20. "
        f"Report: {out.with_suffix('.report.json').name}, card: {out.with_suffix('.md').name}."
    )
