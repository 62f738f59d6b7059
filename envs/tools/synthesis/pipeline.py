"""The pipeline: briefs, one job per server over several processes, and the data set put together from their parts.

Parts stay in a folder beside the output until the data set is complete, so that an interrupted run goes on where it
was. What is written depends on the settings alone, and with a model on its answers, not on the number of processes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.resources import files
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

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
from palaestra.envs.tools.synthesis.llm_settings import LlmSettings
from palaestra.envs.tools.synthesis.report import card, report
from palaestra.envs.tools.synthesis.scripted import Scripted
from palaestra.envs.tools.synthesis.server_job import PER_WORLD, Block, Job, run_job
from palaestra.envs.tools.worlds import catalog_digest
from palaestra.mcp_servers.catalog import CATALOG, load_server
from palaestra.mcp_servers.errors import ConfigError, TaskError, nearest
from palaestra.mcp_servers.framework.server import Profile
from palaestra.mcp_servers.framework.sources import stream

if TYPE_CHECKING:
    from palaestra.envs.tools.synthesis.llm_cache import Answers, Spent

ROUNDS: Final = 4
"""How often briefs that a server could not fill are dealt to others."""
_POLL_S: Final = 0.5
_MANIFEST: Final = "settings.json"

Progress = Callable[[int, int, "Spent | None"], None]
"""Is told how many records there are, how many there will be, and what the teacher cost so far if it is a model."""


class SynthConfig(Settings):
    """What a data set is to be.

    Attributes:
        train, valid, test: records of each split; the families' shares are the paper's.
        score: "module:function" that takes a record and says whether its gold calls earn the most they can.
        teacher: the model that writes the conversations; None for the scripted teacher, which needs none.
    """

    train: int = 1000
    valid: int = 0
    test: int = 0
    servers: tuple[str, ...] = tuple(CATALOG)
    seed: int = 0
    profile: Profile = "default"
    workers: PositiveInt = 2
    score: str | None = None
    teacher: LlmSettings | None = None

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
            **self.model_dump(mode="json", exclude={"workers", "teacher"}),
            **({} if self.teacher is None else {"teacher": _identity(self.teacher)}),
            "catalog_digest": catalog_digest(self.servers),
            "graph_digests": {name: graph_of(load_server(name)).digest for name in self.servers},
            "phrases_digest": hashlib.blake2b(said.encode(), digest_size=8).hexdigest(),
        }


def _identity(teacher: LlmSettings) -> dict[str, Any]:
    from palaestra.envs.tools.synthesis.llm_run import identity  # an HTTP client, which only a model needs

    return identity(teacher)


def paper_config(**settings: Any) -> SynthConfig:
    """13,517 records to train on (10,895 + 1,500 + 1,122) and 500 held out."""
    return SynthConfig(train=sum(PAPER.values()), test=HELD_OUT, **settings)


def synthesise(config: SynthConfig, out: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Write a data set to a file, with its report and its card beside it; the report.

    Raises: ConfigError "other_parts" if parts of other settings lie beside the output; TaskError "unfilled" if some
        briefs could not be filled by any server, "worker_lost" if a process was killed, "stale_graph". With a model
        as teacher also as `Chat.ask`: TaskError "budget_spent" or "not_cached", ToolError "endpoint_...", ConfigError
        "no_key", StoreError "bad_cache"; what was answered by then is kept, and the same call goes on from it.

    Cost: some 50 CPU-ms per record and 50 ms per world; memory of the finished records, some 10 KiB each.
    """
    folder = _parts(out, config)
    with _ledger(config, out) as answers:
        found = _synthesise(config, out, folder, answers, progress)
    shutil.rmtree(folder)
    return found


@contextmanager
def _ledger(config: SynthConfig, out: Path) -> Iterator[Answers | None]:
    if config.teacher is None:
        yield None
        return
    from palaestra.envs.tools.synthesis.llm_run import ledger

    with ledger(config.teacher, out) as answers:
        yield answers


def _synthesise(
    config: SynthConfig, out: Path, folder: Path, answers: Answers | None, progress: Progress | None
) -> dict[str, Any]:
    shares = server_shares({name: CATALOG[name].tools for name in config.servers})
    counts = {split: family_counts(getattr(config, split)) for split in SPLITS}
    briefs = deal(counts, shares, config.seed)
    open_ = by_server(briefs)
    for attempt in range(ROUNDS):
        _run(config, _jobs(config, attempt, open_, folder, out), folder, answers, progress)
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
    if answers is not None:
        from palaestra.envs.tools.synthesis.llm_run import told_by_model

        asked = sum((block.counts for block in blocks.values()), Counter[str]())
        found["teacher"] = told_by_model(folder, asked, answers)
    out.with_suffix(".report.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", "utf-8")
    out.with_suffix(".md").write_text(card(found), "utf-8")
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


def _jobs(
    config: SynthConfig, attempt: int, briefs: Mapping[str, Sequence[Brief]], folder: Path, out: Path
) -> list[tuple[Any, ...]]:
    """What `_work` is given for every server, the longest job first."""
    names = sorted(briefs, key=lambda name: (-len(briefs[name]) * CATALOG[name].tools, name))
    return [
        (Job(server=name, servers=config.servers, seed=config.seed, profile=config.profile, attempt=attempt),
         briefs[name], folder, config.score, config.teacher, out)
        for name in names
    ]  # fmt: skip


def _run(
    config: SynthConfig, jobs: Sequence[tuple[Any, ...]], folder: Path, answers: Answers | None,
    progress: Progress | None,
) -> None:  # fmt: skip
    """Every job over processes; an interrupt, or what one of them cannot do, ends them at once and loses no part."""
    others = set(active_children())
    workers = min(config.workers, max(1, len(jobs)))
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_heedless)
    try:
        running = {pool.submit(_work, *job) for job in jobs}
        while running:
            ended, running = wait(running, _POLL_S, FIRST_COMPLETED)
            if progress is not None:
                done = min(config.total, PER_WORLD * sum(1 for _ in folder.glob("*.part")))
                progress(done, config.total, None if answers is None else answers.spent())
            for job in ended:
                job.result()
    except BrokenProcessPool as error:
        raise TaskError(
            "worker_lost", "a process that makes records was killed (out of memory?); the same command goes on from "
            "the parts that are done, with --workers 1 in less memory"
        ) from error  # fmt: skip
    finally:
        for worker in set(active_children()) - others:
            worker.terminate()
        pool.shutdown()


def _heedless() -> None:
    """Workers leave interrupts to the process that started them, which ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(
    job: Job, briefs: Sequence[Brief], folder: Path, score: str | None, teacher: LlmSettings | None = None,
    out: Path = Path(),
) -> None:  # fmt: skip
    scored = None if score is None else _function(score)
    if teacher is None:
        run_job(job, briefs, folder, Scripted(), scored)
        return
    from palaestra.envs.tools.synthesis.llm_run import answers_beside, run_with_model

    run_with_model(job, briefs, folder, teacher, answers_beside(out), scored)


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
