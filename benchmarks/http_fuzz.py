"""Raw bytes at a real HTTP door in a process of its own: broken HTTP, headers, JSON and messages, huge and deep.

Counted is what must not happen: an answer 5xx, a request that is neither answered nor refused by closing, a process
that ends. The memory of the process is read before and after.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import httpx2
import numpy as np

from palaestra.benchmarks.harness import count_result
from palaestra.mcp_servers.framework.sources import stream
from palaestra.mcp_servers.transports.service import Service

INPUTS: Final = 100_000
QUICK: Final = 2_000
DEADLINE_S: Final = 20.0
TARGET_GROWTH: Final = 0.10
IN_FLIGHT: Final = 32
PATIENCE_S: Final = 0.5

SERVERS: Final = ("banking", "calendar")
_HANDLE: Final = b"A" * 43
_SESSION: Final = "0" * 32
"""Stand for a real handle and a real session id of the same lengths."""
_META: Final = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "fuzz", "version": "1"},
}
_ODD: Final[tuple[Any, ...]] = (
    None, True, 0, -1, 1.5, 10**30, "", "x", "\x00", "\ud800", [], {}, [[]], {"": None}, "a" * 10_000, {"_meta": {}},
    float("nan"), "tools/call", "2025-11-25", {"x": {"y": {"z": [1, {}]}}},
)  # fmt: skip
_METHODS: Final = (
    *("tools/call",) * 8, "tools/list", "tools/list", "initialize", "ping", "server/discover", "resources/read",
    "prompts/get",
    "notifications/initialized", "notifications/cancelled", "logging/setLevel", "subscriptions/listen", "nope", "",
    "completion/complete",
)  # fmt: skip
_VERSIONS: Final = ("2026-07-28", "2025-11-25", "2025-06-18", "2024-11-05", "", "1999-01-01", "x" * 300, None)
Picked = TypeVar("Picked")
_PATHS: Final = ("/mcp", "/mcp/banking", "/metrics", "/healthz", "/", "/mcp/", "/mcp?palaestra_episode=x", "/%00", "*")


def run(quick: bool, seed: int) -> dict[str, Any]:
    """How many of the inputs broke the door."""
    with Service(SERVERS, options=["--legacy-sessions", "--signed-urls"]) as service:
        found = asyncio.run(attack(service, QUICK if quick else INPUTS, seed))
        ended = service.process.poll() is not None
        noise = service.said()
    broken = found["broken"] + int(ended) + int(found["growth"] > TARGET_GROWTH)
    details = {**found, "ended": ended, "tracebacks": noise.count("Traceback"), "growth_target": TARGET_GROWTH}
    return count_result("http_fuzz", broken, "inputs that broke the door", seed, details)


async def attack(service: Service, inputs: int, seed: int) -> dict[str, Any]:
    """Send the inputs, some at a time, and say what came back."""
    async with service.control() as control:
        handle = (await control.open(seed=seed)).handle
    await _send_all(service, handle, min(inputs, 1_000), seed + 1)  # whatever is built once is built now
    before = resident_kib(service.process.pid)
    statuses, broken = await _send_all(service, handle, inputs, seed)
    after = resident_kib(service.process.pid)
    return {
        "inputs": inputs, "broken": len(broken), "first": broken[:5], "statuses": dict(sorted(statuses.items())),
        "resident_kib": [before, after], "growth": after / before - 1,
    }  # fmt: skip


async def _send_all(service: Service, handle: str, inputs: int, seed: int) -> tuple[Counter[str], list[str]]:
    address = urlsplit(service.url)
    statuses: Counter[str] = Counter()
    broken: list[str] = []
    source = enumerate(make_inputs(inputs, seed))
    session = _SESSION

    async def work() -> None:
        nonlocal session
        for number, data in source:
            if number % 100 == 0:
                await end_session(http, service.url, session)
                session = await open_session(http, service.url)
            real = data.replace(_HANDLE, handle.encode()).replace(_SESSION.encode(), session.encode())
            status, opened = await _send(str(address.hostname), int(address.port or 0), real)
            statuses[status] += 1
            if opened is not None and opened != session:
                await end_session(
                    http, service.url, opened
                )  # what stays open is no leak, but it is no input's memory either
            if status.startswith("5") or status == "silence":
                broken.append(f"{number} {status}: {data[:200]!r}")

    async with httpx2.AsyncClient() as http:
        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    return statuses, broken


async def end_session(http: httpx2.AsyncClient, url: str, session: str) -> None:
    """End a session of the door or of one server's."""
    for path in ("", f"/{SERVERS[0]}"):
        await http.delete(url + path, headers={"mcp-session-id": session})


async def open_session(http: httpx2.AsyncClient, url: str) -> str:
    """A 2025-11-25 session's id."""
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "fuzz", "version": "1"}}
    opening = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    answer = await http.post(url, json=opening, headers={"accept": "application/json, text/event-stream"})
    return str(answer.headers["mcp-session-id"])


def make_inputs(count: int, seed: int) -> Iterator[bytes]:
    """Whole connections' worth of bytes; a function of the seed."""
    rng = stream(seed, "http-fuzz")
    kinds = (_message, _mangled, _framing, _garbage, _huge)
    weights = (0.55, 0.25, 0.12, 0.07, 0.01)
    for kind in rng.choice(len(kinds), count, p=weights):
        yield kinds[kind](rng)


def _pick(rng: np.random.Generator, options: Sequence[Picked]) -> Picked:
    return options[int(rng.integers(len(options)))]


