"""Several services used as one: an episode is opened where the fewest are, and stays there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from palaestra.mcp_servers.errors import ConfigError, ToolError
from palaestra.mcp_servers.transports.control_client import ControlClient, RemoteEpisode


class ControlPool:
    """The control planes of several services with the same tool servers.

    Args:
        urls: of the control planes.
        token: of all of them.

    The least loaded is the one on which this pool has the fewest episodes open; a service that is full or gone is
    passed over. Raises: ConfigError "no_replicas" without a URL.
    """

    def __init__(self, urls: Sequence[str], token: str, **settings: Any) -> None:
        if not urls:
            raise ConfigError("no_replicas", "name at least one control plane")
        self._clients = [ControlClient(url, token, **settings) for url in urls]
        self._open: dict[ControlClient, int] = dict.fromkeys(self._clients, 0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            await client.close()

    async def open(self, servers: Sequence[str] = (), **arguments: Any) -> RemoteEpisode:
        """A new episode on the least loaded service; the arguments are `ControlClient.open`'s.

        Raises: ToolError "unavailable" if no service has room, naming what the last one said.
        """
        refused: ToolError | None = None
        for client in sorted(self._clients, key=self._open.__getitem__):
            self._open[client] += 1  # before the await, so that others who open meanwhile go elsewhere
            try:
                return await client.open(servers, **arguments)
            except ToolError as error:
                self._open[client] -= 1
                if error.code not in ("unavailable", "timeout"):
                    raise
                refused = error
            except BaseException:
                self._open[client] -= 1
                raise
        message = f"none of {len(self._clients)} services has room; the last one: {refused}"
        raise ToolError("unavailable", message, retryable=True) from refused

    async def close(self, episode: RemoteEpisode) -> None:
        """End an episode of this pool; one whose service is gone is gone, too."""
        self._open[episode.control] -= 1
        try:
            await episode.close()
        except ToolError as error:
            if error.code not in ("unavailable", "unknown_episode", "expired_episode"):
                raise

    def load(self) -> dict[str, int]:
        """How many episodes this pool has open on each service."""
        return {client.url: count for client, count in self._open.items()}
