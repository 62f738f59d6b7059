"""Which episodes a report shows: a bounded sample of the store, the same tasks before and after training first.

What is read grows with the sample, not with the store: a summary from an index, at most `MOST_RECORDS` light records
per list, and the whole content of the episodes shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from palaestra.agents.store import IterationSummary, RolloutRecord, Store
from palaestra.dashboard.replay import inert_json, replay
from palaestra.mcp_servers.errors import StoreError

T = TypeVar("T")
MOST_RECORDS: Final = 1_024
MOST_BYTES: Final = 600_000
_BEFORE, _AFTER = "eval_before", "eval_after"
_PAIRS: Final = (  # heading, won before, won after, how many
    ("Solved after training only", False, True, 6),
    ("Still unsolved", False, False, 4),
    ("Solved before and after", True, True, 2),
    ("Solved before training only", True, False, 2),
)


@dataclass(frozen=True, slots=True)
class Episodes:
    """What the viewer shows, and one sentence on where it comes from or why there is nothing."""

    entries: tuple[dict[str, Any], ...]
    note: str
    started: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """One entry of the viewer: a heading and one or two stored episodes, each with its name."""

    heading: str
    sides: tuple[tuple[str, RolloutRecord], ...]


def read_episodes(address: str | Path, run_name: str) -> Episodes:
    """A sample of the episodes in a store (path or database URL); one that cannot be read is a note, not an error."""
    try:
        with Store.open(address, create=False, read_only=True) as store:
            return _sample(store, run_name)
    except StoreError as error:
        if error.code == "no_store":
            return Episodes((), "No episodes are stored yet.")
        return Episodes((), f"The stored episodes could not be read: {error}")


def _sample(store: Store, run_name: str) -> Episodes:
    runs = store.runs()
    if not runs:
        return Episodes((), "No episodes are stored yet.")
    run = next((run for run in runs if run.run_id == run_name), runs[-1])
    lines = store.summary(run.run_id)
    total = sum(line.rollouts for line in lines)
    choices = choose(store, lines)
    entries: list[dict[str, Any]] = []
    spent = 0
    for choice in choices:
        entry = {"heading": choice.heading, "sides": [_load(store, name, record) for name, record in choice.sides]}
        spent += len(inert_json(entry).encode())
        if spent > MOST_BYTES:
            break
        entries.append(entry)
    shown = sum(len(entry["sides"]) for entry in entries)
    return Episodes(tuple(entries), f"{shown} of {total:,} stored episodes.", run.created_at)


def choose(store: Store, lines: Sequence[IterationSummary]) -> list[Choice]:
    """Pairs of one task before and after training, then episodes of the other phases' last iterations.

    Phases such as "eval_after_sampled" hold the same tasks once more and are left out.
    """
    by_phase: dict[str, list[IterationSummary]] = {}
    for line in lines:
        by_phase.setdefault(line.phase, []).append(line)
    before, after = by_phase.pop(_BEFORE, []), by_phase.pop(_AFTER, [])
    choices: list[Choice] = []
    if before and after:
        choices += _pairs(_records(store, before[0]), _records(store, after[-1]))
    else:
        for name, found in (("before training", before), ("after training", after)):
            choices += _singles(store, f"Evaluation {name}", found[-1:])
    by_phase = {phase: found for phase, found in by_phase.items() if not phase.startswith((_BEFORE, _AFTER))}
    for phase in sorted(by_phase, key=lambda name: (name != "rl", name))[:3]:
        last = by_phase[phase][-1:]
        heading = f"Training, iteration {last[0].iteration}" if phase == "rl" else f"Phase {phase}"
        choices += _singles(store, heading, last)
    return choices


def _pairs(before: Iterable[RolloutRecord], after: Iterable[RolloutRecord]) -> list[Choice]:
    """Tasks by how they went; within a heading from few steps to many, so that easy and hard ones are shown."""
    first = {record.task_key: record for record in reversed(list(before))}
    last = {record.task_key: record for record in reversed(list(after))}
    both = [(first[key], last[key]) for key in last if key in first]
    choices = []
    for heading, won_before, won_after, most in _PAIRS:
        found = [pair for pair in both if (pair[0].won, pair[1].won) == (won_before, won_after)]
        found.sort(key=lambda pair: (pair[1].steps, pair[1].number))
        for early, late in spread(found, most):
            choices.append(Choice(heading, (("before training", early), ("after training", late))))
    return choices


def _singles(store: Store, heading: str, lines: Sequence[IterationSummary]) -> list[Choice]:
    records = [record for line in lines for record in _records(store, line)]
    won = [record for record in records if record.won]
    lost = [record for record in records if not record.won]
    return [Choice(heading, (("", record),)) for record in (*spread(won, 2), *spread(lost, 2))]


def _records(store: Store, line: IterationSummary) -> list[RolloutRecord]:
    return store.find(run_id=line.run_id, iteration=line.iteration, phase=line.phase, limit=MOST_RECORDS)


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most `most` items, evenly spaced from the first to the last.

    >>> spread(range(10), 4), spread("ab", 4), spread([1, 2, 3], 1)
    ([0, 3, 6, 9], ['a', 'b'], [1])
    """
    if len(items) <= most:
        return list(items)
    return [items[round(index * (len(items) - 1) / max(1, most - 1))] for index in range(most)]


def _load(store: Store, name: str, record: RolloutRecord) -> dict[str, Any]:
    return replay(store.stored(record.rollout_id, run_id=record.run_id, iteration=record.iteration), name)
