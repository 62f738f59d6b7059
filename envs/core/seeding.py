"""Named random streams, tied to Gymnasium's `seed=`.

An environment owns one root seed per episode; every consumer inside takes a stream of its own by name. Nothing
touches the global generators of `random` or NumPy.
"""

from palaestra.mcp_servers.framework.sources import IdSource, derive_seed, stream

__all__ = ["IdSource", "derive_seed", "stream"]
