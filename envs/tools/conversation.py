"""One conversation: a task record played over live tool servers, reply by reply.

a reply with calls      they are made in order; the next messages are what the tools answered
a reply without calls   goes to the user and ends the turn; the next message is the user's, if there is one
an empty reply          says nothing, so nothing happens, but it counts
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

from palaestra.envs.core.text.parser import NOOP
from palaestra.envs.core.text.prompt import Message
from palaestra.envs.core.types import ActionStatus
from palaestra.envs.tools.calls import AskedCall, CallFormat, strings
from palaestra.envs.tools.config import ToolConfig
from palaestra.envs.tools.evidence import CallEvidence, StepEvidence
from palaestra.envs.tools.formats import call_format, read_calls
from palaestra.envs.tools.outcome import result_rows, turn_outcomes
from palaestra.envs.tools.plan import Course
from palaestra.envs.tools.prompts import NO_REPLY, system_message, tool_message, unread_message, user_message
from palaestra.envs.tools.records import TaskRecord
from palaestra.envs.tools.schemas import fits, shown_schema, with_defaults
from palaestra.envs.tools.short_ids import ShortIds
from palaestra.envs.tools.worlds import Session, tools_of
from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.errors import TaskError, ToolError, nearest
from palaestra.mcp_servers.framework.faults import ToolResult
from palaestra.mcp_servers.framework.spec import Effect, ToolSpec

UNPARSABLE: Final = "unparsable"
STOPS: Final = ("done", "turn_limit", "call_limit", "tool_server_lost")


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of one reply: the new messages, the evidence, and how the reply was taken."""

    messages: tuple[Message, ...]
    evidence: StepEvidence
    status: ActionStatus


@dataclass(slots=True)
class _Calls:
    """The calls of one reply while they are made."""

    made: list[CallEvidence] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    lost: str | None = None


class Shelf:
    """The tools of a record as the agent is shown them, turn by turn.

    Raises: TaskError "bad_record" for a tool that none of the record's servers has.
    """

    def __init__(self, record: TaskRecord) -> None:
        every = tools_of(record.env.servers)
        shown = record.shown
        for name in (*shown.tools, *shown.missing):
            if name not in every:
                raise TaskError(
                    "bad_record", f"record {record.id} shows a tool {name!r} that {', '.join(record.env.servers)} do "
                    f"not have; {nearest(name, every)}"
                )  # fmt: skip
        listed = dict.fromkeys((*shown.tools, *shown.missing))
        stripped: dict[str, list[str]] = {}
        for mark in shown.stripped_enums:
            tool, _, parameter = mark.rpartition(".")
            stripped.setdefault(tool, []).append(parameter)
        self.specs: dict[str, ToolSpec] = {name: every[name] for name in listed}
        self.schemas = {n: _schema(spec.server, n, tuple(stripped.get(n, ()))) for n, spec in self.specs.items()}
        self._appears = {name: shown.missing.get(name, 0) for name in listed}

    def visible(self, turn: int) -> list[ToolSpec]:
        """What may be called in a turn, in the order of the record."""
        return [spec for name, spec in self.specs.items() if (at := self._appears[name]) is not None and at <= turn]

    def added(self, turn: int) -> list[ToolSpec]:
        """What can be called from this turn on."""
        return [spec for name, spec in self.specs.items() if turn > 0 and self._appears[name] == turn]


@lru_cache(maxsize=4096)
def _schema(server: str, tool: str, stripped: tuple[str, ...]) -> dict[str, Any]:
    return shown_schema(load_server(server).tools[tool], stripped)


