"""Payloads in every text argument of every tool: SQL, paths, patterns, templates. None may have an effect.

A payload goes where the tool is known to work: the recorded calls before it are made first. An effect is: an internal
error, another schema, a failed call that changed something, or a successful one that changed tables or deleted rows
which the same call without the payload does not.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import Any, Final

from palaestra.benchmarks.harness import count_result
from palaestra.benchmarks.tool_scripts import Script, good_calls, perform, unlimited
from palaestra.mcp_servers.catalog import load_servers
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode, EpisodeStore
from palaestra.mcp_servers.framework.faults import FaultCode
from palaestra.mcp_servers.framework.server import ToolServer
from palaestra.mcp_servers.framework.spec import ToolSpec

PAYLOADS: Final = (
    "'; DROP TABLE {table}; --", "' OR '1'='1", '" OR ""="', "1; DELETE FROM {table}", "') UNION SELECT 1 --",
    "'||(SELECT value FROM palaestra_position)||'", "%' OR 1=1 --", "x' AND load_extension('/tmp/x') --",
    "../../etc/passwd", "/etc/passwd", "..\\..\\boot.ini", "file:///etc/passwd?mode=memory", "${jndi:ldap://x}",
    "{{7*7}}", ":the_key", "?1", "@x", "/* */", "\\'; SELECT 1", "`id`", "$(id)", "_", "%", "*", "a%00b",
)  # fmt: skip
WRAPPINGS: Final = ("{}", "{value}{}", "{}{value}", '"{}"', "{}\n{}", "ＳＱＬ{}", "({})", "{};")


def payloads(tables: list[str], value: str) -> Iterator[str]:
    """200 texts: every payload in every wrapping, alone and around the value it replaces."""
    names = cycle(tables)
    for wrapping in WRAPPINGS:
        for payload in PAYLOADS:
            text = payload.replace("{table}", next(names))
            yield wrapping.replace("{value}", value).replace("{}", text)


def count_effects(per_tool: int, seed: int, servers: Sequence[ToolServer] = ()) -> dict[str, Any]:
    """Effects over at most so many payloads of every tool that takes text."""
    effects, outcomes, tools = [], Counter[str](), 0
    with unlimited(servers or load_servers()) as store:
        for spec, script, at in good_calls(store, seed).values():
            arguments = script.operations[at][1]
            names = [name for name, value in arguments.items() if isinstance(value, str)]
            if not names:
                continue
            tools += 1
            found, answers = _attack(store, spec, script, at, names, per_tool)
            effects += found
            outcomes += answers
    return {"effects": len(effects), "which": effects[:10], "tools": tools, "answers": dict(outcomes)}


def _attack(
    store: EpisodeStore, spec: ToolSpec, script: Script, at: int, names: list[str], per_tool: int
) -> tuple[list[str], Counter[str]]:
    handle, episode = store.open([script.server], seed=script.seed)
    episode.state(script.server)  # or there would be no schema before a first call
    for operation in script.operations[:at]:
        perform(episode, operation)
    snapshot, arguments = episode.snapshot(), script.operations[at][1]
    perform(episode, script.operations[at])
    usual = _touched(episode)
    tables = list(store.servers[script.server].schema.by_name)
    effects, answers = [], Counter[str]()
    by_name = [[(name, text) for text in payloads(tables, arguments[name])] for name in names]
    attacks = (attack for attacks in zip(*by_name, strict=True) for attack in attacks)
    for name, text in islice(attacks, per_tool):
        episode.restore(snapshot)
        before, schema = episode.digest(), _schema(episode)
        result = dispatch(episode, spec.name, {**arguments, name: text})
        code = "accepted" if result.fault is None else result.fault.code.value
        answers[code] += 1
        unchanged = episode.digest() == before if result.is_error else not _touched(episode) - usual
        if code == FaultCode.INTERNAL or not unchanged or _schema(episode) != schema:
            effects.append(f"{spec.name}({name}={text!r}): {code}")
    store.end(handle)
    return effects, answers


def _touched(episode: Episode) -> Counter[tuple[str, bool]]:
    """How many rows of each table differ from the seed, and how many of those are gone."""
    changed = episode.changes().values()
    return Counter((table, row is None) for rows in changed for (table, _), row in rows.items())


def _schema(episode: Episode) -> str:
    """A hash of every schema as the database itself has it."""
    seen = hashlib.sha256()
    for state in episode.snapshot().states.values():
        connection = sqlite3.connect(":memory:")
        connection.deserialize(state.content)
        for row in connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name"):
            seen.update(repr(row).encode())
        connection.close()
    return seen.hexdigest()


def run(quick: bool, seed: int) -> dict[str, Any]:
    """10 payloads for every tool if quick, otherwise 200 (some two CPU-minutes)."""
    found = count_effects(10 if quick else 200, seed)
    return count_result("tool-injection", found.pop("effects"), "payloads with an effect", seed, found)
