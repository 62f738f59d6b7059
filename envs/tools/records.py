"""Task records: one conversation over live tool servers with its gold calls, as one line of JSON.

A record holds everything an episode needs to start again anywhere and everything a reward needs to judge it: the
world (servers, seed, profile, time), what the agent is shown, what the user says turn by turn, the gold calls with
their dependencies, and what they lead to. No handles, no wall-clock time, no paths.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import Field, ValidationError

from palaestra.envs.core.config import Settings
from palaestra.envs.core.types import canonical_json
from palaestra.mcp_servers.errors import TaskError

FORMAT: Final = "palaestra.task/1"
Kind = Literal["act", "clarify", "abstain"]
Cell = tuple[str, str, str, Any]
"""(table, row, column, value) of a change set; see `palaestra.envs.tools.outcome`."""


class World(Settings):
    """Where a task takes place.

    Attributes:
        reference_time: what the clock starts at, seconds since the epoch.
        image_digests: goal digest of each server's seeded world; a world that differs is refused.
        catalog_digest: of the tools' schemas; a record made for other tools is refused.
    """

    servers: tuple[str, ...]
    seed: int
    profile: Literal["small", "default", "large"] = "default"
    reference_time: int
    image_digests: Mapping[str, str] = Field(default_factory=dict)
    catalog_digest: str = ""


class Shown(Settings):
    """What the agent may see and call.

    Attributes:
        tools: in the order they are listed, distractors among them.
        distractors: those of `tools` that no gold call needs, of other servers.
        stripped_enums: "tool.parameter" whose list of allowed values is not shown; the server still checks it.
        missing: tool -> turn (from 0) in which it appears; None = never.
    """

    tools: tuple[str, ...]
    distractors: tuple[str, ...] = ()
    stripped_enums: tuple[str, ...] = ()
    missing: Mapping[str, int | None] = Field(default_factory=dict)


class GoldCall(Settings):
    """One call of the reference solution.

    Attributes:
        id: "c0", "c1", ... over the whole conversation.
        after: ids of the calls it depends on directly (edges of E); parallel calls share predecessors.
        edge_kinds: one word per `after`: "explicit" (a value came from that result) or "implicit" (it made a
            precondition true).
        source: argument -> where its value comes from: "user:<turn>", "call:<id>", "default" or "context".
        expects_fault: fault code with which the call fails on purpose.
        result_digest: of its result in the replay.
        rows: hashes of the rows a READ returned; see `outcome.result_rows`.
        reads: whether the tool is a READ.
    """

    id: str
    tool: str
    arguments: Mapping[str, Any]
    after: tuple[str, ...] = ()
    edge_kinds: tuple[Literal["explicit", "implicit"], ...] = ()
    source: Mapping[str, str] = Field(default_factory=dict)
    expects_fault: str | None = None
    result_digest: str = ""
    rows: tuple[str, ...] = ()
    reads: bool = False


class GoldTurn(Settings):
    """One user message and what should come of it.

    Attributes:
        kind: "act" has gold calls; "clarify" and "abstain" have none.
        goal_digests: of every server at the end of the turn.
        changes: cumulative change set since the seed at the end of the turn, as canonical cells per server.
        reply: what a good assistant says at the end of the turn; for demonstrations, never judged.
    """

    user: str
    kind: Kind = "act"
    gold: tuple[GoldCall, ...] = ()
    goal_digests: Mapping[str, str] = Field(default_factory=dict)
    changes: Mapping[str, tuple[Cell, ...]] = Field(default_factory=dict)
    reply: str = ""


class TaskRecord(Settings):
    """One task.

    Attributes:
        kind: "abstain" if no turn has gold calls, "clarify" if some have none, else "act".
        split: train, valid or test.
        meta: persona, information level, chain, teacher, digest of the graph: for reports, never for rewards.
        checks: what the filters found.
    """

    format: Literal["palaestra.task/1"] = FORMAT
    kind: Kind
    split: Literal["train", "valid", "test"]
    env: World
    shown: Shown
    turns: tuple[GoldTurn, ...]
    meta: Mapping[str, Any] = Field(default_factory=dict)
    checks: Mapping[str, Any] = Field(default_factory=dict)

    @property
    def id(self) -> str:
        """16 hex digits of the content hash, `meta` and `checks` left out."""
        content = self.model_dump(mode="json", exclude={"meta", "checks"})
        return hashlib.blake2b(canonical_json(content).encode(), digest_size=8).hexdigest()

    @property
    def gold_calls(self) -> tuple[tuple[int, GoldCall], ...]:
        """(turn, call) of every gold call, in order."""
        return tuple((t, call) for t, turn in enumerate(self.turns) for call in turn.gold)

    def to_json(self) -> str:
        """One line: sorted keys, with the id."""
        return canonical_json({"id": self.id, **self.model_dump(mode="json")})

    @classmethod
    def from_json(cls, line: str) -> Self:
        """The inverse of `to_json`. Raises: TaskError "bad_record" naming the field, or an id that does not fit."""
        try:
            data = json.loads(line)
            given = data.pop("id", None)
            record = cls.model_validate_json(json.dumps(data))
        except (ValueError, AttributeError) as error:
            shown = str(error.errors()[0]) if isinstance(error, ValidationError) else str(error)
            raise TaskError("bad_record", f"not a task record: {shown[:300]}") from error
        if given is not None and given != record.id:
            raise TaskError("bad_record", f"record {given}: its content hashes to {record.id}; it was edited")
        return record


def read_records(path: Path) -> Iterator[TaskRecord]:
    """The records of a JSON Lines file, plain or ending in .gz.

    Raises: TaskError "bad_record" naming the line; "no_records" for a file that is not there or cannot be read.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield TaskRecord.from_json(line)
                except TaskError as error:
                    raise TaskError("bad_record", f"{path.name}, line {number}: {error.message}") from error
    except TaskError:
        raise
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise TaskError("no_records", f"tasks {str(path)!r} cannot be read: {error}") from error


def write_records(path: Path, records: Iterable[TaskRecord]) -> int:
    """Write records to a file that appears only once it is complete; returns how many."""
    partial = path.with_name(path.name + ".partial")
    count = 0
    try:
        with partial.open("w", encoding="utf-8") as lines:
            for record in records:
                lines.write(record.to_json() + "\n")
                count += 1
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return count
