"""Reading and writing calls in every format: whatever a model writes is data, never an exception."""

from __future__ import annotations

import json
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaestra.envs.core.types import canonical_json
from palaestra.envs.tools.calls import AskedCall, CallFormat
from palaestra.envs.tools.evidence import CallEvidence, StepEvidence
from palaestra.envs.tools.formats import MAX_CALLS, call_format, read_calls, register_format
from palaestra.envs.tools.schemas import fits, shown_schema, signature_of, with_defaults
from palaestra.mcp_servers.catalog import load_server
from palaestra.mcp_servers.errors import ConfigError
from palaestra.mcp_servers.framework.episodes import EpisodeStore
from palaestra.mcp_servers.framework.stories import Teller

FORMATS = ("hermes", "json", "pythonic", "compact")
SCHEMAS = {name: shown_schema(spec) for name, spec in load_server("banking").tools.items()}
FREEZE = AskedCall("freeze_card", {"card_id": "crd_1", "reason": "lost it"})
PAY = AskedCall("transfer_money", {"account_id": "acc_1", "payee_id": "pay_1", "amount": 500})
IN_JSON = '{"name": "freeze_card", "arguments": {"card_id": "crd_1", "reason": "lost it"}}'
PIECES = ["<tool_call>", "</tool_call>", "[", "]", "(", ")", '{"name":"a"', '"', "=", " x", "}", "f", "\\"]


def read(reply: str, name: str = "hermes") -> tuple[AskedCall, ...]:
    return read_calls(reply, call_format(name), SCHEMAS)


@pytest.mark.parametrize(
    ("name", "reply"),
    [
        ("hermes", f"<tool_call>\n{IN_JSON}\n</tool_call>"),
        ("json", IN_JSON),
        ("pythonic", "[freeze_card(card_id='crd_1', reason='lost it')]"),
        ("compact", '<tool_call>freeze_card card_id=crd_1 reason="lost it"</tool_call>'),
    ],
)  # fmt: skip
def test_one_call_in_each_format(name: str, reply: str) -> None:
    assert read(reply, name) == (FREEZE,)
    assert call_format(name).write([FREEZE], SCHEMAS) == reply
    assert read(call_format(name).write([PAY, FREEZE], SCHEMAS), name) == (PAY, FREEZE)
    assert read(f"<think>maybe {reply}?</think>{reply}", name) == (FREEZE,)
    assert read("Which card shall I freeze?", name) == ()
    assert read("", name) == ()


def test_names_lose_the_server_before_them() -> None:
    assert read('<tool_call>{"name": "mcp__banking__freeze_card"}</tool_call>') == (AskedCall("freeze_card", {}),)
    assert read("[banking.freeze_card(card_id='c')]", "pythonic") == (AskedCall("freeze_card", {"card_id": "c"}),)
    assert read("<tool_call>banking.freeze_card card_id=c</tool_call>", "compact")[0].tool == "freeze_card"


def test_hermes_takes_text_around_an_end_left_out_and_arguments_in_a_string() -> None:
    call = IN_JSON
    assert read(f"Sure.<tool_call> {call} </tool_call>\nand\n<tool_call>{call}") == (FREEZE, FREEZE)
    written = json.dumps({"name": "freeze_card", "arguments": json.dumps(FREEZE.arguments)})
    assert read(f"<tool_call>{written}</tool_call>") == (FREEZE,)
    tagged = '{"name": "freeze_card", "arguments": {"reason": "</tool_call><tool_call>"}}'
    assert read(f"<tool_call>{tagged}</tool_call>") == (
        AskedCall("freeze_card", {"reason": "</tool_call><tool_call>"}),
    )
    broken, sound = read(f"<tool_call>{{oops</tool_call><tool_call>{call}</tool_call>")
    assert (broken.tool, broken.arguments, sound) == ("", None, FREEZE)


