"""`palaestra eval bfcl`: a model on BFCL's multi-turn tasks, by category; or their ground truth, to check the judge."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from palaestra.cli.model import Source, find_model, load_model
from palaestra.cli.output import emit, parse_settings, show_table
from palaestra.cli.rollout import play_tasks
from palaestra.envs.core.text.protocol import TextProtocol
from palaestra.envs.core.types import StopReason, Task, Trajectory
from palaestra.mcp_servers.errors import ConfigError

if TYPE_CHECKING:
    from palaestra.agents.types import RolloutGroup

LONGEST: Final = 32_768
"""Tokens per episode unless a run says otherwise: twenty schemas alone take several thousand."""
_CHAT: Final[dict[str, Any]] = {"style": "chat", "prompt_tokens": LONGEST, "response_tokens": 512}


def evaluate_truth(as_json: bool) -> None:
    """Play the ground truth of all tasks, and again with each one's last call left out; status 1 if misjudged."""
    from palaestra.envs.tools.bfcl.replay import replay_truth
    from palaestra.envs.tools.bfcl.tasks import CATEGORIES, load_tasks, own_faults

    tasks = [task for category in CATEGORIES for task in load_tasks(category)]
    played, over_mcp = replay_truth(tasks), replay_truth(tasks, "mcp")
    mutants = replay_truth(tasks, drop_last=True)
    found = {
        "passed": len(played.passed),
        "of": len(tasks),
        "mutants_rejected": len(mutants.failed),
        "schema_breaking": [task.id for task in tasks if own_faults(task)],
        "seconds_per_200": 200 * played.seconds / len(tasks),
        "cpu_seconds_per_200": 200 * played.cpu_seconds / len(tasks),
        "mcp": {
            "passed": len(over_mcp.passed),
            "calls": len(over_mcp.results),
            "same_results": over_mcp.results == played.results,
            "seconds": over_mcp.seconds,
            "cpu_seconds": over_mcp.cpu_seconds,
        },
        "failed": dict(played.failed),
    }
    if as_json:
        emit(found)
    else:
        _show_truth(found)
    judged_well = len(played.passed) == len(mutants.failed) == len(tasks)
    if not judged_well or over_mcp.results != played.results:
        raise typer.Exit(1)


def _show_truth(found: Mapping[str, Any]) -> None:
    rows = [
        ("ground truth judged valid", f"{found['passed']} of {found['of']}"),
        ("the same over MCP", f"{found['mcp']['passed']} of {found['of']}, {found['mcp']['cpu_seconds']:.1f} CPU-s"),
        ("rejected without their last call", f"{found['mutants_rejected']} of {found['of']}"),
        ("breaking their own schemas", ", ".join(found["schema_breaking"])),
        ("CPU-seconds per 200 tasks", f"{found['cpu_seconds_per_200']:.2f}"),
        *(("judged invalid", f"{name}: {why}") for name, why in found["failed"].items()),
    ]
    show_table("BFCL v4 multi-turn", ("what", "figure"), rows, left=2)


def evaluate_bfcl(
    model: Path, settings: Sequence[str], tasks: int, temperature: float | None, seed: int | None,
    protocol: Sequence[str], max_live: int, as_json: bool,
) -> None:  # fmt: skip
    """Measure a model by category; the first `tasks` tasks of each. `temperature` None is greedy."""
    from palaestra.envs.tools.bfcl.package import check_installed

    check_installed()
    source = find_model(model)
    spoken = chat_protocol(source.config, protocol)
    chosen = bfcl_tasks(parse_settings(settings), tasks)
    policy = load_model(_roomy(source), temperature or 0.0, spoken, max_live, seed or 0)
    groups = play_tasks(chosen, policy, spoken, max_live)
    found = {
        "model": str(source.directory),
        "protocol": spoken.model_dump(mode="json"),
        "seed": seed or 0,
        "temperature": policy.sampling.temperature,
        **by_category([groups[task.key] for task in chosen]),
    }
    if as_json:
        emit(found)
    else:
        _show(f"{source.directory} on BFCL v4 multi-turn", found)


