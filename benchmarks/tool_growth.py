"""What tool servers and their episodes cost as they grow: memory, and CPU time per call, by world and by episodes.

Every figure is taken in a process of its own, so that nothing measured before weighs in. A call is a read or a write
out of one server's stories; episodes that are open at once take turns, so that none stays in the processor's caches.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from palaestra.benchmarks.harness import result, with_rows
from palaestra.mcp_servers.catalog import CATALOG, load_server, load_servers
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import REFERENCE_TIME, Episode, EpisodeStore
from palaestra.mcp_servers.framework.images import build_image
from palaestra.mcp_servers.framework.server import PROFILES, Profile
from palaestra.mcp_servers.framework.stories import Teller

SERVERS_TARGET_MB: Final = 150.0
EPISODES_TARGET_MB: Final = 1_536.0
IN_USE: Final = ("banking", "calendar", "email")
LIVE: Final = (1, 16, 64, 256, 1024)


def run(quick: bool, seed: int) -> dict[str, Any]:
    """Resident memory of all servers in one process, and of 1,024 episodes that use three each; growth in details."""
    live = LIVE[:3] if quick else LIVE
    servers = _in_process("servers", seed)
    episodes = [_in_process("episodes", seed, str(count)) for count in live]
    worlds = [_in_process("world", seed, profile) for profile in PROFILES]
    rss = float(servers["rss_mb"])
    shared: dict[str, Any] = {"unit": "MB", "peer": None, "seeds": [seed]}
    full = live[-1] == LIVE[-1]
    return with_rows(
        [
            result("tool-servers-rss", _one(rss), target=SERVERS_TARGET_MB, details=servers, **shared),
            result(
                "tool-episodes-rss", _one(float(episodes[-1]["rss_mb"])),
                target=EPISODES_TARGET_MB if full else None,
                details={"in_use": IN_USE, "by_live_episodes": episodes, "by_world": worlds}, **shared,
            ),
        ]
    )  # fmt: skip


def _one(value: float) -> dict[str, float]:
    return {"median": value, "min": value, "max": value}


def _in_process(what: str, seed: int, *more: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "palaestra.benchmarks.tool_growth", what, str(seed), *more]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def _rss_mb() -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1000


def _servers(seed: int) -> dict[str, Any]:
    """Every server loaded, with one episode that has used each of them."""
    started = time.process_time()
    with EpisodeStore(load_servers()) as store:
        loaded = _rss_mb()
        cpu = time.process_time() - started
        _, episode = store.open(seed=seed)
        episode.full_digest()
        return {
            "servers": len(store.servers), "tools": len(episode.tools), "load_cpu_s": cpu, "rss_before_use_mb": loaded,
            "rss_mb": _rss_mb(),
        }  # fmt: skip


def _episodes(seed: int, count: int) -> dict[str, Any]:
    """So many episodes open at once, each with three servers in use; then every story's first calls, taking turns."""
    names = [name for name in IN_USE if name in CATALOG]
    with EpisodeStore([load_server(name) for name in names]) as store:
        script = [call for name in names for call in _script(store, name, seed)][:60]
        store.open(seed=seed)[1].full_digest()
        before = _rss_mb()
        episodes = [store.open(seed=seed)[1] for _ in range(count)]
        for episode in episodes:
            for name in names:
                episode.state(name).total_changes  # noqa: B018 - forks it
            _play(episode, script[:1])
        cpu, calls = _taking_turns(episodes, script, at_least=2_000)
        used = _rss_mb()
        return {
            "episodes": count, "rss_mb": used, "mb_per_episode": (used - before) / count,
            "us_per_call": cpu / calls * 1e6, "calls": calls,
        }  # fmt: skip


