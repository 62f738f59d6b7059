"""Logs and metrics of a real process: what was called, and nothing that opens an episode."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import anyio
import httpx2

from palaestra.mcp_servers.framework.mcp_adapter import EPISODE_KEY
from palaestra.mcp_servers.transports.observing import JsonLines
from palaestra.mcp_servers.transports.service import Service
from palaestra.mcp_servers.transports.wire import connect

CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("list_bank_accounts", {}),
    ("list_bank_accounts", {"limit": "x"}),
    ("no_such_tool_" + "A" * 43, {}),
)


def test_every_call_is_a_line_and_a_count_without_any_secret() -> None:
    async def use(service: Service) -> list[str]:
        secrets = []
        async with service.control() as control:
            for mode in ("auto", "legacy"):
                async with connect(service.url, mode=mode) as client:
                    episode = await control.open(["banking"])
                    secrets.append(episode.handle)
                    meta: Any = {EPISODE_KEY: episode.handle}
                    for tool, arguments in CALLS:
                        await client.call_tool(tool, arguments, meta=meta)
                    await client.call_tool("list_bank_accounts", {})
        return secrets

    with Service(["banking"], log_calls=True) as service:
        secrets = [*anyio.run(use, service), service.control_token]
        lines = [json.loads(line) for line in service.said().splitlines()]
        metrics = httpx2.get(service.url.replace("/mcp", "/metrics")).text
    calls = [line for line in lines if line["logger"] == "palaestra.calls"]
    assert [(line["tool"], line["code"]) for line in calls[:4]] == [
        ("list_bank_accounts", "ok"), ("list_bank_accounts", "invalid_arguments"), ("", "unknown_tool"),
        ("list_bank_accounts", "no_episode"),
    ]  # fmt: skip
    assert all(
        set(line) == {"time", "level", "logger", "message", "principal", "server", "tool", "code", "ms"}
        for line in calls
    )
    for secret in secrets:
        assert secret not in service_text(lines)
        assert secret not in metrics
    assert "no_such_tool" not in metrics + service_text(lines)
    counted = dict(
        re.findall(r'palaestra_calls_total\{code="(\w+)",effect="read",server="banking"\} ([\d.]+)', metrics)
    )
    assert counted == {"ok": "2.0", "invalid_arguments": "2.0", "no_episode": "1.0"} or counted["ok"] == "3.0"
    assert "palaestra_open_episodes " in metrics
    assert float(re.findall(r"^process_resident_memory_bytes (\S+)", metrics, re.MULTILINE)[0]) > 1e6


def service_text(lines: list[dict[str, object]]) -> str:
    return json.dumps(lines)


def test_a_line_shows_no_handle_wherever_it_stands() -> None:
    handle, session = "h" * 43, "0f" * 16
    try:
        raise ValueError(f"bad {handle}")
    except ValueError as error:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "session %s", (session,), (type(error), error, None))
    line = JsonLines().format(record)
    assert line.count("\n") == 0
    assert json.loads(line)["message"] == "session [handle]"
    assert handle not in line
    assert "f" * 64 in JsonLines().format(logging.LogRecord("x", 20, "f", 1, "digest " + "f" * 64, (), None))
