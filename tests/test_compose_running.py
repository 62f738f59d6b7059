"""The services of docker-compose.yml as plain processes: their own commands, environments and secrets, on this host.

Two replicas of the tool servers, and PostgreSQL with a password where it is installed.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from palaestra.mcp_servers.catalog import CATALOG
from palaestra.mcp_servers.errors import ToolError
from palaestra.mcp_servers.transports.control_client import ControlClient
from palaestra.mcp_servers.transports.control_pool import ControlPool
from palaestra.mcp_servers.transports.wire import WireDoor
from tests.requirements.ledger import requirement
from tests.test_compose import COMPOSE, SECRETS, SERVICES
from tests.test_layers import ROOT

PAGE = (ROOT / "docs" / "deployment.md").read_text("utf-8")
KNOWN = ("tools", "localhost", "127.0.0.1", "palaestra-tools-1", "palaestra-tools-4")


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of secrets, made by the very lines of the documentation."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, with which the documentation makes secrets")
    folder = tmp_path_factory.mktemp("secrets")
    (folder / SECRETS).mkdir(parents=True)
    (recipe,) = [block for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE) if "rand" in block]
    subprocess.run(["sh", "-euc", recipe], cwd=folder, check=True, timeout=20)
    assert {str(path.relative_to(folder)) for path in (folder / SECRETS).iterdir()} == {
        secret["file"] for secret in COMPOSE["secrets"].values()
    }
    return folder / SECRETS


def on_this_host(service: str, secrets: Path, home: Path) -> tuple[list[str], dict[str, str]]:
    """The command and the environment of a service, its secrets and ports replaced by those of this host."""
    words = [word.replace("/run/secrets", str(secrets)) for word in SERVICES[service]["command"]]
    words = [re.sub(r"^(--(control-)?port)=\d+$", r"\1=0", word) for word in words]
    given = {name: value.replace("/run/secrets", str(secrets)) for name, value in _environment(service).items()}
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "COVERAGE_PROCESS_START") if name in os.environ}
    command = [sys.executable, "-W", "error", "-m", "palaestra", *words]
    return command, {**kept, "HOME": str(home), "TMPDIR": str(home), "OMP_NUM_THREADS": "1", **given}


def _environment(service: str) -> dict[str, str]:
    return dict(SERVICES[service].get("environment", {}))


@dataclass(frozen=True)
class Replica:
    """A running `tools` service. The agent's and the control plane's tokens open every replica's doors."""

    process: subprocess.Popen[str]
    port: int
    control_port: int
    agent: str
    control: str

    def client(self, host: str = "127.0.0.1", port: int | None = None, token: str | None = None) -> httpx2.AsyncClient:
        """An HTTP client that says it means this Host; of the door or of another port."""
        port = port or self.port
        headers = {"host": f"{host}:{port}", "authorization": f"Bearer {token or self.agent}"}
        return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=20)

    @asynccontextmanager
    async def mcp(self, host: str = "127.0.0.1", mode: str = "auto") -> AsyncIterator[Client]:
        async with (
            self.client(host) as http,
            Client(streamable_http_client(f"http://127.0.0.1:{self.port}/mcp", http_client=http), mode=mode) as client,
        ):
            yield client


@contextmanager
def started(secrets: Path, count: int) -> Iterator[list[Replica]]:
    """Replicas of `tools`, started together and ready. They leave no file behind, and no token in their logs."""
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryFile("w+") as log:
        command, environment = on_this_host("tools", secrets, Path(home))
        processes = [
            subprocess.Popen(
                command, cwd=home, env=environment, text=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
            )
            for _ in range(count)
        ]  # fmt: skip
        try:
            yield [_announced(process, secrets) for process in processes]
            assert list(Path(home).iterdir()) == []
        finally:
            for process in processes:
                process.kill()
                process.communicate()
            log.seek(0)
            said = log.read()
            print(said)  # for a test that failed
        lines = [json.loads(line) for line in said.splitlines()]
        assert {line["level"] for line in lines} <= {"info", "warning"}  # a warning for each foreign Host
        assert not [name for name in ("agent", "control") if (secrets / name).read_text().strip() in said]