def _request(rng: np.random.Generator, body: bytes, method: str = "POST", extra: tuple[str, ...] = ()) -> bytes:
    """A request with plausible headers; `extra` replaces none of them."""
    version = _pick(rng, _VERSIONS[:2] if rng.random() < 0.7 else _VERSIONS)
    lines = [f"{method} {_pick(rng, _PATHS[:2] if rng.random() < 0.8 else _PATHS)} HTTP/1.1", "Host: localhost"]
    lines += ["Accept: application/json, text/event-stream"] if rng.random() < 0.9 else ["Accept: text/html"]
    lines += ["Content-Type: application/json"] if rng.random() < 0.9 else ["Content-Type: text/plain"]
    lines += [] if version is None else [f"mcp-protocol-version: {version}"]
    lines += [f"mcp-session-id: {_pick(rng, (_SESSION, _SESSION, 'x', chr(228)))}"] if rng.random() < 0.5 else []
    lines += [f"x-palaestra-episode: {_pick(rng, ('A' * 43, '', 'x' * 5000))}"] if rng.random() < 0.5 else []
    lines += [*extra, f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def _message(rng: np.random.Generator) -> bytes:
    """A protocol message in which some parts are replaced by something else."""
    method = _pick(rng, _METHODS)
    params: dict[str, Any] = {
        "name": _pick(rng, ("list_bills", "nope", "")), "arguments": {"limit": 3}, "_meta": dict(_META),
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "fuzz", "version": "1"},
    }  # fmt: skip
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    for target in (message, params, params["_meta"]):
        for key in list(target):
            chance = rng.random()
            if chance < 0.03:
                target[key] = _pick(rng, _ODD)
            elif chance < 0.045:
                del target[key]
    body: Any = [message, message] if rng.random() < 0.03 else message
    extra = (f"mcp-method: {method}", f"mcp-name: {params.get('name') if rng.random() < 0.9 else 'x'}")
    safe = tuple(line for line in extra if line.isascii() and line.isprintable())
    return _request(rng, json.dumps(body).encode(), _pick(rng, ("POST",) * 8 + ("GET", "DELETE")), safe)


def _mangled(rng: np.random.Generator) -> bytes:
    """A message with bytes changed, dropped or doubled, in its body or anywhere."""
    whole = bytearray(_message(rng))
    start = 0 if rng.random() < 0.5 else whole.find(b"\r\n\r\n") + 4
    for _ in range(int(rng.integers(1, 8))):
        at = int(rng.integers(start, max(start + 1, len(whole))))
        whole[at : at + int(rng.integers(0, 3))] = rng.integers(
            0, 256, int(rng.integers(0, 4)), dtype=np.uint8
        ).tobytes()
    return bytes(whole)


def _framing(rng: np.random.Generator) -> bytes:
    """Lengths, encodings and methods that contradict each other."""
    body = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    line = _pick(
        rng,
        ("Content-Length: 99999999999999999999", "Content-Length: -1", "Content-Length: 5", "Content-Length: x",
         "Transfer-Encoding: chunked", "Transfer-Encoding: chunked, gzip", "Expect: 100-continue", "Upgrade: websocket",
         "Host: other", "Host: ", "Content-Encoding: gzip", "X: " + "y" * 100_000, "Range: bytes=0-", ":", " folded"),
    )  # fmt: skip
    method = _pick(
        rng, ("POST", "GET", "DELETE", "PUT", "PATCH", "OPTIONS", "HEAD", "TRACE", "CONNECT", "get", "X" * 999)
    )
    head = f"{method} {_pick(rng, _PATHS)} HTTP/{_pick(rng, ('1.1', '1.0', '2.0', '0.9', 'x'))}\r\nHost: localhost\r\n"
    chunks = _pick(rng, (body, b"3\r\nabc\r\n0\r\n\r\n", b"ffffffffffffffff\r\n", b"zz\r\n", b"", b"0\r\n\r\n"))
    return f"{head}{line}\r\nConnection: close\r\n\r\n".encode() + chunks


def _garbage(rng: np.random.Generator) -> bytes:
    return _noise(rng, 400)


def _noise(rng: np.random.Generator, most: int) -> bytes:
    return bytes(rng.integers(0, 256, int(rng.integers(most)), dtype=np.uint8))


def _huge(rng: np.random.Generator) -> bytes:
    """Bodies that are too large or too deep."""
    kind = int(rng.integers(4))
    body = (b"[" * 200_000, b'{"a":' * 200_000, b'"' + b"x" * 5_000_000 + b'"', b"1" * 100_000)[kind]
    if kind == 2 and rng.random() < 0.5:
        return _request(rng, b"", extra=("Transfer-Encoding: chunked",))[:-4] + b"\r\n\r\n4c4b40\r\n" + body[:5_000_000]
    return _request(rng, body)


async def _send(host: str, port: int, data: bytes) -> tuple[str, str | None]:
    """The status of the answer, "closed" if the door hung up, "silence" if neither in time; and a session's id."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            return await _exchange(host, port, data)
    except TimeoutError:
        return "silence", None


async def _exchange(host: str, port: int, data: bytes) -> tuple[str, str | None]:
    reader, writer = await asyncio.open_connection(host, port)
    answer = b""
    try:
        writer.write(data)
        try:
            answer = await asyncio.wait_for(reader.read(4096), PATIENCE_S)  # of a stream, the beginning
        except TimeoutError:
            writer.write_eof()  # half a request: now it is all that will come
            answer = await reader.read(4096)
    except (ConnectionError, OSError):
        pass
    finally:
        writer.close()
    status = re.match(rb"HTTP/1\.[01] (\d{3})", answer)
    opened = re.search(rb"\r\nmcp-session-id: ([0-9a-f]{32})\r\n", answer)
    return status[1].decode() if status else "closed", None if opened is None else opened[1].decode()


def resident_kib(pid: int) -> int:
    """Memory of a process in KiB."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text("ascii"))
    return int(found[1]) if found else 0
