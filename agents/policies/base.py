"""The policy protocol: a batch of turns in, a batch of replies out.

A policy never sees the environment's hidden state unless it is an expert and says so. Batching is the caller's
business (`agents/rollout.py`); a policy answers all requests of a call together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium

from palaestra.agents.types import Completion, RolloutFailure
from palaestra.envs.core.text.prompt import Message

__all__ = ["Message", "Policy", "TurnReply", "TurnRequest"]


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """One episode waiting for its next action.

    Attributes:
        episode: rollout id: key of the random stream and of the KV session.
        turn: 0-based.
        messages: what is new for the model. If `fresh` they are the whole context; otherwise they extend the
            transcript of this episode's earlier turns.
        observation, admissible: the bare world text and the actions it lists (for scripted policies).
        env: the live environment; only experts look at it.
    """

    episode: str
    turn: int
    messages: tuple[Message, ...]
    fresh: bool
    observation: str
    admissible: tuple[str, ...]
    env: gymnasium.Env[Any, Any]


@dataclass(frozen=True, slots=True)
class TurnReply:
    """A policy's answer: the raw response text, and the tokens it was made of if a model wrote it."""

    text: str
    completion: Completion | None = None
    context_full: bool = False


class Policy(Protocol):
    """What a rollout needs of an agent."""

    def act(self, requests: Sequence[TurnRequest]) -> Sequence[TurnReply | RolloutFailure]:
        """Answer every request, in order; a failure of one never fails its neighbours."""
        ...

    def close_episode(self, episode: str) -> None:
        """Forget an episode that ended (frees its KV); unknown ids are ignored."""
        ...
