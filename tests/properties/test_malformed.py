"""R2: every malformed call of every tool gets a typed fault, and the state stays as it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palaestra.benchmarks import tool_malformed
from palaestra.benchmarks.tool_scripts import good_calls, unlimited
from palaestra.mcp_servers.catalog import load_servers
from palaestra.mcp_servers.framework.conformance import malformed
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episodes import Episode
from palaestra.mcp_servers.framework.faults import FaultCode
from tests.requirements.ledger import requirement

SEED = 3
with unlimited(load_servers()) as _store:
    GOOD = {name: (spec, script.operations[at][1]) for name, (spec, script, at) in good_calls(_store, SEED).items()}
TOOLS = sorted(GOOD)


@pytest.fixture(scope="module")
def episode() -> Iterator[Episode]:
    with unlimited(load_servers()) as store:
        yield store.open(seed=SEED)[1]


@requirement("R2")
def test_every_tool_of_the_catalog_is_tried() -> None:
    assert sorted(name for server in load_servers() for name in server.tools) == TOOLS


@requirement("R2")
@pytest.mark.parametrize("tool", TOOLS)
def test_variants_of_a_good_call_are_refused_and_change_nothing(episode: Episode, tool: str) -> None:
    spec, arguments = GOOD[tool]
    before = episode.full_digest()
    variants = list(malformed(spec, arguments))
    assert len(variants) >= 6
    for broken in variants:
        result = dispatch(episode, tool, broken)
        assert result.fault is not None
        assert result.fault.code is FaultCode.INVALID_ARGUMENTS, (str(broken)[:200], result.text)
        assert result.fault.details["problems"][0]["problem"]
    assert episode.full_digest() == before


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["\ud800", "\x00", 10**30]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@requirement("R2")
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(TOOLS), st.data())
def test_arbitrary_json_never_breaks_a_tool(episode: Episode, tool: str, data: st.DataObject) -> None:
    spec, arguments = GOOD[tool]
    spoiled: Any = dict(arguments)
    for name in data.draw(
        st.lists(st.sampled_from(sorted({*arguments, *spec.input_model.model_fields, "x"})), max_size=2)
    ):
        spoiled[name] = data.draw(json_values)
    before = episode.full_digest()
    result = dispatch(episode, tool, spoiled)
    if result.fault is not None:
        assert not result.fault.code.is_infrastructure, episode.journal.records[-1].incident
        assert episode.full_digest() == before


@requirement("R2")
def test_calls_spoiled_more_than_once_are_refused_too() -> None:
    found = tool_malformed.count_mistakes(60, SEED)
    assert found["mistakes"] == 0
    assert found["calls"] == 60 * len(TOOLS)
    assert set(found["answers"]) == {"invalid_arguments"}
