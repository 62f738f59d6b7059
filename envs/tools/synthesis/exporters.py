"""Exporters: the same tasks as chat messages with tools, or in the columns that veRL reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

from palaestra.envs.core.types import canonical_json
from palaestra.envs.tools.conversation import Shelf
from palaestra.envs.tools.records import TaskRecord
from palaestra.envs.tools.schemas import function_of
from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import EpisodeStore

Format = Literal["openai", "verl"]


def openai(record: TaskRecord) -> dict[str, Any]:
    """Messages of the whole conversation, calls and their results included, and the tools of its last turn.

    Cost: seeding the record's world and making its calls.
    """
    return {"id": record.id, "messages": _messages(record), "tools": _tools(record)}


def verl(record: TaskRecord) -> dict[str, Any]:
    """One row: the first request as the prompt, the record as what the reward needs."""
    return {
        "data_source": "palaestra/tools",
        "prompt": [{"role": "user", "content": record.turns[0].user}],
        "ability": "tool_use",
        "reward_model": {"style": "rule", "ground_truth": record.to_json()},
        "extra_info": {"id": record.id, "split": record.split, "turns": len(record.turns), "tools": _tools(record)},
        "agent_name": "palaestra_tools",
    }


_FORMATS: dict[Format, Callable[[TaskRecord], dict[str, Any]]] = {"openai": openai, "verl": verl}


def export(records: Iterable[TaskRecord], target: Path, format_: Format) -> int:
    """Write records in another format, one JSON object per line; how many."""
    partial = target.with_name(target.name + ".partial")
    count = 0
    with partial.open("w", encoding="utf-8") as lines:
        for record in records:
            lines.write(canonical_json(_FORMATS[format_](record)) + "\n")
            count += 1
    partial.replace(target)
    return count


def _tools(record: TaskRecord) -> list[dict[str, Any]]:
    shelf = Shelf(record)
    return [function_of(spec, shelf.schemas[spec.name]) for spec in shelf.visible(len(record.turns) - 1)]


def _messages(record: TaskRecord) -> list[dict[str, Any]]:
    world = record.env
    messages: list[dict[str, Any]] = []
    with EpisodeStore([load_server(name) for name in world.servers]) as store:
        _, episode = store.open(
            world.servers, seed=world.seed, profile=world.profile, reference_time=world.reference_time
        )
        for turn in record.turns:
            messages.append({"role": "user", "content": turn.user})
            for call in turn.gold:
                function = {"name": call.tool, "arguments": json.dumps(dict(call.arguments), ensure_ascii=False)}
                asked = {"id": call.id, "type": "function", "function": function}
                messages.append({"role": "assistant", "content": None, "tool_calls": [asked]})
                answer = dispatch(episode, call.tool, dict(call.arguments)).text
                messages.append({"role": "tool", "tool_call_id": call.id, "content": answer})
            messages.append({"role": "assistant", "content": turn.reply})
    return messages
