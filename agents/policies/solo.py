"""Policies that answer one request at a time: the batch, and one request's failure kept from its neighbours."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from palaestra.agents.failure import failure_of
from palaestra.agents.policies.base import TurnReply, TurnRequest
from palaestra.agents.types import RolloutFailure
from palaestra.envs.core.text.protocol import TextProtocol
from palaestra.mcp_servers.errors import PalaestraError, RolloutError, boundary


class SoloPolicy(ABC):
    """Base of policies without a model: choose one action per request, answer in the protocol's tags."""

    def __init__(self, protocol: TextProtocol | None = None) -> None:
        self.protocol = protocol or TextProtocol()

    @abstractmethod
    def choose(self, request: TurnRequest) -> str:
        """The action for one request; an exception fails that episode alone."""

    def act(self, requests: Sequence[TurnRequest]) -> list[TurnReply | RolloutFailure]:
        """Answer every request, in order."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: TurnRequest) -> TurnReply | RolloutFailure:
        try:
            with boundary("policy_failed", RolloutError):
                return TurnReply(self.respond(request))
        except PalaestraError as error:
            return failure_of("policy", error)

    def respond(self, request: TurnRequest) -> str:
        """The whole response for one request."""
        return self.protocol.answer(self.choose(request), request.admissible)

    @abstractmethod
    def close_episode(self, episode: str) -> None:
        """Forget an episode."""


def pick(rng: np.random.Generator, admissible: Sequence[str]) -> str:
    """One of the admissible actions, uniformly.

    Raises:
        RolloutError "no_actions": the environment lists none.
    """
    if not admissible:
        raise RolloutError("no_actions", "the environment lists no admissible action to choose from")
    return admissible[int(rng.integers(len(admissible)))]
