"""R5: every combination of Host and Origin, on every route of both listeners, over real sockets."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from itertools import product
from typing import Final

import pytest

from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.framework.control import ControlPlane
from palaestra.mcp_servers.framework.episodes import EpisodeStore
from palaestra.mcp_servers.transports.control_app import build_control_app
from palaestra.mcp_servers.transports.gate import LOCAL_HOSTS
from palaestra.mcp_servers.transports.http import HttpSettings, build_http_app
from tests.mcp_servers.transports.conftest import ALICE, Run, run
from tests.requirements.ledger import requirement

__all__ = ["run"]  # the fixture

SERVICE_NAMES: Final = ("tools", "tools-banking")
"""Names that containers of a compose file call each other by."""
GOOD_HOSTS = [form for name in (*LOCAL_HOSTS, *SERVICE_NAMES) for form in (name, f"{name}:8420", f"{name}:1")]
BAD_HOSTS = [
    "evil.example", "evil.example:8420", "127.0.0.1.evil.example", "localhost.evil.example:80", "127.0.0.2",
    "127.0.0.1@evil.example", "tools.evil.example", "toolsx", "xtools:8420", "10.0.0.1", "[::2]", "::1", "",
]  # fmt: skip
GOOD_ORIGINS = [None, *(f"{scheme}://{host}" for scheme in ("http", "https") for host in GOOD_HOSTS)]
BAD_ORIGINS = [
    "http://evil.example", "https://evil.example:8420", "null", "http://localhost.evil.example", "file://", "tools",
    "http://tools.evil.example:80", "http://127.0.0.1@evil.example", "ftp://localhost", "localhost:8420",
]  # fmt: skip
MCP_ROUTES = [
    (method, path)
    for path in ("/mcp", "/mcp/banking", "/mcp/calendar", "/metrics", "/healthz", "/", "/nowhere", "/mcp/", "//mcp")
    for method in ("GET", "POST", "DELETE", "OPTIONS", "PUT", "HEAD")
]
CONTROL_ROUTES = [
    (method, path)
    for path in ("/control/open", "/control/stats", "/control/nope", "/healthz", "/control", "/mcp")
    for method in ("GET", "POST", "DELETE", "OPTIONS")
]

Listeners = tuple[list[tuple[str, str]], EpisodeStore]


@pytest.fixture
def listeners(run: Run) -> Iterator[Listeners]:
    """(address, method and path) of every route of the door and of the control plane, and whose episodes they open."""
    with EpisodeStore([load_server("banking"), load_server("calendar")]) as store:
        settings = HttpSettings(tokens={"alice": ALICE}, allowed_hosts=SERVICE_NAMES)
        door = run(build_http_app(store, settings))
        control = run(build_control_app(ControlPlane(store), ALICE, (*LOCAL_HOSTS, *SERVICE_NAMES)))
        routes = [(door, f"{method} {path}") for method, path in MCP_ROUTES]
        routes += [(control, f"{method} {path}") for method, path in CONTROL_ROUTES]
        yield routes, store


def status(connection: http.client.HTTPConnection, route: str, host: str, origin: str | None, token: bool) -> int:
    """The status of one request with exactly these headers."""
    method, _, path = route.partition(" ")
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    headers = {"Host": host, "Content-Length": "0", "Content-Type": "application/json", "Accept": "application/json"}
    if origin is not None:
        headers["Origin"] = origin
    if token:
        headers["Authorization"] = f"Bearer {ALICE}"
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    answer.read()
    return answer.status


@requirement("R5")
def test_foreign_hosts_and_origins_reach_no_route(listeners: Listeners) -> None:
    wrong, asked = [], 0
    for address, route in listeners[0]:
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
        tables = (
            (product(BAD_HOSTS, [None, GOOD_ORIGINS[1], BAD_ORIGINS[0]]), 421),
            (product(GOOD_HOSTS[:4], BAD_ORIGINS), 403),
        )
        for table, expected in tables:
            for host, origin in table:
                for token in (True, False):
                    asked += 1
                    found = status(connection, route, host, origin, token)
                    if found != expected:
                        wrong.append((route, host, origin, token, found))
        connection.close()
    assert wrong == []
    assert len(listeners[1]) == 0
    assert asked > 10_000


@requirement("R5")
def test_known_hosts_and_origins_pass_on_every_route(listeners: Listeners) -> None:
    wrong = []
    for address, route in listeners[0]:
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
        for host, origin in [(host, None) for host in GOOD_HOSTS] + [("localhost", origin) for origin in GOOD_ORIGINS]:
            found = status(connection, route, host, origin, token=True)
            if found in (421, 403, 401) or found >= 500:
                wrong.append((route, host, origin, found))
        without = status(connection, route, "tools:8420", "http://tools:8420", token=False)
        if (without == 401) is route.endswith("/healthz"):
            wrong.append((route, "no token", None, without))
        connection.close()
    assert wrong == []
