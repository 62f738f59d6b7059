"""R3: whatever bytes it gets, the HTTP door answers below 500 or hangs up, stays up, and keeps its size."""

from __future__ import annotations

import asyncio
import json
import socket
from urllib.parse import urlsplit

import httpx2
import pytest

from palaestra.benchmarks.http_fuzz import QUICK, TARGET_GROWTH, attack, make_inputs, open_session
from palaestra.mcp_servers.transports.service import Service
from tests.requirements.ledger import requirement


@requirement("R3")
def test_two_thousand_hostile_inputs_break_nothing() -> None:
    with Service(["banking", "calendar"], options=["--legacy-sessions", "--signed-urls"]) as service:
        found = asyncio.run(attack(service, QUICK, seed=1))
        assert found["first"] == []
        assert service.process.poll() is None
        assert "Traceback" not in service.said()
        assert httpx2.get(service.url.replace("/mcp", "/healthz")).text == "ok"
    # The inputs are no good if they never get past the first check.
    assert {"200", "202", "400", "404", "405", "406", "413"} <= set(found["statuses"])
    assert found["growth"] < TARGET_GROWTH, found["resident_kib"]


@requirement("R3")
def test_inputs_are_a_function_of_the_seed() -> None:
    assert list(make_inputs(50, 1)) == list(make_inputs(50, 1)) != list(make_inputs(50, 2))


@requirement("R3")
@pytest.mark.parametrize("version", ["2026-07-28", "2025-11-25"])
def test_large_and_deep_bodies_are_refused_by_size_and_by_parser(service: Service, version: str) -> None:
    headers = {
        "accept": "application/json, text/event-stream", "content-type": "application/json",
        "mcp-protocol-version": version,
    }  # fmt: skip
    with httpx2.Client(headers=headers) as http:
        for body, status in (
            (b"[" * 200_000 + b"]" * 200_000, 400), (b'{"a":' * 200_000 + b"1" + b"}" * 200_000, 400),
            (b'"' + b"x" * 4_194_303 + b'"', 413), (json.dumps("x" * 4_000_000).encode(), 400), (b"9" * 100_000, 400),
        ):  # fmt: skip
            assert http.post(service.url, content=body).status_code == status
            assert http.post(service.url, content=iter([body])).status_code == status  # without a length


@requirement("R3")
def test_a_session_that_ends_under_its_requests_answers_404() -> None:
    async def race(url: str) -> set[int]:
        call = {"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "list_bills", "arguments": {}}}
        async with httpx2.AsyncClient(headers={"accept": "application/json, text/event-stream"}) as http:
            seen = set()
            for _ in range(30):
                session = {"mcp-session-id": await open_session(http, url)}
                requests = [http.post(url, json={**call, "id": number}, headers=session) for number in range(6)]
                requests.insert(3, http.delete(url, headers=session))
                seen |= {answer.status_code for answer in await asyncio.gather(*requests)}
            return seen

    with Service(["banking"], options=["--legacy-sessions"]) as service:
        assert asyncio.run(race(service.url)) == {200, 404}
        assert "Traceback" not in service.said()


@requirement("R3")
def test_half_a_request_is_given_up(service: Service) -> None:
    """A client that stops in the middle of its headers is not waited for; others are served meanwhile."""
    address = urlsplit(service.url)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=15) as slow:
        slow.sendall(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        assert httpx2.get(service.url.replace("/mcp", "/healthz")).text == "ok"
        assert slow.recv(100) == b""
