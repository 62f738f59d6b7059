"""The phrases of the servers for money, calendars, mail, shops and sales: complete, fitting the tools, and readable."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.framework.spec import ToolSpec

SERVERS = (
    "banking", "trading", "payments", "calendar", "email", "shopping", "marketplace", "retail_chain", "budget", "crm",
)  # fmt: skip
PHRASES = Path(__file__).parents[3] / "envs" / "tools" / "synthesis" / "phrases"
LEAST = {"ask": 6, "then": 3, "goal": 2, "done": 2}
KINDS = {"money", "instant", "day", "minutes", "raw", "quoted", "list"}

SLOT = re.compile(r"\{([a-z_.]+)(?:\?([^{}]+))?\}")
SEGMENT = re.compile(r"\[\[(.*?)\]\]")

Wordings = dict[str, Any]


@cache
def phrases(server: str) -> Wordings:
    """The phrase file of a server."""
    with (PHRASES / f"{server}.toml").open("rb") as file:
        return tomllib.load(file)


def tools(server: str) -> Iterator[tuple[ToolSpec, Wordings]]:
    """Every tool of a server with its wordings."""
    for name, spec in load_server(server).tools.items():
        yield spec, phrases(server)[name]


def arguments(spec: ToolSpec) -> tuple[set[str], set[str]]:
    """Required and optional arguments of a tool."""
    schema = spec.input_schema()
    required = set(schema.get("required", ()))
    return required, set(schema.get("properties", {})) - required


def slots(wording: str) -> set[str]:
    """Names of the slots of a wording."""
    return {name for name, _ in SLOT.findall(wording)}


def always(wording: str) -> set[str]:
    """Names of the slots that are printed whatever is left out."""
    return slots(SEGMENT.sub("", wording))


def sentences(server: str) -> Iterator[str]:
    """Everything that may be said, except the supplied values, which are said in the same way of many tools."""
    for _, said in tools(server):
        for kind in LEAST:
            yield from said[kind]


each_server = pytest.mark.parametrize("server", SERVERS)


@each_server
def test_every_tool_is_there_with_enough_wordings(server: str) -> None:
    said = phrases(server)
    assert set(said) == {"_persona", "_slots", *load_server(server).tools}
    for name in load_server(server).tools:
        assert set(said[name]) == {*LEAST, "supply"}, name
        short = {kind for kind, least in LEAST.items() if len(said[name][kind]) < least}
        assert not short, (name, short)


@each_server
def test_the_persona_has_voices_openers_and_closers(server: str) -> None:
    persona = phrases(server)["_persona"]
    assert set(persona) == {"voices", "openers", "closers"}
    for kind, least in (("voices", 3), ("openers", 8), ("closers", 5)):
        assert len(set(persona[kind])) == len(persona[kind]) >= least, kind
    assert all(not opener or opener.endswith(" ") for opener in persona["openers"])
    assert all(not closer or closer.startswith(" ") for closer in persona["closers"])


@each_server
def test_requests_name_every_required_argument_and_only_arguments_of_their_tool(server: str) -> None:
    for spec, said in tools(server):
        required, optional = arguments(spec)
        for wording in (*said["ask"], *said["then"]):
            assert always(wording) == required, (spec.name, wording)
            assert slots(wording) - required <= optional, (spec.name, wording)
        for wording in said["goal"]:
            assert slots(wording) <= required | optional, (spec.name, wording)


@each_server
def test_what_may_be_left_out_vanishes_with_its_segment(server: str) -> None:
    for spec, said in tools(server):
        _, optional = arguments(spec)
        for wording in (*said["ask"], *said["then"]):
            for segment in SEGMENT.findall(wording):
                assert len(slots(segment)) == 1, (spec.name, segment)
                assert slots(segment) <= optional, (spec.name, segment)
            assert len(re.findall(r"\[\[|\]\]", wording)) == 2 * len(SEGMENT.findall(wording)), (spec.name, wording)


@each_server
def test_every_optional_argument_can_be_said(server: str) -> None:
    for spec, said in tools(server):
        _, optional = arguments(spec)
        spoken = optional - {"cursor"}
        full = [wording for wording in said["ask"] if spoken <= slots(wording)]
        assert len(full) >= 2, (spec.name, "two requests should have room for all of", sorted(spoken))
        assert any(optional <= slots(wording) for wording in said["ask"]), spec.name
        assert any(spoken <= slots(wording) for wording in said["then"]), (spec.name, "follow-up", sorted(spoken))


@each_server
def test_what_is_withheld_can_be_supplied(server: str) -> None:
    for spec, said in tools(server):
        required, _ = arguments(spec)
        assert set(said["supply"]) == required, spec.name
        for name, wordings in said["supply"].items():
            assert len(set(wordings)) == len(wordings) >= 2, (spec.name, name)
            assert all(slots(wording) == {name} for wording in wordings), (spec.name, name)


@each_server
def test_closing_sentences_name_plain_fields_of_the_result(server: str) -> None:
    for spec, said in tools(server):
        fields = spec.output_schema()["properties"]
        for wording in said["done"]:
            for slot in slots(wording):
                kind, _, name = slot.partition(".")
                assert kind == "result", (spec.name, wording)
                assert fields[name].get("type") in ("string", "integer", "boolean"), (spec.name, wording)


@each_server
def test_it_is_said_how_every_value_is_printed(server: str) -> None:
    said = phrases(server)
    tables = load_server(server).schema.by_name
    columns = {f"{name}:{column}" for name, table in tables.items() for column in table.infos}
    printed = {slot.removeprefix("result.") for wording in sentences(server) for slot in slots(wording)}
    taken = set().union(*(set().union(*arguments(spec)) for spec, _ in tools(server)))
    assert set(said["_slots"]) == taken | printed
    assert set(said["_slots"].values()) <= KINDS | columns


@each_server
def test_nothing_is_said_twice(server: str) -> None:
    twice = [wording for wording, times in Counter(sentences(server)).items() if times > 1]
    assert not twice


@each_server
def test_people_name_no_tools_and_no_rules(server: str) -> None:
    rules = {condition.name.replace("_", " ") for spec, _ in tools(server) for condition in spec.requires}
    for spec, said in tools(server):
        supplied = (wording for wordings in said["supply"].values() for wording in wordings)
        for wording in (*(one for kind in LEAST for one in said[kind]), *supplied):
            bare = SLOT.sub("", wording)
            assert not re.search(r"[_{}]", bare), (spec.name, wording)
            assert not any(rule in bare.lower() for rule in rules), (spec.name, wording)


@each_server
def test_what_was_just_made_is_called_it_in_follow_ups_only(server: str) -> None:
    for spec, said in tools(server):
        for kind in ("ask", "goal", "done"):
            assert not any(pronoun for wording in said[kind] for _, pronoun in SLOT.findall(wording)), (spec.name, kind)
        for wording in said["then"]:
            for before, pronoun in re.findall(r"(\w+) \{[a-z_]+\?([^{}]+)\}", wording):
                assert before not in pronoun.split(), (spec.name, wording, "would say it twice")


@each_server
def test_sentences_read_well_with_and_without_what_is_optional(server: str) -> None:
    flaw = re.compile(r"  |\s[.,;:?!]|,[.,?]|\w\{|\}\{|^\s|\s$")
    for spec, said in tools(server):
        for wording in (wording for kind in LEAST for wording in said[kind]):
            for text in (SEGMENT.sub("", wording), SEGMENT.sub(r"\1", wording)):
                assert not flaw.search(text), (spec.name, text)
        for wording in said["then"]:
            assert wording[0].islower(), (spec.name, wording)
            assert wording[-1] not in ".!?,;:", (spec.name, wording)
        for wording in (*said["ask"], *said["goal"], *said["done"]):
            assert SEGMENT.sub("", wording)[-1] in ".!?", (spec.name, wording)
            assert wording[0].isupper() or wording[0] == "{", (spec.name, wording)
