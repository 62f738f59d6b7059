"""The session's one tool service, for properties of the door."""

from __future__ import annotations

from tests.mcp_servers.transports.conftest import service

__all__ = ["service"]
