"""Tool episodes that differ when their calls are made again: `python -m palaestra.benchmarks.tool_replay`.

Every story and chain of every server is told on many seeds. The calls are made again on databases that other episodes
used before, and in a second process with another hash seed. Every result and the state at the end must be equal.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

from palaestra.benchmarks.harness import count_result
from palaestra.benchmarks.tool_scripts import Script, perform, record, unlimited
from palaestra.mcp_servers.catalog import load_servers
from palaestra.mcp_servers.errors import ToolError
from palaestra.mcp_servers.framework.episodes import EpisodeStore


def recordings(store: EpisodeStore, first_seed: int) -> Iterator[Script]:
    """Episodes without end: all stories and chains on one seed, then on the next."""
    for seed in count(first_seed):
        for server in store.servers.values():
            for story in (*server.stories, *server.chains):
                yield record(store, server.name, story, seed)


def differs(store: EpisodeStore, script: Script) -> bool:
    """Whether the calls of a recording give anything else now."""
    handle, episode = store.open([script.server], seed=script.seed)
    digests = tuple(perform(episode, operation) for operation in script.operations)
    same = (digests, episode.digest(), episode.full_digest()) == (script.digests, script.goal, script.final)
    store.end(handle)
    return not same


def count_differing(episodes: int, seed: int) -> dict[str, Any]:
    """Recorded episodes that differ on used databases, or in another process."""
    with unlimited(load_servers()) as store, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scripts.jsonl"
        here = calls = 0
        with file.open("w", encoding="utf-8") as lines:
            for script in islice(recordings(store, seed), episodes):
                here += differs(store, script)
                calls += script.calls
                fields = [script.server, script.seed, script.operations, script.digests, script.goal, script.final]
                lines.write(json.dumps(fields) + "\n")
        elsewhere = _in_another_process(file)
    return {"differing": here + elsewhere, "episodes": episodes, "calls": calls}


def _in_another_process(file: Path) -> int:
    other_hashes = "1" if os.environ.get("PYTHONHASHSEED") == "2" else "2"
    done = subprocess.run(
        [sys.executable, "-m", "palaestra.benchmarks.tool_replay", str(file)],
        env={**os.environ, "PYTHONHASHSEED": other_hashes}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise ToolError("replay", f"the second process failed: {done.stderr.strip()[-400:]}")
    return int(done.stdout)


def replay_file(file: Path) -> int:
    """The second process: how many recordings of a file differ here."""
    with unlimited(load_servers()) as store, file.open(encoding="utf-8") as lines:
        return sum(differs(store, _read(line)) for line in lines)


def _read(line: str) -> Script:
    server, seed, operations, digests, goal, final = json.loads(line)
    return Script(server, seed, tuple((tool, arguments) for tool, arguments in operations), tuple(digests), goal, final)


def run(quick: bool, seed: int) -> dict[str, Any]:
    """200 episodes if quick, otherwise 10,000 (some three CPU-minutes)."""
    found = count_differing(200 if quick else 10_000, seed)
    return count_result("tool-replay", found.pop("differing"), "episodes that differ", seed, found)


if __name__ == "__main__":
    print(replay_file(Path(sys.argv[1])))