def _world(seed: int, profile: Profile) -> dict[str, Any]:
    """Rows, bytes, and CPU time of building, forking and calling, for every server at one size of its world."""
    found = {}
    for name in CATALOG:
        server = load_server(name)
        started = time.process_time()
        image = build_image(server, seed, profile, REFERENCE_TIME)
        built = time.process_time() - started
        with EpisodeStore([server], resting=0) as store:
            script = _script(store, name, seed)
            calls_cpu = calls = 0.0
            started = time.process_time()
            episodes = [store.open(seed=seed, profile=profile)[1] for _ in range(8)]
            for episode in episodes:
                dispatch(episode, *script[0])
            opened = time.process_time() - started
            for _ in range(5):
                for episode in episodes:
                    episode.reset()
                cpu, made = _taking_turns(episodes, script, at_least=0)
                calls_cpu, calls = calls_cpu + cpu, calls + made
        found[name] = {
            "rows": image.rows, "bytes": len(image.content), "build_ms": built * 1e3,
            "open_and_first_call_us": opened / len(episodes) * 1e6, "us_per_call": calls_cpu / calls * 1e6,
        }  # fmt: skip
    return {"profile": profile, "servers": found}


def _script(store: EpisodeStore, server: str, seed: int) -> list[tuple[str, dict[str, Any]]]:
    """The calls of a server's first story."""
    handle, episode = store.open([server], seed=seed)
    teller = Teller(episode, server)
    store.servers[server].stories[0](teller)
    store.end(handle)
    return [(told.tool, told.arguments) for told in teller.told]


def _play(episode: Episode, script: list[tuple[str, dict[str, Any]]]) -> None:
    for tool, arguments in script:
        dispatch(episode, tool, arguments)


def _taking_turns(
    episodes: list[Episode], script: list[tuple[str, dict[str, Any]]], at_least: int
) -> tuple[float, int]:
    """CPU seconds and number of calls: every episode makes the first call, then every episode the second, ..."""
    calls = 0
    started = time.process_time()
    while True:
        for tool, arguments in script:
            for episode in episodes:
                dispatch(episode, tool, arguments)
            calls += len(episodes)
        if calls >= at_least:
            return time.process_time() - started, calls
        for episode in episodes:
            episode.journal.rewind(0)


def plot(found: dict[str, Any], path: Path) -> None:
    """Draw the growth: calls by world and by live episodes, memory by live episodes."""
    from matplotlib.figure import Figure

    details = found["rows"][1]["details"]
    figure = Figure(figsize=(12, 4), layout="constrained")
    world, call, memory = figure.subplots(1, 3, width_ratios=(2, 1, 1))
    for name in details["by_world"][0]["servers"]:
        points = [by["servers"][name] for by in details["by_world"]]
        world.plot([p["rows"] for p in points], [p["us_per_call"] for p in points], marker="o", ms=3, lw=1)
        last = points[-1]
        world.annotate(name, (last["rows"], last["us_per_call"]), (4, 0), textcoords="offset points", fontsize=6)
    world.set(xscale="log", yscale="log", xlabel="rows in the world", ylabel="CPU per call, µs", title="by world")
    live = details["by_live_episodes"]
    counts = [by["episodes"] for by in live]
    call.plot(counts, [by["us_per_call"] for by in live], marker="o")
    call.set(xscale="log", xlabel="live episodes", ylabel="CPU per call, µs", title="by live episodes")
    call.set_ylim(bottom=0)
    memory.plot(counts, [by["rss_mb"] for by in live], marker="o")
    memory.set_ylim(bottom=0)
    memory.set(xlabel="live episodes, 3 servers each", ylabel="MB", title="resident memory")
    for axes in (world, call, memory):
        axes.grid(alpha=0.3, which="both")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=100)


def main(arguments: list[str]) -> None:
    """Measure one thing and print it as JSON."""
    what, seed, *more = arguments
    match what:
        case "servers":
            found = _servers(int(seed))
        case "episodes":
            found = _episodes(int(seed), int(more[0]))
        case _:
            found = _world(int(seed), next(profile for profile in PROFILES if profile == more[0]))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
