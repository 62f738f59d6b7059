"""The pipeline: briefs, one job per server over several processes, and the data set put together from their parts.

Parts stay in a folder beside the output until the data set is complete, so that an interrupted run goes on where it
was. What is written depends on the settings alone, not on the number of processes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from pydantic import PositiveInt, field_validator

from palaestra.envs.core.config import Settings
from palaestra.envs.core.types import canonical_json
from palaestra.envs.tools.records import TaskRecord, write_records
from palaestra.envs.tools.synthesis.brief import (
    HELD_OUT,
    PAPER,
    SPLITS,
    Brief,
    by_server,
    deal,
    family_counts,
    server_shares,
)
from palaestra.envs.tools.synthesis.graph import graph_of
from palaestra.envs.tools.synthesis.report import card, report
from palaestra.envs.tools.synthesis.scripted import Scripted
from palaestra.envs.tools.synthesis.server_job import PER_WORLD, Block, Job, run_job
from palaestra.envs.tools.worlds import catalog_digest
from palaestra.mcp_servers.catalog import CATALOG, load_server
from palaestra.mcp_servers.errors import ConfigError, TaskError, nearest
from palaestra.mcp_servers.framework.server import Profile
from palaestra.mcp_servers.framework.sources import stream

ROUNDS: Final = 4
"""How often briefs that a server could not fill are dealt to others."""
_POLL_S: Final = 0.5
_MANIFEST: Final = "settings.json"

Progress = Callable[[int, int], None]


class SynthConfig(Settings):
    """What a data set is to be.

    Attributes:
        train, valid, test: records of each split; the families' shares are the paper's.
        score: "module:function" that takes a record and says whether its gold calls earn the most they can.
    """

    train: int = 1000
    valid: int = 0
    test: int = 0
    servers: tuple[str, ...] = tuple(CATALOG)
    seed: int = 0
    profile: Profile = "default"
    workers: PositiveInt = 2
    score: str | None = None

    @field_validator("servers")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in CATALOG:
                raise ConfigError("unknown_server", f"no server {name!r}; {nearest(name, CATALOG)}")
        return tuple(name for name in CATALOG if name in names)

    @property
    def total(self) -> int:
        """All records."""
        return self.train + self.valid + self.test

    def written_by(self) -> dict[str, Any]:
        """Everything the records depend on, as JSON-ready data."""
        texts = files("palaestra.envs.tools.synthesis")
        sources = [texts.joinpath(name) for name in ("values.toml", "everyday.toml")]
        sources += [texts.joinpath("phrases", f"{name}.toml") for name in self.servers]
        said = "\n".join(source.read_text("utf-8") for source in sources if source.is_file())
        return {
            **self.model_dump(mode="json", exclude={"workers"}),
            "catalog_digest": catalog_digest(self.servers),
            "graph_digests": {name: graph_of(load_server(name)).digest for name in self.servers},
            "phrases_digest": hashlib.blake2b(said.encode(), digest_size=8).hexdigest(),
        }


def paper_config(**settings: Any) -> SynthConfig:
    """13,517 records to train on (10,895 + 1,500 + 1,122) and 500 held out."""
    return SynthConfig(train=sum(PAPER.values()), test=HELD_OUT, **settings)


def synthesise(config: SynthConfig, out: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Write a data set to a file, with its report and its card beside it; the report.

    Raises: ConfigError "other_parts" if parts of other settings lie beside the output; TaskError "unfilled" if some
        briefs could not be filled by any server; TaskError "stale_graph".

    Cost: some 50 CPU-ms per record and 50 ms per world; memory of the finished records, some 10 KiB each.
    """
    folder = _parts(out, config)
    shares = server_shares({name: CATALOG[name].tools for name in config.servers})
    counts = {split: family_counts(getattr(config, split)) for split in SPLITS}
    briefs = deal(counts, shares, config.seed)
    open_ = by_server(briefs)
    for attempt in range(ROUNDS):
        _run(config, attempt, open_, folder, config.total, progress)
        blocks = _blocks(folder)
        open_ = _dealt_again(briefs, blocks, config.servers, attempt)
        if not open_:
            break
    if open_:
        left = sum(map(len, open_.values()))
        raise TaskError(
            "unfilled", f"{left} of {config.total} records could not be made with {len(config.servers)} servers; "
            "ask for fewer, or name more servers with --servers"
        )  # fmt: skip
    records = _in_order(blocks, config.seed)
    write_records(out, records)
    found = report(records, blocks, config.written_by(), config.total)
    out.with_suffix(".report.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", "utf-8")
    out.with_suffix(".md").write_text(card(found), "utf-8")
    shutil.rmtree(folder)
    return found


