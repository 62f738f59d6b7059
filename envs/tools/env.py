"""Tool use as a Gymnasium environment: conversations with a user, scripted or a model, over live tool servers.

>>> import gymnasium, palaestra
>>> env = gymnasium.make("palaestra/Tools-Banking-v0", tasks="chains")
>>> observation, info = env.reset(seed=3)
>>> [message["role"] for message in info["messages"]], info["won"]
(['system', 'user'], False)
>>> for reply in env.unwrapped.plan():
...     observation, reward, terminated, truncated, info = env.step(reply)
>>> terminated, reward, info["score"], info["stop"]
(True, 1.0, 1.0, 'done')
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded

from palaestra.envs.core.errors import ConfigError, TaskError
from palaestra.envs.core.text.prompt import Message
from palaestra.envs.core.types import ActionStatus, canonical_json
from palaestra.envs.tools.calls import AskedCall
from palaestra.envs.tools.config import ToolConfig
from palaestra.envs.tools.conversation import Conversation
from palaestra.envs.tools.dataset import ToolTask, open_tasks, select
from palaestra.envs.tools.evidence import EVIDENCE_KEY, RECORD_KEY
from palaestra.envs.tools.formats import call_format
from palaestra.envs.tools.plan import REPLIES
from palaestra.envs.tools.records import TaskRecord
from palaestra.envs.tools.schemas import function_of
from palaestra.envs.tools.worlds import Session, open_session
from palaestra.mcp_servers.errors import ToolError
from palaestra.mcp_servers.framework.spec import Effect, ToolSpec

if TYPE_CHECKING:
    from palaestra.envs.tools.synthesis.llm_rewording import Rewording, Words

METADATA: Final[dict[str, Any]] = {
    "render_modes": ["ansi"],
    "world_name": "Tools",
    "legend": "",
    "actions": (),
    "any_text": True,
}
MAX_TEXT: Final = 1 << 22


class FreeText(spaces.Text):
    """Any string up to a length, whatever its characters; samples are short and printable."""

    def __init__(self) -> None:
        super().__init__(max_length=256, min_length=0)

    def contains(self, x: Any) -> bool:
        """Whether it is a string that is not too long."""
        return isinstance(x, str) and len(x) <= MAX_TEXT


class ToolEnv(gymnasium.Env[str, str]):
    """One conversation after another; settings as in `ToolConfig`.

    An action is the model's whole reply, an observation the text of what is new; `info["messages"]` holds the same as
    chat messages and `info["tools"]`, with `schemas="none"`, the tools as function dictionaries. `terminated` when the
    conversation is done, with reward 1.0 if every turn came out exactly, else 0.0; `truncated` at a limit, or when the
    tool servers are lost: then `info["lost"]` says how, and the reward means nothing. Reset options: `index` (number
    of the task in its split), `split`, `task` (a record's id). A task drawn without options is a function of the last
    seed and the number of resets since. With a model as user, its words are got at the reset, and `info["user_kept"]`
    counts the turns in which the record's own stand because the model's did not say what they had to.

    Raises: ConfigError for settings; TaskError for reset options, for a broken file, and for a record made for another
        world or other tools; ToolError if no episode can be opened; gymnasium's ResetNeeded for a step after the end;
        at a reset with a model as user also as `Rewording.words`: the budget, the key, the endpoint.
    """

    metadata: ClassVar[dict[str, Any]] = METADATA  # type: ignore[misc]
    _user: Rewording | None = None
    _words: Words | None = None

    def __init__(self, *, render_mode: str | None = None, **settings: Any) -> None:
        self.config = ToolConfig(**settings)
        if render_mode not in (None, *METADATA["render_modes"]):
            raise ConfigError("render_mode", f'render_mode={render_mode!r}; use "ansi" or None')
        self.render_mode = render_mode
        self.max_steps = self.config.max_replies
        self.observation_space, self.action_space = FreeText(), FreeText()
        self._how = call_format(self.config.call_format)
        self._user = None if self.config.user == "scripted" else _model(self.config.user)
        self._tasks = open_tasks(self.config)
        self._root: int | None = None
        self._episode = 0
        self._task: ToolTask | None = None
        self._session: Session | None = None
        self._talk: Conversation | None = None
        self._replies: list[str] = []
        self._observation = ""
        self._listed: tuple[Mapping[str, ToolSpec] | None, list[str]] = (None, [])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start the next conversation; see the class for the options."""
        super().reset(seed=seed)
        if seed is not None or self._root is None:
            self._root, self._episode = int(self.np_random.integers(1 << 63)), 0
        task, _ = select(self._tasks, self.config.split, options, self._root, self._episode)
        self._episode += 1
        self._words = None if self._user is None else self._user.words(task.record)
        messages = self._start(task)
        info = self._see(messages) | {RECORD_KEY: task.line}
        if self.config.schemas == "none":
            info["tools"] = self._functions()
        return self._observation, info

    def _start(self, task: ToolTask) -> tuple[Message, ...]:
        self.close()
        session = open_session(task.record, self.config.door)
        try:
            self._talk = Conversation(
                task.record, self.config, session, task.shelf, None if self._words is None else self._words.texts
            )
        except BaseException:
            session.close()
            raise
        self._task, self._session, self._replies = task, session, []
        return self._talk.opening()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Take one reply, whatever it says."""
        talk = self._live()
        turn = talk.turn
        self._replies.append(action)
        heard = talk.hear(action)
        info = self._see(heard.messages)
        info[EVIDENCE_KEY] = heard.evidence.to_json()
        info["action_status"] = heard.status.value
        info["action_valid"] = heard.status is ActionStatus.OK
        info["action_admissible"] = heard.status in (ActionStatus.OK, ActionStatus.EMPTY_ACTION)
        if heard.evidence.lost is not None:
            info["lost"] = heard.evidence.lost
        if self.config.schemas == "none" and talk.turn != turn and talk.shelf.added(talk.turn):
            info["tools"] = self._functions()
        done = talk.stop == "done"
        return self._observation, float(talk.won), done, talk.over and not done, info

    def _see(self, messages: Sequence[Message]) -> dict[str, Any]:
        """The observation and what every step's `info` has."""
        talk, task = self._current()
        self._observation = "\n".join(message.content for message in messages)
        info: dict[str, Any] = {
            "won": talk.won,
            "score": talk.score,
            "admissible_commands": [] if talk.over else self._commands(),
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "task": talk.told[0],
            "task_id": task.id,
            "task_type": "+".join(sorted(task.servers)),
            "split": talk.record.split,
            "step": talk.replies,
            "turn": talk.turn,
            "calls": talk.calls,
            "stop": talk.stop,
            "anchor": self._observation,
            "state_key": self._state_key(),
        }
        if self._words is not None:
            info["user_kept"] = self._words.kept
        if self.config.oracle_info:
            info["oracle_distance"] = self.distance()
        return info

    def _current(self) -> tuple[Conversation, ToolTask]:
        if self._talk is None or self._task is None:
            raise ResetNeeded("there is no conversation yet; call reset() first")
        return self._talk, self._task

    def _live(self) -> Conversation:
        if self._talk is None or self._talk.over:
            raise ResetNeeded("the conversation is over (or none was started); call reset() before step()")
        return self._talk

    def _commands(self) -> list[str]:
        """Replies anyone could make: the calls of READs that need no arguments, and words that end the turn."""
        talk, _ = self._current()
        if self._listed[0] is not talk.visible:
            calls = [
                self._how.write([AskedCall(name, {})], talk.shelf.schemas)
                for name, spec in talk.visible.items()
                if spec.effect is Effect.READ and not talk.shelf.schemas[name].get("required")
            ]
            self._listed = talk.visible, calls
        return [*self._listed[1], REPLIES["act"]]

    def _functions(self) -> list[dict[str, Any]]:
        talk, _ = self._current()
        return [copy.deepcopy(function_of(spec, talk.shelf.schemas[name])) for name, spec in talk.visible.items()]

    def _state_key(self) -> str:
        talk, task = self._current()
        lost = talk.stop == "tool_server_lost" or self._session is None
        digests = {} if lost or self._session is None else self._digests(self._session)
        state = [task.id, talk.turn, digests, sorted(talk.knowledge)]
        return hashlib.blake2b(canonical_json(state).encode(), digest_size=8).hexdigest()

    def _digests(self, session: Session) -> dict[str, str]:
        try:
            return session.digests()
        except ToolError:
            return {}

    def plan(self, rng: np.random.Generator | None = None) -> list[str] | None:
        """The gold replies that are left, in this environment's call format; None once something went wrong."""
        talk, _ = self._current()
        return talk.plan()

    def possible(self, action: str) -> bool:
        """Whether an assistant who knows only what it was told could write this: for experts that leave steps out."""
        return self._live().grounded(action)

    def distance(self) -> float:
        """How many replies of the plan are left; 0 if it is won; inf once something went wrong or there is no room.

        A change that the plan does not make counts as the end of the way, although some can be made undone.
        """
        plan = self.plan()
        talk, _ = self._current()
        if talk.won:
            return 0.0
        lost = plan is None or talk.over or talk.replies + len(plan) > self.config.max_replies
        return math.inf if plan is None or lost else float(len(plan))

    def render(self) -> Any:
        """What is new, as text ("ansi"); None without a render mode."""
        return self._observation if self.render_mode == "ansi" else None

    def close(self) -> None:
        """End the episode of the tool servers."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def snapshot(self) -> bytes:
        """The whole state as JSON bytes: the record and the replies so far, which lead to it again anywhere."""
        talk, task = self._current()
        state = {
            "version": 1,
            "config": self.config.model_dump(mode="json"),
            "record": task.line,
            "replies": self._replies,
            "state_key": self._state_key(),
            "stop": talk.stop,
            "root": self._root,
            "episode": self._episode,
            "rng": self.np_random.bit_generator.state,
        }
        if self._words is not None:
            state["words"] = {"texts": self._words.texts, "kept": self._words.kept}
        return json.dumps(state, sort_keys=True, separators=(",", ":")).encode()

    def restore(self, snapshot: bytes) -> None:
        """Go on exactly where the snapshot was taken. Costs the calls made until then.

        Raises: TaskError "bad_snapshot" if it is none, was taken under other settings, or leads elsewhere now.
        """
        try:
            state = json.loads(snapshot)
            config, replies = dict(state["config"]), [str(reply) for reply in state["replies"]]
            record = TaskRecord.from_json(state["record"])
            kept = int(state["root"]), int(state["episode"]), str(state["state_key"]), str(state["stop"])
            rng = state["rng"]
            words = _words(state["words"], record) if "words" in state else None
        except (ValueError, KeyError, TypeError, TaskError) as error:
            raise TaskError("bad_snapshot", f"these {len(snapshot)} bytes are no snapshot: {error!r}") from error
        self._refuse_other(config)
        task = self._task if self._task is not None and self._task.line == state["record"] else ToolTask(record)
        self._words = words
        messages = self._start(task)
        talk, _ = self._current()
        for reply in replies:
            messages = talk.hear(reply).messages
            self._replies.append(reply)
        self._observation = "\n".join(message.content for message in messages)
        self._root, self._episode, key, stop = kept
        self.np_random.bit_generator.state = rng
        if (self._state_key(), talk.stop) != (key, stop):
            self.close()
            raise TaskError("bad_snapshot", f"the {len(replies)} replies of this snapshot lead to another state here")

    def _refuse_other(self, config: Mapping[str, Any]) -> None:
        mine = self.config.model_dump(mode="json")
        differing = [f"{key}={config.get(key)!r}" for key in sorted(mine) if config.get(key) != mine[key]]
        if differing:
            raise TaskError("bad_snapshot", f"this snapshot was taken with other settings: {', '.join(differing)}")

    def __deepcopy__(self, memo: dict[int, Any]) -> ToolEnv:
        twin = ToolEnv(render_mode=self.render_mode, **self.config.model_dump())
        memo[id(self)] = twin
        twin.spec = self.spec
        twin.action_space, twin.observation_space = copy.deepcopy((self.action_space, self.observation_space), memo)
        if self._talk is not None:
            twin.restore(self.snapshot())
        return twin


def _model(file: str) -> Rewording:
    from palaestra.envs.tools.synthesis.llm_rewording import Rewording  # an HTTP client, which only a model needs

    return Rewording(Path(file))


def _words(data: Mapping[str, Any], record: TaskRecord) -> Words:
    """What a snapshot says the user says. Raises: ValueError, KeyError or TypeError if it says nothing of the kind."""
    from palaestra.envs.tools.synthesis.llm_rewording import Words

    texts = tuple(str(text) for text in data["texts"])
    if len(texts) != len(record.turns):
        raise ValueError(f"{len(texts)} messages for {len(record.turns)} turns")
    return Words(texts, int(data["kept"]))
