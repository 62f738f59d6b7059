"""Evidence: what really happened in an episode, as the dispatch journal has it; all a reward may look at.

One `StepEvidence` per assistant reply travels as one JSON text in that step's `info["evidence"]`, and the task record
in `start["record"]`, so that a stored trajectory can be scored again without its servers. Model prose is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field

from palaestra.envs.core.config import Settings
from palaestra.envs.core.types import Trajectory, canonical_json
from palaestra.envs.tools.records import Cell, TaskRecord
from palaestra.mcp_servers.errors import RolloutError

EVIDENCE_KEY = "evidence"
RECORD_KEY = "record"


class CallEvidence(Settings):
    """One call the agent made, or tried to make.

    Attributes:
        tool: as written by the agent, a qualifying `mcp__<server>__` or `server.` taken off; empty if unparsable.
        arguments: None if they could not be read as a JSON object.
        shown: whether the name was among the tools the agent was shown in that turn (L1).
        fits: whether the arguments fit the schema the agent was shown: required keys, JSON types (L2, strict: extra
            keys do not fit). `fits_loose` is the same with extra keys let pass.
        fault: code with which the live server refused it; None if it succeeded (L3). "unparsable" if it never got
            there.
        result_digest: of the result.
        changed: whether the goal digest of its server moved.
        writes: whether the tool is declared a WRITE; None for servers without effects.
        rows: hashes of the rows a READ returned.
        defaulted: arguments with the schema's defaults filled in; None if they do not fit.
    """

    tool: str
    arguments: Mapping[str, Any] | None
    shown: bool
    fits: bool
    fits_loose: bool
    fault: str | None
    result_digest: str = ""
    changed: bool = False
    writes: bool | None = None
    rows: tuple[str, ...] = ()
    defaulted: Mapping[str, Any] | None = None


class StepEvidence(Settings):
    """One assistant reply.

    Attributes:
        turn: user turn it belongs to, from 0; set by the environment.
        calls: in the order they were made; empty if the reply had none.
        turn_over: whether the user turn ended with this reply.
        changes: cumulative canonical change set per server after it, if the turn ended (else empty).
        lost: code of the infrastructure fault that ended the episode.
    """

    turn: int
    calls: tuple[CallEvidence, ...] = ()
    turn_over: bool = False
    changes: Mapping[str, tuple[Cell, ...]] = Field(default_factory=dict)
    lost: str | None = None

    def to_json(self) -> str:
        """One JSON text."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`."""
        return cls.model_validate_json(text)


def evidence_of(trajectory: Trajectory) -> tuple[TaskRecord, tuple[StepEvidence, ...]]:
    """The task and the evidence of a finished or stored trajectory.

    Raises: RolloutError "not_applicable" if it is not of a tool environment.
    """
    try:
        record = TaskRecord.from_json(trajectory.start[RECORD_KEY])
        steps = tuple(StepEvidence.from_json(step.info[EVIDENCE_KEY]) for step in trajectory.steps)
    except KeyError as error:
        text = f"the trajectory has no {error}; it is not of a tool environment"
        raise RolloutError("not_applicable", text) from error
    return record, steps
