"""BFCL's multi-turn tasks, read from the installed package: what the user says, and the ground-truth calls."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from palaestra.envs.tools.bfcl.package import more_tools_prompt, read_lines
from palaestra.envs.tools.bfcl.tools import BfclTool, backend_tools
from palaestra.envs.tools.schemas import fits
from palaestra.mcp_servers.errors import ConfigError, TaskError, nearest

CATEGORIES: Final = ("base", "miss_func", "miss_param", "long_context")


@dataclass(frozen=True, slots=True)
class TruthCall:
    """One ground-truth call."""

    tool: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class BfclTask:
    """One task as the package has it.

    Attributes:
        id: the package's, such as "multi_turn_base_0".
        backends: classes whose tools it is about.
        config: initial state per backend.
        users: what the user says, turn by turn.
        truth: ground-truth calls per turn; none where nothing can be done.
        missing: tool -> turn in which it appears; None = never.
    """

    id: str
    category: str
    backends: tuple[str, ...]
    config: Mapping[str, Any]
    users: tuple[str, ...]
    truth: tuple[tuple[TruthCall, ...], ...]
    missing: Mapping[str, int | None]

    @property
    def long_context(self) -> bool:
        """Whether the backends are filled with much that does not matter."""
        return self.category == "long_context"

    @property
    def tools(self) -> dict[str, BfclTool]:
        """Every tool of its backends by name; no two backends share a name."""
        return {name: tool for backend in self.backends for name, tool in backend_tools(backend).items()}


@cache
def load_tasks(category: str) -> tuple[BfclTask, ...]:
    """The 200 tasks of a category, in the package's order.

    Raises: ConfigError "missing_bfcl" naming the command, "unknown_category" naming the nearest; TaskError
        "bad_ground_truth" for a call that is none.

    Cost: some 0.1 s once.
    """
    if category not in CATEGORIES:
        raise ConfigError("unknown_category", f"no BFCL category {category!r}; {nearest(category, CATEGORIES)}")
    file = f"BFCL_v4_multi_turn_{category}.json"
    answers = {line["id"]: line["ground_truth"] for line in read_lines("possible_answer", file)}
    return tuple(_task(category, line, answers[line["id"]]) for line in read_lines(file))


def _task(category: str, line: Mapping[str, Any], answers: Sequence[Sequence[str]]) -> BfclTask:
    backends = tuple(line["involved_classes"])
    tools = {name: tool for backend in backends for name, tool in backend_tools(backend).items()}
    missing: dict[str, int | None] = dict.fromkeys(line.get("excluded_function", ()))
    missing |= {name: int(turn) for turn, names in line.get("missed_function", {}).items() for name in names}
    return BfclTask(
        id=line["id"],
        category=category,
        backends=backends,
        config=line["initial_config"],
        users=tuple("\n".join(m["content"] for m in turn) or more_tools_prompt() for turn in line["question"]),
        truth=tuple(tuple(read_truth(text, tools) for text in turn) for turn in answers),
        missing=missing,
    )


def read_truth(text: str, tools: Mapping[str, BfclTool]) -> TruthCall:
    """A ground-truth call, which the package writes as Python; it is parsed and never run.

    Raises: TaskError "bad_ground_truth" for anything but one call of a known tool with literal arguments that it takes.
    """
    try:
        node = ast.parse(text, mode="eval").body
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            raise ValueError("not a call")
        tool = tools[node.func.id]
        by_position = [ast.literal_eval(value) for value in node.args]
        by_name = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
        arguments = tool.signature.bind(*by_position, **by_name).arguments
    except (SyntaxError, ValueError, TypeError, KeyError) as error:
        raise TaskError("bad_ground_truth", f"{text!r} is no ground-truth call: {error!r}") from error
    return TruthCall(tool.name, {name: _plain(value) for name, value in arguments.items()})


def _plain(value: Any) -> Any:
    """A literal as JSON has it."""
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    return {key: _plain(member) for key, member in value.items()} if isinstance(value, dict) else value


def own_faults(task: BfclTask) -> list[str]:
    """Where the ground truth breaks what the agent is shown: a call that does not fit its schema, or of no tool shown.

    Such a task cannot be played both honestly and validly.
    """
    return list(_own_faults(task))


def _own_faults(task: BfclTask) -> Iterator[str]:
    tools = task.tools
    for turn, calls in enumerate(task.truth):
        for call in calls:
            appears = task.missing.get(call.tool, 0)
            if appears is None or appears > turn:
                yield f"turn {turn}: {call.tool} is not shown before turn {appears}"
            elif not fits(call.arguments, tools[call.tool].schema):
                yield f"turn {turn}: the arguments of {call.tool} do not fit its schema"
