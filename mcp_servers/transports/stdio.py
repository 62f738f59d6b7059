"""The stdio door: one process, one client, which is the parent. It ends when its input does.

python -m palaestra.mcp_servers.transports.stdio --servers banking,calendar --seed 7
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import anyio
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from palaestra.mcp_servers.catalog import CATALOG, load_server
from palaestra.mcp_servers.framework.episodes import EpisodeStore
from palaestra.mcp_servers.framework.mcp_adapter import build_protocol_server


async def serve_stdio(server: Server[dict[str, Any]]) -> None:
    """Serve one connection over this process's standard input and output until the input ends."""
    async with stdio_server() as (read_stream, write_stream):
        await server.run(read_stream, write_stream, server.create_initialization_options())


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve one default episode, shared by every call that names no other."""
    parser = argparse.ArgumentParser(prog="palaestra.mcp_servers.transports.stdio", description=main.__doc__)
    parser.add_argument("--servers", default=",".join(CATALOG), help="names, separated by commas")
    parser.add_argument("--seed", type=int, default=0, help="of the episode")
    options = parser.parse_args(arguments)
    with EpisodeStore([load_server(name) for name in options.servers.split(",")]) as store:
        handle, _ = store.open(seed=options.seed)
        anyio.run(serve_stdio, build_protocol_server(store, default_handle=handle))


if __name__ == "__main__":
    main()
