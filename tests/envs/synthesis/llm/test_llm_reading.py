"""Whatever a model writes is a typed action or Malformed, and nothing it writes reaches a server unvalidated."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaestra.envs.tools.synthesis.llm_reading import (
    CallAction,
    GiveUp,
    Malformed,
    Message,
    PairAnswer,
    Rules,
    json_in,
    read_as,
    read_call,
    read_message,
    read_user_turn,
    stands_in,
)
from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.framework.faults import Fault

TOOLS = load_server("payments").tools
VOID = {"tool": "void_invoice", "arguments": {"invoice_id": "inv_1"}}


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        'Sure!\n```json\n{"a": 1}\n```',
        '<think>{"b": 2} no, {"a": 3}</think> {"a": 1} done.',
        ' {"a":1}{"b":2}',
    ],
)
def test_json_is_found_in_what_stands_around_it(text: str) -> None:
    assert json_in(text) == {"a": 1}


@pytest.mark.parametrize(
    "text",
    ["", "yes", "[1]", '{"a": 1', '{"a": NaN}', '{"a": -Infinity}', '{"a": 1, "a": 2}', "{'a': 1}", '{"a": ' * 100_000,
     '{"a": ' + "9" * 5000 + "}", '{"a": 1}</think>'],
)  # fmt: skip
def test_what_is_no_json_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        json_in(text)


@given(
    st.text()
    | st.recursive(st.none() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)).map(
        json.dumps
    )
)
def test_any_text_is_an_action_or_malformed(text: str) -> None:
    for read in (
        lambda t: read_call(t, TOOLS, "void_invoice"), lambda t: read_as(PairAnswer, t),
        lambda t: read_message(t, Rules(figures="")), lambda t: read_user_turn(t, Rules()),
    ):  # fmt: skip
        with contextlib.suppress(Malformed):
            read(text)


@given(
    st.dictionaries(
        st.sampled_from(["invoice_id", "limit", "x"]),
        st.none() | st.booleans() | st.integers() | st.text() | st.floats(),
    )
)
def test_a_call_that_is_read_is_one_the_tool_takes(arguments: dict[str, Any]) -> None:
    text = json.dumps({"tool": "void_invoice", "arguments": arguments})
    try:
        call = read_call(text, TOOLS, "void_invoice")
    except Malformed:
        return
    assert isinstance(call, CallAction)
    assert not isinstance(TOOLS["void_invoice"].validate(call.arguments), Fault)


def test_a_call_and_a_refusal_to_make_one_are_read() -> None:
    assert read_call(json.dumps(VOID), TOOLS, "void_invoice") == CallAction(**VOID)  # type: ignore[arg-type]
    assert read_call('{"give_up": "no invoice is open"}', TOOLS, "void_invoice") == GiveUp(give_up="no invoice is open")


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"tool": "void_invoise"}, "There is no tool 'void_invoise'; did you mean 'void_invoice'"),
        ({"tool": "send_invoice"}, "The next call is one of void_invoice, not of send_invoice"),
        ({"tool": 5}, "tool: Input should be a valid string"),
        ({"arguments": None}, "arguments: Input should be a valid dictionary"),
        ({"arguments": "{}"}, "arguments: Input should be a valid dictionary"),
        ({"arguments": {}}, "/invoice_id: Field required"),
        ({"arguments": {"invoice_id": 1}}, "/invoice_id: Input should be a valid string"),
        ({"arguments": {"invoice_id": "inv_1", "force": True}}, "/force: Extra inputs are not permitted"),
        ({"arguments": {"invoice_id": None}}, "/invoice_id: is null"),
        ({"arguments": {"invoice_id": "a\0"}}, "/invoice_id: holds NUL"),
        ({"arguments": {"invoice_id": "\ud800"}}, "/invoice_id: holds a lone surrogate"),
        ({"thought": "hm"}, "thought: Extra inputs are not permitted"),
        ({"give_up": True}, "give_up: Input should be a valid string"),
    ],
)
def test_a_call_nobody_could_make_is_malformed_and_says_why(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(Malformed) as caught:
        read_call(json.dumps({**VOID, **wrong}), TOOLS, "void_invoice")
    assert why in str(caught.value)


@pytest.mark.parametrize("wrong", [{"a_then_b": "yes"}, {"a_then_b": True}, {"c": "none"}, {"b_then_a": None}])
def test_a_pair_is_answered_in_three_words(wrong: dict[str, Any]) -> None:
    good = {"a_then_b": "explicit", "b_then_a": "none"}
    assert read_as(PairAnswer, json.dumps(good)).a_then_b == "explicit"
    with pytest.raises(Malformed, match="does not have the form"):
        read_as(PairAnswer, json.dumps({**good, **wrong}))


RULES = Rules(says=("“Rent”", "12"), keeps=("acc_7",), tools=("void_invoice", "ls"), figures="12 Rent 5.50")


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("Name it Rent, 12 please.", ""),
        ('Pay 12 for "Rent", not 5.50. Use ls.', ""),
        ("", "has 0 characters"),
        ("Rent 12 " * 200, "has 1599 characters"),
        ("Rent", "does not say, word for word: '12'"),
        ("Rent 12.50", "does not say"),
        ("Rents 12", "does not say"),
        ("Rent 12 from acc_7", "says what is to be held back: 'acc_7'"),
        ("Rent 12, void_invoice it", "names the tool void_invoice"),
        ("Rent 12 \u202e", "characters that nobody types"),
        ("Rent 12 <|im_end|>", "characters that nobody types"),
        ("Rent 12 and 13", "figures that are in no result: 13"),
    ],
)
def test_a_message_is_held_to_the_rules(message: str, why: str) -> None:
    text = json.dumps({"message": message})
    if not why:
        assert read_message(text, RULES) == message
        return
    with pytest.raises(Malformed) as caught:
        read_message(text, RULES)
    assert why in str(caught.value)


def test_a_user_may_have_nothing_more_to_say() -> None:
    assert read_user_turn('{"done": true}', Rules()) is None
    assert read_user_turn('{"message": " Hi. "}', Rules()) == "Hi."
    for text in ('{"done": false}', '{"done": true, "message": "x"}', '{"done": "true"}'):
        with pytest.raises(Malformed):
            read_user_turn(text, Rules())


@given(st.text(min_size=1, max_size=5), st.text(max_size=20))
def test_a_part_that_stands_in_a_text_is_in_it(part: str, text: str) -> None:
    if stands_in(part, text):
        assert part.strip("“”") in text
    assert read_as(Message, json.dumps({"message": text})).message == text
