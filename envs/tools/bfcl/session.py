"""One BFCL task being played: calls through a door like that of our own servers, and BFCL's own judgement of a turn.

What is judged is what the official harness would judge: it executes whatever the task's backends have, shown or not,
takes any type that Python takes, and rolls nothing back. So does this door; what a call should not have been is in the
evidence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from palaestra.envs.core.types import canonical_json
from palaestra.envs.tools.bfcl.backend import BfclBackend
from palaestra.envs.tools.bfcl.package import checker
from palaestra.envs.tools.bfcl.tasks import BfclTask
from palaestra.envs.tools.bfcl.tools import BfclTool
from palaestra.envs.tools.records import Cell
from palaestra.mcp_servers.errors import ToolError
from palaestra.mcp_servers.framework.dispatch import failed
from palaestra.mcp_servers.framework.faults import Fault, FaultCode, ToolResult
from palaestra.mcp_servers.framework.journal import CallRecord, Journal
from palaestra.mcp_servers.framework.validation import guard, refuse

VERDICT: Final = "bfcl"
"""Whose word the change set of a turn is: an outside judge's."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What BFCL's checkers say of a turn.

    Attributes:
        valid: both are content; of a turn without ground truth: nothing was called.
        problem: which is not, in the package's own word; empty if valid.
    """

    valid: bool
    problem: str = ""


def verdict_cells(turn: int, valid: bool) -> dict[str, tuple[Cell, ...]]:
    """A turn's verdict in the place of its change set, so that it is compared as one: equal or nothing in common."""
    return {VERDICT: (("verdict", str(turn), "valid", valid),)}


class BfclSession:
    """An episode of one task; a `Session`.

    Attributes:
        journal: every call, as our own door keeps them.
        turn: of the user.
    """

    def __init__(self, task: BfclTask) -> None:
        self.journal = Journal()
        self.turn = 0
        self.visible: frozenset[str] = frozenset()
        self._task = task
        self._tools = task.tools
        self._backend = BfclBackend(task)
        self._truth = BfclBackend(task)
        self._said: list[str] = []
        self._called: set[int] = set()
        self._verdicts: list[Verdict] = []
        self._closed = False

    def begin_turn(self, turn: int, visible: Collection[str]) -> None:
        """As in `Session`."""
        self.turn, self.visible = turn, frozenset(visible)

    def call(self, tool: str, arguments: Mapping[str, Any]) -> ToolResult:
        """As in `Session`. A tool that the backends have is executed whether it is shown or not."""
        if self._closed:
            raise ToolError(FaultCode.EXPIRED_EPISODE.value, "the episode is over; open another")
        self._called.add(self.turn)
        found = self._tools.get(tool)
        server = found.server if found else ""
        before = self.digests().get(server, "")
        fault, written, text = self._refused(tool, arguments)
        if fault is None:
            answer = self._backend.call(tool, arguments)
            text = answer.text
            if answer.error is None and answer.value is not None:
                return self._kept(server, tool, written, text, ToolResult(answer.value, None, text, _sha(text), before))
            fault = Fault(FaultCode.PRECONDITION, str(answer.error), {"backend": server})
        return self._kept(server, tool, written, text, failed(fault, before))

    def _refused(self, tool: str, arguments: Mapping[str, Any]) -> tuple[Fault | None, str, str]:
        """Why the call does not reach its backend, its arguments as JSON, and what the official executor would say."""
        found = self._tools.get(tool)
        if found is None:
            fault = Fault(FaultCode.UNKNOWN_TOOL, f"there is no tool {tool[:64]!r} here; list the tools")
            return fault, "", f"Error during execution: name '{tool}' is not defined"
        checked = guard(dict(arguments))
        if isinstance(checked, Fault):
            return checked, "", f"Error during execution: {checked.message}"
        written = canonical_json(checked)
        if (problem := found.problem(checked)) is not None:
            return refuse((), problem), written, f"Error during execution: {tool}() {problem}"
        if (problem := found.excess(checked)) is not None:
            return Fault(FaultCode.QUOTA, problem), written, f"Error during execution: {problem}"
        return None, written, ""

    def _kept(self, server: str, tool: str, written: str, text: str, result: ToolResult) -> ToolResult:
        self._said.append(text)
        after = self.digests().get(server, "")
        kept = ToolResult(result.value, result.fault, result.text, result.result_digest, result.digest_before, after)
        self.journal.append(
            CallRecord(
                len(self.journal), self.turn, server, tool, written, result.fault, result.result_digest,
                result.digest_before, after, 0,
            )
        )  # fmt: skip
        return kept

    def shown(self) -> list[BfclTool]:
        """The tools shown in this turn."""
        return [tool for name, tool in self._tools.items() if name in self.visible]

    def judge(self) -> Verdict:
        """The verdict of the turn under way, which ends it for the ground truth; the same when asked again."""
        while len(self._verdicts) <= self.turn:
            self._verdicts.append(self._judged(len(self._verdicts)))
        return self._verdicts[self.turn]

    def _judged(self, turn: int) -> Verdict:
        truth = self._task.truth[turn]
        called = turn in self._called
        if not truth:
            return Verdict(False, "irrelevance_error") if called else Verdict(True)
        expected = [self._truth.call(call.tool, call.arguments).text for call in truth]
        if not called:
            return Verdict(False, "empty_turn_model_response")
        for found in (
            checker("state_checker")(self._backend.instances, self._truth.instances),
            checker("response_checker")(self._said, expected, turn),
        ):
            if not found["valid"]:
                return Verdict(False, str(found["error_type"]).rpartition(":")[2])
        return Verdict(True)

    def changes(self) -> dict[str, tuple[Cell, ...]]:
        """The verdict of the turn under way: the worlds of these tasks are judged from outside."""
        return verdict_cells(self.turn, self.judge().valid)

    def digests(self) -> dict[str, str]:
        """A digest of the public attributes of every backend."""
        return self._backend.digests()

    def created(self) -> frozenset[str]:
        """None: the backends do not say what they create."""
        return frozenset()

    def close(self) -> None:
        """As in `Session`."""
        self._closed = True
        self._backend.close()
        self._truth.close()


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
