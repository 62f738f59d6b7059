"""The catalog: what is declared is there, and every server passes the conformance check."""

from __future__ import annotations

import pytest

from palaestra.mcp_servers.catalog import CATALOG, load_server, load_servers
from palaestra.mcp_servers.errors import ConfigError
from palaestra.mcp_servers.framework.chains import tell_chain
from palaestra.mcp_servers.framework.conformance import check_server
from palaestra.mcp_servers.framework.episodes import REFERENCE_TIME, EpisodeStore
from palaestra.mcp_servers.framework.images import build_image
from palaestra.mcp_servers.framework.values import PRIVATE

PUBLISHED = {
    "banking": 17, "trading": 13, "payments": 10, "calendar": 17, "email": 17, "filesystem": 40, "shopping": 23,
    "marketplace": 13, "retail_chain": 11, "travel_booking": 20, "maps": 16, "social_media": 15, "team_chat": 11,
    "iot_devices": 25, "vehicle": 20, "crm": 16, "issue_tracker": 20, "budget": 12, "food_delivery": 17,
    "video_meeting": 10,
}  # fmt: skip
"""arXiv 2606.03892, table 2."""


@pytest.mark.parametrize("name", list(CATALOG))
def test_a_server_has_the_declared_tools(name: str) -> None:
    kinds = [tool.kind for tool in load_server(name).tools.values()]
    entry = CATALOG[name]
    assert (kinds.count("generated"), kinds.count("query"), kinds.count("verb"), len(kinds)) == (
        entry.generated, entry.queries, entry.verbs, entry.tools,
    )  # fmt: skip
    assert load_server(name).name == name


def test_tool_names_are_unique_over_all_servers_and_two_fifths_are_verbs() -> None:
    names = [tool for server in load_servers() for tool in server.tools]
    assert len(names) == len(set(names)) == sum(entry.tools for entry in CATALOG.values())
    assert sum(entry.verbs for entry in CATALOG.values()) >= 0.4 * len(names)


def test_there_are_twenty_servers_with_the_published_number_of_tools() -> None:
    assert {name: entry.tools for name, entry in CATALOG.items()} == PUBLISHED
    assert (len(CATALOG), sum(entry.tools for entry in CATALOG.values())) == (20, 343)
    assert all(entry.verbs >= 0.25 * entry.tools for entry in CATALOG.values())


def test_an_unknown_server_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'banking'"):
        load_server("bankin")


@pytest.mark.parametrize("name", list(CATALOG))
def test_a_server_conforms(name: str) -> None:
    assert check_server(load_server(name), seeds=(0, 1)) == []
    assert check_server(load_server(name), seeds=(2,), profiles=("small", "large")) == []


@pytest.mark.parametrize("name", list(CATALOG))
def test_a_server_has_chains_of_several_lengths_and_most_verbs_are_in_one(name: str) -> None:
    server = load_server(name)
    with EpisodeStore([server]) as store:
        told = [tell_chain(store.open()[1], chain, server) for chain in server.chains]
    assert len(told) >= 5
    assert len({len(calls) for calls in told}) >= 2
    verbs = {tool.name for tool in server.tools.values() if tool.kind == "verb"}
    assert len(verbs & {call.tool for calls in told for call in calls}) >= 0.6 * len(verbs)


@pytest.mark.parametrize("name", list(CATALOG))
def test_an_image_stays_within_its_budget(name: str) -> None:
    small, default, large = (
        build_image(load_server(name), 0, profile, REFERENCE_TIME) for profile in ("small", "default", "large")
    )
    assert small.rows < default.rows < large.rows
    assert len(default.content) <= (256 if name == "filesystem" else 128) * 1024


@pytest.mark.parametrize("name", list(CATALOG))
def test_agents_see_no_private_marks_and_no_names_of_preconditions(name: str) -> None:
    for tool in load_server(name).tools.values():
        shown = f"{tool.description} {tool.input_schema()} {tool.output_schema()}"
        assert PRIVATE not in shown
        assert not [condition.name for condition in tool.requires if condition.name in shown]
        assert "'title':" not in shown.replace("'title': {", "")


def test_keys_carry_what_they_refer_to() -> None:
    tool = load_server("banking").tool("transfer_money")
    assert tool.references == {"account_id": "account", "payee_id": "payee"}
    schema = tool.input_schema(private=True)["properties"]
    assert schema["payee_id"][PRIVATE] == {"ref": "payee"}
    assert schema["amount"][PRIVATE] == {"unit": "minor units"}
    assert load_server("banking").tool("verify_identity").sensitive == {"passphrase"}
    assert load_server("banking").tool("create_payee").sensitive == {"iban"}
    with pytest.raises(ConfigError, match="did you mean 'transfer_money'"):
        load_server("banking").tool("transfer_mony")
