"""R7: whatever text is put into any string argument, it is never run as SQL and never read as a path or a pattern."""

from __future__ import annotations

from palaestra.benchmarks import tool_injection
from palaestra.mcp_servers.catalog import load_server, load_servers
from palaestra.mcp_servers.framework.dispatch import dispatch
from palaestra.mcp_servers.framework.episode_sources import EpisodeSources
from palaestra.mcp_servers.framework.episodes import EpisodeStore
from palaestra.mcp_servers.framework.spec import precondition, verb, view
from palaestra.mcp_servers.framework.sql import Database, Row
from palaestra.mcp_servers.framework.stories import Teller
from palaestra.mcp_servers.framework.validation import Args
from tests.mcp_servers.shelf import Box, build_shelf
from tests.requirements.ledger import requirement

SEED = 3


@requirement("R7")
def test_payloads_are_data_to_every_tool_that_takes_text() -> None:
    found = tool_injection.count_effects(10, SEED)
    assert found["which"] == []
    assert found["effects"] == 0
    taking_text = [
        spec.name
        for server in load_servers()
        for spec in server.tools.values()
        if any("'string'" in str(schema) for schema in spec.input_schema()["properties"].values())
    ]
    assert 0.9 * len(taking_text) <= found["tools"] <= len(taking_text)
    assert found["answers"]["accepted"] > found["tools"]


class LabelArgs(Args):
    box_id: str
    label: str


@precondition
def box_exists(db: Database, sources: EpisodeSources, args: LabelArgs) -> bool:
    """The box exists."""
    return db.find(Box, args.box_id) is not None


@verb(requires=[box_exists], returns=view(Box))
def label_by_pasting(db: Database, sources: EpisodeSources, args: LabelArgs) -> Row:
    """A careless tool: it pastes the text into its statement."""
    db._execute(f"UPDATE box SET label = '{args.label}' WHERE box_id = '{args.box_id}'")  # noqa: S608
    db.touched.append(("box", args.box_id))
    return db.get(Box, args.box_id)


@requirement("R7")
def test_a_tool_that_pastes_text_into_sql_is_counted() -> None:
    def label(tell: Teller) -> None:
        tell.call("label_by_pasting", box_id=tell.items("list_boxes")[0]["box_id"], label="new")

    careless = build_shelf(label_by_pasting, stories=(label,), chains=())
    found = tool_injection.count_effects(50, SEED, [careless])
    assert found["effects"] > 0
    assert any("label_by_pasting" in effect for effect in found["which"])


@requirement("R7")
def test_a_search_finds_text_and_nothing_else() -> None:
    with EpisodeStore([load_server("banking")]) as store:
        _, episode = store.open(seed=SEED)
        everyone = dispatch(episode, "search_payees", {"text": "e", "limit": 100}).content["items"]
        assert len(everyone) > 3
        for payload in tool_injection.PAYLOADS:
            found = dispatch(episode, "search_payees", {"text": payload, "limit": 100}).content["items"]
            assert all(payload.lower() in str(list(row.values())).lower() for row in found)
