"""The single door: every call of every tool, whatever transport it came by, goes through `dispatch`. It never raises.

    episode and lease -> visible? -> guard -> schema -> quota -> BEGIN -> preconditions -> handler -> result schema
    -> WRITE: hash changes, tick, COMMIT; READ: nothing may have moved, ROLLBACK -> journal

Any fault rolls everything back: rows, ids, clock and draws live in one database, so a failed call leaves nothing.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Collection
from typing import Any

from pydantic import ValidationError

from palaestra.mcp_servers.errors import PalaestraError, ToolError, boundary
from palaestra.mcp_servers.framework.episodes import Episode, expired_episode
from palaestra.mcp_servers.framework.faults import Fault, FaultCode, Refusal, ToolResult, fault_text
from palaestra.mcp_servers.framework.journal import CallRecord
from palaestra.mcp_servers.framework.spec import Effect, ToolSpec
from palaestra.mcp_servers.framework.state import ServerState
from palaestra.mcp_servers.framework.validation import Args, guard

_BROKEN_RULES = frozenset(
    {
        "SQLITE_CONSTRAINT_UNIQUE",
        "SQLITE_CONSTRAINT_PRIMARYKEY",
        "SQLITE_CONSTRAINT_FOREIGNKEY",
        "SQLITE_CONSTRAINT_CHECK",
    }
)
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_EXHAUSTED = {"SQLITE_INTERRUPT": "the call took too many database steps", "SQLITE_FULL": "the database is full"}


def dispatch(episode: Episode, tool: str, arguments: object, servers: Collection[str] | None = None) -> ToolResult:
    """Call a tool of an episode; value or fault, never an exception of the tool's.

    `servers` narrows the door to the tools of some servers. Calls of one episode run one at a time; others queue.
    Cost: some 20 us for a point read, some 50 us for a write of one row, plus the handler.
    """
    limit = episode.limits.waiting
    episode.waiting += 1
    try:
        if episode.waiting > limit + 1:
            fault = Fault(FaultCode.QUOTA, f"more than {limit} calls of this episode wait; call one at a time")
            return failed(fault)
        with episode.lock:
            return _call(episode, tool, arguments, servers)
    finally:
        episode.waiting -= 1


def failed(fault: Fault, before: str = "", after: str = "") -> ToolResult:
    """The result of a call that failed."""
    text = fault_text(fault)
    return ToolResult(None, fault, text, _sha256(text), before, after)


def _call(episode: Episode, name: str, arguments: object, servers: Collection[str] | None) -> ToolResult:
    now = episode.clock()
    if episode.closed or episode.lease.expired(now):
        return failed(expired_episode())
    episode.lease.renew(now)
    if len(episode.journal) >= episode.limits.calls:
        limit = episode.limits.calls
        return failed(Fault(FaultCode.QUOTA, f"the episode's {limit} calls are used up", {"limit": limit}))
    spec = episode.tool(name) if type(name) is str else None
    if spec is None or (servers is not None and spec.server not in servers):
        return _record(episode, "", str(name)[:64], "", failed(_unknown_tool(str(name)[:64])), 0, "")
    checked = guard(arguments)
    if isinstance(checked, Fault):
        return _record(episode, spec.server, name, "", failed(checked), 0, "")
    written = _canonical(checked)
    args = spec.validate(checked)
    if isinstance(args, Fault):
        return _record(episode, spec.server, name, written, failed(args), 0, "")
    state: ServerState | None = None
    incident = ""
    try:
        with boundary("image_failed", ToolError):
            state = episode.state(spec.server)
        result, incident = _transact(episode, state, spec, args)
    except PalaestraError as error:  # the seed failed: our bug, not the caller's
        incident = str(error)
        result = failed(_internal(len(episode.journal)))
    return _record(episode, spec.server, name, written, result, state.sources.now if state else 0, incident)


def _transact(episode: Episode, state: ServerState, spec: ToolSpec, args: Args) -> tuple[ToolResult, str]:
    """Run the call in a transaction that is over, one way or the other, when this returns or is interrupted."""
    before = state.digest
    incident = ""
    state.begin()
    try:
        with boundary("handler_failed", ToolError):
            try:
                value, text = _run(state, spec, args, episode.limits.result_bytes)
                if spec.effect is Effect.WRITE:
                    state.commit()
                return ToolResult(value, None, text, _sha256(text), before, state.digest), ""
            except Refusal as refusal:
                fault = refusal.fault
            except sqlite3.Error as error:
                found = _database_fault(error)
                if found is None:
                    raise
                fault = found
    except PalaestraError as error:
        incident = str(error)
        fault = _internal(len(episode.journal))
    finally:
        state.rollback()  # a committed transaction is over already
    return failed(fault, before, before), incident


def _run(state: ServerState, spec: ToolSpec, args: Args, result_bytes: int) -> tuple[dict[str, Any], str]:
    """Preconditions, handler, result: the value and its canonical JSON."""
    db, sources = state.database, state.sources
    untouched = state.total_changes
    for condition in spec.requires:
        if not condition.check(db, sources, args):
            raise Refusal(FaultCode.PRECONDITION, condition.rule, precondition=condition.name)
    if spec.requires and state.total_changes != untouched:
        raise ToolError("lying_precondition", f"a precondition of {spec.name} changed rows; it may only read")
    returned = spec.handler(db, sources, args)
    if spec.effect is Effect.READ and (state.total_changes != untouched or sources.pending):
        raise ToolError("lying_read", f"{spec.name} is declared READ and changed rows, ids or clock; declare WRITE")
    try:
        result = spec.output_model.model_validate(returned)
    except ValidationError as error:
        raise ToolError("bad_result", f"{spec.name} returned something else than declared: {error}") from error
    encoded = spec.output_model.__pydantic_serializer__.to_json(result)
    if len(encoded) > result_bytes:
        raise Refusal(
            FaultCode.QUOTA, f"the result is larger than {result_bytes} bytes; ask for less", limit=result_bytes
        )
    value: dict[str, Any] = spec.output_model.__pydantic_serializer__.to_python(result)
    return value, encoded.decode()


def _database_fault(error: sqlite3.Error) -> Fault | None:
    """The fault of a rule of the tables, or of a used-up budget; None for anything that is our bug."""
    name = getattr(error, "sqlite_errorname", "")
    if name in _BROKEN_RULES:
        return Fault(FaultCode.CONFLICT, f"the change breaks a rule of the data: {error}", {"rule": str(error)})
    if name in _EXHAUSTED:
        return Fault(FaultCode.QUOTA, f"{_EXHAUSTED[name]}; ask for less")
    return None


def _unknown_tool(name: str) -> Fault:
    shown = name.encode("ascii", "backslashreplace").decode()
    return Fault(FaultCode.UNKNOWN_TOOL, f"there is no tool {shown!r} here; list the tools", {"tool": shown})


def _internal(number: int) -> Fault:
    return Fault(FaultCode.INTERNAL, f"internal error, incident {number}", {"incident": number})


def _record(
    episode: Episode, server: str, tool: str, arguments: str, result: ToolResult, clock: int, incident: str
) -> ToolResult:
    journal = episode.journal
    journal.append(
        CallRecord(
            len(journal), episode.turn, server, tool, arguments, result.fault, result.result_digest,
            result.digest_before, result.digest_after, clock, incident,
        )
    )  # fmt: skip
    return result


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
