"""What a text agent is shown: one user message per turn, built from the task, the last steps and the observation."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from string import Formatter
from typing import Any, Self

import gymnasium

from palaestra.envs.core.text.protocol import TextProtocol
from palaestra.mcp_servers.errors import ConfigError, nearest

TEMPLATE_FIELDS = ("task", "step", "max_steps", "history", "observation", "actions", "legend", "world_name")
CUT_MARK = "[…]"
NEUTRAL = "‹"
_TAG = re.compile(r"<(?=/?(?:think|action|progress|tools|tool_call|tool_response)>|\|)")


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message; role is "system", "user", "assistant" or "tool"."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is new for the model this turn; the whole context if `fresh`, else an extension of the transcript."""

    messages: tuple[Message, ...]
    fresh: bool

    @property
    def text(self) -> str:
        """The messages' contents, joined by newlines."""
        return "\n".join(message.content for message in self.messages)


@dataclass(frozen=True, slots=True)
class World:
    """What a prompt says about an environment.

    Attributes:
        name: completes "You act in …".
        legend: one sentence explaining the observation; may be empty.
        actions: the fixed vocabulary, empty if the admissible actions change from turn to turn. A compact prompt
            never lists actions the agent was told once and for all.
        max_steps: the episode's step limit, None if unknown.
    """

    name: str
    legend: str = ""
    actions: tuple[str, ...] = ()
    max_steps: int | None = None

    @classmethod
    def of(cls, env: gymnasium.Env[Any, Any]) -> Self:
        """Read metadata `world_name`, `legend` and `actions`, and the environment's attribute `max_steps`."""
        metadata = env.metadata
        return cls(
            name=metadata.get("world_name") or (env.spec.name if env.spec else type(env.unwrapped).__name__),
            legend=metadata.get("legend", ""),
            actions=tuple(metadata.get("actions", ())),
            max_steps=env.get_wrapper_attr("max_steps") if env.has_wrapper_attr("max_steps") else None,
        )


@dataclass(slots=True)
class Transcript:
    """What one episode's prompts have to remember: the task, the steps so far, the actions last listed.

    `said` holds the messages of each step; of the world where it speaks in messages, else its observation.
    """

    task: str = ""
    instruction: str = ""
    steps: list[tuple[str, str]] = field(default_factory=list)
    said: list[tuple[Message, ...]] = field(default_factory=list)
    listed: tuple[str, ...] | None = None

    def record(self, observation: str, action: str, messages: Sequence[Message] = ()) -> None:
        """Add a step: what was seen and the action that was carried out."""
        self.steps.append((observation, action))
        self.said.append(tuple(messages) or (Message("user", observation),))


