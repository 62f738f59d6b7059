"""What an operator sees: Prometheus metrics, and logs as one JSON object per line. No handle, no text of a caller's."""

from __future__ import annotations

import json
import logging
import sys
from typing import Final, TextIO

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from palaestra.mcp_servers.framework.episodes import EpisodeStore
from palaestra.mcp_servers.framework.mcp_adapter import Seen
from palaestra.mcp_servers.framework.sources import timestamp
from palaestra.mcp_servers.framework.tokens import redact

CALLS: Final = logging.getLogger("palaestra.calls")
_BUCKETS: Final = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


class Metrics:
    """The metrics of one store's door. Labels are names of our own servers, effects and fault codes: bounded."""

    def __init__(self, store: EpisodeStore) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)  # memory, CPU time, descriptors
        self._calls = Counter(
            "palaestra_calls", "Tool calls by what came of them.", ("server", "effect", "code"), registry=self._registry
        )
        self._seconds = Histogram(
            "palaestra_call_seconds", "Time in the dispatch door.", ("server", "effect"), buckets=_BUCKETS,
            registry=self._registry,
        )  # fmt: skip
        episodes = Gauge("palaestra_open_episodes", "Episodes open now.", registry=self._registry)
        episodes.set_function(lambda: len(store))

    def count(self, seen: Seen) -> None:
        """Count one call; some 3 us."""
        server, effect = ("", "") if seen.spec is None else (seen.spec.server, seen.spec.effect.value)
        self._calls.labels(server, effect, seen.code).inc()
        self._seconds.labels(server, effect).observe(seen.seconds)

    def count_and_log(self, seen: Seen) -> None:
        """Count one call and log it."""
        self.count(seen)
        log_call(seen)

    async def answer(self, _: Request) -> Response:
        """The metrics in Prometheus' text format."""
        return Response(generate_latest(self._registry), media_type="text/plain; version=0.0.4")


def log_call(seen: Seen) -> None:
    """One line per call: who, what, what came of it, how long."""
    if CALLS.isEnabledFor(logging.INFO):
        server, tool = ("", "") if seen.spec is None else (seen.spec.server, seen.spec.name)
        call = {
            "principal": seen.principal, "server": server, "tool": tool, "code": seen.code,
            "ms": round(seen.seconds * 1000, 3),
        }  # fmt: skip
        CALLS.info("call", extra={"call": call})


class JsonLines(logging.Formatter):
    """Every record as one JSON object on one line, with everything blotted out that could open an episode."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields = {
            "time": timestamp(lambda: record.created), "level": record.levelname.lower(), "logger": record.name,
            "message": record.getMessage(), **getattr(record, "call", {}),
        }  # fmt: skip
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return redact(json.dumps(fields))


def log_to(stream: TextIO = sys.stderr, *, calls: bool = True) -> None:
    """Send this process's logs there: calls if wanted, warnings of the libraries, nothing twice."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    CALLS.setLevel(logging.INFO if calls else logging.WARNING)
