"""The dispatch log of an episode: what was really called and what came of it. Rewards read this, never model text."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from palaestra.mcp_servers.framework.faults import Fault


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call as the door saw it.

    Attributes:
        index: position in the journal, from 0.
        turn: set by the environment through `begin_turn`, never by the model.
        server: of the tool; empty if there is no such tool in this episode.
        arguments: canonical JSON with sorted keys; empty if the guard refused them.
        fault: why it failed; None if it did not.
        result_digest: SHA-256 of the result's canonical JSON.
        digest_before, digest_after: goal digest of the server's database; empty without a server.
        clock: the server's time after the call, in seconds since the epoch; 0 without a server.
        incident: the exception behind an `internal` fault; never shown to an agent.
    """

    index: int
    turn: int
    server: str
    tool: str
    arguments: str
    fault: Fault | None
    result_digest: str
    digest_before: str
    digest_after: str
    clock: int
    incident: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {**asdict(self), "fault": None if self.fault is None else self.fault.to_dict()}


class Journal:
    """The calls of an episode, in order; tools cannot reach it."""

    def __init__(self) -> None:
        self._records: list[CallRecord] = []

    def __len__(self) -> int:
        return len(self._records)

    @property
    def records(self) -> tuple[CallRecord, ...]:
        """Every call so far."""
        return tuple(self._records)

    def append(self, record: CallRecord) -> None:
        """Add the latest call."""
        self._records.append(record)

    def rewind(self, length: int) -> None:
        """Forget what came after a snapshot was taken; for the control plane only."""
        del self._records[length:]

    def copy(self) -> Journal:
        """A journal of its own with the same calls."""
        twin = Journal()
        twin._records = list(self._records)
        return twin
