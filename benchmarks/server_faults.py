"""Tool servers killed, hung, slowed and starved in the middle of episodes, over HTTP and stdio.

Counted is what must not happen: a call that neither returns nor raises a typed error in time, a sibling's episode on
another server that notices, a process left behind, a service that takes more than two seconds to be back.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Final

from mcp import StdioServerParameters

from palaestra.benchmarks.harness import count_result
from palaestra.mcp_servers.errors import ToolError
from palaestra.mcp_servers.transports.service import Service
from palaestra.mcp_servers.transports.wire import WireDoor, connect

FAULTS: Final = 500
QUICK: Final = 25
DEADLINE_S: Final = 0.4
HUNG_S: Final = 10.0
RECOVERY_S: Final = 2.0
SERVER: Final = "banking"
CALL: Final = "list_bank_accounts"


@dataclass
class Victim:
    """A server process with an open episode, and the way to it."""

    pid: int
    door: WireDoor
    service: Service | None = None


@dataclass
class Log:
    """What came of the faults."""

    codes: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    recovery_s: list[float] = field(default_factory=list)
    recovery_cpu_s: list[float] = field(default_factory=list)
    orphans: int = 0


def run(quick: bool, seed: int) -> dict[str, Any]:
    """How many faults were handled badly; recovery is judged by its median, for the machine may be shared."""
    log = asyncio.run(attack(QUICK if quick else FAULTS))
    median = statistics.median(log.recovery_s)
    details = {
        "faults": QUICK if quick else FAULTS, "codes": dict(sorted(log.codes.items())), "first": log.broken[:5],
        "orphans": log.orphans, "recovery_s": {"median": median, "max": max(log.recovery_s)},
        "recovery_cpu_s": {"median": statistics.median(log.recovery_cpu_s), "max": max(log.recovery_cpu_s)},
        "recovery_target_s": RECOVERY_S,
    }  # fmt: skip
    broken = len(log.broken) + log.orphans + int(median > RECOVERY_S)
    return count_result("server_faults", broken, "faults handled badly", seed, details)


async def attack(faults: int) -> Log:
    """Do every kind of fault in turn, each to a victim of its own if it does not survive."""
    log = Log()
    kinds = [(wire, kind) for kind in _KINDS for wire in (_over_http, _over_stdio)]
    kinds.remove((_over_stdio, _starve))  # one connection, made before
    with Service([SERVER]) as beside:
        async with connect(beside.url) as client, beside.control() as control:
            sibling = await control.open(ttl_s=3600)
            for number in range(faults):
                wire, kind = kinds[number % len(kinds)]
                name = f"{kind.__name__.strip('_')}{wire.__name__}"
                before = children()
                started = monotonic()
                async with wire() as victim:
                    expected_ok = await code_of(victim.door, HUNG_S)
                    log.recovery_s.append(monotonic() - started)
                    log.recovery_cpu_s.append(time.clock_gettime((~victim.pid << 3) | 2))  # all of that process's CPU
                    for code, allowed in [(expected_ok, "ok"), *await kind(victim)]:
                        log.codes[f"{name} {code}"] += 1
                        if code != allowed:
                            log.broken.append(f"{number} {name}: {code} where {allowed} was due")
                unaffected = await code_of(sibling.door(client), HUNG_S)
                if unaffected != "ok" or (await sibling.journal())[-1]["fault"] is not None:
                    log.broken.append(f"{number} {name}: the sibling got {unaffected}")
                if number % 100 == 99:
                    await sibling.reset()  # its calls are bounded
                log.orphans += len(children() - before)
    return log


async def code_of(door: WireDoor, deadline_s: float = DEADLINE_S) -> str:
    """A call's outcome: "ok", a fault's code, an error's code, "hung", or the name of an error that is not ours."""
    timed = WireDoor(door._client, door.handle, deadline_s)
    try:
        async with asyncio.timeout(HUNG_S):
            result = await timed.call(CALL, {})
    except ToolError as error:
        return error.code
    except TimeoutError:
        return "hung"
    except Exception as error:  # noqa: BLE001 - what is looked for
        return f"untyped {type(error).__name__}"
    return "ok" if result.fault is None else result.fault.code.value


