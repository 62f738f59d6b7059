"""tau2-bench in its own process: the guard against its namesake always, the benchmark itself where a checkout is."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from palaestra.envs.tools.tau2.client import CHECKOUT, Tau2, find_checkout, start
from palaestra.envs.tools.tau2.server import Refused, check_tau2
from palaestra.mcp_servers.errors import ConfigError, TaskError, ToolError

# The facts that tell the two packages of this name apart.
NAMESAKE = """Metadata-Version: 2.4
Name: tau2
Version: 2.4.0
Summary: A package for calculating magnetic relaxation rates
Requires-Dist: numpy
Requires-Dist: scipy
"""
BENCHMARK = """Metadata-Version: 2.1
Name: tau2
Version: 1.0.1
Summary: The tau2 package
Requires-Dist: rich
Requires-Dist: litellm==1.82.6
"""


def installed(folder: Path, text: str) -> Path:
    (folder / "tau2.dist-info").mkdir()
    (folder / "tau2.dist-info" / "METADATA").write_text(text)
    return folder


def test_the_chemistry_package_of_the_same_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"unrelated chemistry package from PyPI.*pip uninstall tau2"):
        check_tau2([str(installed(tmp_path, NAMESAKE))])


def test_the_benchmark_is_not_refused(tmp_path: Path) -> None:
    check_tau2([str(installed(tmp_path, BENCHMARK))])


def test_the_chemistry_package_is_not_in_this_environment() -> None:
    check_tau2(sys.path)


def with_server(run: Callable[[Tau2], Awaitable[None]], checkout: Path, python: Path | None = None) -> None:
    async def body() -> None:
        async with start(checkout, python) as tau2:
            await run(tau2)

    anyio.run(body)


def test_a_python_without_the_benchmark_says_so_and_lives_on(tmp_path: Path) -> None:
    async def run(tau2: Tau2) -> None:
        for _ in range(2):
            with pytest.raises(ConfigError, match=r"tau2-bench is not installed for .*\[tau2\]"):
                await tau2.tasks("retail")
        with pytest.raises(TaskError, match="no domain 'retial'; known: retail"):
            await tau2.tasks("retial")
        with pytest.raises(ToolError, match="unknown_episode"):
            await tau2.control("digests", handle="guessed")
        with pytest.raises(ToolError, match="unknown_tool"):
            await tau2.control("shutdown")

    if os.environ.get(CHECKOUT) and Path(sys.executable).is_relative_to(os.environ[CHECKOUT]):
        pytest.skip("this Python is tau2-bench's own")
    with_server(run, tmp_path, Path(sys.executable))


def test_a_missing_checkout_or_python_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CHECKOUT, raising=False)
    with pytest.raises(ConfigError, match="PALAESTRA_TAU2 is not set"):
        find_checkout()
    monkeypatch.setenv(CHECKOUT, str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match="is no folder"):
        find_checkout()

    async def never(_: Tau2) -> None:
        raise AssertionError("there is no Python to start")

    with pytest.raises(ConfigError, match="no Python at"):
        with_server(never, tmp_path)


# -- with a checkout -----------------------------------------------------------------------------------------------

needs_checkout = pytest.mark.skipif(
    not os.environ.get(CHECKOUT), reason=f"set {CHECKOUT} to a tau2-bench checkout (docs/tau2.md) to run this"
)


@needs_checkout
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("domain", "task_set", "count"), [("retail", "base", 114), ("telecom", "small", 20)])
def test_gold_actions_pass_and_doing_nothing_does_not(domain: str, task_set: str, count: int) -> None:
    async def run(tau2: Tau2) -> None:
        tasks = await tau2.tasks(domain, task_set)
        assert len(tasks) == count
        for task in tasks:
            idle = await tau2.open(domain, task, task_set)
            if idle.gold:
                assert (await idle.judge()).score == 0.0, task
            await idle.close()
            played = await tau2.open(domain, task, task_set)
            for action in played.gold:
                await played.call(action.tool, action.arguments, action.requestor)
            verdict = await played.judge()
            assert (verdict.db, verdict.action, verdict.score) == (1.0, 1.0, 1.0), task
            await played.close()

    with_server(run, find_checkout())


@needs_checkout
@pytest.mark.slow
def test_episodes_are_apart_and_tools_answer() -> None:
    async def run(tau2: Tau2) -> None:
        task = (await tau2.tasks("mock"))[0]
        one, other = await tau2.open("mock", task), await tau2.open("mock", task)
        tools = {tool["name"] for tool in await one.list_tools()}
        assert len(tools) == 4
        before = await other.digests()
        for action in one.gold:
            assert action.tool in tools
            assert (await one.call(action.tool, action.arguments, action.requestor)).fault is None
        assert await other.digests() == before
        unknown = await one.call("no_such_tool", {})
        assert unknown.fault is not None
        assert unknown.fault.code == "unknown_tool"
        await one.close()
        with pytest.raises(ToolError, match="unknown_episode"):
            await one.call(sorted(tools)[0], {})

    with_server(run, find_checkout())
