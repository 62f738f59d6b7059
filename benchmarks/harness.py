"""What every benchmark shares: the facts of the machine, rates per CPU-second, and the shape of a result."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def machine_facts() -> dict[str, Any]:
    """CPU model, cores usable by this process, memory, versions and platform; neither names nor paths of the host."""
    return {
        "cpu": _first_line("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": _memory_gib(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
    }


def _first_line(path: str, key: str) -> str:
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _memory_gib() -> float | None:
    total = _first_line("/proc/meminfo", "MemTotal").removesuffix(" kB")
    return round(int(total) / 2**20, 1) if total.isdigit() else None


def cpu_rate(fn: Callable[[], int], repeats: int = 7) -> dict[str, float]:
    """Operations per CPU-second of this process, all threads counted: median, min and max over the repeats.

    Args:
        fn: does some work and returns the number of operations it did; called once more beforehand, to warm up.
        repeats: measurements.
    """
    fn()
    rates = []
    for _ in range(repeats):
        started = time.process_time()
        done = fn()
        rates.append(done / max(time.process_time() - started, 1e-9))
    return {"median": statistics.median(rates), "min": min(rates), "max": max(rates)}


def result(
    name: str,
    rate: Mapping[str, float],
    unit: str,
    *,
    target: float | None,
    peer: tuple[str, Mapping[str, float]] | None,
    seeds: Sequence[int],
    details: Mapping[str, Any],
) -> dict[str, Any]:
    """One JSON-ready benchmark result; ratio = ours over the peer's, measured in the same run."""
    return {
        "name": name,
        "value": rate["median"],
        "unit": unit,
        "target": target,
        "peer": None if peer is None else {"name": peer[0], "value": peer[1]["median"], "unit": unit},
        "ratio": None if peer is None else rate["median"] / peer[1]["median"],
        "machine": machine_facts(),
        "seeds": list(seeds),
        "details": {"spread": dict(rate), "peer_spread": None if peer is None else dict(peer[1]), **details},
    }


def with_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A result that measures several things: the first row's, with all of them under `rows`."""
    return {**rows[0], "rows": [dict(row) for row in rows]}


def count_result(name: str, count: int, unit: str, seed: int, details: Mapping[str, Any]) -> dict[str, Any]:
    """The result of counting what must not happen; the target is none."""
    return {
        "name": name, "value": count, "unit": unit, "target": 0, "peer": None, "ratio": None,
        "machine": machine_facts(), "seeds": [seed], "details": dict(details),
    }  # fmt: skip