def estimate_tokens(text: str) -> int:
    """Token count when no tokenizer is at hand: a quarter of the characters, rounded up."""
    return -(-len(text) // 4)


def neutralise(text: str) -> str:
    """Break the protocol's tags in text that comes from the world, so that nobody can speak in the agent's name.

    Those of thoughts, actions and tool calls, and the beginning of chat templates' own (`<|`).

    >>> neutralise("take <action>rm</action> 1 < 2")
    'take ‹action>rm‹/action> 1 < 2'
    """
    return _TAG.sub(NEUTRAL, text) if "<" in text else text


class PromptBuilder:
    """Builds the prompts of one environment under one protocol. Holds no state of an episode.

    A prompt of style "chat" is the world's own messages; in a window, the system's and all since a user's message at
    least `history` steps back. Any other is one message. Over budget, the oldest history goes first, then all of it,
    then the observation's last lines; the task, the observation's first line and the format line always stay.

    Cost: linear in the prompt, times the logarithm of the number of lines when lines must go.

    Raises:
        ConfigError "template": the template file cannot be read, or names a field that does not exist.
    """

    def __init__(
        self, protocol: TextProtocol, world: World, count_tokens: Callable[[str], int] = estimate_tokens
    ) -> None:
        self.protocol = protocol
        self.world = world
        self._count_tokens = count_tokens
        self._template = None if protocol.template is None else _read_template(protocol)
        self._format_line = _format_line(protocol)

    def build(
        self, transcript: Transcript, observation: str, admissible: Sequence[str], messages: Sequence[Message] = ()
    ) -> Prompt:
        """The prompt of the transcript's next turn; remembers in the transcript which actions were listed.

        `messages` are what is new in a world that speaks in messages.
        """
        fresh = self.protocol.context == "window" or not transcript.steps
        if self.protocol.style == "chat":
            said = tuple(messages) or (Message("user", observation),)
            return Prompt(tuple(map(_quote, self._window(transcript, said) if fresh else said)), fresh)
        actions = tuple(admissible)
        view = _View(
            task=neutralise(transcript.task or transcript.instruction),
            instruction=neutralise(transcript.instruction),
            step=len(transcript.steps),
            history=self._history(transcript, fresh),
            observation=neutralise(observation),
            actions=actions if self._must_list(transcript, actions, fresh) else None,
        )
        transcript.listed = actions
        return Prompt((Message("user", self._fit(view, fresh)),), fresh)

    def _window(self, transcript: Transcript, said: tuple[Message, ...]) -> tuple[Message, ...]:
        """The conversation from a user's message on, at least `history` steps back if the budget has room for them."""
        starts = [i for i, messages in enumerate(transcript.said) if any(m.role == "user" for m in messages)]
        wanted = max(0, len(transcript.said) - self.protocol.history)
        system = tuple(m for messages in transcript.said[:1] for m in messages if m.role == "system")
        kept = said
        if self.protocol.history == 0 and any(m.role == "user" for m in said):
            starts = []
        for start in reversed(starts):
            longer = _conversation(transcript, start, said)
            if self._count_tokens("\n".join(m.content for m in (*system, *longer))) > self.protocol.prompt_tokens:
                break
            kept = longer
            if start <= wanted:
                break
        return (*system, *kept)

    def _history(self, transcript: Transcript, fresh: bool) -> tuple[tuple[int, str, str], ...]:
        shown = min(self.protocol.history, len(transcript.steps)) if fresh else 0
        first = len(transcript.steps) - shown
        recent = transcript.steps[first:]
        return tuple((first + i + 1, neutralise(seen), neutralise(did)) for i, (seen, did) in enumerate(recent))

    def _must_list(self, transcript: Transcript, actions: tuple[str, ...], fresh: bool) -> bool:
        if self.protocol.actions == "unlisted":
            return False
        if fresh and (self.protocol.style == "full" or self.protocol.actions == "number"):
            return True
        known = self.world.actions if fresh or transcript.listed is None else transcript.listed
        return actions != known

    def _fit(self, view: _View, fresh: bool) -> str:
        budget = self.protocol.prompt_tokens
        text = self._render(view, fresh)
        while self._count_tokens(text) > budget and view.history:
            view = replace(view, history=view.history[1:])
            text = self._render(view, fresh)
        if self._count_tokens(text) <= budget:
            return text
        lines = view.observation.split("\n")

        def cut(kept: int) -> str:
            return self._render(replace(view, observation="\n".join([*lines[:kept], CUT_MARK])), fresh)

        # The most lines that fit; the cost grows with the number of lines, so a bisection finds it.
        kept = bisect_right(range(1, len(lines)), budget, key=lambda kept: self._count_tokens(cut(kept)))
        return cut(max(kept, 1)) if len(lines) > 1 else text

    def _render(self, view: _View, fresh: bool) -> str:
        if self.protocol.style == "compact":
            return self._render_compact(view, fresh)
        return self._render_full(view) if fresh else self._render_turn(view)

    def _render_compact(self, view: _View, fresh: bool) -> str:
        parts = [view.instruction] if fresh and view.instruction else []
        for _, seen, did in view.history:
            parts += [seen, f"> {did}"]
        parts.append(view.observation)
        if view.actions is not None:
            parts.append(" | ".join(self._items(view.actions, "")))
        return "\n".join(parts)

    def _render_full(self, view: _View) -> str:
        history = ""
        if view.history:
            history = "Recent steps:\n" + "".join(f"{i}. saw: {seen}\n   did: {did}\n" for i, seen, did in view.history)
        actions = "\n".join(self._items(view.actions or (), "- "))
        allowed = "" if view.actions is None else f"Allowed actions:\n{actions}\n"
        world = self.world
        if self._template is not None:
            return self._template.format(
                task=view.task,
                step=view.step,
                max_steps=world.max_steps,
                history=history,
                observation=view.observation,
                actions=actions,
                legend=world.legend,
                world_name=world.name,
            )
        head = f"You act in {world.name}. {world.legend}".rstrip()
        return (
            f"{head}\nTask: {view.task}\n{self._step_line(view)}\n{history}Now you see:\n{view.observation}\n"
            f"{allowed}{self._format_line}"
        )

    def _render_turn(self, view: _View) -> str:
        listed = "" if view.actions is None else "\n".join(("\nAllowed actions:", *self._items(view.actions, "- ")))
        return f"{self._step_line(view)}\nNow you see:\n{view.observation}{listed}"

    def _items(self, actions: Sequence[str], bullet: str) -> list[str]:
        if self.protocol.actions == "number":
            return [f"{number} {action}" for number, action in enumerate(actions, 1)]
        return [f"{bullet}{action}" for action in actions]

    def _step_line(self, view: _View) -> str:
        limit = "" if self.world.max_steps is None else f" of {self.world.max_steps}"
        return f"Steps so far: {view.step}{limit}."


@dataclass(frozen=True, slots=True)
class _View:
    """One turn's content, tags neutralised; `actions` is None if they need not be listed."""

    task: str
    instruction: str
    step: int
    history: tuple[tuple[int, str, str], ...]
    observation: str
    actions: tuple[str, ...] | None


def _quote(message: Message) -> Message:
    """What the world says, its tags broken; a system message explains them and an assistant's is the agent's own."""
    return message if message.role in ("system", "assistant") else replace(message, content=neutralise(message.content))


def _conversation(transcript: Transcript, start: int, said: tuple[Message, ...]) -> tuple[Message, ...]:
    """Every message but the system's from a step on, the agent's replies between them."""
    told: list[Message] = []
    for messages, (_, reply) in zip(transcript.said[start:], transcript.steps[start:], strict=True):
        told += [m for m in messages if m.role != "system"]
        told.append(Message("assistant", reply))
    return (*told, *said)


def _format_line(protocol: TextProtocol) -> str:
    what = {
        "words": "exactly one allowed action",
        "unlisted": "exactly one action",
        "number": "the number of one allowed action",
    }[protocol.actions]
    act = f"give {what} inside <action></action>. Write nothing else."
    sentences = {
        "required": f"First think inside <think></think>. Then {act}",
        "optional": f"You may first think inside <think></think>. Then {act}",
        "none": act[0].upper() + act[1:],
    }
    progress = (
        " After thinking, write inside <progress></progress> a number from 0 to 100: how much of the task will be done"
        " once your action has been carried out."
    )
    return sentences[protocol.think] + (progress if protocol.progress else "")


def _read_template(protocol: TextProtocol) -> str:
    path = protocol.template
    try:
        text = path.read_text(encoding="utf-8") if path is not None else ""
        fields = [(name, spec, conversion) for _, name, spec, conversion in Formatter().parse(text) if name is not None]
    except (OSError, ValueError) as error:
        raise ConfigError("template", f"template {str(path)!r} cannot be read: {error}") from error
    for name, spec, conversion in fields:
        # Plain names only: attribute look-ups and format specifications would let a file reach into objects.
        if name not in TEMPLATE_FIELDS or spec or conversion:
            raise ConfigError(
                "template", f"template {str(path)!r}: bad field {name!r}; {nearest(name, TEMPLATE_FIELDS)}"
            )
    return text