def _announced(process: subprocess.Popen[str], secrets: Path) -> Replica:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        assert selector.select(60), "nothing was announced within a minute"
    said = json.loads(process.stdout.readline() or pytest.fail("it ended before it announced anything"))
    assert said["servers"] == list(CATALOG)
    door, control = urlsplit(said["url"]), urlsplit(said["control"])
    assert (door.hostname, control.hostname) == ("tools", "0.0.0.0")  # noqa: S104 - what was bound
    assert door.port is not None
    assert control.port is not None
    tokens = [(secrets / name).read_text().strip() for name in ("agent", "control")]
    return Replica(process, door.port, control.port, *tokens)


@pytest.fixture(scope="module")
def replicas(secrets: Path) -> Iterator[list[Replica]]:
    with started(secrets, 2) as running:
        yield running


def test_the_health_check_of_the_service_passes_and_fails(replicas: list[Replica]) -> None:
    kind, _, *words = SERVICES["tools"]["healthcheck"]["test"]
    assert kind == "CMD"
    for port, status in ((replicas[0].port, 0), (replicas[0].control_port, 0), (1, 1)):
        command = [sys.executable, *(word.replace(":8420/", f":{port}/") for word in words)]
        assert subprocess.run(command, check=False, capture_output=True, timeout=30).returncode == status


@requirement("R5")
def test_names_of_the_compose_file_are_let_in_and_others_are_not(replicas: list[Replica]) -> None:
    replica = replicas[0]
    doors = ((replica.port, "/metrics", replica.agent), (replica.control_port, "/control/stats", replica.control))

    async def run() -> None:
        for port, path, token in doors:
            for host, expected in [
                *(
                    (name, 200)
                    for name in ("tools", "localhost", "127.0.0.1", "palaestra-tools-1", "palaestra-tools-4")
                ),
                *((name, 421) for name in ("palaestra-tools-5", "tools.example", "example.org", "10.0.0.1")),
            ]:
                async with replica.client(host, port, token) as http:
                    answer = await (http.get(path) if path == "/metrics" else http.post(path, json={}))
                    assert answer.status_code == expected, (host, port)
                    assert (await http.get("/healthz")).status_code == expected, (host, port)
            other = {replica.agent, replica.control} - {token}
            async with replica.client("tools", port, other.pop()) as http:  # neither token opens the other's door
                assert (await http.get(path)).status_code == 401

    anyio.run(run)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_mcp_client_sees_every_tool_by_the_services_name(replicas: list[Replica], mode: str) -> None:
    async def run() -> int:
        async with replicas[0].mcp("tools", mode) as client:
            return len((await client.list_tools()).tools)

    assert anyio.run(run) == sum(entry.tools for entry in CATALOG.values())


def test_an_episode_lives_on_the_replica_that_opened_it(replicas: list[Replica]) -> None:
    urls = [f"http://localhost:{replica.control_port}" for replica in replicas]

    async def run() -> None:
        async with (
            ControlPool(urls, replicas[0].control) as pool,
            replicas[0].mcp("palaestra-tools-1") as one,
            replicas[1].mcp("palaestra-tools-2") as two,
        ):
            episodes = [await pool.open(["calendar"], seed=7, principal="agent") for _ in range(4)]
            assert list(pool.load().values()) == [2, 2]
            for episode in episodes:
                here, there = (one, two) if episode.control.url == urls[0] else (two, one)
                before = await episode.digest()
                calendars = (await episode.door(here).call("list_calendars", {})).value
                assert calendars is not None
                event = {"title": "kept", "minutes": 30, "starts_at": "2026-03-04T12:00:00Z"}
                event["calendar_id"] = calendars["items"][1]["calendar_id"]
                assert (await episode.door(here).call("book_event", event)).fault is None
                assert await episode.digest() != before
                with pytest.raises(ToolError, match="unknown_episode"):
                    await WireDoor(there, episode.handle).call("list_calendars", {})
                assert len(await episode.journal()) == 2
            assert len({await episode.digest() for episode in episodes}) == 1
            for episode in episodes:
                await pool.close(episode)
        for url in urls:
            async with ControlClient(url, replicas[0].control) as control:
                assert (await control.stats())["open"] == 0

    anyio.run(run)


