"""Driving a remote service: open episodes there, call their tools, read what a reward needs. The other end of
`control_app.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx2
from mcp import Client

from palaestra.mcp_servers.errors import ConfigError, ToolError
from palaestra.mcp_servers.framework.episodes import REFERENCE_TIME
from palaestra.mcp_servers.transports.wire import DEADLINE_S, WireDoor

UNIX: Final = "unix:"


class ControlClient:
    """A connection to one service's control plane.

    Args:
        url: `http://127.0.0.1:9000`, or `unix:/run/palaestra.sock`.
        token: of the control plane.
        deadline_s: per operation.

    Raises, from every operation: ConfigError and ToolError as the service raised them; ToolError "unavailable" if it
    cannot be reached, "timeout" past the deadline, "bad_result" if something else answers.
    """

    def __init__(self, url: str, token: str, *, deadline_s: float = DEADLINE_S) -> None:
        path = url.removeprefix(UNIX) if url.startswith(UNIX) else None
        if path is None and urlsplit(url).scheme not in ("http", "https"):
            raise ConfigError("control_url", f"{url!r} is no control plane; write http://HOST:PORT or unix:PATH")
        self.url = url
        self._deadline_s = deadline_s
        self._http = httpx2.AsyncClient(
            base_url=url if path is None else "http://localhost",
            headers={"authorization": f"Bearer {token}"},
            transport=httpx2.AsyncHTTPTransport(uds=path, limits=httpx2.Limits(max_connections=64)),
            timeout=deadline_s,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; episodes stay open until they are closed or their leases run out."""
        await self._http.aclose()

    async def open(
        self, servers: Sequence[str] = (), *, seed: int = 0, profile: str = "default",
        reference_time: int = REFERENCE_TIME, visible_tools: Sequence[str] | None = None, ttl_s: float | None = None,
        principal: str = "",
    ) -> RemoteEpisode:  # fmt: skip
        """A new episode; the arguments are those of `EpisodeStore.open`.

        Raises: as the class; ToolError "unavailable" at capacity.
        """
        opened = await self.run(
            "open", servers=list(servers), seed=seed, profile=profile, reference_time=reference_time,
            visible_tools=None if visible_tools is None else list(visible_tools), ttl_s=ttl_s, principal=principal,
        )  # fmt: skip
        return self._episode(opened, principal)

    def _episode(self, opened: dict[str, Any], principal: str) -> RemoteEpisode:
        return RemoteEpisode(
            self, opened["endpoint"], opened["handle"], opened["episode"], tuple(opened["servers"]), principal
        )

    async def stats(self) -> dict[str, Any]:
        """How many episodes are open there, which servers it has, and its limits."""
        return await self.run("stats")

    async def run(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """One operation by name."""
        try:
            answer = await self._http.post(f"/control/{operation}", json=arguments)
            found = answer.json()
        except httpx2.TimeoutException as error:
            message = f"{self.url} did not answer {operation} within {self._deadline_s} s"
            raise ToolError("timeout", message, retryable=True) from error
        except httpx2.HTTPError as error:
            raise ToolError("unavailable", f"{self.url} cannot be reached: {error!r}", retryable=True) from error
        except json.JSONDecodeError as error:
            message = f"{self.url} answered {answer.status_code} {answer.text[:80]!r}"
            raise ToolError("bad_result", f"{message}; not a control plane, or a wrong token") from error
        if answer.is_success and isinstance(found, dict):
            return found
        raise _error_of(found)


def _error_of(found: Any) -> ConfigError | ToolError:
    """The error of an answer, as the service raised it."""
    error = found.get("error") if isinstance(found, dict) else None
    if not isinstance(error, dict) or not {"type", "code", "message", "retryable"} <= error.keys():
        return ToolError("bad_result", f"not an answer of a control plane: {str(found)[:200]}")
    kind = ConfigError if error["type"] == "ConfigError" else ToolError
    return kind(str(error["code"]), str(error["message"]), retryable=bool(error["retryable"]))


@dataclass(frozen=True, repr=False)
class RemoteEpisode:
    """An episode in another process. Its repr shows its name, not its handle.

    Attributes:
        control: of the service that has it; state lives in one process, so an episode never moves.
        endpoint: URL where its tools are called.
        handle: opens it for its principal; keep it out of logs.
        episode_id: its name in logs and records.
    """

    control: ControlClient
    endpoint: str
    handle: str
    episode_id: str
    servers: tuple[str, ...]
    principal: str

    def __repr__(self) -> str:
        return f"RemoteEpisode({self.episode_id} at {self.control.url})"

    def door(self, client: Client, deadline_s: float = DEADLINE_S) -> WireDoor:
        """Its tools, called through a client that is connected to its endpoint; one client serves many episodes."""
        return WireDoor(client, self.handle, deadline_s)

    async def reset(self) -> None:
        """Back to the seed; its snapshots are forgotten."""
        await self._run("reset")

    async def fork(self, snapshot: str | None = None) -> RemoteEpisode:
        """A new episode that continues from a snapshot, or from now."""
        return self.control._episode(await self._run("fork", snapshot=snapshot), self.principal)

    async def snapshot(self) -> str:
        """Keep the state; returns the snapshot's name. Raises: ToolError "quota"."""
        return str((await self._run("snapshot"))["snapshot"])

    async def restore(self, snapshot: str) -> None:
        """Back to a snapshot; later ones are forgotten. Raises: ToolError "unknown_snapshot"."""
        await self._run("restore", snapshot=snapshot)

    async def digest(self) -> str:
        """The goal digest over all servers."""
        return str((await self._run("digest"))["digest"])

    async def digests(self) -> dict[str, str]:
        """The goal digest of every server."""
        return dict((await self._run("digest"))["servers"])

    async def full_digest(self) -> str:
        """The full digest: clocks and id counters included."""
        return str((await self._run("digest", full=True))["full"])

    async def changes(self) -> dict[str, list[dict[str, Any]]]:
        """Per used server, what differs from the seed: entity, key, and the row or None if it is gone."""
        return dict((await self._run("changes"))["changes"])

    async def journal(self, since: int = 0) -> list[dict[str, Any]]:
        """What was called, from one call on."""
        return list((await self._run("journal", since=since))["calls"])

    async def begin_turn(self, turn: int) -> None:
        """Say which turn the following calls belong to."""
        await self._run("begin_turn", turn=turn)

    async def set_visible_tools(self, names: Sequence[str] | None) -> None:
        """Show only these tools from now on; None shows all."""
        await self._run("set_visible_tools", names=None if names is None else list(names))

    async def advance_clock(self, seconds: int) -> None:
        """Let time pass on every server."""
        await self._run("advance_clock", seconds=seconds)

    async def renew(self) -> float:
        """Start the lease anew, as every operation does; returns its length in seconds."""
        return float((await self._run("renew"))["ttl_s"])

    async def sign_url(self, expires_s: float = 3600.0) -> str:
        """A URL of this episode for clients that can send neither `_meta` nor headers."""
        return str((await self._run("sign_url", expires_s=expires_s))["url"])

    async def close(self) -> None:
        """End it."""
        await self._run("close")

    async def _run(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return await self.control.run(operation, handle=self.handle, principal=self.principal, **arguments)
