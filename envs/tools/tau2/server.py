"""tau2-bench as an MCP server over stdio. Runs in tau2-bench's own environment and needs nothing of Palaestra there.

    python server.py        with tau2-bench and `mcp` installed

An agent's call carries the handle of its episode in `_meta`; a call with "palaestra/control" in `_meta` is for the
control plane: `tasks`, `open`, `digests`, `judge`, `close`. Agents are never given that key.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import itertools
import json
import secrets
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any, Final

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

EPISODE_KEY: Final = "palaestra/episode"
CONTROL_KEY: Final = "palaestra/control"
REQUESTOR_KEY: Final = "palaestra/requestor"
DOMAINS: Final = ("retail", "airline", "telecom", "mock")
TASK_SETS: Final = {"base": "get_tasks", "small": "get_tasks_small", "full": "get_tasks_full"}
SOURCE: Final = "https://github.com/sierra-research/tau2-bench"

Values = dict[str, Any]


class Refused(Exception):
    """A request that cannot be met: a fault's code and what is wrong."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def check_tau2(path: Iterable[str] | None = None) -> None:
    """Make sure that `tau2` here is tau2-bench: a chemistry package on PyPI has the same name.

    Raises: Refused "unavailable" saying what to do. `path` is where to look; by default where Python does.
    """
    for distribution in metadata.distributions(name="tau2", path=sys.path if path is None else list(path)):
        if not any(needed.startswith("litellm") for needed in distribution.requires or ()):
            raise Refused(
                "unavailable",
                f"the installed tau2 {distribution.version} is an unrelated chemistry package from PyPI, not "
                f"tau2-bench: pip uninstall tau2, and install tau2-bench from its source, {SOURCE}",
            )
    if path is None and (find_spec("tau2") is None or find_spec("tau2.environment") is None):
        raise Refused("unavailable", f"tau2-bench is not installed for {sys.executable}: install it from {SOURCE}")


@cache
def _domain(name: str) -> Any:
    """A domain's module. Raises: Refused "not_found" for an unknown one, "unavailable" if tau2-bench is not there."""
    if name not in DOMAINS:
        raise Refused("not_found", f"no domain {name!r}; known: {', '.join(DOMAINS)}")
    check_tau2()
    return import_module(f"tau2.domains.{name}.environment")


@cache
def _pristine(domain: str) -> Any:
    """A domain's environment as it begins: its database is parsed once, and copied for every episode."""
    try:
        return _domain(domain).get_environment()
    except (OSError, ValueError) as error:
        raise Refused(
            "unavailable", f"the data of {domain} cannot be read, so its tasks are skipped (a checkout may lack large "
            f"files): {error}"
        ) from error  # fmt: skip


def new_environment(domain: str) -> Any:
    """An environment of its own. Raises: as `_pristine`."""
    return copy.deepcopy(_pristine(domain))


@cache
def load_tasks(domain: str, task_set: str) -> dict[str, Any]:
    """A domain's tasks by id. Raises: Refused "not_found" for an unknown set, "unavailable" if its file is missing."""
    load = getattr(_domain(domain), TASK_SETS.get(task_set, ""), None)
    if load is None:
        raise Refused("not_found", f"{domain} has no task set {task_set!r}; known: {', '.join(TASK_SETS)}")
    try:
        return {str(task.id): task for task in load()}
    except (OSError, ValueError) as error:
        raise Refused("unavailable", f"the tasks {task_set!r} of {domain} cannot be read: {error}") from error


@dataclass
class Episode:
    """One task being played, and what was called in it as tau2-bench's evaluators want it."""

    domain: str
    task: Any
    environment: Any
    messages: list[Any] = field(default_factory=list)
    numbers: Any = field(default_factory=itertools.count)

    @classmethod
    def of(cls, domain: str, task: Any) -> Episode:
        """A fresh episode in the task's initial state."""
        environment = new_environment(domain)
        start = task.initial_state
        history = list(start.message_history or ()) if start is not None else []
        environment.set_state(
            initialization_data=start.initialization_data if start is not None else None,
            initialization_actions=start.initialization_actions if start is not None else None,
            message_history=list(history),
        )
        return cls(domain, task, environment, history)

    def call(self, tool: str, arguments: Values, requestor: str) -> Any:
        """Call a tool for the agent or the user; the answer is tau2-bench's tool message."""
        said = import_module("tau2.data_model.message")
        call = said.ToolCall(id=f"call_{next(self.numbers)}", name=tool, arguments=arguments, requestor=requestor)
        speaker = said.UserMessage if requestor == "user" else said.AssistantMessage
        answer = self.environment.get_response(call)
        self.messages += [speaker(role=requestor, content=None, tool_calls=[call]), answer]
        return answer

    def tools(self, requestor: str) -> dict[str, Any]:
        """The tools of the agent or the user by name."""
        kit = self.environment.user_tools if requestor == "user" else self.environment.tools
        return {} if kit is None else dict(kit.get_tools())

    def digests(self) -> Values:
        """Digests of the databases of agent and user; some 80 ms in retail."""
        return {"agent": self.environment.get_db_hash(), "user": self.environment.get_user_db_hash()}

    def judge(self) -> Values:
        """What tau2-bench's own evaluators say, and the product of the three.

        The database check alone accepts doing nothing where the gold actions only read.
        """
        environment = import_module("tau2.evaluator.evaluator_env").EnvironmentEvaluator
        action = import_module("tau2.evaluator.evaluator_action").ActionEvaluator

        def constructor(*_: Any, **__: Any) -> Any:
            return new_environment(self.domain)

        world = environment.calculate_reward(
            environment_constructor=constructor, task=self.task, full_trajectory=list(self.messages)
        )
        acted = action.calculate_reward(task=self.task, full_trajectory=list(self.messages))
        checks = {
            "db": 1.0 if world.db_check is None else float(world.db_check.db_reward),
            "env_assertions": float(all(check.met for check in world.env_assertions or ())),
            "action": float(all(check.action_match for check in acted.action_checks or ())),
        }
        return {**checks, "score": checks["db"] * checks["env_assertions"] * checks["action"]}