@asynccontextmanager
async def _over_http() -> AsyncIterator[Victim]:
    with Service([SERVER]) as service:
        async with connect(service.url) as client, service.control() as control:
            episode = await control.open()
            yield Victim(service.process.pid, episode.door(client), service)


@asynccontextmanager
async def _over_stdio() -> AsyncIterator[Victim]:
    before = children()
    words = ["-m", "palaestra", "serve", "--transport", "stdio", "--servers", SERVER, "--quiet", "--json"]
    parameters = StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ))
    async with connect(parameters) as client:
        (pid,) = children() - before
        yield Victim(pid, WireDoor(client, None))


Fault = Callable[[Victim], Awaitable[list[tuple[str, str]]]]
"""Does something to a victim; returns what its calls got, each with what was due."""


async def _kill(victim: Victim) -> list[tuple[str, str]]:
    os.kill(victim.pid, signal.SIGKILL)
    return [(await code_of(victim.door), "unavailable"), (await code_of(victim.door), "unavailable")]


async def _kill_in_flight(victim: Victim) -> list[tuple[str, str]]:
    """While a call is waiting for its answer."""
    os.kill(victim.pid, signal.SIGSTOP)
    waiting = asyncio.ensure_future(code_of(victim.door, HUNG_S))
    await asyncio.sleep(0.02)
    os.kill(victim.pid, signal.SIGKILL)
    return [(await waiting, "unavailable"), (await code_of(victim.door), "unavailable")]


async def _hang(victim: Victim) -> list[tuple[str, str]]:
    """It takes no more notice of anything, and never ends by itself."""
    os.kill(victim.pid, signal.SIGSTOP)
    found = [(await code_of(victim.door), "timeout"), (await code_of(victim.door), "timeout")]
    os.kill(victim.pid, signal.SIGKILL)
    return [*found, (await code_of(victim.door), "unavailable")]


async def _slow(victim: Victim) -> list[tuple[str, str]]:
    """It misses one deadline and goes on."""
    os.kill(victim.pid, signal.SIGSTOP)
    late = await code_of(victim.door)
    os.kill(victim.pid, signal.SIGCONT)
    return [(late, "timeout"), (await code_of(victim.door, HUNG_S), "ok")]


async def _starve(victim: Victim) -> list[tuple[str, str]]:
    """It may open no more descriptors: nobody new gets in, who is in stays served, and it recovers."""
    assert victim.service is not None
    had = resource.prlimit(victim.pid, resource.RLIMIT_NOFILE)
    held = {int(name) for name in os.listdir(f"/proc/{victim.pid}/fd")}
    lowest_free = next(number for number in itertools.count() if number not in held)
    resource.prlimit(victim.pid, resource.RLIMIT_NOFILE, (lowest_free, had[1]))
    refused = await _newcomer(victim, DEADLINE_S)
    inside = await code_of(victim.door, HUNG_S)
    resource.prlimit(victim.pid, resource.RLIMIT_NOFILE, had)
    return [(refused, "timeout"), (inside, "ok"), (await _newcomer(victim, HUNG_S), "ok")]


async def _newcomer(victim: Victim, deadline_s: float) -> str:
    assert victim.service is not None
    try:
        async with connect(victim.service.url, deadline_s=deadline_s) as client:
            return await code_of(WireDoor(client, victim.door.handle), deadline_s)
    except ToolError as error:
        return error.code


_KINDS: Final[tuple[Fault, ...]] = (_kill, _kill_in_flight, _hang, _slow, _starve)


def children() -> set[int]:
    """Processes this one started that are still there."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        found |= {int(pid) for pid in (task / "children").read_text("ascii").split()}
    return found
