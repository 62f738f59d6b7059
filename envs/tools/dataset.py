"""Where tasks come from, and which of them an episode gets: a pure function of the seed and the number of resets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Protocol, get_args

from palaestra.envs.core.seeding import derive_seed
from palaestra.envs.tools.chain_tasks import Chain, chain_record, pair_chains, split_of
from palaestra.envs.tools.config import Split, ToolConfig
from palaestra.envs.tools.conversation import Shelf
from palaestra.envs.tools.records import TaskRecord, read_records
from palaestra.envs.tools.worlds import tools_of
from palaestra.mcp_servers.catalog import CATALOG, load_server
from palaestra.mcp_servers.errors import ConfigError, TaskError, nearest

EMBEDDED: Final = Path(__file__).with_name("data") / "tasks.jsonl.gz"
SPLITS: Final[tuple[Split, ...]] = get_args(Split)
OPTIONS: Final = ("task", "index", "split")


@dataclass(frozen=True)
class ToolTask:
    """A record, with what is worked out once and used at every reset."""

    record: TaskRecord

    @cached_property
    def id(self) -> str:
        """The record's."""
        return self.record.id

    @cached_property
    def line(self) -> str:
        """The record as JSON."""
        return self.record.to_json()

    @cached_property
    def shelf(self) -> Shelf:
        """Its tools as they are shown. Raises: TaskError "bad_record"."""
        return Shelf(self.record)

    @cached_property
    def servers(self) -> frozenset[str]:
        """What the task is about: the servers of its gold calls; without any, those of the tools shown for it."""
        specs = tools_of(self.record.env.servers)
        gold = {specs[call.tool].server for _, call in self.record.gold_calls if call.tool in specs}
        own = set(self.record.shown.tools) - set(self.record.shown.distractors)
        return frozenset(gold or {specs[name].server for name in own if name in specs})


class TaskSource(Protocol):
    """Tasks by split and index; immutable, shared by all environments of one configuration."""

    origin: str

    def count(self, split: Split) -> int:
        """How many tasks the split has."""
        ...

    def at(self, split: Split, index: int) -> ToolTask:
        """Task number `index` of the split."""
        ...

    def find(self, task_id: str) -> ToolTask | None:
        """The task with this id."""
        ...


class RecordedTasks:
    """Tasks of a file, in its order."""

    def __init__(self, tasks: Iterable[ToolTask], origin: str) -> None:
        self.origin = origin
        kept = list(tasks)
        self._by_id = {task.id: task for task in kept}
        self._by_split: dict[Split, list[ToolTask]] = {"all": kept}
        for split in SPLITS[:-1]:
            self._by_split[split] = [task for task in kept if task.record.split == split]

    def count(self, split: Split) -> int:
        """How many tasks the split has."""
        return len(self._by_split[split])

    def at(self, split: Split, index: int) -> ToolTask:
        """Task number `index` of the split."""
        return self._by_split[split][index]

    def find(self, task_id: str) -> ToolTask | None:
        """The task with this id."""
        return self._by_id.get(task_id)


class ChainTasks:
    """Tasks made of chains when they are first asked for."""

    origin = "the tool servers' chains"

    def __init__(self, conversations: Sequence[Sequence[Chain]], worlds: int) -> None:
        self._plans = [(chains, seed) for seed in range(worlds) for chains in conversations]
        self._by_split: dict[Split, list[int]] = {"all": list(range(len(self._plans)))}
        for split in SPLITS[:-1]:
            self._by_split[split] = [i for i, (_, seed) in enumerate(self._plans) if split_of(seed) == split]
        self._made: dict[int, ToolTask] = {}

    def count(self, split: Split) -> int:
        """How many tasks the split has."""
        return len(self._by_split[split])

    def at(self, split: Split, index: int) -> ToolTask:
        """Task number `index` of the split."""
        return self._task(self._by_split[split][index])

    def find(self, task_id: str) -> ToolTask | None:
        """The task with this id; makes tasks until it is found."""
        every = (self._task(number) for number in range(len(self._plans)))
        return next((task for task in every if task.id == task_id), None)

    def _task(self, number: int) -> ToolTask:
        if number not in self._made:
            self._made[number] = ToolTask(chain_record(*self._plans[number]))
        return self._made[number]