def _parts(out: Path, config: SynthConfig) -> Path:
    folder = out.with_name(out.name + ".parts")
    settings = canonical_json(config.written_by())
    manifest = folder / _MANIFEST
    if manifest.exists() and manifest.read_text("utf-8") != settings:
        raise ConfigError(
            "other_parts", f"{folder.name} holds parts of a run with other settings; finish it with those, or delete it"
        )
    folder.mkdir(parents=True, exist_ok=True)
    manifest.write_text(settings, "utf-8")
    return folder


def _run(
    config: SynthConfig, attempt: int, briefs: Mapping[str, Sequence[Brief]], folder: Path, total: int,
    progress: Progress | None,
) -> None:  # fmt: skip
    """Every server's job, the longest first, over processes; an interrupt ends them at once and loses no part."""
    names = sorted(briefs, key=lambda name: (-len(briefs[name]) * CATALOG[name].tools, name))
    jobs = [
        (Job(server=name, servers=config.servers, seed=config.seed, profile=config.profile, attempt=attempt),
         briefs[name], folder, config.score)
        for name in names
    ]  # fmt: skip
    with get_context("spawn").Pool(min(config.workers, max(1, len(jobs))), initializer=_heedless) as pool:
        running = pool.starmap_async(_work, jobs, chunksize=1)
        while not running.ready():
            running.wait(_POLL_S)
            if progress is not None:
                progress(min(total, PER_WORLD * sum(1 for _ in folder.glob("*.part"))), total)
        running.get()


def _heedless() -> None:
    """Workers leave interrupts to the process that started them, which ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(job: Job, briefs: Sequence[Brief], folder: Path, score: str | None) -> None:
    run_job(job, briefs, folder, Scripted(), None if score is None else _function(score))


@cache
def _function(name: str) -> Callable[[TaskRecord], bool]:
    module, _, function = name.partition(":")
    found: Callable[[TaskRecord], bool] = getattr(import_module(module), function)
    return found


def _blocks(folder: Path) -> dict[str, Block]:
    return {path.name: Block.load(path) for path in sorted(folder.glob("*.part"))}


def _dealt_again(
    briefs: Sequence[Brief], blocks: Mapping[str, Block], servers: Sequence[str], attempt: int
) -> dict[str, list[Brief]]:
    """The briefs that have no record yet, dealt to the servers that filled the most of theirs."""
    filled = {index for block in blocks.values() for index, _ in block.records}
    missing = [brief for brief in briefs if brief.index not in filled]
    if not missing:
        return {}
    failed: Counter[str] = Counter()
    for name, block in blocks.items():
        failed[name.partition(".")[0]] += len(block.unfilled)
    willing = sorted(servers, key=lambda name: (failed[name], name))[
        : max(1, len(servers) // (2 if attempt < 2 else 4))
    ]
    found: dict[str, list[Brief]] = {}
    for at, brief in enumerate(missing):
        name = willing[at % len(willing)]
        found.setdefault(name, []).append(Brief(**{**_fields(brief), "server": name}))
    return found


def _fields(brief: Brief) -> dict[str, Any]:
    return {name: getattr(brief, name) for name in Brief.__dataclass_fields__}


def _in_order(blocks: Mapping[str, Block], seed: int) -> list[TaskRecord]:
    """Every record: training first, shuffled within each split."""
    by_index = dict(pair for block in blocks.values() for pair in block.records)
    ordered: list[TaskRecord] = []
    for split in SPLITS:
        found = [record for _, record in sorted(by_index.items(), key=lambda pair: pair[0]) if record.split == split]
        ordered += [found[i] for i in stream(seed, "order", split).permutation(len(found)).tolist()]
    return ordered
