"""The errors a user of the environment layer meets."""

from palaestra.mcp_servers.errors import ConfigError, PalaestraError, TaskError, boundary, nearest

__all__ = ["ConfigError", "PalaestraError", "TaskError", "boundary", "nearest"]
