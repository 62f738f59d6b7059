"""A model chooses the calls of a path one after another, on the live server.

propose   the model writes a call; one its tool's validator refuses is written again (`Chat.ask`)
execute   the call is made where the calls before it have led
classify  it worked; or it found nothing, failed, or did not need the call before it
recover   the model is told why and corrects its arguments, twice; then the path is given up
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from palaestra.envs.core.types import canonical_json
from palaestra.envs.tools.schemas import function_of, shown_schema
from palaestra.envs.tools.synthesis.bindings import propose
from palaestra.envs.tools.synthesis.graph import Edge
from palaestra.envs.tools.synthesis.llm_chat import Chat
from palaestra.envs.tools.synthesis.llm_prompts import CALL, told
from palaestra.envs.tools.synthesis.llm_reading import CallAction, GiveUp, read_call
from palaestra.envs.tools.synthesis.pools import Arguments, Field
from palaestra.envs.tools.synthesis.probing import WORKS, replay
from palaestra.envs.tools.synthesis.recording import shows
from palaestra.envs.tools.synthesis.sampling import Call
from palaestra.envs.tools.synthesis.slots import slots_of
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.spec import ToolSpec
from palaestra.mcp_servers.framework.values import to_iso

CORRECTIONS: Final = 2
EXAMPLES: Final = 8
_RESULT: Final = 3000
"""Characters of a result that the model is shown."""


@dataclass(slots=True)
class Acting:
    """One path being made concrete."""

    chat: Chat
    world: Field
    path: tuple[str, ...]
    needs: Mapping[tuple[str, str], Edge]
    rng: np.random.Generator
    calls: list[Call] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)

    def run(self) -> list[Call] | None:
        """Calls that work one after another; None if the model found none. Leaves the episode at its seed.

        Raises: as `Chat.ask`. Cost: one to three requests per call, more for those that cannot be read.
        """
        self.world.episode.reset()
        try:
            return self.calls if all(self._make(tool) for tool in self.path) else None
        finally:
            self.world.episode.reset()

    def _make(self, tool: str) -> bool:
        spec = self.world.server.tools[tool]
        edge = self.needs.get((self.path[len(self.calls) - 1], tool)) if self.calls else None
        facts = self._facts(spec, edge)
        refused: list[dict[str, Any]] = []
        for _ in range(1 + CORRECTIONS):
            seed = int(self.rng.integers(2**31))
            action = self._ask(spec, {**facts, "refused": refused}, seed)
            if isinstance(action, GiveUp):
                self.chat.count("call.given_up")
                return False
            why = self._try(spec, edge, action.arguments)
            if why == WORKS:
                return True
            self.chat.count("call.failed")
            refused.append({"arguments": action.arguments, "why": why})
        return False

    def _ask(self, spec: ToolSpec, facts: Mapping[str, Any], seed: int) -> CallAction | GiveUp:
        tools = self.world.server.tools
        return self.chat.ask("call", told(CALL, facts), lambda text: read_call(text, tools, spec.name), seed)

    def _try(self, spec: ToolSpec, edge: Edge | None, arguments: Arguments) -> str:
        """Make a call if it fits the path; why not otherwise, with the world as it was."""
        if edge is not None and edge.kind == "explicit" and not shows(self.results[-1], arguments.get(edge.label)):
            return f"{edge.label} is not a value of the latest result"
        if edge is not None and edge.kind == "implicit" and self._works_without(spec, arguments):
            return f"the call works without {self.calls[-1][0]} before it; choose one that needs it"
        result = dispatch(self.world.episode, spec.name, arguments)
        if result.value is None:
            return result.text
        if "items" in result.value and not result.value["items"]:
            replay(self.world.episode, self.calls)
            return "it found nothing"
        self.calls.append((spec.name, arguments))
        self.results.append(result.value)
        return WORKS

    def _works_without(self, spec: ToolSpec, arguments: Arguments) -> bool:
        """Whether the latest call is not needed for this one."""
        episode = self.world.episode
        replay(episode, self.calls[:-1])
        works = self.world.asks(spec, arguments) == WORKS
        replay(episode, self.calls)
        return works

    def _facts(self, spec: ToolSpec, edge: Edge | None) -> dict[str, Any]:
        context = self.world.context
        ahead, waiting = self._ahead()
        examples = self._examples(spec, edge, waiting)
        keys = {
            (slot.entity, one[slot.name])
            for slot in slots_of(spec)
            if slot.entity
            for one in examples
            if slot.name in one
        }
        rows = {key: row for entity, key in sorted(keys) if (row := context.rows.get(str(entity), {}).get(key))}
        so_far = [
            {"tool": tool, "arguments": arguments, "result": canonical_json(result)[:_RESULT]}
            for (tool, arguments), result in zip(self.calls, self.results, strict=True)
        ]
        return {
            "now": to_iso(context.now), "chain": self.path, "tool": function_of(spec, shown_schema(spec))["function"],
            "link": {"kind": edge.kind, "argument": edge.label} if edge and edge.kind == "explicit" else
                    {"kind": edge.kind} if edge else None,
            "ahead": {"tool": ahead, "waiting": waiting} if waiting else None,
            "examples": examples, "rows": rows, "so_far": so_far,
        }  # fmt: skip

    def _ahead(self) -> tuple[str, list[Arguments]]:
        """The next tool of the path, and calls of it that wait for this one, if it brings about what they need."""
        at = len(self.calls)
        following = self.path[at + 1] if at + 1 < len(self.path) else ""
        edge = self.needs.get((self.path[at], following))
        implicit = edge is not None and edge.kind == "implicit"
        return following, self.world.pools[following].bad.get(edge.label, [])[:2] if edge and implicit else []

    def _examples(self, spec: ToolSpec, edge: Edge | None, waiting: Sequence[Arguments]) -> list[Arguments]:
        """Arguments the live server shows: what became possible first, then what others wait for, then what else."""
        world, context = self.world, self.world.context.copy()
        for call, result in zip(self.calls, self.results, strict=True):
            context.learn(result, call)
        opened = world.pools[spec.name].bad.get(edge.label, []) if edge is not None and edge.kind == "implicit" else []
        found = [arguments for arguments in opened if world.asks(spec, arguments) == WORKS][: EXAMPLES // 2]
        keys = {slot.name for slot in slots_of(spec) if slot.entity is not None}
        wanted = [{name: one[name] for name in sorted(keys & one.keys())} for one in waiting]
        for fixed in [*wanted, *({} for _ in range(EXAMPLES))]:
            arguments = propose(spec, context, self.rng, fixed=fixed)
            if arguments is not None and arguments not in found:
                found.append(arguments)
        return found[:EXAMPLES]
