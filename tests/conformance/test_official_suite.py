"""R4: the official conformance suite of the Model Context Protocol, run as a process against servers in processes."""

from __future__ import annotations

import json
import re
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from palaestra.mcp_servers.transports.service import Service
from tests.mcp_servers.transports.conftest import service
from tests.requirements.ledger import requirement

HERE: Final = Path(__file__).parent
NODE: Final = HERE / "node_modules" / ".bin" / "node"
SUITE: Final = HERE / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
BASELINE: Final = HERE / "baseline.yml"
REQUIRED: Final = {"2026-07-28": 37, "2025-11-25": 30}
NEED_STREAMS: Final = {
    "2026-07-28": {"tools-call-with-progress"},
    "2025-11-25": {
        "tools-call-with-progress", "tools-call-with-logging", "tools-call-sampling", "tools-call-elicitation",
        "elicitation-sep1034-defaults", "elicitation-sep1330-enums",
    },
}  # fmt: skip
"""In these the server has to say something before it answers, which an answer in plain JSON leaves no room for."""
NEED_NO_FIXTURE: Final = {
    "2026-07-28": ("tools-list", "server-sse-multiple-streams", "dns-rebinding-protection", "http-header-validation"),
    "2025-11-25": (
        "server-initialize", "ping", "tools-list", "server-sse-multiple-streams", "dns-rebinding-protection",
        "server-session-lifecycle",
    ),
}  # fmt: skip

Checks = dict[str, list[dict[str, Any]]]

__all__ = ["service"]  # the fixture
pytestmark = pytest.mark.skipif(
    not (NODE.exists() and SUITE.exists()),
    reason="the official MCP conformance suite is not installed: `make conformance` installs and runs it (needs npm)",
)


def run_suite(url: str, results: Path, *words: object) -> int:
    """Test a server; the suite's exit status."""
    command = [NODE, SUITE, "server", "--url", url, "--output-dir", results, "--timeout", 15_000, *words]
    done = subprocess.run([str(w) for w in command], capture_output=True, text=True, check=False, timeout=120)
    print(done.stdout + done.stderr)  # `make conformance` shows it, pytest when a test fails
    return done.returncode


def read_checks(folder: Path) -> Checks:
    """What it noted about every scenario it ran."""
    around = re.compile(r"^server-|-\d{4}-\d\d-\d\dT[\d-]+Z$")
    return {around.sub("", path.parent.name): json.loads(path.read_text()) for path in folder.rglob("checks.json")}


def required(revision: str) -> list[str]:
    """The scenarios a server of a revision has to pass, by the suite's own list."""
    listed = (SUITE.parents[1] / "requirements" / f"{revision}.yaml").read_text()
    scenarios = re.findall(r"^  - (\S+)$", listed.partition("\nserver:\n")[2].partition("\n\n")[0], re.MULTILINE)
    assert len(scenarios) == len(set(scenarios)) == REQUIRED[revision]
    return scenarios


def failing(checks: Checks, scenarios: Sequence[str]) -> set[str]:
    """Those that were not run, checked nothing, or in which anything failed, was warned of or was left out."""
    statuses = {scenario: {check["status"] for check in checks.get(scenario, [])} for scenario in scenarios}
    return {name for name, seen in statuses.items() if "SUCCESS" not in seen or not seen <= {"SUCCESS", "INFO"}}


@contextmanager
def everything(folder: Path, *words: str) -> Iterator[str]:
    """The fixture server in a process of its own; its address."""
    with (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.conformance.everything_server", *words],
            cwd=HERE.parents[1], stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
    assert process.stdout is not None
    try:
        said, _, _ = select.select([process.stdout], [], [], 60)
        url = process.stdout.readline().strip() if said else ""
        assert url, (folder / "errors").read_text()
        yield url
        process.terminate()
        assert process.wait(20) == 0, (folder / "errors").read_text()
    finally:
        process.kill()
        process.wait(20)
        process.stdout.close()


@requirement("R4")
@pytest.mark.parametrize("revision", REQUIRED)
def test_every_required_scenario_passes(tmp_path: Path, revision: str) -> None:
    with everything(tmp_path) as url:
        status = run_suite(url, tmp_path, "--requirements", revision, "--expected-failures", BASELINE)
    checks, scenarios = read_checks(tmp_path), required(revision)
    assert failing(checks, scenarios) == set()
    assert status == 0
    print(f"{revision}: {len(scenarios)} of {REQUIRED[revision]} required scenarios passed,", end=" ")
    print(sum(check["status"] == "SUCCESS" for name in scenarios for check in checks[name]), "checks in them")


@requirement("R4")
def test_the_baseline_is_empty() -> None:
    lines = [line for line in BASELINE.read_text().splitlines() if not line.startswith("#")]
    assert lines == ["server: []"]


@requirement("R4")
@pytest.mark.parametrize("revision", REQUIRED)
def test_plain_answers_fail_only_what_needs_streams(tmp_path: Path, revision: str) -> None:
    with everything(tmp_path, "--plain") as url:
        run_suite(url, tmp_path, "--requirements", revision)
    assert failing(read_checks(tmp_path), required(revision)) == NEED_STREAMS[revision]


@requirement("R4")
@pytest.mark.parametrize("revision", REQUIRED)
def test_the_real_servers_pass_what_needs_no_fixture(tmp_path: Path, revision: str, service: Service) -> None:
    scenarios = NEED_NO_FIXTURE[revision]
    for scenario in scenarios:
        run_suite(service.url, tmp_path, "--scenario", scenario, "--spec-version", revision)
    assert failing(read_checks(tmp_path), scenarios) == set()
