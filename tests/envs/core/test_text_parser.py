from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaestra.envs.core.text.parser import NOOP, ParsedResponse, Think, format_answer, parse_loose, parse_strict
from palaestra.envs.core.types import ActionStatus as S

ATOMS = [
    "<think>",
    "</think>",
    "<action>",
    "</action>",
    "<progress>",
    "</progress>",
    " ",
    "\n",
    "up",
    "<",
    ">",
    "/",
    "é",
]
responses = st.one_of(st.text(), st.lists(st.sampled_from(ATOMS), max_size=14).map("".join))
thinks: st.SearchStrategy[Think] = st.sampled_from(["required", "optional", "none"])


@pytest.mark.parametrize(
    ("response", "think", "status"),
    [
        ("<think>t</think><action>up</action>", "required", S.OK),
        ("\n <think></think>\t<action>up</action> \n", "required", S.OK),
        ("<action>up</action>", "optional", S.OK),
        ("<think>t</think><action>up</action>", "optional", S.OK),
        ("<action>up</action>", "none", S.OK),
        ("", "required", S.NO_ACTION),
        ("up", "none", S.NO_ACTION),
        ("<think>t</think><action>up", "required", S.NO_ACTION),
        ("<think>t</think>up</action>", "required", S.NO_ACTION),
        ("<think>t</think><ACTION>up</ACTION>", "required", S.NO_ACTION),
        ("<think>t</think><action>up</action><action>up</action>", "required", S.MANY_ACTIONS),
        ("<think>t</think><action><action>up</action></action>", "required", S.MANY_ACTIONS),
        ("<think>t</think><action>up</action></action>", "required", S.MANY_ACTIONS),
        ("<action>up</action>", "required", S.NO_THINK),
        ("<think>t<action>up</action>", "required", S.NO_THINK),
        ("<think>t<action>up</action>", "optional", S.NO_THINK),
        ("<think>a</think><think>b</think><action>up</action>", "required", S.MANY_THINKS),
        ("<think>a</think><think>b</think><action>up</action>", "optional", S.MANY_THINKS),
        ("<action>up</action><think>t</think>", "required", S.BAD_ORDER),
        ("<think><action>up</action></think>", "required", S.BAD_ORDER),
        ("<action><think>t</think>up</action>", "required", S.BAD_ORDER),
        ("</think><think><action>up</action>", "required", S.BAD_ORDER),
        ("<think>t</think></action>up<action>", "required", S.BAD_ORDER),
        ("I go <think>t</think><action>up</action>", "required", S.EXTRA_TEXT),
        ("<think>t</think> so <action>up</action>", "required", S.EXTRA_TEXT),
        ("<think>t</think><action>up</action>.", "required", S.EXTRA_TEXT),
        ("<think>t</think><action>up</action>", "none", S.EXTRA_TEXT),
        ("<think>t</think><progress>3</progress><action>up</action>", "required", S.EXTRA_TEXT),
        ("<think>t</think><action></action>", "required", S.EMPTY_ACTION),
        ("<think>t</think><action> \n </action>", "required", S.EMPTY_ACTION),
        ("<think>t</think><action>" + "x" * 257 + "</action>", "required", S.TOO_LONG),
    ],
)
def test_status(response: str, think: Think, status: S) -> None:
    read = parse_strict(response, think=think)
    assert read.action.status is status
    if status is S.OK:
        assert read.action.text == "up"
        assert read.action.failure is None
    else:
        assert read.action.text == NOOP
        assert read.action.failure is not None
        assert read.action.failure.status is status
        assert read.action.failure.detail
        assert read.action_span is read.think_span is None


def test_spans_mark_the_contents() -> None:
    response = " <think> box left </think> <progress>40</progress>\n<action> UP </action>"
    read = parse_strict(response, progress=True)
    spans = [read.think_span, read.progress_span, read.action_span]
    assert [response[slice(*span)] for span in spans if span] == [" box left ", "40", " UP "]
    assert read.action.think == "box left"


def test_progress_is_allowed_but_not_required() -> None:
    assert parse_strict("<think>t</think><action>up</action>", progress=True).action.status is S.OK
    twice = "<think>t</think><progress>1</progress><progress>2</progress><action>up</action>"
    assert parse_strict(twice, progress=True).action.status is S.EXTRA_TEXT
    late = "<think>t</think><action>up</action><progress>1</progress>"
    assert parse_strict(late, progress=True).action.status is S.BAD_ORDER


