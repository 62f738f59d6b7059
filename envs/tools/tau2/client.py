"""Talking to tau2-bench: a process in its own environment, spoken to over MCP like any other tool server."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from mcp import Client, StdioServerParameters

from palaestra.envs.tools.tau2.server import CONTROL_KEY, EPISODE_KEY, REQUESTOR_KEY
from palaestra.mcp_servers.errors import ConfigError, TaskError, ToolError, boundary
from palaestra.mcp_servers.framework.faults import FaultCode, ToolResult
from palaestra.mcp_servers.transports.wire import WireDoor, connect, from_wire

CHECKOUT: Final = "PALAESTRA_TAU2"
"""Environment variable with the folder of a tau2-bench checkout."""
SERVER: Final = Path(__file__).with_name("server.py")
_SLOW_S: Final = 120.0
"""The first request imports tau2-bench and parses a database: some ten seconds."""

Requestor = Literal["assistant", "user"]


@dataclass(frozen=True, slots=True)
class GoldAction:
    """One action of a task's reference solution, by the agent or by its user."""

    tool: str
    arguments: Mapping[str, Any]
    requestor: Requestor


@dataclass(frozen=True, slots=True)
class Verdict:
    """What tau2-bench's evaluators say, each 0 or 1; `score` is their product.

    `db` alone accepts doing nothing where the gold actions only read. Judgements by a language model are left out.
    """

    db: float
    env_assertions: float
    action: float
    score: float


class Tau2Episode:
    """One task being played.

    Attributes:
        policy: what the agent is told of its duties.
        user: what the user wants and knows; for who plays the user.
        ticket: the task as a ticket, for agents without a user; empty if there is none.
        gold: the reference solution; never for the agent.
    """

    def __init__(self, tau2: Tau2, opened: Mapping[str, Any]) -> None:
        self._tau2 = tau2
        self._handle: str = opened["handle"]
        self._door = WireDoor(tau2.client, self._handle, _SLOW_S)
        self.policy: str = opened["policy"]
        self.user: str = opened["user"]
        self.ticket: str = opened["ticket"]
        self.gold = tuple(GoldAction(**action) for action in opened["gold"])

    async def list_tools(self) -> list[dict[str, Any]]:
        """Name, description and input schema of the agent's tools. Raises: ToolError."""
        return await self._door.list_tools()

    async def call(self, tool: str, arguments: Mapping[str, Any], requestor: Requestor = "assistant") -> ToolResult:
        """Call a tool for the agent or the user. Raises: ToolError if the server or the episode is gone."""
        if requestor == "assistant":
            return await self._door.call(tool, arguments)
        return await self._tau2.request(tool, arguments, {EPISODE_KEY: self._handle, REQUESTOR_KEY: "user"})

    async def digests(self) -> dict[str, str | None]:
        """Digests of the databases of agent and user. Raises: ToolError."""
        return await self._tau2.control("digests", handle=self._handle)

    async def judge(self) -> Verdict:
        """The verdict so far. Raises: ToolError. Cost: two worlds and their digests, some 0.4 s in retail."""
        return Verdict(**await self._tau2.control("judge", handle=self._handle))

    async def close(self) -> None:
        """End the episode. Raises: ToolError if the server is gone."""
        await self._tau2.control("close", handle=self._handle)


class Tau2:
    """A running tau2-bench; made by `start`."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def tasks(self, domain: str, task_set: str = "base") -> list[str]:
        """Ids of the tasks of a domain ("retail", "airline", "telecom", "mock"), of its set "base", "small" or "full".

        Raises: TaskError "unknown_task" for an unknown domain or set; ConfigError "tau2" if the checkout lacks its
            files; ToolError if the server is gone.
        """
        found: list[str] = (await self.control("tasks", domain=domain, task_set=task_set))["tasks"]
        return found

    async def open(self, domain: str, task: str, task_set: str = "base") -> Tau2Episode:
        """A fresh episode of a task. Raises: as `tasks`."""
        return Tau2Episode(self, await self.control("open", domain=domain, task=task, task_set=task_set))

    async def control(self, operation: str, **given: str) -> dict[str, Any]:
        """One request to the control plane. Raises: as `tasks`."""
        result = await self.request(operation, given, {CONTROL_KEY: True})
        if result.fault is None:
            return result.value or {}
        match result.fault.code:
            case FaultCode.NOT_FOUND:
                raise TaskError("unknown_task", result.fault.message)
            case FaultCode.UNAVAILABLE:
                raise ConfigError("tau2", result.fault.message)
            case code:
                raise ToolError(code.value, result.fault.message)

    async def request(self, name: str, arguments: Mapping[str, Any], meta: Any) -> ToolResult:
        """One request with this `_meta`. Raises: ToolError "unavailable" if the server is gone or too slow."""
        with boundary("unavailable", ToolError):
            got = await self.client.call_tool(name, dict(arguments), read_timeout_seconds=_SLOW_S, meta=meta)
        return from_wire(got)


def find_checkout() -> Path:
    """The checkout that `PALAESTRA_TAU2` names. Raises: ConfigError "tau2" if it names none."""
    named = os.environ.get(CHECKOUT, "")
    if not named or not Path(named).is_dir():
        said = f"is {named!r}, which is no folder" if named else "is not set"
        raise ConfigError("tau2", f"{CHECKOUT} {said}; name a tau2-bench checkout, see docs/tau2.md")
    return Path(named)


@asynccontextmanager
async def start(checkout: Path, python: Path | None = None) -> AsyncIterator[Tau2]:
    """A tau2-bench process, ended with the block.

    Args:
        checkout: of tau2-bench; its `data` folder is used.
        python: of the environment tau2-bench and `mcp` are installed in; default: the checkout's `.venv`.

    Raises: ConfigError "tau2" if there is no such Python; ToolError if the server cannot be started.
    """
    interpreter = python or checkout / ".venv" / "bin" / "python"
    if not interpreter.is_file():
        raise ConfigError("tau2", f"no Python at {interpreter}; make an environment for tau2-bench, see docs/tau2.md")
    # -E: our PYTHONPATH is not for that Python; -P: the folder of the script is no place to import from.
    server = StdioServerParameters(
        command=str(interpreter), args=["-E", "-P", str(SERVER)], env={"TAU2_DATA_DIR": str(checkout / "data")}
    )
    async with connect(server) as client:
        yield Tau2(client)
