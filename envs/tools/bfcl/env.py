"""BFCL's multi-turn tasks as a Gymnasium environment; replies, calls and evidence as in `palaestra/Tools-v0`."""

from __future__ import annotations

import copy
from typing import Any, Final, Literal

import numpy as np
from pydantic import PositiveInt, model_validator

from palaestra.envs.core.text.prompt import Message
from palaestra.envs.tools.bfcl.records import BfclItem, open_bfcl
from palaestra.envs.tools.bfcl.session import BfclSession
from palaestra.envs.tools.calls import AskedCall
from palaestra.envs.tools.config import Split, ToolConfig
from palaestra.envs.tools.conversation import Conversation
from palaestra.envs.tools.dataset import ToolTask
from palaestra.envs.tools.env import METADATA, FreeText, ToolEnv
from palaestra.envs.tools.evidence import CallEvidence, StepEvidence
from palaestra.envs.tools.formats import call_format
from palaestra.envs.tools.plan import REPLIES
from palaestra.envs.tools.prompts import describe, user_message
from palaestra.mcp_servers.errors import ConfigError, TaskError

_RULES: Final = (
    "A reply without a call goes to the user and ends your turn. Call only what is asked for. If something needed was "
    "not said, ask for it; if no tool can do what is asked, say so."
)


class BfclConfig(ToolConfig):
    """Keyword arguments of `palaestra/BFCL-MultiTurn-v0`; those of `ToolConfig`, with limits like the official ones.

    Attributes:
        tasks: "base", "miss_func", "miss_param", "long_context", or "all".
        servers: keep only tasks about these backends; empty = all.
        max_turn_calls: replies with calls in one turn; one more ends the conversation, as the official harness does.
        door: "local"; BFCL's backends run in this process.
        user: "scripted"; the benchmark's own words.
    """

    tasks: str = "all"
    split: Split = "test"
    max_turns: PositiveInt = 16
    max_replies: PositiveInt = 200
    max_calls: PositiveInt = 200
    max_turn_calls: PositiveInt = 20
    result_chars: PositiveInt = 1_000_000
    door: Literal["local"] = "local"
    user: Literal["scripted"] = "scripted"

    @model_validator(mode="after")
    def _fits_its_limits(self) -> BfclConfig:
        if self.max_turn_calls > self.max_replies:
            raise ValueError(f"max_turn_calls={self.max_turn_calls} is more than max_replies={self.max_replies}")
        return self


class BfclConversation(Conversation):
    """A task being played: no clock is told, and no effects of tools are declared."""

    def __init__(self, item: BfclItem, config: BfclConfig, session: BfclSession) -> None:
        super().__init__(item.record, config, session, item.shelf)
        self._turn_calls = config.max_turn_calls

    def opening(self) -> tuple[Message, ...]:
        """What the agent is told first."""
        shape, schemas = self._config.schemas, self.shelf.schemas
        lines = ["You help a user by calling tools."]
        if shape != "none":
            lines += ["Your tools:", describe(list(self.visible.values()), schemas, shape), self.how.manual]
        first = user_message(self.record.turns[0].user, (), schemas, shape)
        return Message("system", "\n".join([*lines, _RULES])), first

    def _evidence(self, *args: Any, **kwargs: Any) -> CallEvidence:
        return super()._evidence(*args, **kwargs).model_copy(update={"writes": None})

    def _stop_if_over(self, step: StepEvidence) -> None:
        super()._stop_if_over(step)
        replies = sum(bool(each.calls) for each in self.steps if each.turn == step.turn)
        if not self.stop and replies > self._turn_calls:
            self.stop = "turn_limit"


class BfclEnv(ToolEnv):
    """One BFCL task after another; settings as in `BfclConfig`.

    Everything is as in `ToolEnv`, with the outcome of a turn decided by BFCL's own checkers: 1.0 if the state and the
    responses are valid, or, where the turn has no ground truth, if nothing was called; else 0.0. The reset option
    `task` is the package's id of a task, and so is `info["task_id"]`.

    Raises: ConfigError "missing_bfcl" naming the command if bfcl-eval is not installed; else as `ToolEnv`.
    """

    def __init__(self, *, render_mode: str | None = None, **settings: Any) -> None:
        # Not the base's, which opens the tasks of our own servers.
        config = BfclConfig(**settings)
        if render_mode not in (None, *METADATA["render_modes"]):
            raise ConfigError("render_mode", f'render_mode={render_mode!r}; use "ansi" or None')
        self.config: BfclConfig = config
        self.render_mode = render_mode
        self.max_steps = config.max_replies
        self.observation_space, self.action_space = FreeText(), FreeText()
        self._how = call_format(config.call_format)
        self._tasks = open_bfcl(config.tasks, config.servers, config.mixed)
        self._root: int | None = None
        self._episode = 0
        self._task: ToolTask | None = None
        self._session = None
        self._talk: Conversation | None = None
        self._replies: list[str] = []
        self._observation = ""
        self._listed = (None, [])

    def _start(self, task: ToolTask) -> tuple[Message, ...]:
        self.close()
        item = task if isinstance(task, BfclItem) else self._item(task)
        session = BfclSession(item.task)
        self._talk = BfclConversation(item, self.config, session)
        self._task, self._session, self._replies = item, session, []
        return self._talk.opening()

    def _item(self, task: ToolTask) -> BfclItem:
        """The task of a record from elsewhere, a snapshot's say. Raises: TaskError "other_world"."""
        found = self._tasks.find(str(task.record.meta.get("bfcl")))
        if not isinstance(found, BfclItem) or found.line != task.line:
            raise TaskError("other_world", f"record {task.record.id} is no task of {self._tasks.origin} as it is here")
        return found

    def _commands(self) -> list[str]:
        """Words that end the turn: what a call does is not declared, so none is offered."""
        return [REPLIES["act"]]

    def plan(self, rng: np.random.Generator | None = None) -> list[str] | None:
        """The gold replies that are left, as in `ToolEnv`: a call each, but all at once where a turn has too many."""
        talk, _ = self._current()
        course, schemas = talk.course, talk.shelf.schemas
        if course.lost or talk.over:
            return [] if talk.over else None
        replies: list[str] = []
        for number, turn in enumerate(talk.record.turns[course.turn :]):
            calls = [AskedCall(gold.tool, dict(gold.arguments)) for gold in turn.gold[0 if number else course.done :]]
            together = len(turn.gold) > self.config.max_turn_calls
            replies += [self._how.write(each, schemas) for each in ([calls] if together else [[c] for c in calls])]
            replies.append(turn.reply or REPLIES[turn.kind])
        return replies

    def __deepcopy__(self, memo: dict[int, Any]) -> BfclEnv:
        twin = BfclEnv(render_mode=self.render_mode, **self.config.model_dump())
        memo[id(self)] = twin
        twin.spec = self.spec
        twin.action_space, twin.observation_space = copy.deepcopy((self.action_space, self.observation_space), memo)
        if self._talk is not None:
            twin.restore(self.snapshot())
        return twin