def test_the_program_of_the_page_reaches_every_replica(replicas: list[Replica], tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    page = tmp_path / "page.py"
    page.write_text(code, "utf-8")
    program = runpy.run_path(str(page))
    urls = [f"http://127.0.0.1:{replica.control_port}" for replica in replicas]

    async def run() -> None:
        for first in (urls, urls[::-1]):
            async with ControlPool(first, replicas[0].control) as pool:
                assert (await program["list_calendars"](pool, replicas[0].agent))["items"]

    anyio.run(run)


def test_a_service_ends_within_seconds_while_clients_are_connected(secrets: Path) -> None:
    with started(secrets, 1) as (replica,):

        async def run() -> float:
            async with ControlClient(f"http://127.0.0.1:{replica.control_port}", replica.control) as control:
                await control.open(["calendar"], principal="agent")
                stopped = monotonic()
                replica.process.send_signal(signal.SIGTERM)
                with anyio.fail_after(20):
                    await anyio.to_thread.run_sync(replica.process.wait)
                return monotonic() - stopped

        assert anyio.run(run) < 5
        assert replica.process.returncode == 0


# -- the store -----------------------------------------------------------------------------------------------------


@pytest.fixture
def service_file(postgres_url: str, secrets: Path, tmp_path: Path) -> Iterator[Path]:
    """The secret `store.conf`, for a database that asks for the password of the secret `store`."""
    import psycopg

    folder = postgres_url.partition("?host=")[2]
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute("CREATE DATABASE palaestra")
        password = psycopg.sql.Literal((secrets / "store").read_text().strip())
        admin.execute(psycopg.sql.SQL("ALTER ROLE palaestra PASSWORD {}").format(password))
        (found,) = admin.execute("SHOW hba_file").fetchall()
        access = Path(found[0])
        before = access.read_text()
        access.write_text("local palaestra palaestra scram-sha-256\n" + before)
        admin.execute("SELECT pg_reload_conf()")
        try:
            _wait_until_a_password_is_asked_for(folder)
            copy = tmp_path / "store.conf"
            copy.write_text((secrets / "store.conf").read_text().replace("host=store", f"host={folder}"))
            yield copy
        finally:
            access.write_text(before)
            admin.execute("SELECT pg_reload_conf()")
            admin.execute("DROP DATABASE palaestra WITH (FORCE)")


def _wait_until_a_password_is_asked_for(folder: str) -> None:
    import psycopg

    told, deadline = "the database lets anyone in", monotonic() + 20
    while "password authentication failed" not in told and monotonic() < deadline:
        try:
            psycopg.connect(host=folder, user="palaestra", dbname="palaestra", password="wrong").close()
        except psycopg.OperationalError as error:
            told = str(error)
    assert "password authentication failed" in told


def test_the_store_is_made_ready_and_keeps_episodes(service_file: Path, secrets: Path, tmp_path: Path) -> None:
    migrate, environment = on_this_host("migrate", secrets, tmp_path)
    environment["PGSERVICEFILE"] = str(service_file)
    address = migrate[-1]
    palaestra = migrate[:-3]

    def run(*words: str, status: int = 0) -> str:
        done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == status, done.stderr
        return done.stderr if status else done.stdout

    assert "schema none -> " in run(*migrate)
    assert "already has schema" in run(*migrate)
    run(*palaestra, "rollout", "palaestra/Sokoban-v0", "-n", "2", "-r", "1", "--store", address)
    assert json.loads(run(*palaestra, "db", "info", address, "--json"))["counts"]["rollouts"] == 2
    assert "no damage" in run(*palaestra, "db", "check", address)

    train, _ = on_this_host("trainer", secrets, tmp_path)
    assert f'url = "{address}"' in run(*train, "--dry-run")

    service_file.write_text(re.sub("password=.*", "password=wrong-wrong", service_file.read_text()))
    refused = run(*migrate, status=2)
    assert "password authentication failed" in refused
    assert "wrong-wrong" not in refused
