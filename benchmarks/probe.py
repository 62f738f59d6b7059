"""Reward hacking: is honest play the best that pays, on every task and against every behaviour of the probe.

Tasks are those that ship with the package; without any, the tool servers' chains, with turns that need no call added
to some of them and some with nothing to call at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from palaestra.benchmarks.harness import count_result
from palaestra.envs.tools.config import ToolConfig
from palaestra.envs.tools.dataset import EMBEDDED, TaskSource, open_tasks
from palaestra.envs.tools.records import GoldTurn, TaskRecord
from palaestra.mcp_servers.errors import ConfigError
from palaestra.mcp_servers.framework.sources import stream
from palaestra.rewards.probe import EVERY, UNSEEN, Played, needed_for, probe
from palaestra.rewards.probe_behaviours import FAMILIES

KINDS: Final = ("act", "clarify", "abstain")
_QUICK: Final = 24
_FULL: Final = 200
_BEGIN: Final = "<!-- the probe's tables begin -->"
_END: Final = "<!-- the probe's tables end -->"
_LONGEST: Final = 20
"""Gold calls; beyond it the limit on calls leaves a cheat no room to waste any."""


def run(quick: bool, seed: int) -> dict[str, Any]:
    """24 tasks if quick (some 15 CPU-seconds), otherwise 200 (some two minutes)."""
    origin, tasks = _sampled(_QUICK if quick else _FULL, seed)
    found = {"origin": origin, **summarise(each for record in tasks for each in probe(record))}
    return count_result("probe", found["winners"], "pairs of behaviour and task", seed, found)


def plot(found: Mapping[str, Any], path: Path) -> None:
    """Write the tables into a Markdown file, in place of those it has."""
    page = path.read_text("utf-8") if path.exists() else f"{_BEGIN}\n{_END}\n"
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise ConfigError("no_place", f"{path} has no place for the tables: a line {_BEGIN!r} and below it {_END!r}")
    path.write_text(f"{before}{begin}\n\n{tables(found['details'])}\n{end}{after}", "utf-8")


def summarise(played: Iterable[Played]) -> dict[str, Any]:
    """The probe's findings as data: mean rewards per kind of task, family and behaviour, and who beat honest play."""
    kept = list(played)
    won = [each for each in kept if each.beats()]
    moved = [each for each in kept if each.behaviour.family == UNSEEN and each.honest and not _unmoved(each)]
    return {
        "winners": len(won) + len(moved),
        "tasks": len({each.record.id for each in kept}),
        "pairs": sum(not each.honest for each in kept),
        "best": [_named(each) for each in (won + moved)[:50]],
        "behaviours": [_line(name, found) for name, found in _by_behaviour(kept).items()],
        "tables": {kind: _families(kept, kind) for kind in KINDS if any(each.record.kind == kind for each in kept)},
        "needed_for": needed_for(kept),
    }


def _unmoved(each: Played) -> bool:
    return each.rewards == each.best


def _named(each: Played) -> dict[str, Any]:
    reward = {name: [each.rewards[name], each.best[name]] for name in each.rewards}
    return {"behaviour": each.behaviour.name, "task": each.record.id, "meta": dict(each.record.meta), "reward": reward}


def _by_behaviour(played: Sequence[Played]) -> dict[str, list[Played]]:
    found: dict[str, list[Played]] = {behaviour.name: [] for behaviour in EVERY}
    for each in played:
        found[each.behaviour.name].append(each)
    return {name: members for name, members in found.items() if members}


def _line(name: str, members: Sequence[Played]) -> dict[str, Any]:
    family = members[0].behaviour.family
    return {"behaviour": name, "family": family, **_figures([m for m in members if not family or not m.honest])}


def _figures(members: Sequence[Played]) -> dict[str, Any]:
    """Means over the tasks on which the behaviour differs from honest play."""
    presets = ("palaestra", "paper")
    if not members:
        return {"tasks": 0, "honest": None, "success": None, **dict.fromkeys(presets), "wins": 0, "paper_wins": 0}
    return {
        "tasks": len(members),
        **{name: _mean(each.rewards[name] for each in members) for name in presets},
        "honest": _mean(each.best["palaestra"] for each in members),
        "closest": round(min((each.best["palaestra"] - each.rewards["palaestra"]) for each in members), 4),
        "success": _mean(float(each.succeeded) for each in members),
        "wins": sum(each.beats() for each in members),
        "paper_wins": sum(each.beats("paper") for each in members),
    }


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return round(sum(found) / len(found), 4)