def chat_protocol(trained: Mapping[str, Any], options: Sequence[str]) -> TextProtocol:
    """How a model is spoken to: as in its run if that was a conversation, with the command line's settings over it."""
    own = dict(trained.get("protocol", {}))
    return TextProtocol(**_CHAT | (own if own.get("style") == "chat" else {}) | parse_settings(options))


def _roomy(source: Source) -> Source:
    from palaestra.agents.engine.loading import read_json

    positions = read_json(source.directory, "config.json").get("max_position_embeddings", LONGEST)
    engine = {"max_len": min(LONGEST, positions)} | dict(source.config.get("engine", {}))
    return replace(source, config={**source.config, "engine": engine})


def bfcl_tasks(settings: Mapping[str, Any], each: int) -> list[Task]:
    """The first tasks of every category asked for by the setting `tasks`, in the package's order.

    Raises: ConfigError "missing_bfcl", "unknown_category", "config"; TaskError "no_tasks".
    """
    from palaestra.envs.tools.bfcl import ENV_ID
    from palaestra.envs.tools.bfcl.env import BfclConfig
    from palaestra.envs.tools.bfcl.records import ALL, open_bfcl
    from palaestra.envs.tools.bfcl.tasks import CATEGORIES

    env_id = ENV_ID
    config = BfclConfig(**settings)
    chosen = []
    for category in CATEGORIES if config.tasks == ALL else (config.tasks,):
        count = min(each, open_bfcl(category, config.servers, config.mixed).count("test"))
        kwargs = {**settings, "tasks": category}
        chosen += [Task(env_id, 0, kwargs, {"split": "test", "index": index}) for index in range(count)]
    return chosen


def by_category(groups: Sequence[RolloutGroup]) -> dict[str, Any]:
    """What the episodes came to, by category and in all.

    passed      the conversation came to its end, and every turn with ground truth is valid: the official rule
    abstained   share of the turns without ground truth in which nothing was called: the official irrelevance check
    turns       mean outcome of the turns
    """
    from palaestra.trainers.statistics import Rate

    rows: dict[str, list[_Played]] = {}
    for group in groups:
        for rollout in group.rollouts:
            rows.setdefault(str(group.task.env_kwargs["tasks"]), []).append(
                _played(rollout.trajectory, rollout.failure is None)
            )
    every = [played for found in rows.values() for played in found]
    if not every:
        raise ConfigError("n", "there is no task to evaluate on")

    def summed(found: Sequence[_Played]) -> dict[str, Any]:
        idle = [outcome for played in found for outcome in played.idle]
        return {
            "passed": Rate.of([played.passed for played in found]).to_dict(),
            "abstained": math.fsum(idle) / len(idle) if idle else None,
            "turns": math.fsum(played.turns for played in found) / len(found),
            "unfinished": sum(not played.finished for played in found),
        }

    return {"categories": {name: summed(found) for name, found in rows.items()}, "all": summed(every)}


class _Played:
    """One episode: did it pass, and how did its turns come out."""

    def __init__(self, outcomes: Sequence[float], acting: Sequence[bool], finished: bool) -> None:
        self.finished = finished
        self.passed = finished and all(o == 1.0 for o, acts in zip(outcomes, acting, strict=True) if acts)
        self.idle = [outcome for outcome, acts in zip(outcomes, acting, strict=True) if not acts]
        self.turns = math.fsum(outcomes) / len(outcomes)


def _played(trajectory: Trajectory, sound: bool) -> _Played:
    from palaestra.envs.tools.evidence import evidence_of
    from palaestra.envs.tools.outcome import turn_outcomes

    if not trajectory.start:  # it failed before it began
        return _Played([0.0], [True], finished=False)
    record, steps = evidence_of(trajectory)
    finished = sound and trajectory.stop_reason is StopReason.TERMINATED
    return _Played(turn_outcomes(record, steps), [bool(turn.gold) for turn in record.turns], finished)


def _show(title: str, found: Mapping[str, Any]) -> None:
    rows = [
        (name, *(part["passed"][key] for key in ("episodes", "rate", "lo", "hi")), part["abstained"], part["turns"])
        for name, part in (*found["categories"].items(), ("all", found["all"]))
    ]
    show_table(title, ("category", "tasks", "passed", "95% from", "to", "abstained", "turns"), rows)
    if unfinished := found["all"]["unfinished"]:
        typer.echo(f"{unfinished} conversations did not come to their end")
