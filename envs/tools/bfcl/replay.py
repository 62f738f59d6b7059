"""Playing BFCL's ground truth through our door: does BFCL's own judgement hold, and does a missing call break it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from mcp import Client

from palaestra.envs.tools.bfcl.mcp_door import protocol_server
from palaestra.envs.tools.bfcl.session import BfclSession
from palaestra.envs.tools.bfcl.tasks import BfclTask
from palaestra.mcp_servers.framework.faults import ToolResult
from palaestra.mcp_servers.transports.wire import WireDoor

DoorKind = Literal["local", "mcp"]
KNOWN: Final = Path(__file__).with_name("own_faults.json")


class _Door(Protocol):
    async def call(self, tool: str, arguments: Mapping[str, Any]) -> ToolResult: ...


class _InProcess:
    def __init__(self, session: BfclSession) -> None:
        self._session = session

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> ToolResult:
        return self._session.call(tool, arguments)


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of playing tasks.

    Attributes:
        passed: ids of the tasks in which every turn was judged valid.
        failed: id of any other task -> the first turn that was not, and why.
        results: digest of every result, in order.
        seconds, cpu_seconds: opening and judging included.
    """

    passed: tuple[str, ...]
    failed: Mapping[str, str]
    results: tuple[str, ...]
    seconds: float
    cpu_seconds: float


def replay_truth(tasks: Sequence[BfclTask], door: DoorKind = "local", *, drop_last: bool = False) -> Replay:
    """Play the ground truth of tasks, each in a fresh episode, over this process's door or the in-memory MCP client.

    With `drop_last` the last call of every task is left out: a judge worth its name rejects that.

    Cost: some 1 ms a call, opening and judging included.
    """
    return asyncio.run(_replay(tasks, door, drop_last))


async def _replay(tasks: Sequence[BfclTask], door: DoorKind, drop_last: bool) -> Replay:
    passed: list[str] = []
    failed: dict[str, str] = {}
    results: list[str] = []
    started, cpu = time.perf_counter(), time.process_time()
    async with _doors(door) as open_door:
        for task in tasks:
            session, calls = open_door(task)
            problem = await _play(task, session, calls, results, drop_last)
            session.close()
            if problem is None:
                passed.append(task.id)
            else:
                failed[task.id] = problem
    spent = time.perf_counter() - started, time.process_time() - cpu
    return Replay(tuple(passed), failed, tuple(results), *spent)


class _Opener(Protocol):
    def __call__(self, task: BfclTask) -> tuple[BfclSession, _Door]: ...


@asynccontextmanager
async def _doors(door: DoorKind) -> AsyncIterator[_Opener]:
    if door == "local":

        def in_process(task: BfclTask) -> tuple[BfclSession, _Door]:
            session = BfclSession(task)
            return session, _InProcess(session)

        yield in_process
        return
    sessions: dict[str, BfclSession] = {}
    async with Client(protocol_server(sessions)) as client:

        def over_mcp(task: BfclTask) -> tuple[BfclSession, _Door]:
            sessions.clear()  # one at a time
            sessions[task.id] = BfclSession(task)
            return sessions[task.id], WireDoor(client, task.id)

        yield over_mcp


async def _play(task: BfclTask, session: BfclSession, door: _Door, results: list[str], drop_last: bool) -> str | None:
    """The first turn that is judged invalid and why; None if every turn is valid."""
    left = sum(map(len, task.truth)) - drop_last
    problems = []
    for turn, calls in enumerate(task.truth):
        session.begin_turn(turn, task.tools)
        results += [(await door.call(call.tool, call.arguments)).result_digest for call in calls[:left]]
        left -= len(calls[:left])
        if not (verdict := session.judge()).valid:
            problems.append(f"turn {turn}: {verdict.problem}")
    return problems[0] if problems else None


def known_faults() -> dict[str, list[str]]:
    """The tasks whose own ground truth breaks what the agent is shown, as they were found in this version, with the
    places; `own_faults` finds them again.
    """
    listed: dict[str, list[str]] = json.loads(KNOWN.read_text(encoding="utf-8"))
    return listed