class Control:
    """The control plane: opens, finds, judges and closes episodes."""

    def __init__(self) -> None:
        self.episodes: dict[str, Episode] = {}
        self.operations: dict[str, Callable[[Values], Values]] = {
            "tasks": self.tasks, "open": self.open, "digests": self.digests, "judge": self.judge, "close": self.close,
        }  # fmt: skip

    def find(self, handle: object) -> Episode:
        """Raises: Refused "unknown_episode"."""
        episode = self.episodes.get(str(handle))
        if episode is None:
            raise Refused("unknown_episode", "no episode has this handle; open one through the control plane")
        return episode

    def tasks(self, given: Values) -> Values:
        """Ids of the tasks of a domain."""
        return {"tasks": list(load_tasks(str(given.get("domain")), str(given.get("task_set", "base"))))}

    def open(self, given: Values) -> Values:
        """A new episode: its handle, what the agent should know, and the gold actions, for replays."""
        domain, wanted = str(given.get("domain")), str(given.get("task"))
        tasks = load_tasks(domain, str(given.get("task_set", "base")))
        if wanted not in tasks:
            raise Refused("not_found", f"{domain} has no task {wanted!r}; it has {len(tasks)}")
        episode = Episode.of(domain, tasks[wanted])
        handle = secrets.token_urlsafe(24)
        self.episodes[handle] = episode
        criteria = episode.task.evaluation_criteria
        actions = [] if criteria is None else criteria.actions or []
        return {
            "handle": handle,
            "policy": episode.environment.get_policy(),
            "user": str(episode.task.user_scenario),
            "ticket": episode.task.ticket or "",
            "gold": [
                {"tool": action.name, "arguments": action.arguments, "requestor": action.requestor}
                for action in actions
            ],
        }

    def digests(self, given: Values) -> Values:
        """The databases' digests."""
        return self.find(given.get("handle")).digests()

    def judge(self, given: Values) -> Values:
        """The verdict so far."""
        return self.find(given.get("handle")).judge()

    def close(self, given: Values) -> Values:
        """End an episode; one that is gone is left alone."""
        self.episodes.pop(str(given.get("handle")), None)
        return {}

    def call(self, name: str, arguments: Values, meta: Mapping[str, Any]) -> tuple[Values, str, bool]:
        """(object, text, whether it is a fault) of a request for either plane."""
        try:
            if meta.get(CONTROL_KEY):
                if name not in self.operations:
                    raise Refused("unknown_tool", f"no operation {name!r}; known: {', '.join(self.operations)}")
                done = self.operations[name](arguments)
                return done, json.dumps(done), False
            episode = self.find(meta.get(EPISODE_KEY))
            requestor = "user" if meta.get(REQUESTOR_KEY) == "user" else "assistant"
            if name not in episode.tools(requestor):
                raise Refused("unknown_tool", f"there is no tool {name!r} here; list the tools")
            answer = episode.call(name, arguments, requestor)
            if answer.error:
                raise Refused("precondition", str(answer.content))
            return _as_object(str(answer.content)), str(answer.content), False
        except Refused as refused:
            fault = {"code": refused.code, "message": refused.message, "retryable": False, "details": {}}
            return fault, json.dumps(fault), True

    def listed(self, meta: Mapping[str, Any]) -> list[types.Tool]:
        """The agent's tools of an episode; without one, everything that can be called."""
        if EPISODE_KEY in meta:
            requestor = "user" if meta.get(REQUESTOR_KEY) == "user" else "assistant"
            return [_advertise(tool) for tool in self.find(meta[EPISODE_KEY]).tools(requestor).values()]
        tools = {
            name: tool
            for episode in self.episodes.values()
            for side in ("user", "assistant")
            for name, tool in episode.tools(side).items()
        }
        operations = [types.Tool(name=name, input_schema={"type": "object"}) for name in self.operations]
        return [*operations, *map(_advertise, tools.values())]


def _advertise(tool: Any) -> types.Tool:
    function = tool.openai_schema["function"]
    return types.Tool(name=function["name"], description=function["description"], input_schema=function["parameters"])


def _as_object(text: str) -> Values:
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    return value if isinstance(value, dict) else {"result": value}


def build_server(control: Control) -> Server[dict[str, Any]]:
    """The protocol server over a control plane."""

    async def list_tools(ctx: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        try:
            tools = control.listed(ctx.meta or {})
        except Refused:
            tools = []
        return types.ListToolsResult(tools=tools, ttl_ms=0, cache_scope="private")

    async def call_tool(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        value, text, failed = control.call(params.name, params.arguments or {}, ctx.meta or {})
        content: list[types.ContentBlock] = [types.TextContent(text=text)]
        return types.CallToolResult(content=content, structured_content=value, is_error=failed)

    return Server(
        "palaestra-tau2", on_list_tools=list_tools, on_call_tool=call_tool, get_tool_input_schema=lambda name: None
    )


async def serve() -> None:
    """Serve one connection over standard input and output; what tau2-bench prints goes to standard error."""
    server = build_server(Control())
    async with stdio_server() as (messages, answers):
        with contextlib.redirect_stdout(sys.stderr):  # left in a buffer, it would reach the wire at the end
            await server.run(messages, answers, server.create_initialization_options())


if __name__ == "__main__":
    asyncio.run(serve())
