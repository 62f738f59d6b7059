"""Malformed calls of every tool: each must be refused by type and change nothing.

Variants start from calls the tool understands and spoil them once or more: extra, missing and NUL keys, null, wrong
types, NaN, infinity, 10^30, lone surrogates, texts too long, nesting too deep.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from palaestra.benchmarks.harness import count_result
from palaestra.benchmarks.tool_scripts import good_calls, unlimited
from palaestra.mcp_servers.catalog import load_servers
from palaestra.mcp_servers.framework.conformance import malformed
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.faults import FaultCode
from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.mcp_servers.framework.sources import stream
from palaestra.mcp_servers.framework.spec import ToolSpec


def spoiled(spec: ToolSpec, arguments: dict[str, Any], seed: int) -> Iterator[object]:
    """Malformed variants without end: first spoiled once, then two of those in one call and unknown keys besides."""
    once = list(malformed(spec, arguments))
    yield from once
    rng = stream(seed, "spoil", spec.name)
    calls = [variant for variant in once if isinstance(variant, dict)]
    while True:
        first, second = (calls[int(rng.integers(len(calls)))] for _ in range(2))
        differing = {key: value for key, value in second.items() if arguments.get(key, _ABSENT) is not value}
        strange = "".join(rng.choice(list("abc_.$ \u00e9\u9580\n"), int(rng.integers(1, 12))).tolist())
        yield {**first, **differing, f"?{strange}": rng.choice([0, 1]).item()}


_ABSENT = object()


def count_mistakes(per_tool: int, seed: int, servers: Sequence[ToolServer] = ()) -> dict[str, Any]:
    """Calls that were accepted, refused as something else than malformed, or changed the state."""
    codes: dict[str, int] = {}
    changed = calls = 0
    with unlimited(servers or load_servers()) as store:
        known = good_calls(store, seed)
        missing = [name for server in store.servers.values() for name in server.tools if name not in known]
        for spec, script, at in known.values():
            handle, episode = store.open([spec.server], seed=seed)
            before = episode.full_digest()
            for variant in islice(spoiled(spec, script.operations[at][1], seed), per_tool):
                fault = dispatch(episode, spec.name, variant).fault
                code = "accepted" if fault is None else fault.code.value
                codes[code] = codes.get(code, 0) + 1
                calls += 1
            changed += episode.full_digest() != before
            store.end(handle)
    wrong = sum(count for code, count in codes.items() if code != FaultCode.INVALID_ARGUMENTS)
    return {"mistakes": wrong + changed + len(missing), "calls": calls, "tools": len(known), "answers": codes}


def run(quick: bool, seed: int) -> dict[str, Any]:
    """20 calls of every tool if quick, otherwise 1,000 (some ten CPU-seconds)."""
    found = count_mistakes(20 if quick else 1_000, seed)
    return count_result("tool-malformed", found.pop("mistakes"), "calls not refused as malformed", seed, found)
