"""The uniform policy: any admissible action, from a stream of its own per episode."""

from __future__ import annotations

import numpy as np

from palaestra.agents.policies.base import TurnRequest
from palaestra.agents.policies.solo import SoloPolicy, pick
from palaestra.envs.core.text.protocol import TextProtocol
from palaestra.mcp_servers.framework.sources import stream


class RandomPolicy(SoloPolicy):
    """Draws uniformly from the admissible actions.

    Each episode has the stream (seed, "random_policy", episode id): what it draws depends neither on its neighbours
    in the batch nor on when it runs.

    Raises inside an episode: RolloutError "no_actions" if the environment lists none.
    """

    def __init__(self, seed: int, protocol: TextProtocol | None = None) -> None:
        super().__init__(protocol)
        self._seed = seed
        self._streams: dict[str, np.random.Generator] = {}

    def choose(self, request: TurnRequest) -> str:
        """A uniform draw."""
        rng = self._streams.get(request.episode)
        if rng is None:
            rng = self._streams[request.episode] = stream(self._seed, "random_policy", request.episode)
        return pick(rng, request.admissible)

    def close_episode(self, episode: str) -> None:
        """Drop the episode's stream."""
        self._streams.pop(episode, None)
