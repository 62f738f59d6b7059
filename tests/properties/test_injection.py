"""R7: whatever text is put into any string argument, it is never run as SQL and never read as a path or a pattern."""

from __future__ import annotations

import pytest

from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import EpisodeStore
from palaestra.mcp_servers.framework.faults import FaultCode
from palaestra.mcp_servers.framework.leases import Limits
from tests.properties.tool_worlds import SEED, good_calls
from tests.requirements.ledger import requirement

PAYLOADS = (
    "'; DROP TABLE {table}; --", "' OR '1'='1", '" OR ""="', "1; DELETE FROM {table}", "') UNION SELECT 1 --",
    "'||(SELECT value FROM palaestra_position)||'", "%' OR 1=1 --", "x' AND load_extension('/tmp/x') --",
    "../../etc/passwd", "/etc/passwd", "..\\..\\boot.ini", "file:///etc/passwd?mode=memory", "${jndi:ldap://x}",
    "{{7*7}}", ":the_key", "?1", "@x", "/* */", "\\'; SELECT 1", "`id`", "$(id)", "_", "%", "*", "a%00b",
)  # fmt: skip
TEXT_ARGUMENTS = sorted(
    (tool, name)
    for tool, (_, arguments) in good_calls().items()
    for name, value in arguments.items()
    if isinstance(value, str)
)


@requirement("R7")
def test_there_are_arguments_to_try() -> None:
    assert len({tool for tool, _ in TEXT_ARGUMENTS}) > 25


@requirement("R7")
@pytest.mark.parametrize(("tool", "name"), TEXT_ARGUMENTS)
def test_payloads_are_data(tool: str, name: str) -> None:
    spec, arguments = good_calls()[tool]
    server = load_server(spec.server)
    with EpisodeStore([server], limits=Limits(calls=10**6)) as store:
        _, episode = store.open(seed=SEED)
        state = episode.state(server.name)
        tables = list(server.schema.by_name)
        for number, payload in enumerate(PAYLOADS):
            text = payload.format(table=tables[number % len(tables)]) if "{table}" in payload else payload
            episode.reset()
            before = state.recomputed_digest()
            schema = _schema(state.snapshot().content)
            result = dispatch(episode, tool, {**arguments, name: text})
            assert result.fault is None or result.fault.code is not FaultCode.INTERNAL
            assert _schema(state.snapshot().content) == schema
            if result.is_error:
                assert state.recomputed_digest() == before
            for (table, key), row in state.changes().items():
                # What was written is the text itself, in rows this call names or creates.
                assert row is not None or key in arguments.values(), (table, key)


def _schema(content: bytes) -> list[tuple[str, ...]]:
    import sqlite3

    connection = sqlite3.connect(":memory:")
    connection.deserialize(content)
    found = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()
    connection.close()
    return found


@requirement("R7")
def test_a_search_finds_text_and_nothing_else() -> None:
    with EpisodeStore([load_server("banking")]) as store:
        _, episode = store.open(seed=SEED)
        everyone = dispatch(episode, "search_payees", {"text": "e", "limit": 100}).content["items"]
        assert len(everyone) > 3
        for payload in PAYLOADS:
            found = dispatch(episode, "search_payees", {"text": payload, "limit": 100}).content["items"]
            assert all(payload.lower() in str(list(row.values())).lower() for row in found)
