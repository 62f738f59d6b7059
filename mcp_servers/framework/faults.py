"""What a tool call gives back: a value or a typed fault. Both are data; no call ever raises.

The list of codes is closed, because rewards and clients branch on it:

    policy's mistake    unknown_tool, invalid_arguments, not_found, conflict, precondition, forbidden, quota
    infrastructure      timeout, unavailable, internal, no_episode, unknown_episode, expired_episode
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic_core import to_json

from palaestra.mcp_servers.errors import ToolError


class FaultCode(StrEnum):
    """Why a call failed."""

    UNKNOWN_TOOL = "unknown_tool"
    INVALID_ARGUMENTS = "invalid_arguments"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    PRECONDITION = "precondition"
    FORBIDDEN = "forbidden"
    QUOTA = "quota"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"
    NO_EPISODE = "no_episode"
    UNKNOWN_EPISODE = "unknown_episode"
    EXPIRED_EPISODE = "expired_episode"

    @property
    def is_infrastructure(self) -> bool:
        """True if the failure says nothing about the policy: a reward that saw it is invalid."""
        return self in _INFRASTRUCTURE

    @property
    def retryable(self) -> bool:
        """True if the same call may succeed later without anything else changing."""
        return self in (FaultCode.TIMEOUT, FaultCode.UNAVAILABLE)


_INFRASTRUCTURE = frozenset(
    {
        FaultCode.TIMEOUT,
        FaultCode.UNAVAILABLE,
        FaultCode.INTERNAL,
        FaultCode.NO_EPISODE,
        FaultCode.UNKNOWN_EPISODE,
        FaultCode.EXPIRED_EPISODE,
    }
)
_LOST = (FaultCode.NO_EPISODE, FaultCode.UNKNOWN_EPISODE, FaultCode.EXPIRED_EPISODE, FaultCode.UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class Fault:
    """A failed call, told so that a model can mend it: what is wrong, where, and what would be right.

    >>> Fault(FaultCode.NOT_FOUND, "there is no card 'x'", {"entity": "card"}).to_dict()["code"]
    'not_found'
    """

    code: FaultCode
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data: code, message, retryable, details."""
        return {
            "code": self.code.value,
            "message": self.message,
            "retryable": self.code.retryable,
            "details": dict(self.details),
        }


class Refusal(Exception):
    """How a handler or a precondition leaves a call it refuses; the dispatch door turns it into its fault.

    >>> raise Refusal(FaultCode.CONFLICT, "the slot is taken", slot="09:00")
    Traceback (most recent call last):
    ...
    palaestra.mcp_servers.framework.faults.Refusal: the slot is taken
    """

    def __init__(self, code: FaultCode, message: str, **details: Any) -> None:
        super().__init__(message)
        self.fault = Fault(code, message, details)


def not_found(entity: str, key: object) -> Refusal:
    """The refusal of a call that names a row which does not exist."""
    shown = str(key)[:64]
    return Refusal(FaultCode.NOT_FOUND, f"there is no {entity} {shown!r}", entity=entity, key=shown)


def conflict(message: str, **details: Any) -> Refusal:
    """The refusal of a call that contradicts rows which exist: uniqueness, overlap, a reference still held."""
    return Refusal(FaultCode.CONFLICT, message, **details)


def forbidden(message: str, **details: Any) -> Refusal:
    """The refusal of a call that a rule of ownership, role or permission does not allow."""
    return Refusal(FaultCode.FORBIDDEN, message, **details)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What one call gave back, the same on every door.

    Attributes:
        value: the result as JSON-ready data, an object; None if the call failed.
        fault: why it failed; None if it did not.
        text: value or fault as canonical JSON: declared field order, UTF-8, no blanks.
        result_digest: SHA-256 of `text`, hexadecimal.
        digest_before, digest_after: goal digest of the server's database around the call; empty without a server.
    """

    value: dict[str, Any] | None
    fault: Fault | None
    text: str
    result_digest: str
    digest_before: str = ""
    digest_after: str = ""

    @property
    def is_error(self) -> bool:
        """True if the call failed."""
        return self.fault is not None

    @property
    def content(self) -> dict[str, Any]:
        """Value or fault as JSON-ready data."""
        return self.fault.to_dict() if self.fault is not None else self.value or {}

    def raise_if_lost(self) -> ToolResult:
        """The same result, unless the episode is gone: then nothing the policy does can help.

        Raises: ToolError with the fault's code: no_episode, unknown_episode, expired_episode or unavailable.
        """
        if self.fault is not None and self.fault.code in _LOST:
            raise ToolError(self.fault.code.value, self.fault.message, retryable=self.fault.code.retryable)
        return self


def fault_text(fault: Fault) -> str:
    """A fault as canonical JSON."""
    return to_json(fault.to_dict()).decode()