def test_actions_are_collapsed_lowered_and_measured_afterwards() -> None:
    def read(action: str) -> str:
        return parse_strict(f"<action>{action}</action>", think="none", max_action_length=7).action.text

    assert read(" Go \n\t NOW ") == "go now"
    assert read(" " * 1000 + "a" + " " * 1000 + "b") == "a b"
    assert read("a b c d") == "a b c d"
    assert read("a b c de") == NOOP
    assert read("İİİİ") == NOOP  # lower-casing doubles each of them


@given(responses, thinks, st.booleans())
def test_never_raises_and_is_consistent(response: str, think: Think, progress: bool) -> None:
    read = parse_strict(response, think=think, progress=progress)
    assert (read.action.failure is None) == (read.action.status is S.OK)
    assert (read.action.text == NOOP) >= (read.action.failure is not None)
    if read.action_span is not None:
        assert read.action.text == " ".join(response[slice(*read.action_span)].split()).lower()
        assert response[: read.action_span[0]].endswith("<action>")
        assert response[read.action_span[1] :].startswith("</action>")


@given(responses, thinks)
def test_white_space_around_changes_nothing(response: str, think: Think) -> None:
    assert parse_strict(f" \n{response}\t", think=think).action == parse_strict(response, think=think).action


@given(st.sampled_from(["up", "go to shelf 1", "search[red shoe]"]), thinks, st.sampled_from(["", "because"]))
def test_a_formatted_answer_is_read_back(action: str, think: Think, thought: str) -> None:
    read = parse_strict(format_answer(action, think=think, thought=thought), think=think).action
    assert (read.status, read.text) == (S.OK, action)


HOSTILE_5MB = {
    "opening tags": "<action>" * 625_000,
    "brackets": "<" * 5_000_000,
    "half tags": "<think>" + "</actio" * 700_000,
    "blank action": "<think></think><action>" + " " * 5_000_000 + "up</action>",
    "many words": "<think></think><action>" + "a " * 2_500_000 + "</action>",
    "long outside": "<think></think>" + " x" * 2_500_000 + "<action>up</action>",
    "wide thought": "<think>" + "é" * 5_000_000 + "</think><action>up</action>",
}


@pytest.mark.parametrize("name", HOSTILE_5MB)
def test_five_megabytes_take_under_fifty_milliseconds(name: str) -> None:
    def cost_s() -> float:
        started = time.process_time()
        parse_strict(HOSTILE_5MB[name])
        return time.process_time() - started

    assert min(cost_s() for _ in range(3)) < 0.05


WORDS = ("up", "down", "left", "right", "still")


@pytest.mark.parametrize(
    ("response", "words", "text", "status"),
    [
        ("<think>t</think><action>UP</action>", WORDS, "up", S.OK),
        ("<think>t</think><action>right up</action> and more", WORDS, "up", S.OK),
        ("<THINK>t</THINK><ACTION>left</ACTION>", WORDS, "left", S.NO_THINK),
        ("<action>left</action>", WORDS, "left", S.NO_THINK),
        ("<think>推</think><action>left</action>", WORDS, "left", S.EXTRA_TEXT),
        ("<think>é</think><action>left</action>", WORDS, "left", S.OK),
        ("<think>t</think><action>jump</action>", WORDS, NOOP, S.NOT_IN_LANGUAGE),
        ("<think>t</think>left", WORDS, NOOP, S.NO_ACTION),
        ("<think>t</think></action>left<action>", WORDS, NOOP, S.NOT_IN_LANGUAGE),
        ("<think>t</think><action>Go To shelf 1</action>", (), "go to shelf 1", S.OK),
        ("<think>t</think><action></action>", (), NOOP, S.EMPTY_ACTION),
        ("I will take the red apple from the shelf", (), "ke the red apple from the shelf"[-30:], S.NO_ACTION),
        ("", (), NOOP, S.NO_ACTION),
    ],
)
def test_loose_rules(response: str, words: tuple[str, ...], text: str, status: S) -> None:
    read = parse_loose(response, words=words).action
    assert (read.text, read.status) == (text, status)
    assert (read.failure is None) == (status is S.OK)


@given(responses)
def test_loose_rules_never_raise(response: str) -> None:
    assert isinstance(parse_loose(response, words=WORDS), ParsedResponse)
    assert isinstance(parse_loose(response), ParsedResponse)
