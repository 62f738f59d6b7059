"""Whether a file of records still holds: every record played again, in a fresh episode of its own world.

Other than the filter of the pipeline, which replays a record in the episode it was made in, this reads the records as
anyone would who got the file, and opens every episode anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from palaestra.envs.tools.records import TaskRecord
from palaestra.envs.tools.worlds import open_session
from palaestra.mcp_servers.errors import PalaestraError

SHOWN: Final = 20
"""Failures that are told one by one."""


def check_records(records: Iterable[TaskRecord], played: Callable[[int], None]) -> dict[str, Any]:
    """How many records replay to their results and states: `records`, `replayed`, and `failures` as (id, reason).

    Args:
        records: in any order; those of one world cost least beside each other.
        played: is told how many were played.

    Cost: an episode and the gold calls of each, some 3.5 ms, with the seeding of its world if that is new.
    """
    count = 0
    failures: list[tuple[str, str]] = []
    for count, record in enumerate(records, 1):
        if reason := _differs(record):
            failures.append((record.id, reason))
        played(count)
    return {"records": count, "replayed": count - len(failures), "failures": failures[:SHOWN]}


def _differs(record: TaskRecord) -> str:
    """What is not as recorded; empty if nothing is."""
    try:
        session = open_session(record)
    except PalaestraError as error:
        return error.message
    try:
        for number, turn in enumerate(record.turns):
            session.begin_turn(number, {call.tool for call in turn.gold})
            for call in turn.gold:
                result = session.call(call.tool, dict(call.arguments))
                fault = None if result.fault is None else result.fault.code.value
                if (fault, result.result_digest) != (call.expects_fault, call.result_digest):
                    return f"{call.tool} in turn {number} answers otherwise"
            found = session.digests()
            if off := [name for name, digest in turn.goal_digests.items() if found.get(name) != digest]:
                return f"turn {number} leaves {', '.join(off)} in another state"
        return ""
    finally:
        session.close()
