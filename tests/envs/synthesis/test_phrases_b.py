"""Phrases for disks, journeys, networks, chats, homes, cars, issues, food and meetings: complete, fitting and clean."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from palaestra.mcp_servers.catalog import load_server

FOLDER: Final = Path(__file__).parents[3] / "envs" / "tools" / "synthesis" / "phrases"
SERVERS: Final = (
    "filesystem", "travel_booking", "maps", "social_media", "team_chat", "iot_devices", "vehicle", "issue_tracker",
    "food_delivery", "video_meeting",
)  # fmt: skip
LEAST: Final = {"ask": 6, "then": 3, "goal": 2, "done": 2}
MANNERS: Final = {"money", "instant", "day", "minutes", "raw", "quoted", "list"}
PAGING: Final = {"cursor", "limit"}
SLOT: Final = re.compile(r"\{([a-z_.]+)(?:\?([^{}]+))?\}")
BROKEN: Final = re.compile(r"  |\s[.,;:?!]|[,;][.,;?]|\.\.|\}\{|\w\{")
SEGMENT: Final = re.compile(r"\[\[(.*?)\]\]")

pytestmark = pytest.mark.parametrize("server", SERVERS)


@cache
def said(server: str) -> dict[str, Any]:
    """A phrase file."""
    return tomllib.loads((FOLDER / f"{server}.toml").read_text("utf-8"))


def tools(server: str) -> Iterator[tuple[str, set[str], set[str], dict[str, Any], dict[str, Any]]]:
    """Of every tool: name, required and optional arguments, result fields, and what is said about it."""
    for name, spec in load_server(server).tools.items():
        schema = spec.input_schema()
        required = set(schema.get("required", ()))
        optional = set(schema["properties"]) - required
        yield name, required, optional, spec.output_schema()["properties"], said(server)[name]


def slots(text: str) -> set[str]:
    """What is filled in."""
    return {name for name, _ in SLOT.findall(text)}


def variants(text: str) -> tuple[str, str]:
    """A wording without anything optional, and with all of it."""
    return SEGMENT.sub("", text), SEGMENT.sub(r"\1", text)


def test_each_tool_has_enough_wordings_and_none_is_used_twice(server: str) -> None:
    assert set(said(server)) == {"_persona", "_slots", *load_server(server).tools}
    every: Counter[str] = Counter()
    for name, required, _, _, words in tools(server):
        assert set(words) == {*LEAST, "supply"}, name
        assert all(len(words[use]) >= least for use, least in LEAST.items()), name
        assert set(words["supply"]) == required, name
        assert all(len(set(ways)) == len(ways) >= 2 for ways in words["supply"].values()), name
        every.update(text for use in LEAST for text in words[use])
    assert not [text for text, times in every.items() if times > 1]


def test_requests_name_what_is_required_and_what_is_optional_vanishes(server: str) -> None:
    for name, required, optional, _, words in tools(server):
        for text in (*words["ask"], *words["then"]):
            bare, full = variants(text)
            assert slots(bare) == required, (name, text)
            assert slots(full) - required <= optional, (name, text)
            assert all(len(slots(segment)) == 1 for segment in SEGMENT.findall(text)), (name, text)
        assert all(slots(text) <= required | optional for text in words["goal"]), name
        assert all(slots(way) == {key} for key, ways in words["supply"].items() for way in ways), name


def test_everything_optional_can_be_asked_for(server: str) -> None:
    for name, _, optional, _, words in tools(server):
        assert any(optional <= slots(text) for text in words["ask"]), name
        assert sum(optional - PAGING <= slots(text) for text in words["ask"]) >= 2, name
        assert any(optional - PAGING <= slots(text) for text in words["then"]), name


def test_closing_sentences_quote_plain_fields_of_the_result(server: str) -> None:
    for name, _, _, fields, words in tools(server):
        for slot in {slot for text in words["done"] for slot in slots(text)}:
            owner, _, field = slot.partition(".")
            assert owner == "result", (name, slot)
            assert fields[field].get("type") in ("string", "integer"), (name, slot)


def test_it_is_known_how_to_say_every_value(server: str) -> None:
    columns = {
        f"{table}:{column}" for table, model in load_server(server).schema.by_name.items() for column in model.infos
    }
    ways = said(server)["_slots"]
    assert set(ways.values()) <= MANNERS | columns
    used: set[str] = set()
    for _, required, optional, _, words in tools(server):
        used |= required | optional
        used |= {slot.removeprefix("result.") for text in words["done"] for slot in slots(text)}
    assert used == set(ways)


def test_there_are_voices_openers_and_closers(server: str) -> None:
    persona = said(server)["_persona"]
    assert len(set(persona["voices"])) >= 3
    assert len(set(persona["openers"])) == len(persona["openers"]) >= 8
    assert len(set(persona["closers"])) == len(persona["closers"]) >= 5
    assert all(text == "" or text[-1] == " " != text[0] for text in persona["openers"])
    assert all(text == "" or text[0] == " " != text[-1] for text in persona["closers"])


def test_wordings_are_whole_sentences_with_and_without_what_is_optional(server: str) -> None:
    for name, _, _, _, words in tools(server):
        supplied = [way for ways in words["supply"].values() for way in ways]
        for use, texts in {**{use: words[use] for use in LEAST}, "supply": supplied}.items():
            for form in (form for text in texts for form in variants(text)):
                assert form == form.strip(), (name, form)
                assert not BROKEN.search(form), (name, form)
                if use == "then":
                    assert re.fullmatch(r"[a-z].*[^.!?,;:]", form), (name, form)
                else:
                    assert re.fullmatch(r"[A-Z{].*[.!?]", form), (name, form)
                    assert "?" not in "".join(found.group() for found in SLOT.finditer(form)), (name, form)


def test_people_name_neither_tools_nor_rules(server: str) -> None:
    for name, _, _, _, words in tools(server):
        rules = [condition.name for condition in load_server(server).tools[name].requires]
        supplied = [way for ways in words["supply"].values() for way in ways]
        for text in (*(text for use in LEAST for text in words[use]), *supplied):
            bare = SLOT.sub("", text)
            assert not re.search(r"[_{}]", bare), (name, text)
            assert not any(rule.replace("_", " ") in bare.lower() for rule in rules), (name, text)
