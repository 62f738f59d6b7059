"""The one list of tool servers. Names and tool counts: arXiv 2606.03892 table 2; the split of each count is ours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Final

from palaestra.mcp_servers.errors import ConfigError, nearest
from palaestra.mcp_servers.framework.server import ToolServer


@dataclass(frozen=True, slots=True)
class Entry:
    """How many tools a server has: in all, and of those generated, hand-written READs and domain verbs."""

    category: str
    generated: int
    queries: int
    verbs: int

    @property
    def tools(self) -> int:
        """The total."""
        return self.generated + self.queries + self.verbs


CATALOG: Final[dict[str, Entry]] = {
    "banking": Entry("finance", 7, 2, 8),
    "trading": Entry("finance", 4, 2, 7),
    "payments": Entry("finance", 4, 1, 5),
    "calendar": Entry("productivity", 7, 2, 8),
    "email": Entry("productivity", 7, 2, 8),
    "filesystem": Entry("productivity", 4, 14, 22),
    "shopping": Entry("commerce", 9, 4, 10),
    "marketplace": Entry("commerce", 5, 2, 6),
    "retail_chain": Entry("commerce", 4, 2, 5),
    "travel_booking": Entry("travel", 6, 5, 9),
    "maps": Entry("travel", 4, 7, 5),
    "social_media": Entry("social", 6, 2, 7),
    "team_chat": Entry("social", 4, 2, 5),
    "iot_devices": Entry("iot", 10, 3, 12),
    "vehicle": Entry("iot", 2, 6, 12),
    "crm": Entry("knowledge", 8, 2, 6),
    "issue_tracker": Entry("knowledge", 8, 2, 10),
    "budget": Entry("lifestyle", 6, 2, 4),
    "food_delivery": Entry("lifestyle", 5, 4, 8),
    "video_meeting": Entry("lifestyle", 4, 1, 5),
}


@cache
def load_server(name: str) -> ToolServer:
    """A server by name, imported at its first use. Raises: ConfigError "unknown_server" naming the nearest."""
    if name not in CATALOG:
        raise ConfigError("unknown_server", f"no server {name!r}; {nearest(name, CATALOG)}")
    server: ToolServer = import_module(f"palaestra.mcp_servers.{name}").SERVER
    return server


def load_servers() -> list[ToolServer]:
    """Every server, in catalog order."""
    return [load_server(name) for name in CATALOG]