def open_tasks(config: ToolConfig) -> TaskSource:
    """The tasks a configuration asks for; equal ones share them.

    Raises: TaskError "no_records", "bad_record" from the file, "no_tasks" if nothing is left; ConfigError
        "unknown_server", "unknown_chain".

    Cost: parsing the file once; chains are made into tasks one by one, when they are drawn.
    """
    return _open_tasks(
        config.tasks, config.servers, config.chains, config.worlds, config.mixed, _stamp(Path(config.tasks))
    )


def _stamp(path: Path) -> tuple[int, int]:
    """What changes when a file is written again."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=64)
def _open_tasks(
    tasks: str, servers: tuple[str, ...], chains: tuple[str, ...], worlds: int, mixed: bool, stamp: tuple[int, int]
) -> TaskSource:
    for name in servers:
        if name not in CATALOG:
            raise ConfigError("unknown_server", f"servers: no server {name!r}; {nearest(name, CATALOG)}")
    if tasks == "chains" or (tasks == "embedded" and mixed):  # the embedded conversations are about one server each
        source: TaskSource = ChainTasks(list(_conversations(servers or tuple(CATALOG), chains, mixed)), worlds)
    else:
        path = EMBEDDED if tasks == "embedded" else Path(tasks)
        source = RecordedTasks(
            (t for t in map(ToolTask, read_records(path)) if _wanted(t, servers, mixed)), f"{tasks!r}"
        )
    if not source.count("all"):
        about = f" about {', '.join(servers)}" if servers else ""
        raise TaskError("no_tasks", f"{source.origin} has no {'mixed ' if mixed else ''}task{about}; widen the choice")
    return source


def _wanted(task: ToolTask, servers: tuple[str, ...], mixed: bool) -> bool:
    return (not servers or task.servers <= set(servers)) and (not mixed or len(task.servers) > 1)


def _conversations(servers: Sequence[str], chains: Sequence[str], mixed: bool) -> Iterator[tuple[Chain, ...]]:
    """One chain each, or two chains of neighbouring servers."""
    if not mixed:
        all_chains = {f"{name}.{c.__name__}": (name, c) for name in servers for c in load_server(name).chains}
        for name in chains:
            if name not in all_chains:
                raise ConfigError("unknown_chain", f"chains: no chain {name!r}; {nearest(name, all_chains)}")
        yield from ((all_chains[name],) for name in chains or all_chains)
        return
    for first, second in pairwise((*servers, servers[0]) if len(servers) > 2 else servers):
        yield from pair_chains(first, second, ToolConfig.model_fields["max_replies"].default)


def select(
    source: TaskSource, default: Split, options: Mapping[str, Any] | None, root: int, episode: int
) -> tuple[ToolTask, Split]:
    """The task of an episode: the one the reset options name, else the one the root and the episode number draw.

    Raises: TaskError "unknown_option", "unknown_split", "no_tasks", "bad_index", "unknown_task".
    """
    options = options or {}
    for key in options:
        if key not in OPTIONS:
            raise TaskError("unknown_option", f"reset option {key!r}; {nearest(key, OPTIONS)}")
    if "task" in options:
        found = source.find(str(options["task"]))
        if found is None:
            raise TaskError("unknown_task", f"task={options['task']!r} is no task of {source.origin}")
        return found, found.record.split
    split: Split = options.get("split", default)
    if split not in SPLITS:
        raise TaskError("unknown_split", f"split={split!r}; {nearest(str(split), SPLITS)}")
    count = source.count(split)
    if not count:
        raise TaskError("no_tasks", f"{source.origin} has no task in split {split!r}")
    index = options.get("index", derive_seed(root, "tools", episode) % count)
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < count:
        raise TaskError("bad_index", f"index={index!r}: split {split!r} of {source.origin} has tasks 0 to {count - 1}")
    task = source.at(split, index)
    return task, task.record.split
