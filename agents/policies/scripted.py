"""A policy that follows a script: a list of actions, or any function of the request."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from palaestra.agents.policies.base import TurnRequest
from palaestra.agents.policies.solo import SoloPolicy
from palaestra.envs.core.text.protocol import TextProtocol
from palaestra.mcp_servers.errors import RolloutError

Script = Callable[[TurnRequest], str]


class ScriptedPolicy(SoloPolicy):
    """Plays the n-th action of a list in turn n of every episode, or whatever the function returns.

    Actions are wrapped in the protocol's tags; with `raw` they are sent as they are, malformed ones included. A list
    that is exhausted, or a function that raises, ends that episode alone.
    """

    def __init__(
        self, script: Sequence[str] | Script, protocol: TextProtocol | None = None, *, raw: bool = False
    ) -> None:
        super().__init__(protocol)
        self._script = script if callable(script) else _play(tuple(script))
        self._raw = raw

    def choose(self, request: TurnRequest) -> str:
        """The script's action for this request."""
        return self._script(request)

    def respond(self, request: TurnRequest) -> str:
        """The script's action, in tags unless `raw`."""
        return self.choose(request) if self._raw else super().respond(request)

    def close_episode(self, episode: str) -> None:
        """Nothing is remembered of an episode."""


def _play(actions: tuple[str, ...]) -> Script:
    def script(request: TurnRequest) -> str:
        if request.turn >= len(actions):
            raise RolloutError(
                "script_exhausted", f"the script has {len(actions)} actions, turn {request.turn} needs more"
            )
        return actions[request.turn]

    return script