class Conversation:
    """A record being played.

    Args:
        words: what the user says in each turn; what the record says if left out.

    Attributes:
        turn: of the user, from 0.
        replies, calls: how many there were.
        steps: the evidence of every reply.
        outcomes: what each turn came to, 0 until it has ended.
        stop: why it is over, one of `STOPS`; empty while it goes on.
        told: what the user said and the tools answered so far, as the agent was shown it.
    """

    def __init__(
        self, record: TaskRecord, config: ToolConfig, session: Session, shelf: Shelf | None = None,
        words: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        self.record = record
        self.words = tuple(turn.user for turn in record.turns) if words is None else tuple(words)
        self.how: CallFormat = call_format(config.call_format)
        self.shelf = shelf or Shelf(record)
        self.turn = self.replies = self.calls = 0
        self.steps: list[StepEvidence] = []
        self.outcomes: tuple[float, ...] = (0.0,) * len(record.turns)
        self.stop = ""
        self.course = Course(record)
        self.knowledge: set[str] = set()
        self._ids = ShortIds() if config.ids == "short" else None
        self.told = [self._shown(self.words[0])]
        self._config = config
        self._session = session
        self._begin(0)

    def _begin(self, turn: int) -> None:
        self.turn = turn
        self.visible = {spec.name: spec for spec in self.shelf.visible(turn)}
        self._session.begin_turn(turn, self.visible)

    def opening(self) -> tuple[Message, ...]:
        """What the agent is told first."""
        config, shelf = self._config, self.shelf
        specs = list(self.visible.values())
        time = self.record.env.reference_time
        system = system_message(self.how, specs, shelf.schemas, config.schemas, time, config.rules)
        return system, user_message(self.told[0], (), shelf.schemas, config.schemas)

    def _shown(self, text: str) -> str:
        return text if self._ids is None else self._ids.shorten(text)

    def plan(self) -> list[str] | None:
        """The gold replies that are left, as an agent would write them; None once something went wrong."""
        replies = [] if self.over else self.course.replies(self.how, self.shelf.schemas)
        if self._ids is None or replies is None:
            return replies
        return [self._ids.shorten(reply, known_only=True) for reply in replies]

    @property
    def over(self) -> bool:
        """Whether there is nothing more to say."""
        return bool(self.stop)

    @property
    def score(self) -> float:
        """Mean outcome of the turns; where nothing should be called, 0 after any call."""
        if self.record.kind == "abstain" and self.calls:
            return 0.0
        return sum(self.outcomes) / len(self.outcomes)

    @property
    def won(self) -> bool:
        """Whether the conversation is done and every turn came out exactly."""
        return self.stop == "done" and self.score == 1.0

    def grounded(self, reply: str) -> bool:
        """Whether every text and key that the reply's calls pass on was said by the user or shown by a tool before."""
        calls = read_calls(reply, self.how, self.shelf.schemas)
        texts = [text for call in calls for text in strings(call.arguments)]
        return all(any(text in told for told in self.told) for text in texts)

    def hear(self, reply: str) -> Heard:
        """Take one reply of the agent. It never raises for what the agent wrote, nor if the tool servers are lost."""
        self.replies += 1
        turn = self.turn
        said = reply.strip()
        asked = read_calls(reply, self.how, self.shelf.schemas)
        try:
            if asked:
                step, messages = self._make_calls(asked)
            elif said in ("", NOOP) or not said.strip("\0"):
                step, messages = StepEvidence(turn=turn), (Message("user", NO_REPLY),)
            else:
                step, messages = self._end_turn()
        except ToolError as error:
            step, messages = StepEvidence(turn=turn, lost=error.code), ()
        self.steps.append(step)
        self.course.follow(step)
        if step.turn_over:
            self.outcomes = turn_outcomes(self.record, self.steps)
        self._stop_if_over(step)
        self.told += (message.content for message in messages)
        empty = not asked and not step.turn_over and step.lost is None
        return Heard(messages, step, ActionStatus.EMPTY_ACTION if empty else _status(step))

    def _stop_if_over(self, step: StepEvidence) -> None:
        if step.lost is not None:
            self.stop = "tool_server_lost"
        elif step.turn_over and step.turn + 1 == len(self.record.turns):
            self.stop = "done"
        elif self.calls >= self._config.max_calls:
            self.stop = "call_limit"
        elif self.replies >= self._config.max_replies or self.turn >= self._config.max_turns:
            self.stop = "turn_limit"

    def _end_turn(self) -> tuple[StepEvidence, tuple[Message, ...]]:
        step = StepEvidence(turn=self.turn, turn_over=True, changes=self._session.changes())
        following = self.turn + 1
        if following == len(self.record.turns):
            return step, ()
        self._begin(following)
        text = self._shown(self.words[following])
        added = self.shelf.added(following)
        return step, (user_message(text, added, self.shelf.schemas, self._config.schemas),)

    def _make_calls(self, asked: Sequence[AskedCall]) -> tuple[StepEvidence, tuple[Message, ...]]:
        calls = _Calls()
        for call in asked[: self._config.max_calls - self.calls]:
            self.calls += 1
            try:
                self._make_call(call, calls)
            except ToolError as error:
                calls.lost = error.code
            if calls.lost is not None:
                break
        return StepEvidence(turn=self.turn, calls=tuple(calls.made), lost=calls.lost), tuple(calls.messages)

    def _make_call(self, call: AskedCall, calls: _Calls) -> None:
        """Make one call and keep what it proves. Raises: ToolError if the servers are gone."""
        if call.arguments is None:
            unread = CallEvidence(
                tool=call.tool, arguments=None, shown=False, fits=False, fits_loose=False, fault=UNPARSABLE
            )
            calls.made.append(unread)
            calls.messages.append(unread_message(call, self.how))
            return
        arguments = call.arguments if self._ids is None else self._ids.restore(call.arguments)
        result = self._session.call(call.tool, arguments)
        if result.fault is not None and result.fault.code.is_infrastructure:
            calls.lost = result.fault.code.value
        message, kept = tool_message(result, self._config.result_chars)
        calls.messages.append(message if self._ids is None else replace(message, content=self._shown(message.content)))
        calls.made.append(self._evidence(call.tool, arguments, result, kept))

    def _evidence(self, tool: str, arguments: Mapping[str, Any], result: ToolResult, kept: int | None) -> CallEvidence:
        shown = tool in self.visible
        schema = self.shelf.schemas[tool] if shown else None
        fitting = schema is not None and fits(arguments, schema)
        spec = self.visible.get(tool)
        rows: tuple[str, ...] = ()
        if spec is not None and spec.effect is Effect.READ and result.value is not None:
            rows = result_rows(spec, result.value, self._session.created())[:kept]  # of those that were shown
            self.knowledge.add(f"{tool} {result.result_digest}")
        return CallEvidence(
            tool=tool,
            arguments=arguments,
            shown=shown,
            fits=fitting,
            fits_loose=schema is not None and fits(arguments, schema, extra=True),
            fault=None if result.fault is None else result.fault.code.value,
            result_digest=result.result_digest,
            changed=result.digest_before != result.digest_after,
            writes=None if spec is None else spec.effect is Effect.WRITE,
            rows=rows,
            defaulted=with_defaults(arguments, schema) if fitting and schema is not None else None,
        )


def _status(step: StepEvidence) -> ActionStatus:
    if any(call.fault == UNPARSABLE for call in step.calls):
        return ActionStatus.NOT_IN_LANGUAGE
    return ActionStatus.INADMISSIBLE if any(call.fault is not None for call in step.calls) else ActionStatus.OK
