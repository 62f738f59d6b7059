"""Prompt in, response out: a text environment as a language model sees it."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

import gymnasium
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

from palaestra.envs.core.info import merge_status
from palaestra.envs.core.text.prompt import CUT_MARK, NEUTRAL, PromptBuilder, Transcript, World, estimate_tokens
from palaestra.envs.core.text.protocol import TextProtocol

# Four characters a token is the estimate; sixteen leaves room for every language.
_CHARACTERS_PER_TOKEN = 16


class TextAgentWrapper(gymnasium.Wrapper[str, str, str, str], RecordConstructorArgs):
    """An environment whose observation is the prompt and whose action is the whole response.

    A response that cannot be read reaches the environment as `NOOP`; `info["action_status"]` says why,
    `info["action"]` holds the action that was carried out, and `info["action_failure"]` the parser's detail.
    In context "append" an observation after the first holds only what is new.

    >>> import palaestra
    >>> env = TextAgentWrapper(gymnasium.make("palaestra/Sokoban-v0"), TextProtocol(style="compact"))
    >>> observation, info = env.reset(seed=3)
    >>> _, _, _, _, info = env.step("I would rather not.")
    >>> info["action_status"], info["action"]
    ('no_action', '<noop>')
    """

    def __init__(
        self,
        env: gymnasium.Env[str, str],
        protocol: TextProtocol | None = None,
        *,
        instruction: str = "",
        count_tokens: Callable[[str], int] = estimate_tokens,
    ) -> None:
        RecordConstructorArgs.__init__(self, protocol=protocol, instruction=instruction, count_tokens=count_tokens)
        gymnasium.Wrapper.__init__(self, env)
        self.protocol = protocol or TextProtocol()
        world = World.of(env)
        self._builder = PromptBuilder(self.protocol, world, count_tokens)
        self._instruction = instruction
        self._transcript = Transcript()
        self._bare_observation = ""
        spoken = string.printable + world.name + world.legend + instruction + NEUTRAL + CUT_MARK
        charset = "".join(sorted(set(spoken) | _characters(env.observation_space)))
        self.observation_space = spaces.Text(
            max_length=_CHARACTERS_PER_TOKEN * self.protocol.prompt_tokens, min_length=0, charset=charset
        )
        self.action_space = spaces.Text(
            max_length=_CHARACTERS_PER_TOKEN * self.protocol.response_tokens, min_length=0, charset=charset
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode; the observation is the first prompt."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._transcript = Transcript(str(info.get("task", "")), self._instruction)
        return self._prompt(observation, info), info

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Read the response, carry out its action; the observation is the next prompt."""
        read = self.protocol.parse(action, self._transcript.listed or ()).action
        observation, reward, terminated, truncated, info = self.env.step(read.text)
        merge_status(read, info)
        info["action"] = read.text
        info["action_failure"] = "" if read.failure is None else read.failure.detail
        self._transcript.record(self._bare_observation, read.text)
        return self._prompt(observation, info), float(reward), terminated, truncated, info

    def _prompt(self, observation: str, info: dict[str, Any]) -> str:
        self._bare_observation = observation
        return self._builder.build(self._transcript, observation, info.get("admissible_commands", ())).text


def _characters(space: gymnasium.Space[Any]) -> set[str]:
    return set(space.characters) if isinstance(space, spaces.Text) else set()
