"""BFCL's tasks as task records: made when they are first asked for, by playing their ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final, cast

from palaestra.envs.tools.bfcl.session import BfclSession, verdict_cells
from palaestra.envs.tools.bfcl.tasks import CATEGORIES, BfclTask, load_tasks, own_faults
from palaestra.envs.tools.config import Split
from palaestra.envs.tools.conversation import Shelf
from palaestra.envs.tools.dataset import ToolTask
from palaestra.envs.tools.records import GoldCall, GoldTurn, Kind, Shown, TaskRecord, World
from palaestra.mcp_servers.errors import ConfigError, TaskError, nearest

ALL: Final = "all"
_UNANSWERABLE: Final[dict[str, Kind]] = {"miss_param": "clarify"}
"""What a turn without ground truth is for; in the other categories no tool can do what is asked."""


class BfclShelf(Shelf):
    """The tools of a task as the agent is shown them."""

    def __init__(self, task: BfclTask) -> None:
        tools = task.tools
        shown = {name: tool for name, tool in tools.items() if task.missing.get(name, 0) is not None}
        # What is shown of a tool is its name, text and schema, and those it has as one of ours does.
        self.specs = cast(Any, shown)
        self.schemas = {name: dict(tool.schema) for name, tool in shown.items()}
        self._appears = {name: task.missing.get(name, 0) for name in shown}


@dataclass(frozen=True)
class BfclItem(ToolTask):
    """A task with its record."""

    task: BfclTask

    @cached_property
    def id(self) -> str:
        """The package's."""
        return self.task.id

    @cached_property
    def shelf(self) -> Shelf:
        """Its tools as they are shown."""
        return BfclShelf(self.task)

    @cached_property
    def servers(self) -> frozenset[str]:
        """Its backends."""
        return frozenset(self.task.backends)


def record_of(task: BfclTask) -> TaskRecord:
    """A task as a record: every ground-truth call depends on the one before, and a turn comes out as BFCL's checkers
    say.

    Raises: TaskError "bad_ground_truth" if a ground-truth call fails.
    Cost: two worlds and the ground truth, some ms.
    """
    session = BfclSession(task)
    try:
        images = session.digests()
        made: list[GoldCall] = []
        turns = tuple(_turn(task, number, session, made) for number in range(len(task.users)))
    finally:
        session.close()
    kinds = {turn.kind for turn in turns}
    kind: Kind = "act" if kinds == {"act"} else "clarify" if "act" in kinds else "abstain"
    return TaskRecord(
        kind=kind,
        split="test",
        env=World(servers=task.backends, seed=0, reference_time=0, image_digests=images),
        shown=Shown(tools=tuple(task.tools), missing=task.missing),
        turns=turns,
        meta={"bfcl": task.id, "category": task.category},
        checks={"own_faults": own_faults(task)},
    )


def _turn(task: BfclTask, number: int, session: BfclSession, made: list[GoldCall]) -> GoldTurn:
    session.begin_turn(number, ())
    first = len(made)
    for call in task.truth[number]:
        result = session.call(call.tool, call.arguments)
        if result.fault is not None:
            raise TaskError("bad_ground_truth", f"{task.id}, turn {number}: {call.tool} fails: {result.fault.message}")
        made.append(
            GoldCall(
                id=f"c{len(made)}",
                tool=call.tool,
                arguments=call.arguments,
                after=(made[-1].id,) if made else (),
                edge_kinds=("implicit",) if made else (),
                result_digest=result.result_digest,
            )
        )
    return GoldTurn(
        user=task.users[number],
        kind="act" if task.truth[number] else _UNANSWERABLE.get(task.category, "abstain"),
        gold=tuple(made[first:]),
        goal_digests=session.digests(),
        changes=verdict_cells(number, True),
    )


class BfclTasks:
    """The tasks of one category or of all, about some backends; a `TaskSource`. All of them are for testing."""

    def __init__(self, tasks: Sequence[BfclTask], origin: str) -> None:
        self.origin = origin
        self._tasks = tuple(tasks)
        self._at = {task.id: number for number, task in enumerate(self._tasks)}
        self._made: dict[int, BfclItem] = {}

    def count(self, split: Split) -> int:
        """How many tasks the split has."""
        return len(self._tasks) if split in ("test", "all") else 0

    def at(self, split: Split, index: int) -> BfclItem:
        """Task number `index`, in the package's order."""
        if index not in self._made:
            task = self._tasks[index]
            self._made[index] = BfclItem(record_of(task), task)
        return self._made[index]

    def find(self, task_id: str) -> BfclItem | None:
        """The task with this id of the package's."""
        return self.at("all", self._at[task_id]) if task_id in self._at else None


@lru_cache(maxsize=16)
def open_bfcl(category: str, backends: tuple[str, ...] = (), mixed: bool = False) -> BfclTasks:
    """The tasks of a category or of "all".

    Args:
        category: see `CATEGORIES`.
        backends: keep tasks about these only; empty = all.
        mixed: keep tasks about several backends only.

    Raises: ConfigError "missing_bfcl" naming the command, "unknown_category"; TaskError "no_tasks".
    """
    if category not in (*CATEGORIES, ALL):
        raise ConfigError("unknown_category", f"tasks={category!r}; {nearest(category, (*CATEGORIES, ALL))}")
    wanted = [
        task
        for name in (CATEGORIES if category == ALL else (category,))
        for task in load_tasks(name)
        if (not backends or set(task.backends) <= set(backends)) and (not mixed or len(task.backends) > 1)
    ]
    if not wanted:
        raise TaskError("no_tasks", f"BFCL has no task about {', '.join(backends)}; widen the choice")
    return BfclTasks(wanted, f"BFCL, {category}")