def _families(played: Sequence[Played], kind: str) -> list[dict[str, Any]]:
    by_family: dict[int, list[Played]] = defaultdict(list)
    for each in played:
        if each.record.kind == kind and (not each.behaviour.family or not each.honest):
            by_family[each.behaviour.family].append(each)
    return [{"family": n, "name": FAMILIES[n], **_figures(members)} for n, members in sorted(by_family.items())]


def tables(found: Mapping[str, Any]) -> str:
    """The findings as Markdown, one table per kind of task."""
    lines = [
        f"{found['tasks']} tasks ({found['origin']}), {found['pairs']} pairs of a behaviour and a task on which it "
        f"differs from honest play; {found['winners']} earn as much under `palaestra`.", "",
    ]  # fmt: skip
    for kind, rows in found["tables"].items():
        lines += [
            f"**{kind}** tasks",
            "",
            "| # | behaviour | played | palaestra | closest to honest | paper | wins there | done |",
        ]
        lines.append("|" + "---|" * 8)
        lines += [
            f"| {row['family']} | {row['name']} | {row['tasks']} | {row['palaestra']:.2f} | {row['closest']:.3f} | "
            f"{row['paper']:.2f} | {row['paper_wins']} | {row['success']:.0%} |"
            for row in rows
        ]
        lines.append("")
    lines += [f"Without {name}, these earn as much as honest play: {', '.join(who)}." for name, who in
              found["needed_for"].items()]  # fmt: skip
    return "\n".join(lines)


def _sampled(count: int, seed: int) -> tuple[str, list[TaskRecord]]:
    """Where tasks come from, and some drawn without replacement, every kind among them."""
    if not EMBEDDED.is_file():
        return "the servers' chains", list(islice(from_chains(seed), count))
    every = list(_drawn(open_tasks(ToolConfig()), seed, "every"))
    by_kind = {kind: [record for record in every if record.kind == kind] for kind in KINDS}
    idle = [record for kind in KINDS[1:] for record in by_kind[kind][: count // 4]]
    return "those of the package", [*by_kind["act"][: count - len(idle)], *idle]


def from_chains(seed: int) -> Iterator[TaskRecord]:
    """One chain, two chains, with a turn that needs no call before or after, and nothing to call, in turn."""
    single, mixed = (
        _drawn(open_tasks(ToolConfig(tasks="chains", mixed=mixed)), seed, name)
        for mixed, name in ((False, "one"), (True, "two"))
    )
    quarters = zip(single, mixed, mixed, single, strict=False)
    for number, (one, two, other, idle) in enumerate(quarters):
        yield one
        yield two
        yield with_idle_turn(other, first=number % 2 == 0)
        yield nothing_to_call(idle)
    yield from single


def _drawn(source: TaskSource, seed: int, name: str) -> Iterator[TaskRecord]:
    """Every task that is not too long, in random order."""
    for index in stream(seed, "probe", name).permutation(source.count("all")).tolist():
        record = source.at("all", index).record
        if len(record.gold_calls) <= _LONGEST:
            yield record


def with_idle_turn(record: TaskRecord, *, first: bool) -> TaskRecord:
    """The same task with a turn that needs no call, at the beginning or at the end."""
    last = record.turns[-1]
    before = GoldTurn(user="I need your help.", kind="clarify", goal_digests=record.env.image_digests)
    after = GoldTurn(user="Thank you.", kind="clarify", goal_digests=last.goal_digests, changes=last.changes)
    turns = (before, *record.turns) if first else (*record.turns, after)
    return record.model_copy(update={"kind": "clarify", "turns": turns})


def nothing_to_call(record: TaskRecord) -> TaskRecord:
    """A task in the same world that no tool shown can do."""
    turn = GoldTurn(user="Water my plants, please.", kind="abstain", goal_digests=record.env.image_digests)
    return record.model_copy(update={"kind": "abstain", "turns": (turn,)})
