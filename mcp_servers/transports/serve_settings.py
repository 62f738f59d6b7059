"""What `palaestra serve` is told, and what follows from it where nothing was said."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from palaestra.mcp_servers.errors import ConfigError
from palaestra.mcp_servers.framework.leases import Limits
from palaestra.mcp_servers.framework.server import Profile
from palaestra.mcp_servers.transports.gate import is_loopback


class ServeSettings(BaseModel):
    """What to serve, to whom, and how.

    Attributes:
        servers: names; empty = all.
        tokens: principal -> bearer token.
        default_episode: one episode shared by all who name none; None = on where nobody else could be meant: over
            stdio, or on loopback with at most one token and without a control plane.
        legacy_sessions: an episode for each 2025-11-25 session over HTTP; None = on if there is no default episode.
        state: file that keeps the default episode between runs.
        control_host, control_port, control_socket: where the control plane listens; nowhere without the last two.
        with_parent: end when the process that started this one does; over stdio always.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    transport: Literal["http", "stdio"] = "http"
    servers: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = Field(8420, ge=0, le=65_535)
    tokens: dict[str, str] = Field(default_factory=dict)
    allowed_hosts: tuple[str, ...] = ()
    seed: int = 0
    profile: Profile = "default"
    default_episode: bool | None = None
    legacy_sessions: bool | None = None
    signed_urls: bool = False
    state: Path | None = None
    control_host: str = "127.0.0.1"
    control_port: int | None = Field(None, ge=0, le=65_535)
    control_socket: Path | None = None
    control_token: str = ""
    with_parent: bool = False
    log_calls: bool = True
    limits: Limits = Limits()

    @property
    def controlled(self) -> bool:
        """Whether there is a control plane."""
        return self.control_port is not None or self.control_socket is not None

    def resolved(self) -> ServeSettings:
        """The same with every choice made. Raises: ConfigError naming the settings that contradict each other."""
        if self.transport == "stdio" and (
            self.tokens or self.allowed_hosts or self.legacy_sessions or self.signed_urls
        ):
            raise ConfigError("transport", "tokens, hosts, sessions and URLs are the http transport's; leave them out")
        alone = is_loopback(self.host) and len(self.tokens) <= 1 and not self.controlled
        default = self.default_episode
        if default is None:
            default = self.state is not None or self.transport == "stdio" or alone
        legacy = self.legacy_sessions
        if legacy is None:
            legacy = not default and self.transport == "http"
        if self.state is not None and not default:
            raise ConfigError("state", "--state keeps the default episode; leave --no-default-episode out")
        if self.controlled and not self.control_token:
            raise ConfigError("control_token", "a control plane needs --control-token-file")
        if not (default or legacy or self.controlled):
            raise ConfigError(
                "no_episodes", "no client could get an episode: add --default-episode, --legacy-sessions or a control "
                "plane (--control-port or --control-socket)",
            )  # fmt: skip
        return self.model_copy(update={"default_episode": default, "legacy_sessions": legacy})
