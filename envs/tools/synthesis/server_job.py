"""One server's share of a data set: world after world, brief after brief, until every brief has a record.

The only state that passes from one block to the next is what the kept records say, so a job that was interrupted goes
on from the blocks it had finished and ends with the very same records.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from palaestra.envs.core.config import Settings
from palaestra.envs.core.types import canonical_json
from palaestra.envs.tools.records import TaskRecord
from palaestra.envs.tools.synthesis.bindings import pick
from palaestra.envs.tools.synthesis.brief import SPLITS, Brief
from palaestra.envs.tools.synthesis.chains import Paths
from palaestra.envs.tools.synthesis.dedup import Seen
from palaestra.envs.tools.synthesis.filters import (
    Divide,
    Score,
    keep_as_seen,
    nearest_kept,
    passes_provenance,
    passes_replay,
    passes_schema,
    refused_as_duplicate,
    split_of_chain,
)
from palaestra.envs.tools.synthesis.knobs import choose_shown, overlaps
from palaestra.envs.tools.synthesis.machine import Dropped, Machine
from palaestra.envs.tools.synthesis.phrases import phrases_of
from palaestra.envs.tools.synthesis.pools import survey
from palaestra.envs.tools.synthesis.recording import record_of
from palaestra.envs.tools.synthesis.teacher import Teacher
from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.framework.episodes import REFERENCE_TIME, EpisodeStore
from palaestra.mcp_servers.framework.forks import Forks
from palaestra.mcp_servers.framework.leases import Limits
from palaestra.mcp_servers.framework.server import Profile, ToolServer
from palaestra.mcp_servers.framework.sources import derive_seed, stream

PER_WORLD: Final = 50
"""Conversations in one seeded world; then a new one is seeded."""
TRIES: Final = 120
"""Attempts at one brief."""
_CALLS: Final = 10**9


class Job(Settings):
    """What a server's job needs to know, besides its briefs.

    Attributes:
        servers: of the whole data set; distractors come from these.
        attempt: 0, or the round in which briefs are dealt again that other servers could not fill.
    """

    server: str
    servers: tuple[str, ...]
    seed: int
    profile: Profile
    attempt: int = 0


@dataclass(slots=True)
class Block:
    """What became of the briefs of one world."""

    records: list[tuple[int, TaskRecord]] = field(default_factory=list)
    unfilled: list[int] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def save(self, path: Path) -> None:
        """Write the block to a file that appears only once it is complete."""
        lines = [canonical_json({"unfilled": self.unfilled, "counts": dict(self.counts)})]
        lines += [f"{index}\t{record.to_json()}" for index, record in self.records]
        partial = path.with_name(path.name + ".partial")
        partial.write_text("\n".join(lines) + "\n", "utf-8")
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> Block:
        """The inverse of `save`."""
        head, *lines = path.read_text("utf-8").splitlines()
        told: dict[str, Any] = json.loads(head)
        records = [(int(n), TaskRecord.from_json(text)) for n, _, text in (line.partition("\t") for line in lines)]
        return cls(records, told["unfilled"], Counter(told["counts"]))


@dataclass(slots=True)
class _Kept:
    """What the records kept so far mean for those to come."""

    server: ToolServer
    seen: Seen = field(default_factory=Seen)
    divide: Divide = field(default_factory=Divide)
    used: Counter[str] = field(default_factory=Counter)

    def add(self, record: TaskRecord) -> None:
        """Take note of a kept record."""
        keep_as_seen(record, self.seen)
        self.divide.keep(record, self.server)
        self.used.update(call.tool for _, call in record.gold_calls)


def run_job(job: Job, briefs: Sequence[Brief], folder: Path, teacher: Teacher, score: Score | None = None) -> None:
    """Write the records of a server's briefs into a folder, one file per world.

    Files that are there already are kept, and what they hold counts. Cost: some 50 ms per world, some 20 ms per record.
    """
    kept = _Kept(load_server(job.server))
    for path in sorted(folder.glob(f"{job.server}.*.part")):
        if int(path.name.split(".")[1]) < job.attempt:
            for _, record in Block.load(path).records:
                kept.add(record)
    for split in SPLITS:
        of_split = [brief for brief in briefs if brief.split == split]
        for number, start in enumerate(range(0, len(of_split), PER_WORLD)):
            path = folder / f"{job.server}.{job.attempt}.{split}.{number:03d}.part"
            if path.exists():
                for _, record in Block.load(path).records:
                    kept.add(record)
            else:
                _write_block(job, of_split[start : start + PER_WORLD], number, kept, teacher, score).save(path)


def _write_block(
    job: Job, briefs: Sequence[Brief], number: int, kept: _Kept, teacher: Teacher, score: Score | None
) -> Block:
    block, split = Block(), briefs[0].split
    seed = derive_seed(job.seed, "world", split, job.attempt, number) >> 33
    with EpisodeStore([kept.server], limits=Limits(calls=_CALLS)) as store:
        _, episode = store.open([job.server], seed=seed, profile=job.profile)
        world = survey(episode, kept.server)
        graph = teacher.propose_graph(kept.server)
        asked = Counter(teacher.counts)  # a graph is asked once per server, in whichever block comes first
        paths = Paths(world, graph, kept.used, lambda chain: split_of_chain(chain) == split)
        machine = Machine(world, paths, teacher, overlaps(world))
        meta = {"teacher": {**teacher.about(), "seed": job.seed}, "graph_digest": graph.digest}
        writer = _Writer(job, machine, kept, block, meta, score)
        for brief in briefs:
            writer.fill(brief)
    block.counts.update({f"teacher.{name}": count for name, count in (Counter(teacher.counts) - asked).items()})
    return block


@dataclass(slots=True)
class _Writer:
    """Tries one brief again and again until a record passes every filter."""

    job: Job
    machine: Machine
    kept: _Kept
    block: Block
    meta: dict[str, Any]
    score: Score | None

    def fill(self, brief: Brief) -> None:
        rng = stream(self.job.seed, "write", self.job.server, self.job.attempt, brief.index)
        for _ in range(TRIES):
            self.block.counts["tried"] += 1
            try:
                record = self._write(brief, rng)
            except Dropped as dropped:
                self.block.counts[f"draft.{dropped}"] += 1
                continue
            self.block.counts["drafted"] += 1
            refused = self._refused(record)
            if not refused:
                record = record.model_copy(update={"checks": self._checks(record)})
                self.kept.add(record)
                self.block.records.append((brief.index, record))
                return
            self.block.counts[f"filter.{refused}"] += 1
        self.block.unfilled.append(brief.index)

    def _write(self, brief: Brief, rng: np.random.Generator) -> TaskRecord:
        world = self.machine.world
        draft = self.machine.write(brief, rng)
        shown, servers = choose_shown(brief, draft, world, self.job.servers, rng)
        images = {name: image_digest(name, world.episode.seed, self.job.profile) for name in servers}
        voices = phrases_of(self.job.server).voices
        meta = {**self.meta, "persona": pick(voices, rng), "stripped": brief.stripped}
        return record_of(brief, draft, world, shown, servers, images, meta, rng)

    def _checks(self, record: TaskRecord) -> dict[str, Any]:
        checks: dict[str, Any] = {"replay_errors": 0, "jaccard_max": round(nearest_kept(record, self.kept.seen), 3)}
        return checks if self.score is None else {**checks, "r_max": True}

    def _refused(self, record: TaskRecord) -> str:
        """The first filter the record does not pass; empty if it passes all."""
        server = self.kept.server
        if not passes_schema(record, server):
            return "schema"
        if not passes_replay(record, self.machine.world.episode):
            return "replay"
        if not passes_provenance(record):
            return "provenance"
        if not self.kept.divide.passes(record, server):
            return "split"
        if alike := refused_as_duplicate(record, self.kept.seen):
            return f"dedup.{alike}"
        return "" if self.score is None or self.score(record) else "score"


@cache
def _forks() -> Forks:
    return Forks(images=1024, resting=0)


@lru_cache(maxsize=8192)
def image_digest(server: str, seed: int, profile: Profile) -> str:
    """Goal digest of a seeded world. Builds it at the first time, which costs some ms."""
    return format(_forks().image(load_server(server), seed, profile, REFERENCE_TIME).digest, "064x")
