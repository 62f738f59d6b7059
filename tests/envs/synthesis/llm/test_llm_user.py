"""A simulated user tells what their information level allows, hears what was said, and knows when it is over."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from palaestra.envs.tools.synthesis.brief import Level
from palaestra.envs.tools.synthesis.llm_chat import Chat
from palaestra.envs.tools.synthesis.llm_user import Line, LlmUser, Situation, UserSimulator
from palaestra.envs.tools.synthesis.machine import Dropped
from palaestra.mcp_servers.framework.sources import stream

from .endpoint import Endpoint

START = Situation(
    "terse", "missing", "get the client's invoice sent", {"client": "Sato Bicycles", "amount": "12.50"},
    frozenset({"amount"}), frozenset({"send_invoice"}),
)  # fmt: skip


@pytest.fixture
def chat(endpoint: Endpoint, tmp_path: Path) -> Iterator[Chat]:
    with Chat(endpoint.settings(), tmp_path / "answers.sqlite") as opened:
        yield opened


def answers(endpoint: Endpoint, *texts: str) -> None:
    """What the model says next, as it writes it."""
    left = deque(texts)
    endpoint.think = lambda body: left.popleft()


def say(text: str) -> str:
    return json.dumps({"message": text})


@pytest.mark.parametrize(
    ("level", "told", "refused"),
    [
        ("complete", "Invoice Sato Bicycles, 12.50.", "Invoice Sato Bicycles."),
        ("missing", "Invoice Sato Bicycles.", "Invoice Sato Bicycles, 12.50."),
        ("minimal", "An invoice has to go out.", "Invoice Sato Bicycles."),
    ],
)
def test_the_opening_tells_what_its_level_allows(
    level: Level, told: str, refused: str, chat: Chat, endpoint: Endpoint
) -> None:
    answers(endpoint, '{"done": true}', say(refused), say("Please call send_invoice."), say(told))
    user: UserSimulator = LlmUser(chat)
    assert user.next_message(replace(START, level=level), stream(0, "user")) == told
    assert chat.counts == {"user.asked": 1, "user.malformed": 3}


def test_what_was_held_back_is_told_once_asked_and_then_it_is_over(chat: Chat, endpoint: Endpoint) -> None:
    answers(endpoint, say("Invoice Sato Bicycles."), say("12.50."), '{"done": true}')
    user, rng, now = LlmUser(chat), stream(0, "user"), START
    heard = ["How much?", "Sent."]
    said: list[str | None] = []
    for answer in [*heard, ""]:
        message = user.next_message(now, rng)
        said.append(message)
        now = replace(now, lines=(*now.lines, Line("user", message or ""), Line("assistant", answer)))
    assert said == ["Invoice Sato Bicycles.", "12.50.", None]
    shown = json.loads(endpoint.bodies[2]["messages"][1]["content"])
    assert [line["text"] for line in shown["so_far"]] == ["Invoice Sato Bicycles.", "How much?", "12.50.", "Sent."]
    assert shown["persona"] == "terse"


def test_the_same_situation_is_played_the_same_way_again(chat: Chat, endpoint: Endpoint) -> None:
    endpoint.think = lambda body: say(f"Sato Bicycles, {'abc'[len(endpoint.bodies) - 1]}.")
    first = [LlmUser(chat).next_message(START, stream(seed, "user")) for seed in (0, 1)]
    assert first == ["Sato Bicycles, a.", "Sato Bicycles, b."]
    assert [LlmUser(chat).next_message(START, stream(seed, "user")) for seed in (0, 1)] == first
    assert len(endpoint.bodies) == 2


def test_a_user_that_cannot_be_played_is_dropped(chat: Chat, endpoint: Endpoint) -> None:
    endpoint.think = lambda body: say("Hm.")
    with pytest.raises(Dropped, match="llm_user"):
        LlmUser(chat).next_message(START, stream(0, "user"))