BROKEN = {
    "hermes": [
        "<tool_call>", "</tool_call>", "<tool_call>freeze_card</tool_call>", '<tool_call>{"name": 3}</tool_call>',
        '<tool_call>{"name": "a", "arguments": [1]}</tool_call>',
        '<tool_call>{"name": "a", "parameters": {}}</tool_call>',
        '<tool_call>{"name": "a"} and {"name": "b"}</tool_call>', '<tool_call>{"name": "a", "name": "b"}</tool_call>',
        '<tool_call>{"name": "a", "arguments": {"x": NaN}}</tool_call>', "<tool_call>" + "[" * 100_000,
        '<tool_call>{"name": "a", "arguments": {"x": 1e999}}</tool_call>',
        '<tool_call>{"name": "a", "arguments": {"x": "\\ud800"}}</tool_call>',
        '<tool_call>{"name": "a", "arguments": {"x": ' + "[" * 80 + "]" * 80 + "}}</tool_call>",
        '<tool_call>{"name": "a", "arguments": {"x": ' + "1" * 5000 + "}}</tool_call>",
    ],
    "json": ['{"name": "a"', "[1]", '{"name": "a"} {"name": "b"}', '[{"name": "a", "arguments": 1}]', "[" * 100_000],
    "pythonic": [
        "[f(1)]", "[f(**x)]", "[f(a=g())]", "[f(a=b'x')]", "[f(a={1: 2})]", "[f(a=1, a=2)]", "[f(a=]()", "[f(a=1",
        "[f(a=" + "(" * 5000 + ")" * 5000 + ")]", "[f(a=" + "-" * 50_000 + "1)]", "[f(a=1e999)]", "[f(a=1j)]",
        "[f(a='\\ud800')]", "[__import__('os').system('true')]", "[f(a='\\d', b=\x00)]", "[" + "f()," * 30_000 + "]",
        "[" + "a." * 15_000 + "f(1)]", "[f(a=" + "+".join("1" * 5000) + ")]",
    ],
    "compact": [
        "<tool_call></tool_call>", "</tool_call>", "<tool_call>freeze_card card_id</tool_call>",
        "<tool_call>freeze_card card_id=</tool_call>", '<tool_call>freeze_card card_id="x</tool_call>',
        "<tool_call>freeze_card card_id=a card_id=b</tool_call>", "<tool_call>freeze_card card_id=a, b</tool_call>",
        "<tool_call>freeze_card(card_id=a)</tool_call>", "<tool_call>9</tool_call>",
        '<tool_call>freeze_card card_id="\\ud800"</tool_call>', "<tool_call>f x=" + "[" * 100_000 + "</tool_call>",
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_what_cannot_be_read_is_a_call_without_arguments(name: str) -> None:
    for reply in BROKEN[name]:
        calls = read(reply, name)
        assert calls, reply[:80]
        assert any(call.arguments is None and call.problem for call in calls), reply[:80]


@pytest.mark.parametrize("name", FORMATS)
@given(
    st.text(max_size=40),
    st.lists(st.sampled_from(PIECES)),
)  # fmt: skip
def test_no_reply_raises_and_every_call_can_be_recorded(name: str, text: str, pieces: list[str]) -> None:
    for reply in (text, "".join(pieces), text.join(pieces)):
        for call in read(reply, name):
            assert (call.arguments is None) == bool(call.problem)
            evidence = CallEvidence(
                tool=call.tool, arguments=call.arguments, shown=False, fits=False, fits_loose=False, fault="unparsable"
            )
            step = StepEvidence(turn=0, calls=(evidence,))
            assert StepEvidence.from_json(step.to_json()) == step


@pytest.mark.parametrize("name", FORMATS)
def test_a_long_reply_is_read_in_time_and_its_calls_are_counted(name: str) -> None:
    one = call_format(name).write([FREEZE], SCHEMAS)
    started = perf_counter()
    assert len(read(one * 2000 if name in ("hermes", "compact") else one, name)) <= MAX_CALLS + 1
    for hostile in (
        "<tool_call>" * 20_000,
        "</tool_call>" * 20_000,
        "[f(" * 20_000 + ")]",
        "{" * 100_000,
        "<think>" * 20_000,
    ):
        read(hostile, name)
    assert perf_counter() - started < 5


@pytest.mark.parametrize("server", ["banking", "maps", "filesystem", "calendar"])
def test_every_call_of_the_stories_survives_every_format(server: str) -> None:
    loaded = load_server(server)
    schemas = {name: shown_schema(spec) for name, spec in loaded.tools.items()}
    told = []
    for story in (*loaded.stories, *loaded.chains):
        with EpisodeStore([loaded]) as store:
            teller = Teller(store.open(seed=1)[1], server)
            story(teller)
            told += [AskedCall(each.tool, each.arguments) for each in teller.told if not each.result.is_error]
    assert len(told) > 20
    for name in FORMATS:
        for call in told:
            written = call_format(name).write([call], schemas)
            assert read_calls(written, call_format(name), schemas) == (call,), written
            assert canonical_json(read_calls(written, call_format(name), schemas)[0].arguments) == canonical_json(
                call.arguments
            )
        assert all(fits(call.arguments or {}, schemas[call.tool]) for call in told)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(), st.booleans(), VALUES)
def test_any_value_of_the_right_type_survives_every_format(text: str, number: int, flag: bool, value: Any) -> None:
    properties = {"text": {"type": "string"}, "number": {"type": "integer"}, "flag": {"type": "boolean"}}
    schemas = {"f": {"properties": properties}}
    more = {} if isinstance(value, str) else {"value": value}
    call = AskedCall("f", {"text": text, "number": number, "flag": flag, **more})
    for name in FORMATS:
        (found,) = read_calls(call_format(name).write([call], schemas), call_format(name), schemas)
        assert found == call
        assert type((found.arguments or {})["flag"]) is bool


def test_formats_have_names() -> None:
    with pytest.raises(ConfigError, match="did you mean 'hermes'"):
        call_format("hermse")
    with pytest.raises(ConfigError, match="already"):
        register_format(CallFormat("json", "", lambda reply, schemas: iter(()), lambda calls, schemas: ""))
    mine = CallFormat(
        "shout", "", lambda reply, schemas: iter([AskedCall(reply.upper(), {})]), lambda calls, schemas: ""
    )
    register_format(mine)
    register_format(mine)
    assert read_calls("f", call_format("shout"), {}) == (AskedCall("F", {}),)


def test_structure_is_judged_by_what_was_shown() -> None:
    spec = load_server("banking").tools["dispute_transfer"]
    shown, stripped = shown_schema(spec), shown_schema(spec, ("reason",))
    given_reason = {"transfer_id": "tra_1", "reason": "bored"}
    assert (fits(given_reason, shown), fits(given_reason, stripped)) == (False, True)
    assert "enum" in shown["properties"]["reason"]
    assert "enum" not in stripped["properties"]["reason"]
    assert fits({"transfer_id": "t", "reason": "duplicate"}, shown)
    assert not fits({"transfer_id": "t"}, shown, extra=True)
    extra = {"transfer_id": "t", "reason": "duplicate", "note": 1}
    assert (fits(extra, shown), fits(extra, shown, extra=True)) == (False, True)
    assert not fits({"transfer_id": None, "reason": "duplicate"}, shown)
    transfer = SCHEMAS["transfer_money"]
    assert with_defaults(PAY.arguments or {}, transfer) == {**(PAY.arguments or {}), "purpose": ""}
    assert signature_of(spec, shown).startswith(
        "dispute_transfer(transfer_id, reason: unauthorised|duplicate|not_received|wrong_amount) - Dispute"
    )
    assert signature_of(load_server("banking").tools["transfer_money"], transfer).startswith(
        "transfer_money(account_id, payee_id, amount: int, purpose?) - Send"
    )
    routes = load_server("maps").tools["plan_route"]
    schema = shown_schema(routes)
    roads = {name: "x" for name in schema["required"]} | {
        "mode": schema["properties"]["mode"]["enum"][0],
        "avoid_roads": ["a", 1],
    }
    assert not fits(roads, schema)
    assert fits(roads | {"avoid_roads": ["a"]}, schema)
