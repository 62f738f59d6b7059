"""Fixtures that several layers share: whole rollouts with awkward content, and a real PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from palaestra.agents.types import Completion, FinishReason, Rollout, RolloutFailure, RolloutGroup, Sampling
from palaestra.envs.core.types import Action, ActionStatus, ParseFailure, Step, StopReason, Task, ToolCall, Trajectory
from palaestra.mcp_servers.framework.sources import stream


def pytest_configure(config: pytest.Config) -> None:
    # A shell's background jobs ignore SIGINT and so would every process a test starts and then interrupts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "requirement(id): proves a promise of tests/requirements/ledger.py")


MakeGroup = Callable[..., RolloutGroup]


def build_group(seed: int, size: int = 4, turns: int = 3, tokens: int = 16, prefix: str = "ep") -> RolloutGroup:
    """A group whose content is a function of its arguments; its second member failed."""
    rng = stream(seed, "group")
    task = Task("palaestra/Test-v0", seed, env_kwargs={"size": 5}, instruction="reach the goal", tools=("look",))
    rollouts = [build_rollout(rng, task, seed, member, turns, tokens, prefix) for member in range(size)]
    return RolloutGroup(f"group-{seed}", task, rollouts)


def build_rollout(
    rng: np.random.Generator, task: Task, seed: int, member: int, turns: int, tokens: int, prefix: str
) -> Rollout:
    def floats() -> tuple[float, ...]:
        return tuple((-rng.random(tokens).astype("f4")).tolist())

    completions = tuple(
        Completion(
            prompt_ids=tuple(rng.integers(0, 150_000, 5).tolist()),
            token_ids=tuple(rng.integers(0, 150_000, tokens).tolist()),
            logprobs=floats(),
            finish_reason=FinishReason.LENGTH if turn % 2 else FinishReason.STOP,
            continues=turn > 0,
            entropies=floats() if turn % 2 else (),
            policy_version=turn,
            sampling=Sampling(temperature=0.7, seed=seed),
            proposed=(3, 2),
            accepted=(2, 0),
        )
        for turn in range(turns)
    )
    failure = RolloutFailure("policy", "RolloutError", "policy_failed", "it broke\x00") if member == 1 else None
    trajectory = Trajectory(
        task=task,
        steps=tuple(build_step(rng, turn) for turn in range(turns)),
        stop_reason=StopReason.POLICY_ERROR if failure else StopReason.TERMINATED,
        final_observation="the end \ud800 \x00 \uf8ff",
        won=member == 0,
        score=member / 8,
        start={"anchor": "a", "distance": 3},
    )
    extras: Mapping[str, Any] = {"reflection": {"text": "try left"}}
    return Rollout(f"{prefix}-{seed}-{member}", f"group-{seed}", member, trajectory, completions, failure, extras)


def build_step(rng: np.random.Generator, turn: int) -> Step:
    failed = ParseFailure(ActionStatus.NO_ACTION, "no tag")
    actions = (
        Action("go north", think="north is free"),
        Action("", ActionStatus.NO_ACTION, failure=failed),
        Action("call", calls=(ToolCall("bank", "pay", {"amount": 3, "to": ["a", None]}, "c1"),)),
    )
    return Step(
        observation=f"Raum {turn}: Tür, 门 \x00 and \udfff",
        response="<action>go\x00 north</action>",
        action=actions[turn % 3],
        reward=float(rng.normal()),
        terminated=False,
        truncated=turn == 2,
        info={"state_key": f"k{turn}", "won": False, "score": 0.25, "nested": {"list": [1, 2.5, "ü\x00"]}},
    )


@pytest.fixture
def make_group() -> MakeGroup:
    """Builds rollout groups; see `build_group`."""
    return build_group


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a PostgreSQL server of this session's own, on a unix socket; skips where PostgreSQL is absent."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    found = shutil.which("postgres")
    binaries = Path(found).parent if found else folders[-1] if folders else None
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (no postgres on PATH or in /usr/lib/postgresql)")
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install palaestra[postgres]")
    as_user: list[str] = []
    if os.geteuid() == 0:  # the server refuses to run as root
        as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        if shutil.which("setpriv") is None:
            pytest.skip("PostgreSQL refuses to run as root and setpriv is not installed")
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as folder:  # short: a socket path is
        if as_user:
            shutil.chown(folder, "nobody", "nogroup")
        data = Path(folder) / "data"
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        control = [*as_user, str(binaries / "pg_ctl"), "-D", str(data), "-w", "-t", "60"]
        setup = [*as_user, str(binaries / "initdb"), "-D", str(data), "-U", "palaestra", "-A", "trust", "--no-sync"]
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
        log = str(Path(folder) / "log")
        for command in (setup, [*control, "-l", log, "-o", options, "start"]):
            done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        try:
            yield f"postgresql://palaestra@/postgres?host={folder}"
        finally:
            subprocess.run(
                [*control, "-m", "immediate", "stop"], env=environment, cwd=folder, check=True, capture_output=True
            )


@pytest.fixture(params=["sqlite", "postgresql"])
def store_address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database: every test that takes it runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        yield str(tmp_path / "store.sqlite")
        return
    import psycopg

    server: str = request.getfixturevalue("postgres_url")
    yield server
    with psycopg.connect(server, autocommit=True) as connection:  # far quicker than a database for every test
        connection.execute("SET client_min_messages = warning; DROP SCHEMA public CASCADE; CREATE SCHEMA public")
