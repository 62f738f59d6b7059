"""Reward hacking: is honest play the best that pays, on every task and against every behaviour of the probe.

Three families of tasks, each for itself: the tool servers' chains, some with turns that need no call and some with
nothing to call at all; the records that ship with the package; and BFCL's conversations, which nobody here made. Where
a behaviour cannot be played on a task, that is counted as skipped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from palaestra.benchmarks.harness import count_result
from palaestra.envs.tools.bfcl.package import missing
from palaestra.envs.tools.bfcl.records import open_bfcl
from palaestra.envs.tools.bfcl.tasks import CATEGORIES
from palaestra.envs.tools.config import ToolConfig
from palaestra.envs.tools.dataset import TaskSource, open_tasks
from palaestra.envs.tools.records import GoldTurn, TaskRecord
from palaestra.mcp_servers.errors import ConfigError
from palaestra.mcp_servers.framework.sources import stream
from palaestra.rewards.probe import EVERY, MARGIN, PRESETS, UNSEEN, WITHOUT, Played, probe
from palaestra.rewards.probe_behaviours import FAMILIES
from palaestra.rewards.probe_bfcl import BfclScene
from palaestra.rewards.probe_scene import Scene

KINDS: Final = ("act", "clarify", "abstain")
_QUICK: Final = 24
_BFCL: Final = 200
_BEGIN: Final = "<!-- the probe's tables begin -->"
_END: Final = "<!-- the probe's tables end -->"
_LONGEST: Final = 20
"""Gold calls of a task of our own servers; beyond it their limit on calls leaves a cheat no room to waste any."""
_UNIT: Final = "pairs of behaviour and task"


def run(quick: bool, seed: int) -> dict[str, Any]:
    """24 tasks of each family if quick (some 30 CPU-seconds); else every chain and record, and 200 of BFCL (some ten
    minutes). A family that needs a package which is not installed is not measured, and is not in the sum.
    """
    families = {name: measure(name, _QUICK if quick else None, seed) for name in TASKS}
    counts = {name: found["winners"] for name, found in families.items() if found["measured"]}
    names = ["all", *(f"{name} not measured" for name in families if name not in counts)]
    rows = [count_result(", ".join(names), sum(counts.values()), _UNIT, seed, {})]
    rows += [count_result(name, count, _UNIT, seed, {}) for name, count in counts.items()]
    return {**rows[0], "behaviours": len(EVERY) - 1, "details": {"families": families}, "rows": rows}


def measure(name: str, count: int | None, seed: int) -> dict[str, Any]:
    """What the probe finds on `count` tasks of one family, or on all that a full run takes.

    Cost: some 0.4 CPU-seconds a task.
    """
    if name == "bfcl" and (problem := missing()) is not None:
        return {"measured": False, "reason": problem}
    presets = {**PRESETS, **WITHOUT}
    played = (each for scene in TASKS[name](seed, count) for each in probe(scene, presets=presets))
    return {"measured": True, **summarise(played)}


def summarise(played: Iterable[Played]) -> dict[str, Any]:
    """The probe's findings on one family as data: mean rewards per behaviour and kind of task, and who earns too much.

    Tasks times behaviours are `pairs` in which honest play should earn more, `same` and `harmless` ones, and those
    `skipped`. Of the pairs, `winners` earn as much as honest play, `winners_done` though every turn came out exactly,
    and `near` ones too little less.
    """
    kept = [replace(each, steps=()) for each in played]  # a full run's evidence would fill the memory
    tasks = sum(not each.behaviour.family for each in kept)
    pairs = [each for each in kept if each.differs]
    won = [each for each in pairs if each.beats()]
    moved = [each for each in kept if each.behaviour.family == UNSEEN and each.honest and each.rewards != each.best]
    return {
        "winners": len(won) + len(moved),
        "winners_done": sum(each.succeeded for each in won),
        "near": sum(each.beats(margin=MARGIN) for each in pairs) - len(won),
        "paper_winners": sum(each.beats("paper") for each in pairs),
        "tasks": tasks,
        "pairs": len(pairs),
        "same": sum(each.honest for each in kept) - tasks,
        "harmless": sum(each.harmless for each in kept),
        "skipped": tasks * len(EVERY) - len(kept),
        "closest": min(map(_distance, pairs), default=None),
        "best": [_named(each) for each in (won + moved)[:50]],
        "behaviours": [_line(name, found, tasks) for name, found in _by_behaviour(kept).items()],
        "kinds": {kind: _groups(kept, kind) for kind in KINDS if any(each.record.kind == kind for each in kept)},
        "needed_for": needed_for(pairs),
    }


def needed_for(pairs: Sequence[Played]) -> dict[str, list[str]]:
    """Per addition of the preset: the behaviours that tie with or beat honest play once it is switched off."""
    return {
        name: sorted({each.behaviour.name for each in pairs if each.rewards[name] >= each.best[name]})
        for name in WITHOUT
        if all(name in each.rewards for each in pairs)
    }


def _distance(each: Played) -> float:
    return round(each.best["palaestra"] - each.rewards["palaestra"], 4)


def _named(each: Played) -> dict[str, Any]:
    reward = {name: [each.rewards[name], each.best[name]] for name in PRESETS}
    return {"behaviour": each.behaviour.name, "task": each.record.id, "meta": dict(each.record.meta), "reward": reward}


def _by_behaviour(played: Sequence[Played]) -> dict[str, list[Played]]:
    found: dict[str, list[Played]] = {behaviour.name: [] for behaviour in EVERY}
    for each in played:
        found[each.behaviour.name].append(each)
    return found


def _line(name: str, members: Sequence[Played], tasks: int) -> dict[str, Any]:
    family = next(behaviour.family for behaviour in EVERY if behaviour.name == name)
    differing = [each for each in members if _counts(each)]
    skipped = {"same": len(members) - len(differing), "skipped": tasks - len(members)}  # "same" or harmless
    return {"behaviour": name, "family": family, **_figures(differing), **skipped}


def _counts(each: Played) -> bool:
    """Whether it is honest play itself, or should earn less."""
    return not each.behaviour.family or each.differs


def _figures(members: Sequence[Played]) -> dict[str, Any]:
    """Means over the tasks on which the behaviour differs from honest play; None where there are none."""
    if not members:
        nothing = dict.fromkeys((*PRESETS, "honest", "closest", "success"))
        return {"tasks": 0, **nothing, "wins": 0, "paper_wins": 0}
    return {
        "tasks": len(members),
        **{name: _mean(each.rewards[name] for each in members) for name in PRESETS},
        "honest": _mean(each.best["palaestra"] for each in members),
        "closest": min(map(_distance, members)),
        "success": _mean(float(each.succeeded) for each in members),
        "wins": sum(each.beats() for each in members),
        "paper_wins": sum(each.beats("paper") for each in members),
    }


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return round(sum(found) / len(found), 4)


def _groups(played: Sequence[Played], kind: str) -> list[dict[str, Any]]:
    by_group: dict[int, list[Played]] = defaultdict(list)
    for each in played:
        if each.record.kind == kind and _counts(each):
            by_group[each.behaviour.family].append(each)
    return [{"family": n, "name": FAMILIES[n], **_figures(members)} for n, members in sorted(by_group.items())]


# -- tables ------------------------------------------------------------------------------------------------------------


def plot(found: Mapping[str, Any], path: Path) -> None:
    """Write the tables into a Markdown file, in place of those it has."""
    page = path.read_text("utf-8") if path.exists() else f"{_BEGIN}\n{_END}\n"
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise ConfigError("no_place", f"{path} has no place for the tables: a line {_BEGIN!r} and below it {_END!r}")
    path.write_text(f"{before}{begin}\n\n{tables(found['details']['families'])}\n{end}{after}", "utf-8")


def tables(families: Mapping[str, Mapping[str, Any]]) -> str:
    """The findings as Markdown: the families in short, then every behaviour in each of them."""
    measured = {name: found for name, found in families.items() if found["measured"]}
    lines = [
        _row("family", "tasks", "pairs", "same", "harmless", "skipped", "closest", "ties or wins", "of them done",
             "under `paper`"),
        "|" + "---|" * 10,
        *(_row(name, *(found[figure] for figure in ("tasks", "pairs", "same", "harmless", "skipped", "closest",
                                                    "winners", "winners_done", "paper_winners")))
          for name, found in measured.items()),
        "",
        *(f"{name} is not measured: {found['reason']}" for name, found in families.items() if name not in measured),
        _row("#", "behaviour", *(f"{name}: palaestra | paper | done" for name in measured)),
        "|" + "---|" * (2 + 3 * len(measured)),
        *_behaviour_rows(list(measured.values())),
        "",
    ]  # fmt: skip
    for addition in WITHOUT:
        lines += [
            f"- {name}, {addition}, these earn as much as honest play: {', '.join(who) or 'none'}."
            for name, found in measured.items()
            if (who := found["needed_for"].get(addition)) is not None
        ]
    return "\n".join(lines)


def _behaviour_rows(families: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for same in zip(*(found["behaviours"] for found in families), strict=True):
        cells = [f"{line['palaestra']:.2f} | {line['paper']:.2f} | {line['success']:.0%}" if line["tasks"] else " |  | "
                 for line in same]  # fmt: skip
        yield _row(same[0]["family"], same[0]["behaviour"], *cells)


def _row(*cells: Any) -> str:
    return f"| {' | '.join(map(str, cells))} |"


# -- tasks -------------------------------------------------------------------------------------------------------------


def _chains(seed: int, count: int | None) -> Iterator[Scene]:
    return map(Scene, islice(from_chains(seed), count))


def _embedded(seed: int, count: int | None) -> Iterator[Scene]:
    """Those of the package: all, or some in random order, half of them with calls in every turn."""
    every = list(_drawn(open_tasks(ToolConfig()), seed, "every"))
    if count is None:
        return map(Scene, every)
    by_kind = {kind: [record for record in every if record.kind == kind] for kind in KINDS}
    idle = [record for kind in KINDS[1:] for record in by_kind[kind][: count // 4]]
    return map(Scene, [*by_kind["act"][: count - len(idle)], *idle])


def _bfcl(seed: int, count: int | None) -> Iterator[Scene]:
    """As many of each category, drawn without replacement. Ground truth that breaks what the agent is shown is no
    honest play, so the five tasks that have such are left out.
    """
    for category in CATEGORIES:
        source = open_bfcl(category)
        order = stream(seed, "probe", "bfcl", category).permutation(source.count("all")).tolist()
        items = (item for index in order if not (item := source.at("all", index)).record.checks["own_faults"])
        yield from map(BfclScene.of, islice(items, (_BFCL if count is None else count) // len(CATEGORIES)))


TASKS: Final[Mapping[str, Callable[[int, int | None], Iterator[Scene]]]] = {
    "chains": _chains, "embedded": _embedded, "bfcl": _bfcl,
}  # fmt: skip
"""Family of tasks -> its scenes by seed and number; all of them where no number is given, and 200 of BFCL."""


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
